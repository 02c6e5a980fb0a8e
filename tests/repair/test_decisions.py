"""The table of recovery: every state x operation x power x cause x health has exactly the verdict written here."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from lifecycle.domain.recovery import DOWN, HEALING, UP, Decision, Observed, Recorded, cause_of, decide
from lifecycle.domain.states import Power, State
from lifecycle.domain.transitions import PAIRS, Action

NOW = datetime(2025, 1, 1, 12, tzinfo=UTC)
D, P, S = Decision, Power, State
REASONS = (
    "", "shutdown", "destroyed", "crashed", "failed", "saved", "daemon", "unknown", "user", "ioerror", "watchdog",
)  # fmt: skip
OPERATIONS = (None, *Action)

#: The VM rests: state -> power -> decision. Where libvirt's word decides, it stands below.
AT_REST = {
    S.RUNNING: {
        P.ON: D.IN_STEP, P.PAUSED: D.IN_STEP, P.SAVED: D.SAVED, P.ABSENT: D.MISSING, P.CRASHED: D.CRASHED,
    },
    S.TERMINATED: {
        P.ON: D.STARTED, P.PAUSED: D.STARTED, P.OFF: D.IN_STEP, P.ABSENT: D.IN_STEP, P.CRASHED: D.IN_STEP,
        P.SAVED: D.FINDING,
    },
    S.SUSPENDED: {
        P.SAVED: D.IN_STEP, P.ON: D.FINDING, P.PAUSED: D.FINDING, P.OFF: D.FINDING, P.ABSENT: D.FINDING,
        P.CRASHED: D.FINDING,
    },
    S.REPAIRING: {
        P.ON: D.REPAIRED, P.PAUSED: D.REPAIR_AGAIN, P.OFF: D.REPAIR_AGAIN, P.SAVED: D.REPAIR_AGAIN,
        P.ABSENT: D.REPAIR_AGAIN, P.CRASHED: D.REPAIR_AGAIN,
    },
    S.STOPPING: {
        P.ON: D.FINDING, P.PAUSED: D.FINDING, P.OFF: D.STOP_ENDED, P.SAVED: D.STOP_ENDED, P.ABSENT: D.STOP_ENDED,
        P.CRASHED: D.STOP_ENDED,
    },
    S.PROVISIONING: dict.fromkeys(set(P) - {P.UNKNOWN}, D.FINDING),
    S.STAGING: dict.fromkeys(set(P) - {P.UNKNOWN}, D.FINDING),
    S.SUSPENDING: dict.fromkeys(set(P) - {P.UNKNOWN}, D.FINDING),
}  # fmt: skip


RUNNING_AND_OFF = {
    "shutdown": D.STOPPED,
    "destroyed": D.SWITCHED_OFF,
    "": D.CRASHED,
    "crashed": D.CRASHED,
    "failed": D.CRASHED,
    "saved": D.CRASHED,
    "daemon": D.CRASHED,
    "unknown": D.CRASHED,
    "user": D.CRASHED,
    "ioerror": D.CRASHED,
    "watchdog": D.CRASHED,
}

#: Held by QEMU itself it is repaired; held by a person, or nobody knows by whom, it is left as it is.
RUNNING_AND_PAUSED = {"ioerror": D.HELD, "watchdog": D.HUNG}
REPAIRING_AND_PAUSED = {"user": D.REPAIRED}

WAITS_FOR_THE_END = {Action.STOP, Action.MAINTENANCE_STOP, Action.SUSPEND, Action.RESET, Action.DELETE}


def recorded(state: State, operation: Action | None = None, *, fence: int = 0, settled: float = 10) -> Recorded:
    """A record settled so many seconds ago."""
    return Recorded(state, operation, fence, NOW - timedelta(seconds=settled))


def observed(power: Power, reason: str = "", *, ours: bool = True, generation: int | None = 0) -> Observed:
    """An observation made now."""
    return Observed(power, reason, ours, generation, NOW)


def expected(state: State, operation: Action | None, power: Power, reason: str) -> Decision:
    """The table above as a function."""
    if power is P.UNKNOWN:
        return D.NO_ANSWER
    if operation is not None:
        return D.WAKE if operation in WAITS_FOR_THE_END and power in DOWN else D.EXPLAINED
    if state is S.RUNNING and power is P.OFF:
        return RUNNING_AND_OFF[reason]
    if power is P.PAUSED and state is S.RUNNING:
        return RUNNING_AND_PAUSED.get(reason, D.IN_STEP)
    if power is P.PAUSED and state is S.REPAIRING:
        return REPAIRING_AND_PAUSED.get(reason, D.REPAIR_AGAIN)
    return AT_REST[state][power]


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("power", Power)
def test_every_combination_has_its_verdict(state: State, power: Power) -> None:
    for operation, reason in itertools.product(OPERATIONS, REASONS):
        verdict = decide(recorded(state, operation), observed(power, reason))
        assert verdict.decision is expected(state, operation, power, reason), (operation, reason)
        assert bool(verdict.text) == (verdict.decision is D.FINDING)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("power", Power)
def test_a_silent_host_proves_nothing(state: State, power: Power) -> None:
    for operation, reason in itertools.product(OPERATIONS, REASONS):
        verdict = decide(recorded(state, operation), observed(power, reason), host_answers=False)
        assert verdict.decision is D.NO_ANSWER


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("power", set(Power) - {Power.UNKNOWN})
def test_an_observation_older_than_the_record_decides_nothing(state: State, power: Power) -> None:
    for operation in OPERATIONS:
        assert decide(recorded(state, operation, settled=-0.001), observed(power)).decision is D.OUTDATED


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("power", set(Power) - {Power.UNKNOWN})
def test_a_domain_of_another_installation_is_left_to_people(state: State, power: Power) -> None:
    for operation in OPERATIONS:
        assert decide(recorded(state, operation), observed(power, ours=False)).decision is D.FINDING


@pytest.mark.parametrize("power", UP)
def test_what_a_fenced_worker_resumed_late_is_saved_again(power: Power) -> None:
    late = observed(power, generation=1)
    assert decide(recorded(S.SUSPENDED, fence=2), late).decision is D.SAVE_AGAIN
    assert decide(recorded(S.SUSPENDED, fence=1), late).decision is D.FINDING


@pytest.mark.parametrize("power", UP)
def test_what_a_fenced_worker_started_late_is_switched_off_again(power: Power) -> None:
    verdict = decide(recorded(S.TERMINATED, fence=3), observed(power, generation=2))
    assert verdict.decision is D.SWITCH_OFF


@pytest.mark.parametrize("generation", [3, None])
def test_a_start_of_the_present_generation_was_made_by_a_person(generation: int | None) -> None:
    verdict = decide(recorded(S.TERMINATED, fence=3), observed(P.ON, generation=generation))
    assert verdict.decision is D.STARTED


def test_a_running_vm_of_an_older_generation_is_in_step() -> None:
    """A stop that took over a resume raised the fence, and the memory was resumed later: the definition is old."""
    assert decide(recorded(S.RUNNING, fence=3), observed(P.ON, generation=2)).decision is D.IN_STEP


def test_powers_are_up_or_down_or_unknown() -> None:
    assert set(Power) == UP | DOWN | {Power.UNKNOWN}
    assert not UP & DOWN


def test_nothing_but_a_reason_given_by_libvirt_excuses_a_stop() -> None:
    assert {reason for reason in REASONS if cause_of(reason) != "crash"} == {"shutdown", "destroyed"}


def test_every_decision_occurs_and_healing_follows_the_lifecycle_table() -> None:
    """The moves that heal are moves of the one table."""
    moves = {
        D.STOPPED: (Action.GUEST_SHUTDOWN, [(S.RUNNING, S.STOPPING), (S.STOPPING, S.TERMINATED)]),
        D.SWITCHED_OFF: (Action.GUEST_SHUTDOWN, [(S.RUNNING, S.STOPPING), (S.STOPPING, S.TERMINATED)]),
        D.MISSING: (Action.GUEST_SHUTDOWN, [(S.RUNNING, S.STOPPING), (S.STOPPING, S.TERMINATED)]),
        D.CRASHED: (Action.CRASH, [(S.RUNNING, S.REPAIRING), (S.REPAIRING, S.TERMINATED)]),
        D.HELD: (Action.CRASH, [(S.RUNNING, S.REPAIRING)]),
        D.HUNG: (Action.CRASH, [(S.RUNNING, S.REPAIRING)]),
        D.SAVED: (Action.OBSERVED_SAVE, [(S.RUNNING, S.SUSPENDED)]),
        D.STARTED: (Action.OBSERVED_START, [(S.TERMINATED, S.RUNNING)]),
        D.REPAIRED: (Action.REPAIR, [(S.REPAIRING, S.RUNNING)]),
        D.STOP_ENDED: (Action.REPAIR, [(S.STOPPING, S.TERMINATED)]),
        D.REPAIR_AGAIN: (Action.REPAIR, []),
        D.SWITCH_OFF: (Action.STOP, []),
        D.SAVE_AGAIN: (Action.SUSPEND, []),
        D.WAKE: (Action.STOP, []),
    }
    assert set(moves) == HEALING
    for action, pairs in moves.values():
        assert set(pairs) <= PAIRS[action]
