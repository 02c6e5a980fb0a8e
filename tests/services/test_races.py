"""Many at once, with real threads and real connections: what must hold, holds."""

from collections import Counter
from functools import partial
from uuid import uuid4

import pytest
from django.db import IntegrityError

from lifecycle.domain.errors import ActionNotAllowed, DomainError, NameTaken, OperationInProgress, QuotaExceeded
from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action
from lifecycle.models import VM, Address, Event, Host, Network, Operation, Project, Quota, Reservation, Transition, User
from lifecycle.services import capacity, hosts, leases, operations
from lifecycle.services.db import service
from lifecycle.services.projects import accept_invitation, create_project, invite
from lifecycle.services.vms import VMRequest, request_action, request_create
from tests import factories
from tests.services.tools import at_once

pytestmark = [pytest.mark.bothdb, pytest.mark.django_db(transaction=True)]


def kinds(outcomes: list[object]) -> Counter[str]:
    """How many of each type."""
    return Counter(type(outcome).__name__ for outcome in outcomes)


def assert_no_gaps(project: Project) -> None:
    """Event numbers are 1, 2, 3 … and the project knows the last."""
    numbers = list(Event.objects.filter(project=project).order_by("number").values_list("number", flat=True))
    assert numbers == list(range(1, len(numbers) + 1))
    assert Project.objects.get(pk=project.pk).last_event_number == len(numbers)


def test_fifty_simultaneous_starts_of_one_vm_are_one_operation(project: Project, owner: User, host: Host) -> None:
    vm = factories.make_vm(project, state=State.TERMINATED)
    outcomes = at_once([partial(request_action, vm, Action.START, user=owner)] * 50)
    assert kinds(outcomes) == {"Operation": 1, ActionNotAllowed.__name__: 49}
    assert Operation.objects.filter(vm=vm).count() == 1
    assert Transition.objects.filter(vm=vm).count() == 1
    assert_no_gaps(project)


def test_two_clicks_at_once_with_one_request_id_are_one_operation(project: Project, owner: User, host: Host) -> None:
    vm, request_id = factories.make_vm(project, state=State.TERMINATED), uuid4()
    outcomes = at_once([partial(request_action, vm, Action.START, user=owner, request_id=request_id)] * 8)
    assert kinds(outcomes) == {"Operation": 8}
    assert len({outcome.pk for outcome in outcomes}) == 1


@pytest.mark.usefixtures("catalog")
def test_fifty_simultaneous_creates_at_a_quota_of_ten_are_ten_vms(project: Project, owner: User) -> None:
    Quota.objects.filter(project=project).update(vms=10)
    outcomes = at_once([partial(request_create, project, VMRequest(f"vm-{n}"), user=owner) for n in range(50)])
    assert kinds(outcomes) == {"Operation": 10, QuotaExceeded.__name__: 40}
    assert VM.objects.filter(project=project).count() == 10
    assert_no_gaps(project)


@pytest.mark.usefixtures("catalog")
def test_simultaneous_creates_get_addresses_and_macs_of_their_own(project: Project, owner: User) -> None:
    outcomes = at_once([partial(request_create, project, VMRequest(f"vm-{n}"), user=owner) for n in range(12)])
    assert kinds(outcomes) == {"Operation": 12}
    assert len(set(Address.objects.values_list("ip", flat=True))) == 12
    assert len(set(VM.objects.values_list("mac", flat=True))) == 12


@pytest.mark.usefixtures("catalog")
def test_one_name_asked_for_by_many_is_given_once(project: Project, owner: User) -> None:
    outcomes = at_once([partial(request_create, project, VMRequest("web-1"), user=owner)] * 10)
    assert kinds(outcomes) == {"Operation": 1, NameTaken.__name__: 9}


@pytest.mark.usefixtures("catalog")
def test_a_custom_machine_type_used_first_by_many_is_made_once(owner: User) -> None:
    projects = [factories.make_project(owner=owner) for _ in range(6)]
    request = VMRequest("web-1", machine_type="custom-1-256")
    outcomes = at_once([partial(request_create, project, request, user=owner) for project in projects])
    assert kinds(outcomes) == {"Operation": 6}


def test_stop_and_delete_at_once_end_in_one_open_operation(project: Project, owner: User, host: Host) -> None:
    for _ in range(5):
        vm = factories.make_vm(project)
        outcomes = at_once([partial(request_action, vm, action, user=owner) for action in (Action.STOP, Action.DELETE)])
        assert all(isinstance(outcome, Operation | DomainError) for outcome in outcomes)
        open_now = Operation.objects.filter(vm=vm).exclude(status="DONE")
        assert open_now.count() == 1
        assert open_now.get().action == Action.DELETE
    assert_no_gaps(project)


