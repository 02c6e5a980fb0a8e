"""State x action x open operation x role: what is offered, what is refused."""

from itertools import product

import pytest

from lifecycle.domain.access import NEEDS, RIGHTS, Right, Role, may
from lifecycle.domain.states import State
from lifecycle.domain.transitions import USER_ACTIONS, Action, allowed_actions
from tests.domain.lifecycle_md import FROM, PREEMPTS

OPEN: list[Action | None] = [None, *Action]
ROLES: list[Role | None] = [None, *Role]

#: Who may do what, by hand: a viewer looks, an operator uses VMs, an owner also manages members.
BY_ROLE = {
    None: set(),
    Role.VIEWER: set(),
    Role.OPERATOR: {"create", "start", "resume", "suspend", "reset", "stop", "delete"},
    Role.OWNER: {"create", "start", "resume", "suspend", "reset", "stop", "delete"},
}


def specified(action: Action, state: State, running: Action | None) -> bool:
    """What the specification says, from its own tables."""
    free = running is None or running.value in PREEMPTS.get(action.value, set())
    return state.value in FROM[action.value] and free


@pytest.mark.parametrize("running", OPEN, ids=lambda a: a.value if a else "nothing")
@pytest.mark.parametrize("state", list(State))
def test_the_allowed_actions_are_those_of_the_specification(state: State, running: Action | None) -> None:
    expected = tuple(action for action in USER_ACTIONS if specified(action, state, running))
    assert allowed_actions(state, running) == expected


@pytest.mark.parametrize("role", ROLES, ids=lambda r: r.value if r else "stranger")
@pytest.mark.parametrize("action", [Action.CREATE, *USER_ACTIONS])
def test_a_role_may_ask_for_exactly_its_actions(action: Action, role: Role | None) -> None:
    assert may(role, NEEDS[action]) == (action.value in BY_ROLE[role])


@pytest.mark.parametrize("role", ROLES, ids=lambda r: r.value if r else "stranger")
def test_members_are_managed_by_owners_alone(role: Role | None) -> None:
    assert may(role, Right.MANAGE_MEMBERS) == (role is Role.OWNER)


def test_every_role_has_its_rights_written_down() -> None:
    assert set(RIGHTS) == set(Role)


def test_a_larger_role_has_all_rights_of_a_smaller_one() -> None:
    assert RIGHTS[Role.VIEWER] < RIGHTS[Role.OPERATOR] < RIGHTS[Role.OWNER] == frozenset(Right)


def test_a_stopped_vm_can_be_started_or_deleted_and_nothing_else() -> None:
    assert allowed_actions(State.TERMINATED) == (Action.START, Action.DELETE)


def test_a_suspended_vm_can_be_resumed_or_deleted_and_nothing_else() -> None:
    assert allowed_actions(State.SUSPENDED) == (Action.RESUME, Action.DELETE)


def test_while_memory_is_saved_nothing_can_be_asked_for() -> None:
    assert allowed_actions(State.SUSPENDING, Action.SUSPEND) == ()


def test_a_vm_under_deletion_offers_nothing() -> None:
    assert allowed_actions(State.STOPPING, Action.DELETE) == ()


def test_a_stop_under_way_leaves_only_delete() -> None:
    assert allowed_actions(State.STOPPING, Action.STOP) == (Action.DELETE,)


def test_actions_outside_the_buttons_are_answered_when_asked_for() -> None:
    for state, action in product(State, Action):
        assert bool(allowed_actions(state, among=[action])) == (state.value in FROM[action.value])
