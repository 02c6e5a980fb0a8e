"""Asking something of a VM: the whole table through the service, refusals without a trace, preemption."""

from uuid import uuid4

import pytest

from lifecycle.domain.access import Role
from lifecycle.domain.errors import (
    ActionNotAllowed,
    DeletionProtected,
    DomainError,
    Forbidden,
    NotFound,
    OperationInProgress,
    QuotaExceeded,
)
from lifecycle.domain.states import HOLDS_COMPUTE, State
from lifecycle.domain.transitions import TABLE, USER_ACTIONS, Action, Asker
from lifecycle.models import VM, Event, Host, Operation, OperationStep, Project, Quota, Transition, User
from lifecycle.services import operations
from lifecycle.services.vms import request_action, set_deletion_protection
from tests import factories
from tests.domain.lifecycle_md import FROM, PREEMPTS
from tests.factories import error_of
from tests.services.tools import no_change, refusal, undone

pytestmark = [pytest.mark.bothdb, pytest.mark.django_db, pytest.mark.usefixtures("host")]

ROLES: list[Role | None] = [None, *Role]
OPEN: list[Action | None] = [
    None,
    *(Action.CREATE, Action.START, Action.STOP, Action.RESET, Action.SUSPEND, Action.RESUME),
    *(Action.EXPIRE, Action.REPAIR, Action.DELETE),
]


def verdict(action: Action, state: State, running: Action | None, role: Role | None) -> type[DomainError] | None:
    """What the specification's own tables say; None: it is done."""
    if role is None:
        return NotFound
    if role is Role.VIEWER:
        return Forbidden
    if state.value not in FROM[action.value]:
        return ActionNotAllowed
    if running and running.value not in PREEMPTS.get(action.value, set()):
        return OperationInProgress
    return None


@pytest.fixture
def people(owner: User, operator: User, viewer: User, stranger: User) -> dict[Role | None, User]:
    """One person a role."""
    return {Role.OWNER: owner, Role.OPERATOR: operator, Role.VIEWER: viewer, None: stranger}


# -- the whole table -----------------------------------------------------------------------------


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("action", USER_ACTIONS)
def test_an_action_in_a_state_beside_any_operation_is_refused_or_done_as_specified(
    project: Project, owner: User, action: Action, state: State
) -> None:
    vm = factories.make_vm(project, state=state)
    for running in OPEN:
        with undone():
            if running:
                factories.make_operation(vm, running)
            ask(vm, action, owner, verdict(action, state, running, Role.OWNER))


@pytest.mark.parametrize("role", ROLES, ids=lambda r: r.value if r else "stranger")
@pytest.mark.parametrize("state", list(State))
def test_every_role_is_answered_as_specified(
    project: Project, people: dict[Role | None, User], state: State, role: Role | None
) -> None:
    vm = factories.make_vm(project, state=state)
    for action in USER_ACTIONS:
        with undone():
            ask(vm, action, people[role], verdict(action, state, None, role))


def ask(vm: VM, action: Action, user: User, refused: type[DomainError] | None) -> None:
    """Ask, and see that it is refused without a trace, or done."""
    if refused:
        with refusal(refused):
            request_action(vm, action, user=user)
        return
    operation = request_action(vm, action, user=user)
    assert operation.user == user
    assert operations.current(vm.id) == operation
    through = TABLE[action].through
    assert factories.reload_vm(vm.id).state == (through[0] if through else vm.state)


# -- what a refusal says -------------------------------------------------------------------------


def test_a_refusal_says_the_state_and_what_is_possible_now(project: Project, owner: User) -> None:
    vm = factories.make_vm(project, "web-1")
    with pytest.raises(ActionNotAllowed) as refused:
        request_action(vm, Action.START, user=owner)
    assert refused.value.text == (
        "web-1 is RUNNING: start is not possible now. Possible now: suspend, reset, stop, delete."
    )
    assert refused.value.http_status == 409


def test_a_refusal_beside_an_operation_names_the_operation(project: Project, owner: User) -> None:
    vm = factories.make_vm(project, "web-1")
    factories.make_operation(vm, Action.RESET)
    with pytest.raises(OperationInProgress, match="reset is under way on web-1; suspend has to wait"):
        request_action(vm, Action.SUSPEND, user=owner)


def test_an_asker_outside_the_table_is_refused(project: Project) -> None:
    vm = factories.make_vm(project)
    with refusal(ActionNotAllowed, match="cannot be asked for by guest"):
        request_action(vm, Action.STOP, user=None, asked_by=Asker.GUEST)


def test_the_expiry_is_the_timers_alone(project: Project, owner: User) -> None:
    vm = factories.make_vm(project, state=State.SUSPENDED)
    assert request_action(vm, Action.EXPIRE, user=None, asked_by=Asker.TIMER).asked_by == Asker.TIMER


