"""What an operator must be told: which conditions are an alert, from when on, and in which words. Pure.

Texts are English source strings with named values, translated when somebody reads them (as refusals are). A
condition's `key` names its matter: while the condition lasts there is one open alert of that key.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from lifecycle.domain.text import mark


class Kind(StrEnum):
    """What kind of matter it is."""

    STEP_OVERDUE = "step_overdue"
    UNTOUCHED = "untouched"
    REPAIRING = "repairing"
    HOST_DOWN = "host_down"
    HOST_UNWATCHED = "host_unwatched"
    HOST_FLAPPING = "host_flapping"
    VM_FLAPPING = "vm_flapping"
    FINDINGS = "findings"
    REPAIR_GAVE_UP = "repair_gave_up"
    CLEANUP = "cleanup"
    BEAT_SILENT = "beat_silent"
    METERING = "metering"
    PERIODIC_CHANGED = "periodic_changed"


#: Nothing that can be looked at says when these are over: they stay until somebody acknowledges them.
INCIDENTS: Final = frozenset({Kind.REPAIR_GAVE_UP, Kind.PERIODIC_CHANGED})

#: What the round over the database finds; the others are reported where they are noticed.
COLLECTED: Final = frozenset(Kind) - {Kind.METERING, Kind.PERIODIC_CHANGED}

CRITICAL: Final = frozenset({Kind.UNTOUCHED, Kind.HOST_DOWN, Kind.HOST_UNWATCHED, Kind.BEAT_SILENT, Kind.METERING})

TEXTS: Final[Mapping[Kind, str]] = {
    Kind.STEP_OVERDUE: mark("%(action)s of %(vm)s in %(project)s: “%(step)s” is past its deadline of %(deadline)s s."),
    Kind.UNTOUCHED: mark("Operations that are due are not taken up: no worker runs, or all are busy."),
    Kind.REPAIRING: mark("%(vm)s in %(project)s has been in repair for more than %(minutes)s minutes."),
    Kind.HOST_DOWN: mark("The host %(host)s does not answer: %(reason)s"),
    Kind.HOST_UNWATCHED: mark("Nobody watches the host %(host)s: no watcher runs, or it hangs."),
    Kind.HOST_FLAPPING: mark("The host %(host)s had too many repairs lately and gets no new VMs for a while."),
    Kind.VM_FLAPPING: mark("%(vm)s in %(project)s was repaired %(number)s times within %(hours)s hours."),
    Kind.FINDINGS: mark("Findings on the host %(host)s wait for a choice: %(number)s."),
    Kind.REPAIR_GAVE_UP: mark("The repair of %(vm)s in %(project)s was given up; it is stopped: %(why)s"),
    Kind.CLEANUP: mark("What deleted VMs left on the host %(host)s waits to be removed: %(number)s."),
    Kind.BEAT_SILENT: mark("No periodic task has been sent since %(since)s: beat does not run."),
    Kind.METERING: mark("The self-check of metering failed (%(number)s): %(first)s"),
    Kind.PERIODIC_CHANGED: mark("The periodic task %(task)s had been switched off or slowed down; it was put right."),
}  # fmt: skip

#: A condition is an alert once it was seen for so long: these come and go at every restart of a process.
HOLD: Final[Mapping[Kind, timedelta]] = {
    Kind.HOST_UNWATCHED: timedelta(seconds=60),
    Kind.UNTOUCHED: timedelta(seconds=30),
    Kind.BEAT_SILENT: timedelta(seconds=60),
    Kind.HOST_DOWN: timedelta(seconds=30),
}

#: A step that is past its deadline by less is about to be ended by its worker.
DEADLINE_SLACK: Final = timedelta(seconds=30)
UNTOUCHED_AFTER: Final = timedelta(seconds=60)
REPAIRING_AFTER: Final = timedelta(minutes=10)
CLEANUP_AFTER: Final = timedelta(hours=1)
#: Beat sends something every half minute, and writes down when it did every three minutes.
BEAT_SILENT_AFTER: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that holds now and that an operator must know of. `text % params` is the sentence."""

    kind: Kind
    subject: str
    params: Mapping[str, str] = field(default_factory=dict)
    host_id: int | None = None
    vm_id: UUID | None = None
    operation_id: UUID | None = None

    @property
    def key(self) -> str:
        """The matter; the same condition has the same key in every round."""
        return f"{self.kind}:{self.subject}"

    @property
    def text(self) -> str:
        """The sentence, before its values are put in."""
        return TEXTS[self.kind]

    @property
    def critical(self) -> bool:
        """Whether VMs or their users are without something until it is over."""
        return self.kind in CRITICAL


@dataclass(frozen=True, slots=True)
class OpenStep:
    """The step at which an open operation is. `due_by`: when it ought to be over, where it knows that itself."""

    operation_id: UUID
    vm_id: UUID
    vm: str
    project: str
    action: str
    step: str
    started_at: datetime
    due_by: datetime | None = None

    def within(self, deadline_seconds: float) -> float:
        """How long it may take, in seconds: its deadline, or less."""
        if self.due_by is None:
            return deadline_seconds
        return min(deadline_seconds, max(0.0, (self.due_by - self.started_at).total_seconds()))


def overdue(step: OpenStep, deadline_seconds: float | None, now: datetime) -> Condition | None:
    """The step's condition when it is past its deadline; None for a step without one, and in time."""
    if deadline_seconds is None:
        return None
    limit = step.within(deadline_seconds)
    if now - step.started_at <= timedelta(seconds=limit) + DEADLINE_SLACK:
        return None
    return Condition(
        Kind.STEP_OVERDUE,
        f"{step.operation_id}:{step.step}",
        {
            "action": step.action,
            "vm": step.vm,
            "project": step.project,
            "step": step.step,
            "deadline": str(round(limit)),
        },
        vm_id=step.vm_id,
        operation_id=step.operation_id,
    )


def beat_silent(last_sent: datetime | None, now: datetime) -> Condition | None:
    """Beat's condition, from when it last sent a task; None when there is nothing to send."""
    if last_sent is None or now - last_sent <= BEAT_SILENT_AFTER:
        return None
    return Condition(Kind.BEAT_SILENT, "beat", {"since": last_sent.strftime("%Y-%m-%d %H:%M UTC")})


def held(
    conditions: Collection[Condition], since: Mapping[str, datetime], now: datetime
) -> tuple[list[Condition], dict[str, datetime]]:
    """The conditions that lasted long enough, and since when each that must last was seen (for the next round)."""
    seen = {c.key: since.get(c.key, now) for c in conditions if c.kind in HOLD}
    lasting = [c for c in conditions if c.kind not in HOLD or now - seen[c.key] >= HOLD[c.kind]]
    return lasting, seen


# -- messages ------------------------------------------------------------------------------------

#: Pauses after the first failures of a message; the last one is repeated until it is given up.
BACKOFF_SECONDS: Final = (10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
GIVE_UP_AFTER: Final = timedelta(days=1)


def backoff_seconds(attempts: int) -> float:
    """How long to wait after `attempts` tries of a message."""
    return BACKOFF_SECONDS[min(max(attempts, 1), len(BACKOFF_SECONDS)) - 1]
