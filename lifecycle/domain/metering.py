"""Metering, derived: intervals from the log of transitions, and what of them is billed or counts for the SLA.

The log is the truth. An interval is what the log says of the time between two of its rows; rates are data and
come from elsewhere. Times are aware datetimes, lengths are seconds as Decimal, exact to the microsecond.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, Generic, TypeVar

from lifecycle.domain.states import IN_SLA, MEMORY_BILLED, STORAGE_BILLED, VCPU_BILLED, State

#: States whose memory is billed at the storage rate: it lies on a disk.
MEMORY_AT_STORAGE_RATE: Final = frozenset({State.SUSPENDED})

#: States that are metered and rated at zero, because the product failed and not its user.
UNBILLED_REPAIR: Final = frozenset({State.REPAIRING})

ZERO: Final = Decimal(0)
_MICROSECOND: Final = timedelta(microseconds=1)


# -- intervals from the log ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stored:
    """What an image is between two rows of its log: so many MiB in the store."""

    size_mib: int

    def __str__(self) -> str:
        return f"{self.size_mib} MiB"


#: What lasts from one row of a log to the next: the state of a VM, or what an image takes.
Held = TypeVar("Held", State, Stored)


@dataclass(frozen=True, slots=True)
class Change(Generic[Held]):
    """One row of a log. `target` None: what it is about is gone."""

    id: int
    target: Held | None
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class Span(Generic[Held]):
    """The time [started_at, ended_at) in one state, begun by the row `opened_by` of the log; without end: it lasts."""

    opened_by: int
    state: Held
    started_at: datetime
    ended_at: datetime | None

    def __str__(self) -> str:
        return f"{self.state} from {self.started_at.isoformat()} to {_end(self.ended_at)}"


def derive(log: Iterable[Change[Held]]) -> list[Span[Held]]:
    """The intervals of the log of one VM or image, whose rows come in the order in which they were written.

    Each row ends the interval before it and begins the next. A row that claims to have occurred before the one
    written earlier (a clock that was set back) occurred when that one did: intervals neither overlap nor leave
    a gap, and some have no length.
    """
    spans: list[Span[Held]] = []
    before: Change[Held] | None = None
    for row in log:
        at = row.occurred_at if before is None else max(before.occurred_at, row.occurred_at)
        if before is not None and before.target is not None:
            spans.append(Span(before.id, before.target, before.occurred_at, at))
        before = Change(row.id, row.target, at)
    if before is not None and before.target is not None:
        spans.append(Span(before.id, before.target, before.occurred_at, None))
    return spans


@dataclass(frozen=True, slots=True)
class Difference(Generic[Held]):
    """Where the log and the record disagree on what row `opened_by` of the log began."""

    opened_by: int
    derived: Span[Held] | None
    recorded: Span[Held] | None

    def __str__(self) -> str:
        if self.recorded is None:
            return f"row {self.opened_by} of the log: missing: {self.derived}"
        if self.derived is None:
            return f"row {self.opened_by} of the log: not in the log: {self.recorded}"
        return f"row {self.opened_by} of the log: recorded {self.recorded}; by the log {self.derived}"


def compare(derived: Iterable[Span[Held]], recorded: Iterable[Span[Held]]) -> list[Difference[Held]]:
    """What differs, in the order of the log."""
    by_log: Mapping[int, Span[Held]] = {span.opened_by: span for span in derived}
    by_record: Mapping[int, Span[Held]] = {span.opened_by: span for span in recorded}
    found = (Difference(key, by_log.get(key), by_record.get(key)) for key in sorted({*by_log, *by_record}))
    return [each for each in found if each.derived != each.recorded]


def _end(at: datetime | None) -> str:
    return at.isoformat() if at else "now"


# -- what is billed ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shape:
    """What a VM has: vCPUs, memory in MiB, disks in GiB, the name of its machine type and its family, its zone."""

    machine_type: str
    vcpus: int
    memory_mib: int
    disk_gib: int
    family: str = ""
    zone: str = ""


@dataclass(frozen=True, slots=True)
class Billed:
    """Amounts to be rated: vCPU x s, MiB x s of memory (running and on disk apart), GiB x s of disk."""

    vcpu: Decimal = ZERO
    memory: Decimal = ZERO
    suspended_memory: Decimal = ZERO
    disk: Decimal = ZERO

    def __add__(self, other: "Billed") -> "Billed":
        return Billed(
            self.vcpu + other.vcpu,
            self.memory + other.memory,
            self.suspended_memory + other.suspended_memory,
            self.disk + other.disk,
        )


def billed(state: State, shape: Shape, length: Decimal) -> Billed:
    """What `length` seconds in `state` with `shape` bill; nothing at all in REPAIRING."""
    memory = length * shape.memory_mib if state in MEMORY_BILLED else ZERO
    on_disk = state in MEMORY_AT_STORAGE_RATE
    return Billed(
        vcpu=length * shape.vcpus if state in VCPU_BILLED else ZERO,
        memory=ZERO if on_disk else memory,
        suspended_memory=memory if on_disk else ZERO,
        disk=length * shape.disk_gib if state in STORAGE_BILLED else ZERO,
    )


def seconds(length: timedelta) -> Decimal:
    """`length` in seconds, exactly; what is negative is zero."""
    return max(ZERO, Decimal(length // _MICROSECOND) / 1_000_000)


# -- usage ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Metered:
    """An interval with what its usage needs.

    Attributes:
        broke_in: the state it came from, of a REPAIRING.
        noticed_at: when a REPAIRING was recorded; it began at the last proof of life.
        by_failure: whether a TERMINATED is the end of a repair that failed.
        excused: announced maintenance of its host, from and to, in the order of the beginnings.
    """

    state: State
    shape: Shape
    started_at: datetime
    ended_at: datetime | None
    broke_in: State | None = None
    noticed_at: datetime | None = None
    by_failure: bool = False
    excused: tuple[tuple[datetime, datetime], ...] = ()


@dataclass(slots=True)
class Usage:
    """What was used in a span of time, one VM's or many VMs' together.

    Attributes:
        by_state: seconds in each state; those that never occurred are zero.
        billed: the amounts to be rated.
        up, down: seconds in the SLA. REPAIRING is in neither; down is the time from the last proof of life
            until REPAIRING was recorded, and TERMINATED by a failure until the next start; announced maintenance
            is in neither.
    """

    by_state: dict[State, Decimal] = field(default_factory=lambda: dict.fromkeys(State, ZERO))
    billed: Billed = field(default_factory=Billed)
    up: Decimal = ZERO
    down: Decimal = ZERO

    @property
    def total(self) -> Decimal:
        """Seconds metered, in whatever state."""
        return sum(self.by_state.values(), ZERO)

    @property
    def unbilled_repair(self) -> Decimal:
        """Seconds that were metered and are rated at zero."""
        return sum((self.by_state[state] for state in UNBILLED_REPAIR), ZERO)

    @property
    def availability(self) -> Decimal | None:
        """The share of the SLA's time in which it was up, 0 to 1; None when nothing counted."""
        counted = self.up + self.down
        return self.up / counted if counted else None


