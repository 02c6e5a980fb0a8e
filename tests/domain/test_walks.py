"""Random walks: whatever is asked for, in whatever order and with whatever luck, no VM leaves the table."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lifecycle.domain.states import STABLE, TRANSITIONAL, State
from lifecycle.domain.transitions import (
    BIRTHS,
    DEATHS,
    PAIRS,
    TABLE,
    Action,
    allowed_actions,
    may_move,
    may_preempt,
    may_start,
)

#: Actions of which an operation stays open while it is on its way.
_WORKED_ON = [action for action in Action if TABLE[action].through and TABLE[action].sources]


class Life(RuleBasedStateMachine):
    """One VM: actions are asked for, take a step, end, fail or are preempted."""

    def __init__(self) -> None:
        super().__init__()
        self.state = State.PROVISIONING
        self.running: Action | None = Action.CREATE
        self.before = State.PROVISIONING
        self.gone = False

    def go(self, action: Action, target: State) -> None:
        assert may_move(action, self.state, target), f"{action}: {self.state} -> {target}"
        self.state = target

    @precondition(lambda self: not self.gone)
    @rule(data=st.data())
    def ask(self, data: st.DataObject) -> None:
        """Somebody asks for an action that is allowed now."""
        possible = allowed_actions(self.state, self.running, among=_WORKED_ON)
        if not possible:
            return
        action = data.draw(st.sampled_from(possible))
        self.before = self.state
        self.running = action
        first = TABLE[action].through[0]
        if self.state is not first:
            self.go(action, first)

    @precondition(lambda self: self.running is not None)
    @rule()
    def goes_on(self) -> None:
        """The operation takes its next phase."""
        assert self.running
        through = TABLE[self.running].through
        if self.state in through and through.index(self.state) + 1 < len(through):
            self.go(self.running, through[through.index(self.state) + 1])

    @precondition(lambda self: self.running is not None)
    @rule(data=st.data())
    def ends(self, data: st.DataObject) -> None:
        """The operation succeeds from its last phase."""
        assert self.running
        row = TABLE[self.running]
        if self.state is not row.through[-1]:
            return
        if row.targets:
            # A repair ends where it began: in a transitional state it is a phase of the operation that is open.
            targets = {self.before} if self.running is Action.REPAIR else row.targets
            self.go(self.running, data.draw(st.sampled_from(sorted(targets))))
        else:
            assert self.state in DEATHS
            self.gone = True
        self.running = None

    @precondition(lambda self: self.running is not None)
    @rule(data=st.data())
    def fails(self, data: st.DataObject) -> None:
        """The operation fails in any phase."""
        assert self.running
        row = TABLE[self.running]
        if row.on_failure:
            self.go(self.running, data.draw(st.sampled_from(sorted(row.on_failure))))
            self.running = None
        elif self.running is Action.CREATE:
            assert self.state in DEATHS
            self.gone, self.running = True, None

    @precondition(lambda self: self.running is None and not self.gone)
    @rule(data=st.data())
    def happens(self, data: st.DataObject) -> None:
        """Something is observed that goes from state to state at once."""
        at_once = [a for a in Action if a not in _WORKED_ON and may_start(a, self.state) and TABLE[a].targets]
        if at_once:
            action = data.draw(st.sampled_from(at_once))
            target = data.draw(st.sampled_from(sorted(TABLE[action].targets - {self.state}) or [self.state]))
            if target is not self.state:
                self.go(action, target)

    @precondition(lambda self: self.gone)
    @rule()
    def another_is_born(self) -> None:
        """A VM that is gone stays so; the walk goes on with a new one."""
        self.state, self.running, self.gone = State.PROVISIONING, Action.CREATE, False

    @invariant()
    def nothing_rests_in_a_transitional_state(self) -> None:
        assert self.gone or self.running is not None or self.state in STABLE

    @invariant()
    def a_vm_with_an_open_operation_can_be_deleted_or_is_being_saved(self) -> None:
        if self.running and not self.gone and self.running is not Action.DELETE:
            possible = may_start(Action.DELETE, self.state) and may_preempt(Action.DELETE, self.running)
            assert possible == (self.running is not Action.SUSPEND)


Life.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestLife = Life.TestCase


def test_from_every_birth_every_state_can_be_reached() -> None:
    seen, edge = set(BIRTHS), set(BIRTHS)
    while edge:
        edge = {b for pairs in PAIRS.values() for a, b in pairs if a in edge} - seen
        seen |= edge
    assert seen == set(State)


def test_no_transitional_state_is_a_dead_end() -> None:
    for state in TRANSITIONAL:
        assert any(a is state and b in STABLE for pairs in PAIRS.values() for a, b in pairs) or any(
            a is state and b in TRANSITIONAL for pairs in PAIRS.values() for a, b in pairs
        )
