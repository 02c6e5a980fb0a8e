"""The flight recorder: everything that happened to a VM, of every kind, in one order, the latest first.

Each kind is a source: a query of its own, a moment to be sorted by, and rows that are shown as they are. A page
takes as many rows of each source as it shows in all, so the number of queries is that of the sources.
"""

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.db.models import Q, QuerySet
from django.utils import timezone

from lifecycle.models import (
    VM,
    ConfigChange,
    LibvirtEvent,
    Operation,
    OperationStep,
    Repair,
    RepairEntry,
    Transition,
)

PAGE: Final = 50
#: Moments of a post-mortem at most.
PERIOD_MAX: Final = 1000
#: What is shown around a repair: what led to it, and what followed.
BEFORE, AFTER = timedelta(minutes=10), timedelta(minutes=5)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_CURSOR: Final = re.compile(r"(\d{1,18})\.([a-z]{1,12})\.(\d{1,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Source:
    """Rows of one kind. `at`: the field they are sorted by."""

    kind: str
    at: str
    rows: Callable[[VM], QuerySet[Any]]


SOURCES: Final = (
    Source(
        "transition",
        "occurred_at",
        lambda vm: Transition.objects.filter(vm=vm).select_related("user", "operation"),
    ),
    Source("operation", "insert_time", lambda vm: Operation.objects.filter(vm=vm).select_related("user")),
    Source(
        "step",
        "started_at",
        lambda vm: OperationStep.objects.filter(operation__vm=vm, started_at__isnull=False).select_related("operation"),
    ),
    Source("event", "occurred_at", lambda vm: LibvirtEvent.objects.filter(vm=vm).select_related("host")),
    Source(
        "repair",
        "at",
        lambda vm: RepairEntry.objects.filter(repair__vm=vm).select_related("user", "repair", "repair__host"),
    ),
    Source("config", "at", lambda vm: ConfigChange.objects.filter(vm=vm).select_related("user")),
)
KINDS: Final = tuple(source.kind for source in SOURCES)


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing that happened. `key` names it for ever: it is its anchor and, as a cursor, its place in the order."""

    kind: str
    at: datetime
    row: Any
    number: int

    @property
    def key(self) -> str:
        """Its name: microseconds, kind and number."""
        return f"{(self.at - _EPOCH) // timedelta(microseconds=1)}.{self.kind}.{self.number}"

    @property
    def order(self) -> tuple[datetime, int, int]:
        """Ascending in time; at the same moment by kind, then as they were written."""
        return self.at, -KINDS.index(self.kind), self.number


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in the order."""

    at: datetime
    kind: str
    number: int


@dataclass(frozen=True, slots=True)
class Page:
    """Moments, the latest first. `older` is the cursor of what follows; empty at the end."""

    moments: list[Moment]
    older: str


def parse_cursor(text: str) -> Cursor | None:
    """The place that a key names; None for what is no key."""
    found = _CURSOR.fullmatch(text)
    if found is None or found[2] not in KINDS:
        return None
    try:
        return Cursor(_EPOCH + timedelta(microseconds=int(found[1])), found[2], int(found[3]))
    except OverflowError:
        return None


def page(
    vm: VM, kinds: Collection[str] = KINDS, *, before: Cursor | None = None, at: Cursor | None = None, size: int = PAGE
) -> Page:
    """The moments after the place `before`, or from the place `at` on, back in time: a query a kind."""
    found: list[Moment] = []
    for source in SOURCES:
        if source.kind in kinds:
            rows = source.rows(vm)
            if (place := before or at) is not None:
                rows = rows.filter(_behind(source, place, inclusive=before is None))
            found += _moments(source, rows.order_by(f"-{source.at}", "-pk")[: size + 1])
    found.sort(key=lambda moment: moment.order, reverse=True)
    return Page(found[:size], found[size - 1].key if len(found) > size else "")


def period(vm: VM, begin: datetime, end: datetime, kinds: Collection[str] = KINDS) -> list[Moment]:
    """What happened between two moments, the first first; at most PERIOD_MAX, the latest of them."""
    found: list[Moment] = []
    for source in SOURCES:
        if source.kind in kinds:
            rows = source.rows(vm).filter(**{f"{source.at}__gte": begin, f"{source.at}__lte": end})
            found += _moments(source, rows.order_by(f"-{source.at}", "-pk")[:PERIOD_MAX])
    return sorted(found, key=lambda moment: moment.order)[-PERIOD_MAX:]


def around(repair: Repair) -> tuple[datetime, datetime]:
    """The period that the post-mortem of a repair covers."""
    return repair.opened_at - BEFORE, (repair.closed_at or timezone.now()) + AFTER


def _moments(source: Source, rows: Iterable[Any]) -> list[Moment]:
    return [Moment(source.kind, getattr(row, source.at), row, row.pk if isinstance(row.pk, int) else 0) for row in rows]


def _behind(source: Source, place: Cursor, *, inclusive: bool) -> Q:
    """Rows of the source that come after the place, back in time."""
    earlier = Q(**{f"{source.at}__lt": place.at})
    same = Q(**{source.at: place.at})
    mine, theirs = -KINDS.index(source.kind), -KINDS.index(place.kind)
    if mine != theirs:
        return earlier | same if mine < theirs else earlier
    if source.kind == "operation":  # one at a moment: their keys are no numbers
        return earlier | same if inclusive else earlier
    return earlier | (same & Q(**{"pk__lte" if inclusive else "pk__lt": place.number}))
