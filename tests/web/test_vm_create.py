"""The create form: only the name is needed; bad input is answered beside its field and nothing typed is lost."""

import uuid
from typing import Any

import pytest
from django.test import Client

from lifecycle.models import VM, Operation, Project, Quota
from tests import factories

URL = "/projects/lab/vms/new/"

pytestmark = pytest.mark.usefixtures("catalog", "host")


def send(client: Client, **fields: Any) -> Any:
    """Send the form as a browser does, with its defaults."""
    defaults = {"name": "web-1", "machine_type": "tiny-1", "image": "tiny", "automatic_restart": "on"}
    return client.post(URL, {**defaults, **fields})


def test_only_the_name_is_needed(as_owner: Client, project: Project) -> None:
    response = as_owner.post(URL, {"name": "web-1"})
    assert (response.status_code, response["Location"]) == (303, "/projects/lab/vms/web-1/")
    vm = VM.objects.get(project=project, name="web-1")
    assert (vm.state, vm.machine_type.name, vm.image.name) == ("PROVISIONING", "tiny-1", "tiny")


def test_two_quick_clicks_create_one_vm(as_owner: Client, project: Project) -> None:
    request_id = str(uuid.uuid4())
    first = send(as_owner, request_id=request_id)
    second = send(as_owner, request_id=request_id)
    assert first["Location"] == second["Location"]
    assert VM.objects.filter(project=project).count() == 1
    assert Operation.objects.filter(project=project).count() == 1


def test_an_old_form_with_other_values_is_a_new_wish(as_owner: Client, project: Project) -> None:
    request_id = str(uuid.uuid4())
    send(as_owner, request_id=request_id, name="web-1")
    assert send(as_owner, request_id=request_id, name="web-2").status_code == 303
    assert set(VM.objects.filter(project=project).values_list("name", flat=True)) == {"web-1", "web-2"}


def test_every_form_has_a_request_id_of_its_own(as_owner: Client, project: Project) -> None:
    ids = {as_owner.get(URL).context["form"]["request_id"].value() for _ in range(2)}
    assert len(ids) == 2


BAD = [
    ("name", {"name": ""}),
    ("name", {"name": "x" * 64}),
    ("name", {"name": "Web_1"}),
    ("name", {"name": "<b>web</b>"}),
    ("name", {"name": "web;reboot"}),
    ("name", {"name": "../../etc/passwd"}),
    ("name", {"name": "-web"}),
    ("name", {"name": "web\0one"}),
    ("name", {"name": "new"}),
    ("memory_mib", {"machine_type": "custom", "vcpus": "1", "memory_mib": str(2 * 1024 * 1024)}),
    ("vcpus", {"machine_type": "custom", "vcpus": "-1", "memory_mib": "512"}),
    ("vcpus", {"machine_type": "custom", "vcpus": "0", "memory_mib": "512"}),
    ("vcpus", {"machine_type": "custom", "vcpus": "two", "memory_mib": "512"}),
    ("memory_mib", {"machine_type": "custom", "vcpus": "1", "memory_mib": ""}),
    ("disk_gib", {"disk_gib": "0"}),
    ("disk_gib", {"disk_gib": "99999999999999999999"}),
    ("image", {"image": "no-such-image"}),
    ("machine_type", {"machine_type": "no-such-type"}),
    ("zone", {"zone": "no-such-zone"}),
    ("ssh_keys", {"ssh_keys": "my cat's name"}),
    ("ssh_keys", {"ssh_keys": "-----BEGIN OPENSSH PRIVATE KEY-----"}),
    ("user_data", {"user_data": "no header"}),
    ("user_data", {"user_data": "#cloud-config\n" + "x" * 300_000}),
    ("startup_script", {"startup_script": "echo no shebang"}),
    ("stop_grace_seconds", {"stop_grace_seconds": "-5"}),
]


@pytest.mark.parametrize(("field", "fields"), BAD, ids=lambda v: str(v)[:40])
def test_bad_input_is_answered_beside_its_field(
    as_owner: Client, project: Project, field: str, fields: dict[str, str]
) -> None:
    response = send(as_owner, **fields)
    assert response.status_code == 400
    form = response.context["form"]
    assert form.errors[field]
    page = response.content.decode()
    assert 'id="error-summary"' in page
    assert f'href="#id_{field}"' in page
    assert not VM.objects.filter(project=project).exists()
    if field in {"vcpus", "memory_mib", "disk_gib", "user_data", "image"}:
        assert form.more_is_open


def test_a_disk_smaller_than_its_image_is_refused(as_owner: Client, project: Project) -> None:
    factories.make_image("debian-12", min_disk_gib=3)
    response = send(as_owner, image="debian-12", disk_gib="2")
    assert response.status_code == 400
    assert "at least 3 GiB" in response.content.decode()


def test_what_was_typed_stays(as_owner: Client, project: Project) -> None:
    script = "#!/bin/sh\necho '<hello>'"
    response = send(as_owner, name="Bad Name", startup_script=script, stop_grace_seconds="45")
    form = response.context["form"]
    assert form["startup_script"].value() == script
    page = response.content.decode()
    assert 'value="Bad Name"' in page
    assert "&lt;hello&gt;" in page
    assert 'value="45"' in page


def test_all_errors_are_said_at_once(as_owner: Client, project: Project) -> None:
    wrong = {"name": "", "ssh_keys": "nonsense", "user_data": "nonsense", "machine_type": "custom", "vcpus": "-2"}
    response = send(as_owner, **wrong, memory_mib="512")
    assert set(response.context["form"].errors) == {"name", "ssh_keys", "user_data", "vcpus"}


def test_a_taken_name_is_a_conflict(as_owner: Client, project: Project) -> None:
    send(as_owner)
    response = send(as_owner)
    assert response.status_code == 409
    assert response.context["form"].errors["name"]


def test_a_quota_used_up_is_said_with_its_numbers(as_owner: Client, project: Project) -> None:
    Quota.objects.filter(project=project).update(vms=0)
    response = send(as_owner)
    assert response.status_code == 403
    assert "quota" in response.content.decode()
    assert not VM.objects.filter(project=project).exists()


def test_a_custom_shape_is_taken(as_owner: Client, project: Project) -> None:
    response = send(as_owner, machine_type="custom", vcpus="2", memory_mib="640")
    assert response.status_code == 303
    vm = VM.objects.get(project=project)
    assert (vm.vcpus, vm.memory_mib) == (2, 640)


def test_ten_megabytes_of_user_data_are_answered_with_the_limit(as_owner: Client, project: Project) -> None:
    response = send(as_owner, user_data="#cloud-config\n" + "x" * (10 * 2**20))
    assert response.status_code == 413
    assert "2 MiB" in response.content.decode()
    assert not VM.objects.filter(project=project).exists()


def test_the_key_given_last_is_offered_again(as_owner: Client, project: Project) -> None:
    send(as_owner, ssh_keys=factories.SSH_KEY)
    assert factories.SSH_KEY in as_owner.get(URL).content.decode()