def test_a_deleted_vm_does_not_exist(project: Project, owner: User) -> None:
    vm = factories.make_vm(project)
    VM.objects.filter(pk=vm.pk).update(deleted_at="2020-01-01T00:00:00Z")
    with refusal(NotFound, match="does not exist any more"):
        request_action(vm, Action.STOP, user=owner)


def test_what_the_caller_believes_of_the_state_does_not_matter(project: Project, owner: User) -> None:
    stale = factories.make_vm(project)
    VM.objects.filter(pk=stale.pk).update(state=State.TERMINATED)
    with refusal(ActionNotAllowed, match="is TERMINATED"):
        request_action(stale, Action.STOP, user=owner)


# -- what is written -----------------------------------------------------------------------------


def test_a_transition_names_who_what_and_which_operation(project: Project, owner: User) -> None:
    vm = factories.make_vm(project)
    operation = request_action(vm, Action.STOP, user=owner)
    made = Transition.objects.get(vm=vm)
    assert (made.from_state, made.to_state, made.action) == (State.RUNNING, State.STOPPING, Action.STOP)
    assert (made.user, made.operation, made.asked_by) == (owner, operation, Asker.USER)


def test_the_browsers_are_told_of_the_operation(project: Project, owner: User) -> None:
    vm = factories.make_vm(project)
    operation = request_action(vm, Action.STOP, user=owner)
    told = Event.objects.filter(project=project).latest("number")
    assert told.payload["state"] == "STOPPING"
    assert told.payload["operation"]["id"] == str(operation.id)


def test_a_reset_tells_of_its_operation_though_the_state_stays(project: Project, owner: User) -> None:
    vm = factories.make_vm(project)
    operation = request_action(vm, Action.RESET, user=owner)
    assert Event.objects.get(project=project).payload["operation"]["id"] == str(operation.id)
    assert not Transition.objects.exists()


# -- the same request ----------------------------------------------------------------------------


def test_the_same_request_again_does_nothing_twice(project: Project, owner: User) -> None:
    vm, request_id = factories.make_vm(project), uuid4()
    first = request_action(vm, Action.RESET, user=owner, request_id=request_id)
    with no_change():
        assert request_action(vm, Action.RESET, user=owner, request_id=request_id) == first


def test_the_same_request_after_its_end_is_still_the_same_operation(project: Project, owner: User) -> None:
    vm, request_id = factories.make_vm(project), uuid4()
    first = request_action(vm, Action.RESET, user=owner, request_id=request_id)
    operations.close(first.id)
    with no_change():
        assert request_action(vm, Action.RESET, user=owner, request_id=request_id) == first


# -- quota ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("action", "state"), [(Action.START, State.TERMINATED), (Action.RESUME, State.SUSPENDED)])
def test_what_takes_compute_again_is_checked_against_the_quota(
    project: Project, owner: User, action: Action, state: State
) -> None:
    vm = factories.make_vm(project, state=state)
    factories.make_vm(project)
    Quota.objects.filter(project=project).update(vcpus=1)
    with refusal(QuotaExceeded):
        request_action(vm, action, user=owner)


@pytest.mark.parametrize("state", sorted(set(State) - {State.SUSPENDING}))
def test_delete_needs_no_quota(project: Project, owner: User, state: State) -> None:
    vm = factories.make_vm(project, state=state)
    Quota.objects.filter(project=project).update(vms=0, vcpus=0, memory_mib=0, disk_gib=0)
    assert request_action(vm, Action.DELETE, user=owner)


def test_stop_needs_no_quota(project: Project, owner: User) -> None:
    vm = factories.make_vm(project)
    Quota.objects.filter(project=project).update(vms=0, vcpus=0, memory_mib=0, disk_gib=0)
    assert request_action(vm, Action.STOP, user=owner)


def test_a_vm_that_is_starting_counts_at_once(project: Project, owner: User) -> None:
    first, second = (factories.make_vm(project, state=State.TERMINATED) for _ in range(2))
    Quota.objects.filter(project=project).update(vcpus=1)
    request_action(first, Action.START, user=owner)
    with refusal(QuotaExceeded):
        request_action(second, Action.START, user=owner)


# -- preemption ----------------------------------------------------------------------------------


def taken_over(project: Project, state: State, running: Action) -> tuple[VM, Operation]:
    vm = factories.make_vm(project, state=state)
    former = factories.make_operation(
        vm, running, steps=("one", "two"), status=Operation.Status.RUNNING, lease_token=3, lease_owner="worker-1"
    )
    OperationStep.objects.filter(operation=former, index=0).update(status=OperationStep.Status.RUNNING)
    return vm, former


