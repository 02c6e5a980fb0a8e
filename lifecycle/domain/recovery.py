"""What to do about a VM, from what is recorded and what its host shows: pure, one verdict a VM.

The hypervisor is the truth, so mostly the record follows. Three things hold the hand back: an open operation
explains what is seen and goes on by itself; an observation older than the record says nothing; a host that does
not answer proves nothing (silence alone never ends in TERMINATED or a restart).

The table is `decide`; a test walks every state x operation x power x host health through it.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from lifecycle.domain.states import Power, State
from lifecycle.domain.transitions import Action


class Decision(StrEnum):
    """What follows from a comparison. The value is the key under which a reconcile counts it."""

    IN_STEP = "in_step"  # record and host agree
    EXPLAINED = "explained"  # an open operation explains the difference
    WAKE = "woken"  # an open operation waits for just this
    NO_ANSWER = "no_answer"  # nothing is known: nothing is done
    OUTDATED = "outdated"  # the record is newer than the observation
    STOPPED = "stopped"  # the guest shut itself down
    SWITCHED_OFF = "switched_off"  # somebody forced it off outside
    CRASHED = "crashed"  # its QEMU died, or the guest did
    HELD = "held"  # a disk error holds it
    HUNG = "hung"  # its watchdog fired and holds it
    MISSING = "missing"  # the host does not know it any more
    SAVED = "saved"  # somebody saved its memory outside
    STARTED = "started"  # somebody started it outside
    SWITCH_OFF = "switched_off_again"  # started by a worker that had lost its lease
    SAVE_AGAIN = "saved_again"  # resumed by a worker that had lost its lease
    REPAIRED = "repaired"  # in REPAIRING with no operation, and it runs, or a person holds it
    REPAIR_AGAIN = "repair_again"  # in REPAIRING with no operation, and it does not run
    STOP_ENDED = "stop_ended"  # in STOPPING with no operation, and it is off
    FINDING = "finding"  # a person must choose


#: Decisions that change the record or the host.
HEALING: Final = frozenset(Decision) - {
    Decision.IN_STEP,
    Decision.EXPLAINED,
    Decision.NO_ANSWER,
    Decision.OUTDATED,
    Decision.FINDING,
}


class Cause(StrEnum):
    """Why a domain is off."""

    GUEST = "guest"
    OUTSIDE = "outside"
    CRASH = "crash"


#: libvirt's words for the two innocent ways of being off. Everything else (failed, crashed, a daemon that found
#: it dead, unknown after the host's reboot) means that nobody asked for it.
_CAUSES: Final = {"shutdown": Cause.GUEST, "destroyed": Cause.OUTSIDE}

#: The domain does not execute.
DOWN: Final = frozenset({Power.OFF, Power.SAVED, Power.ABSENT, Power.CRASHED})

#: The domain has a QEMU that executes or could go on.
UP: Final = frozenset({Power.ON, Power.PAUSED})

#: Operations that may be waiting for the guest to be off. (A repair waits by purpose, between two attempts.)
_AWAIT_DOWN: Final = frozenset({Action.STOP, Action.MAINTENANCE_STOP, Action.SUSPEND, Action.RESET, Action.DELETE})


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the database says of a VM.

    Attributes:
        operation: the action of the open operation.
        settled_at: the later of the last change of state and the end of the last operation.
        fence: the fencing counter; the domain was defined with the value of its time.
    """

    state: State
    operation: Action | None
    fence: int
    settled_at: datetime


@dataclass(frozen=True, slots=True)
class Observed:
    """What the host shows of a VM.

    Attributes:
        reason: libvirt's word for why it is so.
        ours: whether the domain carries this installation's mark (an absent one does).
        generation: the fencing counter it was defined with.
        taken_at: a moment before the host was asked.
    """

    power: Power
    reason: str
    ours: bool
    generation: int | None
    taken_at: datetime


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision and, for a finding, its text for operators."""

    decision: Decision
    text: str = ""


def cause_of(reason: str) -> Cause:
    """The cause behind libvirt's word."""
    return _CAUSES.get(reason, Cause.CRASH)