def test_suspend_and_stop_at_once_are_one_of_the_two(project: Project, owner: User, host: Host) -> None:
    vm = factories.make_vm(project)
    outcomes = at_once([partial(request_action, vm, action, user=owner) for action in (Action.STOP, Action.SUSPEND)])
    assert kinds(outcomes)["Operation"] == 1
    refused = next(outcome for outcome in outcomes if isinstance(outcome, DomainError))
    assert isinstance(refused, ActionNotAllowed | OperationInProgress)


def test_many_projects_at_work_have_numbers_without_gaps(owner: User, host: Host) -> None:
    projects = [factories.make_project(owner=owner) for _ in range(3)]
    vms = [factories.make_vm(project) for project in projects for _ in range(4)]
    at_once([partial(request_action, vm, Action.STOP, user=owner) for vm in vms])
    for project in projects:
        assert_no_gaps(project)
        assert Project.objects.get(pk=project.pk).last_event_number == 4


def test_of_many_workers_one_claims_an_operation(project: Project, host: Host) -> None:
    operation = factories.make_operation(factories.make_vm(project), Action.RESET)
    outcomes = at_once([partial(operations.claim, operation.pk, f"worker-{n}") for n in range(10)])
    assert kinds(outcomes) == {"Operation": 1, "NoneType": 9}
    operation.refresh_from_db()
    assert (operation.lease_token, operation.attempt) == (1, 1)


@service
def reserve(vm: VM) -> Host:
    """What the first step of an operation does, in its own transaction."""
    return capacity.reserve(VM.objects.select_related("zone", "image").get(pk=vm.pk))


def test_parallel_reservations_never_exceed_a_host(project: Project, zone: object) -> None:
    host = factories.make_host(vcpus_total=4, cpu_overcommit_percent=100, memory_mib_total=99_999)
    vms = [factories.make_vm(project, state=State.PROVISIONING, vcpus=1) for _ in range(12)]
    outcomes = at_once([partial(reserve, vm) for vm in vms])
    assert kinds(outcomes) == {"Host": 4, "ResourcePoolExhausted": 8}
    host.refresh_from_db()
    assert host.vcpus_reserved == 4
    assert Reservation.objects.filter(host=host).count() == 4


def test_parallel_reservations_of_one_vm_are_one(project: Project, host: Host) -> None:
    vm = factories.make_vm(project, state=State.PROVISIONING)
    outcomes = at_once([partial(reserve, vm)] * 6)
    assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    host.refresh_from_db()
    assert (host.vcpus_reserved, host.memory_mib_reserved) == (vm.vcpus, vm.memory_mib)


@service
def release(vm: VM) -> None:
    """What the end of a delete does."""
    capacity.release_all(vm)


def test_parallel_releases_of_one_vm_are_one(project: Project, host: Host) -> None:
    vm, other = factories.make_vm(project, host=host), factories.make_vm(project, host=host)
    outcomes = at_once([partial(release, vm)] * 6)
    assert outcomes == [None] * 6
    host.refresh_from_db()
    assert (host.vcpus_reserved, host.memory_mib_reserved) == (other.vcpus, other.memory_mib)


def test_of_many_processes_one_takes_the_lease_of_a_host(host: Host) -> None:
    outcomes = at_once([partial(leases.take, host.pk, "watch", f"watcher-{n}", 30) for n in range(10)])
    assert Counter(outcomes) == {True: 1, False: 9}


def test_projects_made_at_once_have_ranges_of_their_own(owner: User) -> None:
    outcomes = at_once([partial(create_project, f"project-{n}", owner=owner) for n in range(8)])
    assert kinds(outcomes) == {"Project": 8}
    assert len(set(Network.objects.values_list("cidr", flat=True))) == 8


def test_one_project_made_by_many_at_once_is_made_once(owner: User) -> None:
    outcomes = at_once([partial(create_project, "shop", owner=owner)] * 6)
    assert kinds(outcomes) == {"Project": 1, NameTaken.__name__: 5}


def test_an_invitation_used_by_two_at_once_admits_one(project: Project, owner: User) -> None:
    guests = [factories.make_user() for _ in range(4)]
    _invitation, token = invite(project, "guest@example.org", "viewer", user=owner)
    outcomes = at_once([partial(accept_invitation, token, user=guest) for guest in guests])
    assert kinds(outcomes) == {"Membership": 1, "NotFound": 3}


def test_one_host_registered_by_many_at_once_is_one_row(zone: object) -> None:
    outcomes = at_once([partial(hosts.register, "host-1", "qemu:///system", "zone-a")] * 6)
    assert not [outcome for outcome in outcomes if not isinstance(outcome, Host | DomainError | IntegrityError)]
    assert Host.objects.count() == 1
