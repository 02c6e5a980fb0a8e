"""Charts drawn on the server as SVG paths, so that they are there without JavaScript; numbers in, geometry out."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from lifecycle.services.charts import Band, Chart

WIDTH: Final = 600
HEIGHT: Final = 120
#: Points of one line: beyond, several are drawn as one, so that a page stays small.
POINTS_MAX: Final = 400

Column = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Line:
    """One series: its name, and an SVG path that breaks at gaps. `latest` is its last known value."""

    name: str
    path: str
    latest: float | None
    highest: float | None


@dataclass(frozen=True, slots=True)
class Stripe:
    """A state behind the lines."""

    x: float
    width: float
    state: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """One picture: lines over stripes. `top` is the value of its upper edge, in `unit`."""

    name: str
    unit: str
    top: float
    lines: list[Line]
    stripes: list[Stripe] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any(line.path for line in self.lines)


def drawing(
    chart: Chart, name: str, unit: str, series: Iterable[str], *, scale: float = 1, least: float = 1
) -> Drawing:
    """Draw some series of a chart, multiplied by `scale`; the upper edge is at least `least`."""
    columns = {one: [None if v is None else v * scale for v in chart.column(one)] for one in series}
    known = [value for column in columns.values() for value in column if value is not None]
    top = edge(max([least, *known]), unit)
    lines = [
        Line(one, path(chart, column, top), last(column), max((v for v in column if v is not None), default=None))
        for one, column in columns.items()
    ]
    return Drawing(name, unit, top, lines, [_stripe(chart, band) for band in chart.bands])


def path(chart: Chart, column: Column, top: float) -> str:
    """An SVG path of the known values; it is lifted at every unknown one."""
    parts, down = [], False
    for at, value in _thinned(chart.times, column):
        if value is None:
            down = False
            continue
        x, y = _x(chart, at), HEIGHT * (1 - min(value, top) / top)
        parts.append(f"{'L' if down else 'M'}{x:.1f} {y:.1f}" + ("" if down else "h.01"))
        down = True
    return "".join(parts)


def _thinned(times: Sequence[int], column: Column) -> Iterator[tuple[int, float | None]]:
    """At most POINTS_MAX points: the highest of each few, so that no peak is lost; a gap stays one."""
    few = max(1, math.ceil(len(times) / POINTS_MAX))
    for start in range(0, len(times), few):
        some = list(zip(times[start : start + few], column[start : start + few], strict=True))
        known = [(at, value) for at, value in some if value is not None]
        if len(known) < len(some):
            yield some[0][0], None
        if known:
            yield max(known, key=lambda point: point[1])


def _x(chart: Chart, at: float) -> float:
    return WIDTH * min(1.0, max(0.0, (at - chart.begin) / (chart.end - chart.begin)))


def _stripe(chart: Chart, band: Band) -> Stripe:
    x = _x(chart, band.begin)
    return Stripe(round(x, 1), round(_x(chart, band.end) - x, 1), band.state)


def last(column: Column) -> float | None:
    """The last known value."""
    return next((value for value in reversed(column) if value is not None), None)


def edge(value: float, unit: str) -> float:
    """A round number not below `value`, in the unit in which it is shown: 500 KiB/s, not 488.3."""
    scale = 1.0
    while unit == "bytes" and value / scale >= 1000 and scale < 1024**3:
        scale *= 1024
    shown = nice(value / scale)
    return (1024.0 if unit == "bytes" and shown >= 1000 else shown) * scale


def nice(value: float) -> float:
    """The next number of the kind 1, 2, 5, 10, 20 … that is not below `value`."""
    magnitude = 10.0 ** math.floor(math.log10(value)) if value > 0 else 1.0
    return next(step * magnitude for step in (1, 2, 5, 10) if step * magnitude >= value * 0.999999)
