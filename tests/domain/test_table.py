"""THE table equals the specification's, cell by cell."""

import pytest

from lifecycle.domain.states import State
from lifecycle.domain.transitions import (
    ALL_PAIRS,
    BIRTHS,
    DEATHS,
    INITIAL,
    PAIRS,
    TABLE,
    USER_ACTIONS,
    Action,
    Asker,
    may_move,
    may_preempt,
    may_start,
    rule,
)
from tests.domain import lifecycle_md

each_action = pytest.mark.parametrize("action", list(Action))


def test_the_states_are_those_of_the_specification() -> None:
    assert [state.value for state in State] == list(lifecycle_md.STATES)


def test_the_actions_are_those_of_the_specification() -> None:
    assert {action.value for action in Action} == set(lifecycle_md.FROM)


@each_action
def test_every_action_has_one_row(action: Action) -> None:
    assert rule(action).action is action
    assert TABLE[action] is rule(action)


@each_action
@pytest.mark.parametrize("state", list(State))
def test_an_action_starts_in_exactly_the_states_of_the_specification(action: Action, state: State) -> None:
    assert may_start(action, state) == (state.value in lifecycle_md.FROM[action.value])


@each_action
def test_an_action_makes_exactly_the_pairs_of_the_specification(action: Action) -> None:
    found = {(source.value, target.value) for source, target in PAIRS[action]}
    assert found == lifecycle_md.PAIRS[action.value]


@each_action
def test_may_move_answers_for_every_pair_of_states(action: Action) -> None:
    allowed = {(a.value, b.value) for a in State for b in State if may_move(action, a, b)}
    assert allowed == lifecycle_md.PAIRS[action.value]


@each_action
def test_an_action_is_asked_for_by_exactly_those_of_the_specification(action: Action) -> None:
    assert {asker.value for asker in rule(action).asked_by} == lifecycle_md.ASKED_BY[action.value]


@each_action
@pytest.mark.parametrize("running", list(Action))
def test_an_action_preempts_exactly_those_of_the_specification(action: Action, running: Action) -> None:
    assert may_preempt(action, running) == (running.value in lifecycle_md.PREEMPTS.get(action.value, set()))


@each_action
def test_nothing_under_way_is_in_nobodys_way(action: Action) -> None:
    assert may_preempt(action, None)


@each_action
def test_no_pair_leads_from_a_state_to_itself(action: Action) -> None:
    assert all(source is not target for source, target in PAIRS[action])


def test_all_pairs_are_the_pairs_of_all_actions() -> None:
    assert {(a.value, b.value) for a, b in ALL_PAIRS} == set().union(*lifecycle_md.PAIRS.values())


def test_every_state_can_be_reached_and_left() -> None:
    reached = {target for _source, target in ALL_PAIRS} | BIRTHS
    left = {source for source, _target in ALL_PAIRS}
    assert reached == set(State)
    assert left == set(State)


def test_a_vm_is_born_in_provisioning_or_adopted_as_it_is() -> None:
    assert INITIAL is State.PROVISIONING
    assert {State.PROVISIONING, State.RUNNING, State.TERMINATED} == BIRTHS


def test_a_vm_ends_in_a_delete_or_in_a_create_that_was_undone() -> None:
    assert {State.STOPPING, State.PROVISIONING, State.STAGING} == DEATHS


def test_silence_cannot_end_a_vm() -> None:
    """REPAIRING is left for TERMINATED only by a repair, a crash or a host error: never by mere passing of time."""
    makers = {action for action, pairs in PAIRS.items() if (State.REPAIRING, State.TERMINATED) in pairs}
    assert makers == {Action.REPAIR, Action.CRASH, Action.HOST_ERROR}
    assert all(Asker.TIMER not in rule(action).asked_by for action in makers)


def test_the_user_actions_are_those_with_a_button() -> None:
    assert [action.value for action in USER_ACTIONS] == ["start", "resume", "suspend", "reset", "stop", "delete"]
