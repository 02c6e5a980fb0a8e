"""THE table: every action of a VM's lifecycle, declared once.

It feeds `services.transitions.move` (allowed pairs), the buttons and refusals (`allowed_actions`), the
CHECK constraints of the database, the drawn diagram in docs and the exhaustive
state x action x role test. Source: docs/lifecycle.md, after Compute Engine's instance lifecycle.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import Final

from lifecycle.domain.states import State


class Action(StrEnum):
    """What can happen to a VM, by request or by observation."""

    CREATE = "create"
    START = "start"
    STOP = "stop"
    RESET = "reset"
    SUSPEND = "suspend"
    RESUME = "resume"
    EXPIRE = "expire"
    REPAIR = "repair"
    MIGRATE = "migrate"
    GUEST_SHUTDOWN = "guest_shutdown"
    MAINTENANCE_STOP = "maintenance_stop"
    CRASH = "crash"
    HOST_ERROR = "host_error"
    OBSERVED_START = "observed_start"
    OBSERVED_SAVE = "observed_save"
    ADOPT = "adopt"
    DELETE = "delete"


class Asker(StrEnum):
    """Who may ask for an action."""

    USER = "user"
    SCHEDULE = "schedule"
    REPAIR = "repair"
    POLICY = "policy"
    TIMER = "timer"
    OBSERVER = "observer"
    OPERATOR = "operator"
    GUEST = "guest"


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table.

    Attributes:
        action: what happens.
        sources: the states it may start from; empty for `create` and `adopt`, which start from nothing.
        through: the transitional states passed, in order.
        targets: the states it may end in when it succeeds; empty when the VM is gone.
        on_failure: the states it may end in when it fails; empty when it is retried, or the VM is gone.
        asked_by: who may ask.
        preempts: actions whose open operation this one takes over.
        shortcuts: further pairs that occur on the way (a preempted resume that keeps its memory).
    """

    action: Action
    sources: frozenset[State]
    through: tuple[State, ...]
    targets: frozenset[State]
    on_failure: frozenset[State]
    asked_by: frozenset[Asker]
    preempts: frozenset[Action] = frozenset()
    shortcuts: frozenset[tuple[State, State]] = field(default_factory=frozenset)

    def pairs(self) -> frozenset[tuple[State, State]]:
        """Every from -> to pair this rule allows, itself to itself excepted."""
        found: set[tuple[State, State]] = set(self.shortcuts)
        for source in self.sources or {None}:
            path = [s for s in (source, *self.through) if s is not None]
            found.update(pairwise(path))
            found.update((state, end) for state in path[-1:] for end in self.targets)
            # It fails on its way; an action that passes no state on its way fails where it began.
            found.update((state, end) for state in (self.through or path) for end in self.on_failure)
        return frozenset((a, b) for a, b in found if a != b)


_S = State
_USER = frozenset({Asker.USER})
_PREEMPTED_BY_STOP = frozenset({Action.CREATE, Action.START, Action.RESUME, Action.REPAIR})
_PREEMPTED_BY_DELETE = frozenset(Action) - {Action.SUSPEND, Action.DELETE}


def _states(*states: State) -> frozenset[State]:
    return frozenset(states)