def add_up(intervals: Iterable[Metered], since: datetime, until: datetime) -> Usage:
    """The usage of `intervals` within [since, until); an interval that lasts is counted to `until`."""
    usage = Usage()
    for each in intervals:
        start, end = _within(each.started_at, each.ended_at, since, until)
        length = seconds(end - start)
        usage.by_state[each.state] += length
        usage.billed += billed(each.state, each.shape, length)
        if each.state in IN_SLA:
            usage.up += length
        elif each.state is State.TERMINATED and each.by_failure:
            usage.down += _outside(start, end, each.excused)
        elif each.state in UNBILLED_REPAIR and each.broke_in in IN_SLA and each.noticed_at:
            usage.down += _outside(start, min(end, each.noticed_at), each.excused)
    return usage


def _outside(start: datetime, end: datetime, windows: Iterable[tuple[datetime, datetime]]) -> Decimal:
    """Seconds of [start, end) that are in none of the windows, which come in the order of their beginnings."""
    length = ZERO
    for begin, stop in windows:
        length += seconds(min(begin, end) - start)
        start = max(start, min(stop, end))
    return length + seconds(end - start)


def _within(
    started_at: datetime, ended_at: datetime | None, since: datetime, until: datetime
) -> tuple[datetime, datetime]:
    """The part inside the span, empty when there is none."""
    start = max(started_at, since)
    return start, max(start, min(until, ended_at or until))
