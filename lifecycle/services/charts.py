"""What charts show: the usage of a VM, a host or a project over a span, with its gaps, and a VM's states behind it."""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import reduce
from typing import Any, Final

from django.db.models import Q, QuerySet

from lifecycle.domain.usage import FIVE_MINUTES, HOUR, SERIES, STEP, Summary, add, merge, summary_of, total
from lifecycle.models import VM, Host, HostUsage, MeteringInterval, Project, VMUsage
from lifecycle.realtime import recent

_DAY: Final = 24 * HOUR
#: More of a VM's states in one span are not drawn one by one: the latest are.
BANDS_MAX: Final = 500


class Span(StrEnum):
    """How far back a chart looks."""

    LIVE = "live"
    HOUR = "hour"
    DAY = "day"
    MONTH = "month"

    @property
    def seconds(self) -> int:
        """Its length."""
        return {"live": 600, "hour": HOUR, "day": _DAY, "month": 31 * _DAY}[self]

    @property
    def step(self) -> int:
        """Seconds between two of its points."""
        return {"live": STEP, "hour": STEP, "day": FIVE_MINUTES, "month": HOUR}[self]


@dataclass(frozen=True, slots=True)
class Band:
    """A state of the VM from `begin` to `end`, Unix times within the span."""

    begin: int
    end: int
    state: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Points in the order of time; `summaries[i]` is None where nothing was measured: a gap.

    Attributes:
        begin, end: the span, Unix times.
        step: seconds between two points.
        recent_off: the last hour cannot be told by the sample, because Redis does not answer.
    """

    span: Span
    step: int
    begin: int
    end: int
    times: list[int]
    summaries: list[Summary | None]
    bands: list[Band]
    recent_off: bool = False

    def column(self, series: str, which: str = "mean") -> list[float | None]:
        """One value a point: `mean`, `low` or `high` of a series; None in a gap and where it is unknown."""
        index = SERIES.index(series)
        values = [None if s is None else getattr(s, which)[index] for s in self.summaries]
        return [None if value is None or math.isnan(value) else value for value in values]


def of_vm(vm: VM, span: Span, now: float | None = None) -> Chart:
    """The usage of a VM and its states: two queries."""
    return _chart(span, now, lambda: [recent.vm_subject(vm.pk)], VMUsage.objects.filter(vm=vm), vm)


def of_host(host: Host, span: Span, now: float | None = None) -> Chart:
    """What all guests of a host use: one query."""
    rows = HostUsage.objects.filter(host=host, project__isnull=True)
    return _chart(span, now, lambda: [recent.host_subject(host.pk)], rows)


def of_project(project: Project, span: Span, now: float | None = None) -> Chart:
    """What all VMs of a project use, whatever their hosts: one query."""
    rows = HostUsage.objects.filter(project=project)
    hosts = Host.objects.values_list("pk", flat=True)
    return _chart(span, now, lambda: [recent.part_subject(project.pk, host) for host in hosts], rows)


def _chart(
    span: Span, now: float | None, subjects: Callable[[], Sequence[str]], rows: QuerySet[Any], vm: VM | None = None
) -> Chart:
    end = int(time.time() if now is None else now)
    begin = end - span.seconds
    step, off = span.step, False
    points: dict[int, Summary] = {}
    if step == STEP:
        try:
            points = _samples(subjects(), begin, end)
        except recent.Unavailable:
            off = True
            if span is Span.HOUR:
                step, points = FIVE_MINUTES, _stored(rows, FIVE_MINUTES, begin)
    else:
        points = _stored(rows, step, begin)
    times, summaries = _with_gaps(points, step)
    bands = [] if vm is None else _bands(vm, begin, end)
    return Chart(span, step, begin, end, times, summaries, bands, off)


def _samples(subjects: Sequence[str], begin: int, end: int) -> dict[int, Summary]:
    """The last samples; those of several hosts are added when they are of the same ten seconds."""
    found = recent.read(subjects, time.time() - begin)
    slots = defaultdict(list)
    for samples in found.values():
        for at, values in samples:
            slots[at if len(subjects) == 1 else at // STEP * STEP].append(values)
    return {at: summary_of(total(many)) for at, many in sorted(slots.items()) if begin <= at <= end}


def _stored(rows: QuerySet[Any], length: int, begin: int) -> dict[int, Summary]:
    """Rows of that length; of hours that are not summed up yet, the five minutes so far."""
    wanted = Q(length=length, begin__gt=begin - length)
    if length == HOUR:
        wanted |= Q(length=FIVE_MINUTES, begin__gte=time.time() // HOUR * HOUR - HOUR)
    by_begin: dict[int, list[Summary]] = defaultdict(list)
    minutes: dict[int, dict[Any, list[Summary]]] = defaultdict(lambda: defaultdict(list))
    for row in rows.filter(wanted).order_by("begin"):
        if row.length == length:
            by_begin[row.begin].append(row.summary)
        else:
            minutes[row.begin // HOUR * HOUR][getattr(row, "host_id", None)].append(row.summary)
    for hour, parts in minutes.items():
        if hour not in by_begin:
            by_begin[hour] = [reduce(merge, part) for part in parts.values()]
    return {at: add(many) for at, many in sorted(by_begin.items())}


def _with_gaps(points: dict[int, Summary], step: int) -> tuple[list[int], list[Summary | None]]:
    """The points, and between two that are too far apart one that says that nothing is known."""
    times: list[int] = []
    summaries: list[Summary | None] = []
    longest = step * (2.5 if step == STEP else 1.5)
    for at, summary in points.items():
        if times and at - times[-1] > longest:
            times.append(times[-1] + step)
            summaries.append(None)
        times.append(at)
        summaries.append(summary)
    return times, summaries


def _bands(vm: VM, begin: int, end: int) -> list[Band]:
    since = datetime.fromtimestamp(begin, UTC)
    spans = MeteringInterval.objects.filter(Q(ended_at__isnull=True) | Q(ended_at__gt=since), vm=vm)
    # Also one that began within the last second, which is cut off: it is what the VM is now.
    rows = spans.filter(started_at__lt=datetime.fromtimestamp(end + 1, UTC)).order_by("-started_at")
    found = rows.values_list("started_at", "ended_at", "state")[:BANDS_MAX]
    bands = [
        Band(max(begin, int(start.timestamp())), min(end, int(stop.timestamp())) if stop else end, state)
        for start, stop, state in found
    ]
    return bands[::-1]


def rows_of(chart: Chart) -> Iterable[list[str]]:
    """The chart as a table: a header, then a row a point, values as plain numbers, empty where unknown."""
    kinds = ("mean",) if chart.step == STEP else ("low", "mean", "high")
    units = dict(zip(SERIES, ("cores", "mib", *["bytes_per_s"] * 4), strict=True))
    yield ["time", *(f"{name}_{units[name]}" + ("" if len(kinds) == 1 else f"_{k}") for name in SERIES for k in kinds)]
    columns = [chart.column(name, kind) for name in SERIES for kind in kinds]
    for index, at in enumerate(chart.times):
        if chart.summaries[index] is not None:
            values = (column[index] for column in columns)
            moment = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            yield [moment, *("" if value is None else f"{value:.6g}" for value in values)]
