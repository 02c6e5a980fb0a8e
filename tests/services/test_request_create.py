"""Asking for a new VM: what is written, what the defaults are, what is refused without a trace."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from lifecycle.domain.errors import (
    DomainError,
    Forbidden,
    InvalidInput,
    NameTaken,
    NotFound,
    QuotaExceeded,
    RequestIdReused,
)
from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action
from lifecycle.models import (
    VM,
    Address,
    Disk,
    Event,
    Image,
    MachineType,
    Operation,
    Project,
    Quota,
    Transition,
    User,
    Zone,
)
from lifecycle.services.vms import VMRequest, request_action, request_create
from tests import factories
from tests.services.tools import no_change, refusal

pytestmark = [pytest.mark.bothdb, pytest.mark.django_db, pytest.mark.usefixtures("catalog")]


def created(operation: Operation) -> VM:
    return VM.objects.get(pk=operation.vm_id)


# -- what is written -----------------------------------------------------------------------------


def test_only_the_name_is_needed(project: Project, owner: User, machine_type: MachineType, image: Image) -> None:
    vm = created(request_create(project, VMRequest("web-1"), user=owner))
    assert (vm.name, vm.machine_type, vm.image, vm.zone.name) == ("web-1", machine_type, image, "zone-a")
    assert (vm.vcpus, vm.memory_mib, vm.stop_grace_seconds, vm.automatic_restart) == (1, 128, 90, True)


def test_a_new_vm_is_provisioning_on_no_host_yet(project: Project, owner: User) -> None:
    vm = created(request_create(project, VMRequest("web-1"), user=owner))
    assert (vm.state, vm.host) == (State.PROVISIONING, None)


def test_the_operation_is_pending_and_names_its_user(project: Project, owner: User) -> None:
    operation = request_create(project, VMRequest("web-1"), user=owner)
    assert (operation.action, operation.status, operation.user) == (Action.CREATE, "PENDING", owner)
    assert (operation.target_name, operation.progress) == ("web-1", 0)


def test_a_new_vm_has_a_disk_an_address_and_a_mac_from_the_start(project: Project, owner: User) -> None:
    vm = created(request_create(project, VMRequest("web-1", disk_gib=3), user=owner))
    disk = Disk.objects.get(vm=vm)
    assert (disk.size_gib, disk.volume, disk.boot, disk.made_at) == (3, vm.disk_volume, True, None)
    assert Address.objects.get(vm=vm).network == project.network
    assert vm.mac.startswith("52:54:00:")


def test_the_first_transition_is_the_birth(project: Project, owner: User) -> None:
    operation = request_create(project, VMRequest("web-1"), user=owner)
    born = Transition.objects.get()
    assert (born.from_state, born.to_state, born.action) == ("", State.PROVISIONING, Action.CREATE)
    assert (born.operation, born.user) == (operation, owner)


def test_the_project_is_told(project: Project, owner: User) -> None:
    request_create(project, VMRequest("web-1"), user=owner)
    told = Event.objects.get()
    assert (told.number, told.kind, told.payload["name"]) == (1, "vm", "web-1")
    assert told.payload["operation"]["action"] == "create"


def test_what_was_asked_for_is_kept(project: Project, owner: User) -> None:
    request = VMRequest(
        "web-1",
        ssh_keys=f"\n{factories.SSH_KEY}\n",
        startup_script="#!/bin/sh\r\ntrue\r\n",
        user_data="#cloud-config\n{}\n",
        automatic_restart=False,
        stop_grace_seconds=5,
        deletion_protection=True,
    )
    vm = created(request_create(project, request, user=owner))
    assert (vm.ssh_keys, vm.startup_script) == (factories.SSH_KEY, "#!/bin/sh\ntrue\n")
    assert (vm.user_data, vm.automatic_restart) == ("#cloud-config\n{}\n", False)
    assert (vm.stop_grace_seconds, vm.deletion_protection, vm.created_by) == (5, True, owner)


def test_an_image_is_found_by_its_family_the_newest_first(project: Project, owner: User) -> None:
    factories.make_image("debian-1", family="debian")
    newest = factories.make_image("debian-2", family="debian")
    assert created(request_create(project, VMRequest("web-1", image="debian"), user=owner)).image == newest


def test_an_image_of_that_name_goes_before_a_family_of_that_name(project: Project, owner: User, image: Image) -> None:
    factories.make_image("tiny-2", family="tiny")
    assert created(request_create(project, VMRequest("web-1", image="tiny"), user=owner)).image == image


def test_a_custom_machine_type_is_made_once_and_not_offered(project: Project, owner: User) -> None:
    for name in ("web-1", "web-2"):
        vm = created(request_create(project, VMRequest(name, machine_type="custom-2-512"), user=owner))
        assert (vm.vcpus, vm.memory_mib) == (2, 512)
    made = MachineType.objects.get(name="custom-2-512")
    assert (made.retired, made.is_default) == (True, False)


def test_a_disk_is_as_large_as_its_image_needs_when_nobody_says(project: Project, owner: User) -> None:
    factories.make_image("large", min_disk_gib=7)
    vm = created(request_create(project, VMRequest("web-1", image="large"), user=owner))
    assert vm.disks.get().size_gib == 7


# -- asked twice ---------------------------------------------------------------------------------


def test_the_same_request_again_is_the_same_operation(project: Project, owner: User) -> None:
    request_id = uuid4()
    first = request_create(project, VMRequest("web-1"), user=owner, request_id=request_id)
    with no_change():
        again = request_create(project, VMRequest("web-1"), user=owner, request_id=request_id)
    assert again == first


def test_a_request_id_belongs_to_what_was_asked_with_it(project: Project, owner: User) -> None:
    request_id = uuid4()
    made = request_create(project, VMRequest("web-1"), user=owner, request_id=request_id)
    with refusal(RequestIdReused, "create of web-1"):
        request_create(project, VMRequest("web-1", stop_grace_seconds=5), user=owner, request_id=request_id)
    with refusal(RequestIdReused, "Use a new one"):
        request_action(made.vm, Action.DELETE, user=owner, request_id=request_id)


def test_a_request_of_the_version_before_is_known_again(project: Project, owner: User) -> None:
    """It wrote no digest."""
    request_id = uuid4()
    made = request_create(project, VMRequest("web-1"), user=owner, request_id=request_id)
    Operation.objects.update(data={"asked_in": ""})
    assert request_create(project, VMRequest("web-1"), user=owner, request_id=request_id) == made


def test_another_project_may_use_the_same_request_id(project: Project, owner: User) -> None:
    request_id = uuid4()
    other = factories.make_project(owner=owner)
    first = request_create(project, VMRequest("web-1"), user=owner, request_id=request_id)
    assert request_create(other, VMRequest("web-1"), user=owner, request_id=request_id) != first


def test_a_stranger_learns_nothing_by_a_request_id(project: Project, owner: User, stranger: User) -> None:
    request_id = uuid4()
    request_create(project, VMRequest("web-1"), user=owner, request_id=request_id)
    with pytest.raises(NotFound):
        request_create(project, VMRequest("web-1"), user=stranger, request_id=request_id)


# -- names ---------------------------------------------------------------------------------------


def test_a_name_is_taken_once_in_a_project(project: Project, owner: User) -> None:
    request_create(project, VMRequest("web-1"), user=owner)
    with refusal(NameTaken, "already has a VM called web-1"):
        request_create(project, VMRequest("web-1"), user=owner)


def test_another_project_may_use_the_name(project: Project, owner: User) -> None:
    request_create(project, VMRequest("web-1"), user=owner)
    other = factories.make_project(owner=owner)
    assert created(request_create(other, VMRequest("web-1"), user=owner)).project == other


def test_the_name_of_a_deleted_vm_is_free_and_its_history_stays(project: Project, owner: User) -> None:
    former = created(request_create(project, VMRequest("web-1"), user=owner))
    VM.objects.filter(pk=former.pk).update(deleted_at=timezone.now())
    request_create(project, VMRequest("web-1"), user=owner)
    assert VM.objects.filter(name="web-1").count() == 2
    assert former.transitions.count() == 1


# -- refusals ------------------------------------------------------------------------------------

GOOD = VMRequest("web-1")
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an empty name": ({"name": ""}, "name"),
    "a name with XML": ({"name": "<b>"}, "name"),
    "a name with a path": ({"name": "../x"}, "name"),
    "a name that is too long": ({"name": "a" * 64}, "name"),
    "an unknown zone": ({"zone": "moon"}, "zone"),
    "an unknown image": ({"image": "windows"}, "image"),
    "an unknown machine type": ({"machine_type": "huge"}, "machine_type"),
    "two terabytes of memory": ({"machine_type": "custom-1-2097152"}, "memory_mib"),
    "no vCPUs": ({"machine_type": "custom-0-512"}, "vcpus"),
    "negative vCPUs": ({"machine_type": "custom--1-512"}, "vcpus"),
    "negative memory": ({"machine_type": "custom-1--512"}, "memory_mib"),
    "a disk of nothing": ({"disk_gib": 0}, "disk_gib"),
    "a negative disk": ({"disk_gib": -1}, "disk_gib"),
    "an absurd disk": ({"disk_gib": 10**9}, "disk_gib"),
    "an SSH key that is none": ({"ssh_keys": "hello"}, "ssh_keys"),
    "a private key": ({"ssh_keys": "-----BEGIN RSA PRIVATE KEY-----"}, "ssh_keys"),
    "ten megabytes of user data": ({"user_data": "#!" + "x" * 10_000_000}, "user_data"),
    "ten megabytes of script": ({"startup_script": "#!" + "x" * 10_000_000}, "startup_script"),
    "a script without interpreter": ({"startup_script": "true"}, "startup_script"),
    "a negative grace period": ({"stop_grace_seconds": -1}, "stop_grace_seconds"),
    "a grace period of a day": ({"stop_grace_seconds": 86_400}, "stop_grace_seconds"),
}


@pytest.mark.parametrize(("changes", "field"), REFUSED.values(), ids=REFUSED.keys())
def test_bad_input_is_refused_by_its_field_and_leaves_nothing(
    project: Project, owner: User, changes: dict[str, Any], field: str
) -> None:
    with refusal(InvalidInput) as refused:
        request_create(project, replace(GOOD, **changes), user=owner)
    assert refused.value.field == field


def test_a_disk_smaller_than_its_image_is_refused(project: Project, owner: User) -> None:
    factories.make_image("large", min_disk_gib=10)
    with refusal(InvalidInput, "at least 10 GiB"):
        request_create(project, VMRequest("web-1", image="large", disk_gib=9), user=owner)


def test_a_machine_type_smaller_than_its_image_is_refused(project: Project, owner: User) -> None:
    factories.make_image("hungry", min_memory_mib=512)
    with pytest.raises(InvalidInput, match="at least 512 MiB") as refused:
        request_create(project, VMRequest("web-1", image="hungry"), user=owner)
    assert refused.value.field == "machine_type"


@pytest.mark.parametrize("status", [Image.Status.PENDING, Image.Status.FAILED, Image.Status.DEPRECATED])
def test_an_image_that_is_not_ready_is_refused(project: Project, owner: User, image: Image, status: str) -> None:
    Image.objects.filter(pk=image.pk).update(status=status)
    with pytest.raises(InvalidInput, match="no image tiny that is ready"):
        request_create(project, VMRequest("web-1", image="tiny"), user=owner)


def test_a_retired_machine_type_is_refused(project: Project, owner: User) -> None:
    factories.make_machine_type("old-1", retired=True)
    with pytest.raises(InvalidInput) as refused:
        request_create(project, VMRequest("web-1", machine_type="old-1"), user=owner)
    assert refused.value.field == "machine_type"


@pytest.mark.parametrize("missing", ["image", "zone", "machine_type"])
def test_an_empty_catalog_is_an_answer_and_no_crash(project: Project, owner: User, missing: str) -> None:
    {"image": Image.objects, "machine_type": MachineType.objects, "zone": Zone.objects}[missing].all().delete()
    with pytest.raises(InvalidInput) as refused:
        request_create(project, VMRequest("web-1"), user=owner)
    assert refused.value.field == missing


@pytest.mark.parametrize(
    ("metric", "limit", "wanted"),
    [("vms", 0, 1), ("vcpus", 1, 2), ("memory_mib", 511, 512), ("disk_gib", 4, 5)],
)
def test_a_quota_refuses_at_the_request_and_creates_no_row(
    project: Project, owner: User, metric: str, limit: int, wanted: int
) -> None:
    Quota.objects.filter(project=project).update(**{metric: limit})
    with refusal(QuotaExceeded) as refused:
        request_create(project, VMRequest("web-1", machine_type="custom-2-512", disk_gib=5), user=owner)
    assert refused.value.params["metric"] == metric
    assert refused.value.params["limit"] == limit
    assert refused.value.params["requested"] == wanted
    assert refused.value.params["scope"] == "project lab"


@pytest.mark.parametrize("state", [State.TERMINATED, State.SUSPENDED])
def test_a_vm_that_is_off_counts_with_its_disk_alone(project: Project, owner: User, host: object, state: State) -> None:
    factories.make_vm(project, state=state)
    Quota.objects.filter(project=project).update(vcpus=1, memory_mib=128, vms=2, disk_gib=2)
    assert request_create(project, VMRequest("web-1"), user=owner)


def test_a_deleted_vm_counts_no_more(project: Project, owner: User) -> None:
    Quota.objects.filter(project=project).update(vms=1)
    former = created(request_create(project, VMRequest("web-1"), user=owner))
    VM.objects.filter(pk=former.pk).update(deleted_at=timezone.now() - timedelta(days=1))
    assert request_create(project, VMRequest("web-2"), user=owner)


# -- rights --------------------------------------------------------------------------------------


def test_an_operator_may_create(project: Project, operator: User) -> None:
    assert request_create(project, VMRequest("web-1"), user=operator)


def test_a_superuser_may_create_everywhere(project: Project, superuser: User) -> None:
    assert request_create(project, VMRequest("web-1"), user=superuser)


def test_a_viewer_may_not_create(project: Project, viewer: User) -> None:
    with refusal(Forbidden, "viewer"):
        request_create(project, VMRequest("web-1"), user=viewer)


def test_to_a_stranger_the_project_does_not_exist(project: Project, stranger: User) -> None:
    with refusal(NotFound):
        request_create(project, VMRequest("web-1"), user=stranger)


def test_a_person_who_was_switched_off_may_not_create(project: Project, owner: User) -> None:
    User.objects.filter(pk=owner.pk).update(is_active=False)
    with pytest.raises(NotFound):
        request_create(project, VMRequest("web-1"), user=User.objects.get(pk=owner.pk))


def test_bad_input_of_a_stranger_is_answered_as_any_strangers(project: Project, stranger: User) -> None:
    with pytest.raises(DomainError) as refused:
        request_create(project, VMRequest("<b>"), user=stranger)
    assert refused.value.http_status == 404