def decide(recorded: Recorded, observed: Observed, *, host_answers: bool = True) -> Verdict:
    """What to do about one VM."""
    if not host_answers or observed.power is Power.UNKNOWN:
        return Verdict(Decision.NO_ANSWER)
    if observed.taken_at < recorded.settled_at:
        return Verdict(Decision.OUTDATED)
    if not observed.ours:
        return Verdict(Decision.FINDING, "a domain of this VM's id does not belong to this installation")
    if recorded.operation is not None:
        return _with_operation(recorded.operation, observed.power)
    return _at_rest(recorded, observed)


def _with_operation(operation: Action, power: Power) -> Verdict:
    """The operation owns the VM; at most it is told to look now."""
    if operation in _AWAIT_DOWN and power in DOWN:
        return Verdict(Decision.WAKE)
    return Verdict(Decision.EXPLAINED)


def _at_rest(recorded: Recorded, observed: Observed) -> Verdict:
    match recorded.state:
        case State.RUNNING:
            return _running(observed)
        case State.TERMINATED:
            return _terminated(recorded, observed)
        case State.SUSPENDED:
            return _suspended(recorded, observed)
        case State.REPAIRING:
            return Verdict(Decision.REPAIRED if _as_people_left_it(observed) else Decision.REPAIR_AGAIN)
        case State.STOPPING if observed.power in DOWN:
            return Verdict(Decision.STOP_ENDED)
        case State.PROVISIONING | State.STAGING | State.STOPPING | State.SUSPENDING:
            return Verdict(Decision.FINDING, f"{recorded.state} without an operation")


#: libvirt's words for a guest that QEMU holds by itself: its disk gave an error (error_policy=stop), or its
#: watchdog fired (action=pause).
_HELD_BY: Final = {"ioerror": Decision.HELD, "watchdog": Decision.HUNG}
#: ... and for one that a person holds.
_BY_A_PERSON: Final = "user"


def _as_people_left_it(observed: Observed) -> bool:
    """Whether the guest runs, or is held by a person's own wish."""
    held = observed.power is Power.PAUSED and observed.reason == _BY_A_PERSON
    return observed.power is Power.ON or held


def _running(observed: Observed) -> Verdict:
    match observed.power:
        case Power.PAUSED:
            return Verdict(_HELD_BY.get(observed.reason, Decision.IN_STEP))
        case Power.ON | Power.UNKNOWN:
            return Verdict(Decision.IN_STEP)
        case Power.SAVED:
            return Verdict(Decision.SAVED)
        case Power.ABSENT:
            return Verdict(Decision.MISSING)
        case Power.CRASHED:
            return Verdict(Decision.CRASHED)
        case Power.OFF:
            return Verdict(_OFF_BECAUSE[cause_of(observed.reason)])


_OFF_BECAUSE: Final = {
    Cause.GUEST: Decision.STOPPED,
    Cause.OUTSIDE: Decision.SWITCHED_OFF,
    Cause.CRASH: Decision.CRASHED,
}


def _terminated(recorded: Recorded, observed: Observed) -> Verdict:
    if observed.power is Power.SAVED:
        return Verdict(Decision.FINDING, "a stopped VM has saved memory: its next start would restore it")
    if observed.power in DOWN:
        return Verdict(Decision.IN_STEP)
    # A stop took over a start, and the worker that was taken over came to life again with its last call: what
    # the user asked for last holds. A domain of the present generation was started by a person.
    return Verdict(Decision.SWITCH_OFF if _is_outdated(recorded, observed) else Decision.STARTED)


def _is_outdated(recorded: Recorded, observed: Observed) -> bool:
    """Whether the domain was defined before the last operation that was taken over, or whose worker was lost."""
    return observed.generation is not None and observed.generation < recorded.fence


def _suspended(recorded: Recorded, observed: Observed) -> Verdict:
    if observed.power is Power.SAVED:
        return Verdict(Decision.IN_STEP)
    if observed.power in UP:
        if _is_outdated(recorded, observed):
            return Verdict(Decision.SAVE_AGAIN)
        return Verdict(Decision.FINDING, "a suspended VM runs: it was resumed outside")
    return Verdict(Decision.FINDING, "a suspended VM has lost its saved memory")
