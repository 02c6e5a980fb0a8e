"""Usage of a guest: its hypervisor's counters become rates, rates become summaries of minutes and hours.

What is not known is NaN, never 0: a guest without a balloon driver has no "memory used", and a gap is shown as a gap.
"""

import math
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

#: CPU in cores (seconds of CPU time a second), memory in MiB, the others in bytes a second.
SERIES: Final = ("cpu", "memory", "disk_read", "disk_write", "net_in", "net_out")
#: Seconds between two samples of a guest: as often as its balloon driver reports.
STEP: Final = 10
#: Lengths in seconds of what is kept in the database.
FIVE_MINUTES: Final = 300
HOUR: Final = 3600
#: Two samples further apart than this have nothing to say of the time between them.
LONGEST: Final = 3.5 * STEP

#: One value a series, in the order of `SERIES`.
Values = tuple[float, ...]

UNKNOWN: Final[Values] = (math.nan,) * len(SERIES)
_SUMMARY: Final = struct.Struct(f"<{3 * len(SERIES)}f{len(SERIES)}H")
_SAMPLE: Final = struct.Struct(f"<I{len(SERIES)}f")
SAMPLE_BYTES: Final = _SAMPLE.size
_MOST: Final = 0xFFFF


@dataclass(frozen=True, slots=True)
class Counters:
    """A running guest at a moment. Counters only rise while it runs; None is what the host did not tell.

    Attributes:
        at: seconds of a clock that never jumps.
        run: the number of its run: another number is another process, whose counters began anew.
        memory_mib: memory in use inside the guest, as its balloon driver tells.
    """

    at: float
    run: int
    cpu_ns: int | None = None
    memory_mib: float | None = None
    disk_read: int | None = None
    disk_write: int | None = None
    net_in: int | None = None
    net_out: int | None = None


def rates(before: Counters | None, after: Counters) -> Values | None:
    """What the guest used between two looks; None when nothing can be said.

    A guest that was started again, a first look and looks too far apart have no rates. A counter that fell (a disk
    or an interface was replaced) is unknown this once, and harms no other.
    """
    if before is None or before.run != after.run:
        return None
    seconds = after.at - before.at
    if not 0 < seconds <= LONGEST:
        return None
    memory = math.nan if after.memory_mib is None else after.memory_mib
    cpu = _rate(before.cpu_ns, after.cpu_ns, seconds) / 1e9
    return (
        cpu,
        memory,
        _rate(before.disk_read, after.disk_read, seconds),
        _rate(before.disk_write, after.disk_write, seconds),
        _rate(before.net_in, after.net_in, seconds),
        _rate(before.net_out, after.net_out, seconds),
    )


def _rate(before: int | None, after: int | None, seconds: float) -> float:
    if before is None or after is None or after < before:
        return math.nan
    return (after - before) / seconds


def total(many: Iterable[Values]) -> Values:
    """The sum, series by series, of what is known; unknown where nothing is."""
    columns = list(zip(*many, strict=True))
    if not columns:
        return UNKNOWN
    return tuple(_sum(column) for column in columns)


def _sum(column: Sequence[float]) -> float:
    known = [value for value in column if not math.isnan(value)]
    return math.fsum(known) if known else math.nan


@dataclass(frozen=True, slots=True)
class Summary:
    """What the samples of a span of time were: lowest, mean and highest, and of how many, series by series."""

    low: Values
    mean: Values
    high: Values
    counts: tuple[int, ...]

    def pack(self) -> bytes:
        """84 bytes."""
        return _SUMMARY.pack(*self.low, *self.mean, *self.high, *self.counts)


def unpack(packed: bytes) -> Summary:
    """The inverse of `Summary.pack`, to the precision of 32-bit floats. Raises struct.error for other bytes."""
    found = _SUMMARY.unpack(packed)
    n = len(SERIES)
    return Summary(found[:n], found[n : 2 * n], found[2 * n : 3 * n], tuple(int(c) for c in found[3 * n :]))


def summary_of(values: Values) -> Summary:
    """The summary of one sample."""
    return Summary(values, values, values, tuple(0 if math.isnan(value) else 1 for value in values))


def merge(one: Summary, other: Summary) -> Summary:
    """The summary of the samples of both."""
    counts = tuple(a + b for a, b in zip(one.counts, other.counts, strict=True))
    columns = zip(one.mean, one.counts, other.mean, other.counts, strict=True)
    return Summary(
        tuple(_choose(min, a, b) for a, b in zip(one.low, other.low, strict=True)),
        tuple(_weighted(*column) for column in columns),
        tuple(_choose(max, a, b) for a, b in zip(one.high, other.high, strict=True)),
        tuple(min(count, _MOST) for count in counts),
    )


def _choose(better: Callable[[float, float], float], one: float, other: float) -> float:
    if math.isnan(one) or math.isnan(other):
        return other if math.isnan(one) else one
    return better(one, other)


def _weighted(one: float, weight: int, other: float, other_weight: int) -> float:
    if not weight or not other_weight:
        return one if weight else other
    return one + (other - one) * (other_weight / (weight + other_weight))


def add(many: Iterable[Summary]) -> Summary:
    """The summary of the sum of several subjects over the same span.

    Lowest and highest are bounds: the subjects need not have had theirs at the same moment.
    """
    found = list(many)
    return Summary(
        total(s.low for s in found),
        total(s.mean for s in found),
        total(s.high for s in found),
        tuple(max(column) for column in zip(*(s.counts for s in found), strict=True)),
    )


def begin_of(at: float, length: int) -> int:
    """The beginning of the span of `length` seconds that `at` (Unix time) lies in."""
    return int(at) // length * length


# -- samples as they are kept for an hour --------------------------------------------------------


def pack_sample(at: int, values: Values) -> bytes:
    """28 bytes: the moment (Unix time) and the values."""
    return _SAMPLE.pack(at, *values)


def unpack_samples(packed: bytes, since: int) -> list[tuple[int, Values]]:
    """The samples in a ring of slots that are not older than `since`, oldest first; empty slots are older."""
    whole = len(packed) - len(packed) % SAMPLE_BYTES
    found = [(int(at), tuple(values)) for at, *values in _SAMPLE.iter_unpack(packed[:whole]) if at >= since]
    return sorted(found, key=lambda sample: sample[0])