_RULES = (
    Rule(
        Action.CREATE,
        sources=_states(),
        through=(_S.PROVISIONING, _S.STAGING),
        targets=_states(_S.RUNNING),
        on_failure=_states(),
        asked_by=_USER,
    ),
    Rule(
        Action.START,
        sources=_states(_S.TERMINATED),
        through=(_S.PROVISIONING, _S.STAGING),
        targets=_states(_S.RUNNING),
        on_failure=_states(_S.TERMINATED),
        asked_by=frozenset({Asker.USER, Asker.SCHEDULE, Asker.REPAIR}),
    ),
    Rule(
        Action.STOP,
        sources=_states(_S.RUNNING, _S.PROVISIONING, _S.STAGING, _S.REPAIRING),
        through=(_S.STOPPING,),
        targets=_states(_S.TERMINATED, _S.SUSPENDED),
        on_failure=_states(),
        asked_by=frozenset({Asker.USER, Asker.SCHEDULE}),
        preempts=_PREEMPTED_BY_STOP,
    ),
    Rule(
        Action.RESET,
        sources=_states(_S.RUNNING),
        through=(),
        targets=_states(_S.RUNNING),
        on_failure=_states(_S.RUNNING, _S.REPAIRING),
        asked_by=_USER,
    ),
    Rule(
        Action.SUSPEND,
        sources=_states(_S.RUNNING),
        through=(_S.SUSPENDING,),
        targets=_states(_S.SUSPENDED),
        on_failure=_states(_S.RUNNING),
        asked_by=frozenset({Asker.USER, Asker.POLICY}),
    ),
    Rule(
        Action.RESUME,
        sources=_states(_S.SUSPENDED),
        through=(_S.PROVISIONING, _S.STAGING),
        targets=_states(_S.RUNNING),
        on_failure=_states(_S.SUSPENDED),
        asked_by=_USER,
    ),
    Rule(
        Action.EXPIRE,
        sources=_states(_S.SUSPENDED),
        through=(_S.STOPPING,),
        targets=_states(_S.TERMINATED),
        on_failure=_states(),
        asked_by=frozenset({Asker.TIMER}),
    ),
    Rule(
        Action.REPAIR,
        sources=_states(_S.STAGING, _S.RUNNING, _S.SUSPENDING, _S.STOPPING),
        through=(_S.REPAIRING,),
        targets=_states(_S.STAGING, _S.RUNNING, _S.SUSPENDING, _S.STOPPING),
        on_failure=_states(_S.TERMINATED),
        asked_by=frozenset({Asker.OBSERVER, Asker.OPERATOR}),
        # STOPPING with its QEMU dead has reached what was asked for.
        shortcuts=frozenset({(_S.STOPPING, _S.TERMINATED)}),
    ),
    Rule(
        Action.MIGRATE,
        sources=_states(_S.RUNNING, _S.TERMINATED, _S.SUSPENDED),
        through=(),
        targets=_states(),
        on_failure=_states(),
        asked_by=frozenset({Asker.OPERATOR}),
    ),
    Rule(
        Action.GUEST_SHUTDOWN,
        sources=_states(_S.RUNNING),
        through=(_S.STOPPING,),
        targets=_states(_S.TERMINATED),
        on_failure=_states(),
        asked_by=frozenset({Asker.GUEST}),
    ),
    Rule(
        Action.MAINTENANCE_STOP,
        sources=_states(_S.RUNNING),
        through=(_S.STOPPING,),
        targets=_states(_S.TERMINATED),
        on_failure=_states(),
        asked_by=frozenset({Asker.OPERATOR}),
    ),
    Rule(
        Action.CRASH,
        sources=_states(_S.RUNNING),
        through=(_S.REPAIRING,),
        targets=_states(_S.RUNNING, _S.TERMINATED),
        on_failure=_states(_S.TERMINATED),
        asked_by=frozenset({Asker.OBSERVER}),
    ),
    Rule(
        Action.HOST_ERROR,
        sources=_states(_S.RUNNING),
        through=(_S.REPAIRING,),
        targets=_states(_S.RUNNING, _S.TERMINATED),
        on_failure=_states(_S.TERMINATED),
        asked_by=frozenset({Asker.OBSERVER}),
    ),
    Rule(
        Action.OBSERVED_START,
        sources=_states(_S.TERMINATED),
        through=(),
        targets=_states(_S.RUNNING),
        on_failure=_states(),
        asked_by=frozenset({Asker.OBSERVER}),
    ),
    Rule(
        Action.OBSERVED_SAVE,
        sources=_states(_S.RUNNING),
        through=(),
        targets=_states(_S.SUSPENDED),
        on_failure=_states(),
        asked_by=frozenset({Asker.OBSERVER}),
    ),
    Rule(
        Action.ADOPT,
        sources=_states(),
        through=(),
        targets=_states(_S.RUNNING, _S.TERMINATED),
        on_failure=_states(),
        asked_by=frozenset({Asker.OPERATOR}),
    ),
    Rule(
        Action.DELETE,
        sources=frozenset(State) - {_S.SUSPENDING},
        through=(_S.STOPPING,),
        targets=_states(),
        on_failure=_states(),
        asked_by=_USER,
        preempts=_PREEMPTED_BY_DELETE,
    ),
)

TABLE: Final[dict[Action, Rule]] = {rule.action: rule for rule in _RULES}

#: Actions a person asks for in the portal, in the order the buttons stand.
USER_ACTIONS: Final = tuple(
    a
    for a in (Action.START, Action.RESUME, Action.SUSPEND, Action.RESET, Action.STOP, Action.DELETE)
    if Asker.USER in TABLE[a].asked_by
)

#: Actions whose open operation can be cancelled: what they did can be taken back until they have ended.
CANCELLABLE: Final = frozenset({Action.CREATE, Action.START, Action.SUSPEND, Action.RESUME})

#: The first state of a new VM.
INITIAL: Final = State.PROVISIONING

#: action -> every from -> to pair it may make.
PAIRS: Final[dict[Action, frozenset[tuple[State, State]]]] = {a: r.pairs() for a, r in TABLE.items()}

#: Every from -> to pair that exists at all.
ALL_PAIRS: Final = frozenset(pair for pairs in PAIRS.values() for pair in pairs)

#: The states a VM's record may begin in: a create, or an adoption of a domain as it is.
BIRTHS: Final = frozenset({INITIAL, *TABLE[Action.ADOPT].targets})

#: The states a VM's record may end in: a finished delete, or a create that was undone.
DEATHS: Final = frozenset({_S.STOPPING, _S.PROVISIONING, _S.STAGING})


def rule(action: Action) -> Rule:
    """The row of `action`."""
    return TABLE[action]


def may_start(action: Action, state: State) -> bool:
    """Whether the table lets `action` begin in `state`."""
    return state in TABLE[action].sources


def may_move(action: Action, source: State, target: State) -> bool:
    """Whether `action` may take a VM from `source` to `target`."""
    return (source, target) in PAIRS[action]


def may_preempt(action: Action, running: Action | None) -> bool:
    """Whether `action` may take over while `running` is open (None: nothing is)."""
    return running is None or running in TABLE[action].preempts


def may_cancel(action: Action) -> bool:
    """Whether an open operation of `action` can be turned round."""
    return action in CANCELLABLE


def allowed_actions(
    state: State, running: Action | None = None, among: Iterable[Action] = USER_ACTIONS
) -> tuple[Action, ...]:
    """The actions possible now, in the order of `among`."""
    return tuple(a for a in among if may_start(a, state) and may_preempt(a, running))
