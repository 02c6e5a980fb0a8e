"""Rating: metering intervals and dated prices in, lines out. The one way to every amount the product shows.

What a project was billed, costs now, will have cost at the end of its month, and what a VM that does not exist yet
would cost: all are `lines_of`, on other intervals or to another moment.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

from django.db.models import QuerySet

from lifecycle.billing import sla
from lifecycle.domain import discounts, pricing
from lifecycle.domain.discounts import Terms, Totals
from lifecycle.domain.metering import Shape
from lifecycle.domain.pricing import EXACT, UNITS, ZERO, Holding, Item, Line, Piece, PriceBook, Sort, Tariff
from lifecycle.domain.sla import credit
from lifecycle.domain.states import State
from lifecycle.models import VM, ImageInterval, MeteringInterval, Project
from lifecycle.services import prices

ROWS_AT_ONCE = 2000
Parts = Sequence[tuple[PriceBook, int, int]]
Rows = QuerySet[MeteringInterval]
#: What a source of pieces is asked with: the project, from, to. Pieces come resource by resource.
Source = Callable[[Project, datetime, datetime], Iterator[Piece]]
#: Of a VM or of an image.
Interval = TypeVar("Interval", MeteringInterval, ImageInterval)


# -- what is metered -----------------------------------------------------------------------------


def rows_within(rows: QuerySet[Interval], since: datetime, until: datetime) -> QuerySet[Interval]:
    """Those of `rows` that have a part in [since, until)."""
    return rows.filter(started_at__lt=until).exclude(ended_at__lte=since)


_COLUMNS = ("vm_id", "state", "started_at", "ended_at", "machine_type", "vcpus", "memory_mib", "disk_gib")


def pieces_of(rows: QuerySet[MeteringInterval], *, as_if: State | None = None) -> Iterator[Piece]:
    """What each interval holds, VM by VM in the order of their names; some rows are in memory at a time.

    Args:
        as_if: what it would have held in that state instead of its own.
    """
    found = rows.order_by("vm__name", "vm_id", "opened_by_id").values_list(*_COLUMNS, "family", "zone")
    for vm_id, state, start, end, *shape in found.iterator(chunk_size=ROWS_AT_ONCE):
        yield Piece(str(vm_id), shape[-1], start, end, pricing.held(as_if or State(state), Shape(*shape)))


def vms(project: Project, since: datetime, until: datetime) -> Iterator[Piece]:
    """What the project's VMs held."""
    return pieces_of(rows_within(MeteringInterval.objects.filter(project=project), since, until))


def images(project: Project, since: datetime, until: datetime) -> Iterator[Piece]:
    """What the project's own images took in the store, image by image in the order of their names."""
    rows = rows_within(ImageInterval.objects.filter(project=project), since, until)
    found = rows.order_by("image__name", "image_id", "opened_by_id")
    for image_id, size, start, end in found.values_list("image_id", "size_mib", "started_at", "ended_at").iterator(
        chunk_size=ROWS_AT_ONCE
    ):
        yield Piece(pricing.image_resource(image_id), "", start, end, pricing.kept(size))


#: Everything that is metered. Another kind of resource with intervals of its own is one more line here.
SOURCES: tuple[Source, ...] = (vms, images)


# -- lines ---------------------------------------------------------------------------------------


def lines_of(pieces: Iterable[Piece], parts: Parts, terms: Terms) -> Iterator[list[Line]]:
    """The lines of each resource in turn, with its sustained-use discount. One resource is in memory at a time."""
    for mine in pricing.by_resource(pieces):
        lines = pricing.rate(mine, parts)
        if lines:
            yield lines + discounts.sustained(lines, parts, _most(mine), terms)


def _most(pieces: Iterable[Piece]) -> dict[str, Decimal]:
    """The most units of each item that the resource held, in units as they are priced."""
    most: dict[Item, int] = {}
    for piece in pieces:
        for each in piece.holds:
            most[each.item] = max(most.get(each.item, 0), each.units)
    return {item: EXACT.divide(Decimal(units), UNITS.get(item, 1)) for item, units in most.items()}


@dataclass(slots=True)
class Bill:
    """What a project owes for [since, until), without tax. `net` is the sum of the lines."""

    currency: str
    since: datetime
    until: datetime
    lines: list[Line] = field(default_factory=list)

    @property
    def net(self) -> Decimal:
        """The sum."""
        return sum((line.amount for line in self.lines), ZERO.quantize(pricing.CENT))

    def of(self, resource: str) -> Decimal:
        """The sum of one resource's lines."""
        return sum((line.amount for line in self.lines if line.resource == resource), ZERO.quantize(pricing.CENT))

    def canonical(self) -> bytes:
        """The bill as bytes: the same intervals and prices give the same bytes."""
        head = [self.currency, self.since.isoformat(), self.until.isoformat()]
        return json.dumps([head, [_as_list(line) for line in self.lines]], separators=(",", ":")).encode()

    @property
    def digest(self) -> str:
        """The SHA-256 of those bytes."""
        return hashlib.sha256(self.canonical()).hexdigest()


def _as_list(line: Line) -> list[Any]:
    values = (getattr(line, name) for name in Line.__dataclass_fields__)
    return [f"{v:f}" if isinstance(v, Decimal) else str(v) for v in values]


def bill(project: Project, since: datetime, until: datetime, *, tariff: Tariff | None = None) -> Bill:
    """The project's bill for [since, until). Intervals that last are counted to `until`, even if that is to come."""
    tariff = tariff or prices.tariff()
    terms = prices.terms_of(project, since, until)
    parts = tariff.parts(since, until)
    found = Bill(tariff.currency, since, until)
    totals = Totals()
    broken = sla.breaches(project, since, until) if parts else {}
    for source in SOURCES:
        for lines in lines_of(source(project, since, until), parts, terms):
            mine = [*lines, *_sla(lines, broken, parts)]
            found.lines += mine
            for line in mine:
                totals.add(line)
    found.lines += discounts.of_project(totals, tariff, terms, since, until)
    return found


def _sla(lines: list[Line], broken: dict[str, sla.Breach], parts: Parts) -> list[Line]:
    """The credit of a VM whose uptime was too low: by the tiers that apply at the end of the period."""
    breach = broken.get(lines[0].resource)
    if breach is None:
        return []
    charged = sum((line.amount for line in lines), ZERO)
    found = credit(breach.usage, charged, parts[-1][0].sla, resource=lines[0].resource, repairs=breach.repairs)
    return [found] if found else []


# -- one VM --------------------------------------------------------------------------------------


def vm_lines(vm: VM, since: datetime, until: datetime, tariff: Tariff) -> list[Line]:
    """The lines of one VM for [since, until): its share of the bill before what concerns the whole project."""
    terms = prices.terms_of(vm.project, since, until)
    rows = rows_within(MeteringInterval.objects.filter(vm=vm), since, until)
    return next(lines_of(pieces_of(rows), tariff.parts(since, until), terms), [])


def preview(held: tuple[Holding, ...], zone: str, at: datetime, until: datetime, tariff: Tariff) -> list[Line]:
    """What it costs to hold this in a zone from `at` to `until` without a stop, before what a project has free."""
    piece = Piece("", zone, at, until, held)
    return next(lines_of([piece], tariff.parts(at, until), Terms()), [])


def total(lines: Iterable[Line]) -> Decimal:
    """The sum of lines."""
    return sum((line.amount for line in lines), ZERO.quantize(pricing.CENT))


__all__ = ["Bill", "Sort", "bill", "lines_of", "pieces_of", "preview", "rows_within", "total", "vm_lines"]
