"""`move`, the one place that changes a VM's state."""

from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from lifecycle.domain.errors import StateConflict
from lifecycle.domain.states import State
from lifecycle.domain.transitions import BIRTHS, DEATHS, PAIRS, Action, Asker
from lifecycle.models import VM, Event, Host, Project, Transition, User
from lifecycle.services.transitions import born, move
from tests import factories
from tests.services.tools import no_change, refusal, undone

pytestmark = [pytest.mark.bothdb, pytest.mark.django_db, pytest.mark.usefixtures("host")]


def go(vm: VM, action: Action, source: State, target: State | None, **fields: object) -> VM:
    return move(vm.id, action, source, target, asked_by=Asker.USER, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("source", list(State))
def test_every_pair_of_the_table_can_be_moved(project: Project, host: Host, source: State) -> None:
    vm = factories.make_vm(project, state=source, host=host)
    for action, target in [(a, t) for a in Action for s, t in PAIRS[a] if s is source]:
        with undone():
            assert go(vm, action, source, target).state == target


@pytest.mark.parametrize("source", list(State))
def test_no_other_pair_can_be_moved(project: Project, host: Host, source: State) -> None:
    vm = factories.make_vm(project, state=source, host=host)
    with no_change():
        for action, target in [(a, t) for a in Action for t in State if (source, t) not in PAIRS[a]]:
            with pytest.raises(ValueError, match="the table has no"):
                go(vm, action, source, target)


@pytest.mark.parametrize("source", list(State))
def test_a_vm_is_gone_only_from_where_the_table_lets_it_end(project: Project, host: Host, source: State) -> None:
    vm = factories.make_vm(project, state=source, host=host)
    if source in DEATHS:
        assert go(vm, Action.DELETE, source, None).deleted_at
    else:
        with no_change(), pytest.raises(ValueError, match="the table has no"):
            go(vm, Action.DELETE, source, None)


def test_another_state_than_expected_is_a_conflict_that_names_what_was_found(project: Project) -> None:
    vm = factories.make_vm(project, state=State.TERMINATED)
    with refusal(StateConflict, match=r"The VM is TERMINATED, not RUNNING any more"):
        go(vm, Action.STOP, State.RUNNING, State.STOPPING)


def test_one_of_several_expected_states_will_do(project: Project) -> None:
    vm = factories.make_vm(project, state=State.STAGING)
    both = {State.PROVISIONING, State.STAGING}
    assert move(vm.id, Action.START, both, State.TERMINATED, asked_by=Asker.USER).state == State.TERMINATED


def test_a_vm_that_is_gone_moves_no_more(project: Project) -> None:
    vm = factories.make_vm(project, state=State.STOPPING)
    go(vm, Action.DELETE, State.STOPPING, None)
    with refusal(StateConflict):
        go(vm, Action.STOP, State.STOPPING, State.TERMINATED)
    with refusal(StateConflict):
        go(vm, Action.DELETE, State.STOPPING, None)


def test_a_vm_that_never_was_cannot_be_moved(db: None) -> None:
    with pytest.raises(VM.DoesNotExist):
        move(uuid4(), Action.STOP, State.RUNNING, State.STOPPING, asked_by=Asker.USER)


def ago(minutes: int) -> datetime:
    return timezone.now() - timedelta(minutes=minutes)


def test_a_transition_tells_all(project: Project, owner: User) -> None:
    vm = factories.make_vm(project, state_since=ago(10))
    operation = factories.make_operation(vm, Action.STOP)
    at = ago(2)
    go(vm, Action.STOP, State.RUNNING, State.STOPPING, operation=operation, reason="why", user=owner, occurred_at=at)
    told = Transition.objects.get(vm=vm)
    assert (told.from_state, told.to_state, told.action, told.reason) == ("RUNNING", "STOPPING", "stop", "why")
    assert (told.operation, told.user, told.asked_by, told.occurred_at) == (operation, owner, "user", at)
    assert told.recorded_at > at


def test_the_vm_keeps_since_when_and_why(project: Project) -> None:
    vm = factories.make_vm(project, state_since=ago(10))
    at = ago(2)
    moved = go(vm, Action.STOP, State.RUNNING, State.STOPPING, reason="why", occurred_at=at)
    assert (moved.state_since, moved.state_reason) == (at, "why")


def test_nothing_occurs_before_the_last_change(project: Project) -> None:
    vm = factories.make_vm(project, state_since=ago(10))
    moved = go(vm, Action.STOP, State.RUNNING, State.STOPPING, occurred_at=ago(15))
    assert moved.state_since == vm.state_since == Transition.objects.get(vm=vm).occurred_at


def test_a_clock_that_was_set_back_turns_no_time_back(project: Project) -> None:
    vm = factories.make_vm(project, state_since=ago(-10))
    assert go(vm, Action.STOP, State.RUNNING, State.STOPPING).state_since == vm.state_since


def test_a_transition_carries_the_number_of_its_event(project: Project) -> None:
    vm = factories.make_vm(project)
    go(vm, Action.STOP, State.RUNNING, State.STOPPING)
    assert Transition.objects.get().number == Event.objects.get().number == 1


def test_further_columns_change_with_the_state(project: Project) -> None:
    vm = factories.make_vm(project)
    assert go(vm, Action.STOP, State.RUNNING, State.STOPPING, power="OFF", run_id=None).power == "OFF"


def test_a_long_reason_is_cut_and_no_crash(project: Project) -> None:
    vm = factories.make_vm(project)
    assert len(go(vm, Action.STOP, State.RUNNING, State.STOPPING, reason="x" * 1000).state_reason) == 300


def test_a_vm_that_is_gone_is_told_as_gone(project: Project) -> None:
    vm = factories.make_vm(project, "web-1", state=State.STOPPING)
    go(vm, Action.DELETE, State.STOPPING, None)
    told = Event.objects.get()
    assert (told.kind, told.payload["name"]) == ("vm.gone", "web-1")
    assert Transition.objects.get().to_state == ""


@pytest.mark.parametrize("state", list(State))
def test_a_vm_is_born_only_where_the_table_says(project: Project, host: Host, state: State) -> None:
    vm = factories.make_vm(project, state=state, host=host)
    if state in BIRTHS:
        born(vm, Action.CREATE, asked_by=Asker.USER)
        assert Transition.objects.get().from_state == ""
    else:
        with no_change(), pytest.raises(ValueError, match="no VM begins in"):
            born(vm, Action.CREATE, asked_by=Asker.USER)