@pytest.mark.parametrize("action", [Action.STOP, Action.DELETE])
def test_preemption_closes_the_former_operation_and_names_its_successor(
    project: Project, owner: User, action: Action
) -> None:
    vm, former = taken_over(project, State.STAGING, Action.START)
    operation = request_action(vm, action, user=owner)
    former.refresh_from_db()
    assert former.status == Operation.Status.DONE
    assert former.error
    assert error_of(former)["code"] == "OPERATION_PREEMPTED"
    assert former.preempted_by == operation
    assert former.end_time is not None


def test_preemption_raises_the_fencing_counter_in_the_same_transaction(project: Project, owner: User) -> None:
    vm, _former = taken_over(project, State.STAGING, Action.START)
    operation = request_action(vm, Action.STOP, user=owner)
    assert factories.reload_vm(vm.id).fence == vm.fence + 1
    assert operation.vm_fence == vm.fence + 1


def test_without_preemption_the_fencing_counter_stays(project: Project, owner: User) -> None:
    vm = factories.make_vm(project)
    request_action(vm, Action.STOP, user=owner)
    assert factories.reload_vm(vm.id).fence == vm.fence


def test_the_worker_of_a_preempted_operation_can_write_nothing(project: Project, owner: User) -> None:
    vm, former = taken_over(project, State.STAGING, Action.START)
    request_action(vm, Action.STOP, user=owner)
    with no_change(), pytest.raises(operations.LostLease), operations.fenced(former, 3):
        pytest.fail("a write of a worker that was taken over")  # pragma: no cover


def test_the_step_under_way_is_told_to_be_skipped(project: Project, owner: User) -> None:
    vm, former = taken_over(project, State.STAGING, Action.START)
    request_action(vm, Action.STOP, user=owner)
    assert list(former.steps.values_list("status", flat=True)) == ["skipped", "waiting"]


def test_the_successor_knows_what_it_took_over(project: Project, owner: User) -> None:
    vm, _former = taken_over(project, State.STAGING, Action.RESUME)
    operation = request_action(vm, Action.STOP, user=owner)
    assert operation.data == {"asked_in": "STAGING", "preempted": "resume"}


def test_a_vm_that_is_stopped_while_it_is_made_still_holds_its_quota(project: Project, owner: User) -> None:
    vm, _former = taken_over(project, State.STAGING, Action.CREATE)
    request_action(vm, Action.STOP, user=owner)
    assert State(factories.reload_vm(vm.id).state) in HOLDS_COMPUTE


# -- deletion protection -------------------------------------------------------------------------


@pytest.mark.parametrize("state", sorted(set(State) - {State.SUSPENDING}))
def test_a_protected_vm_is_not_deleted_in_any_state(project: Project, owner: User, state: State) -> None:
    vm = factories.make_vm(project, state=state, deletion_protection=True)
    with refusal(DeletionProtected, match="Switch the protection off first"):
        request_action(vm, Action.DELETE, user=owner)


def test_protection_hinders_nothing_but_deletion(project: Project, owner: User) -> None:
    vm = factories.make_vm(project, deletion_protection=True)
    assert request_action(vm, Action.STOP, user=owner)


def test_a_delete_that_is_protected_preempts_nothing(project: Project, owner: User) -> None:
    vm = factories.make_vm(project, state=State.STAGING, deletion_protection=True)
    factories.make_operation(vm, Action.START)
    with refusal(DeletionProtected):
        request_action(vm, Action.DELETE, user=owner)


def test_protection_can_be_switched_off_and_on(project: Project, owner: User) -> None:
    vm = factories.make_vm(project, deletion_protection=True)
    set_deletion_protection(vm, False, user=owner)
    assert not factories.reload_vm(vm.id).deletion_protection
    set_deletion_protection(vm, True, user=owner)
    assert factories.reload_vm(vm.id).deletion_protection


def test_a_viewer_cannot_switch_protection(project: Project, viewer: User) -> None:
    vm = factories.make_vm(project, deletion_protection=True)
    with refusal(Forbidden):
        set_deletion_protection(vm, False, user=viewer)


def test_a_stranger_cannot_switch_protection(project: Project, stranger: User) -> None:
    vm = factories.make_vm(project, deletion_protection=True)
    with refusal(NotFound):
        set_deletion_protection(vm, False, user=stranger)


# -- hosts ---------------------------------------------------------------------------------------


def test_a_request_does_not_ask_whether_the_host_is_up(project: Project, owner: User, host: Host) -> None:
    vm = factories.make_vm(project, host=host)
    Host.objects.update(health=Host.Health.DOWN)
    assert request_action(vm, Action.STOP, user=owner)
