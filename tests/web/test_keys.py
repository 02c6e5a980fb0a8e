"""Pages of SSH keys, and keys in the create form and on a VM's page."""

import pytest
from django.test import Client

from lifecycle.models import VM, Project, SSHKey, User
from lifecycle.services import keys
from tests import factories
from tests.web.conftest import Browser

MINE = "/account/keys/"
SHARED = "/projects/lab/keys/"


def test_a_key_is_kept_and_forgotten_again(as_owner: Client, project: Project, owner: User) -> None:
    line = factories.make_public_key("me@laptop")
    assert as_owner.post(MINE, {"key": line}).status_code == 303
    key = SSHKey.objects.get(user=owner)
    page = as_owner.get(MINE).content.decode()
    assert "me@laptop" in page
    assert key.fingerprint in page
    as_owner.post(f"{MINE}{key.pk}/remove/")
    assert not SSHKey.objects.exists()


@pytest.mark.parametrize("path", [MINE, SHARED])
@pytest.mark.parametrize("text", ["", "hello", "-----BEGIN RSA PRIVATE KEY-----", "ssh-rsa AAAA x"])
def test_what_is_no_public_key_is_answered_beside_its_field(
    as_owner: Client, project: Project, path: str, text: str
) -> None:
    response = as_owner.post(path, {"key": text})
    assert response.status_code == 400
    assert response.context["form"].errors["key"]
    assert not SSHKey.objects.exists()


def test_another_persons_keys_are_not_shown_and_not_forgotten(
    browser: Browser, project: Project, owner: User, operator: User
) -> None:
    key = keys.add_user_key(owner, factories.make_public_key())
    client = browser(operator)
    assert key.fingerprint not in client.get(MINE).content.decode()
    response = client.post(f"{MINE}{key.pk}/remove/", follow=True)
    assert "not there any more" in response.content.decode()
    assert SSHKey.objects.filter(pk=key.pk).exists()


def test_a_viewer_sees_the_projects_keys_and_no_form(
    browser: Browser, project: Project, owner: User, viewer: User
) -> None:
    key = keys.add_project_key(project, factories.make_public_key(), user=owner)
    page = browser(viewer).get(SHARED).content.decode()
    assert key.fingerprint in page
    assert "remove/" not in page
    assert 'name="key"' not in page


@pytest.mark.usefixtures("catalog", "host")
def test_kept_keys_are_chosen_in_the_create_form_by_default(as_owner: Client, project: Project, owner: User) -> None:
    keys.add_user_key(owner, factories.make_public_key("my-laptop"))
    keys.add_project_key(project, factories.make_public_key("deploy"), user=owner)
    page = as_owner.get("/projects/lab/vms/new/").content.decode()
    assert "my-laptop" in page
    assert "deploy" in page
    assert page.count("checked") >= 2
    sent = {"name": "web-1", "use_my_keys": "on", "use_project_keys": "on"}
    assert as_owner.post("/projects/lab/vms/new/", sent).status_code == 303
    vm = VM.objects.get(name="web-1")
    assert list(vm.key_people.all()) == [owner]
    assert len(keys.seed_keys(vm).splitlines()) == 2


@pytest.mark.usefixtures("catalog", "host")
@pytest.mark.parametrize(
    ("field", "text", "said"),
    [
        ("user_data", "#cloud-config\nruncmd:\n- echo a: b\n", "Line 3"),
        ("user_data", "#cloud-config\na: [\n", "Line 3"),
        ("startup_script", "#!sh\n", "Line 1"),
    ],
)
def test_the_create_form_says_which_line_is_wrong(
    as_owner: Client, project: Project, field: str, text: str, said: str
) -> None:
    response = as_owner.post("/projects/lab/vms/new/", {"name": "web-1", field: text})
    assert response.status_code == 400
    assert said in response.context["form"].errors[field][0]


def test_host_keys_are_shown_where_one_connects(as_owner: Client, vm: VM) -> None:
    fingerprint = "SHA256:" + "k" * 43
    VM.objects.filter(pk=vm.pk).update(
        host_keys=[{"bits": 256, "fingerprint": fingerprint, "kind": "ED25519"}], host_keys_seen_at=vm.created_at
    )
    page = as_owner.get("/projects/lab/vms/web-1/").content.decode()
    assert fingerprint in page
    assert "ED25519" in page


def test_the_keys_of_a_vm_are_changed_on_its_page(as_owner: Client, vm: VM, owner: User) -> None:
    url = "/projects/lab/vms/web-1/keys/"
    as_owner.post(url, {"my_keys": "on"})
    vm.refresh_from_db()
    assert (vm.use_project_keys, list(vm.key_people.all())) == (False, [owner])
    as_owner.post(url, {"project_keys": "on"})
    vm.refresh_from_db()
    assert (vm.use_project_keys, list(vm.key_people.all())) == (True, [])
