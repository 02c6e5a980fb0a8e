"""Rating, pure: what a resource held, from when to when, times dated rates, is lines of a bill.

The one rule of rounding: a line's amount is its exact quantity times its exact rate, rounded once, half to even, to
the cent. Totals are sums of rounded lines and are never rounded again, so that lines sum to their total by
construction. Quantities are summed as whole microseconds times whole units, which is exact.

A rate is a price per unit and second. An interval that a new version of the price list falls into is cut there.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Final

from lifecycle.domain.metering import MEMORY_AT_STORAGE_RATE, UNBILLED_REPAIR, Shape
from lifecycle.domain.states import MEMORY_BILLED, STORAGE_BILLED, VCPU_BILLED, State

CENT: Final = Decimal("0.01")
ZERO: Final = Decimal(0)
#: What money is calculated in: no step of a bill comes near so many digits.
EXACT: Final = Context(prec=60, rounding=ROUND_HALF_EVEN)
#: A month of a price that is shown, in hours.
MONTH_HOURS: Final = 730

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_MICROSECONDS: Final = 1_000_000


class Item(StrEnum):
    """What is metered and sold."""

    VCPU = "vcpu"
    MEMORY = "memory"
    SUSPENDED_MEMORY = "suspended_memory"
    DISK = "disk"
    ADDRESS = "address"
    IMAGE = "image"
    REPAIR = "repair"  # metered, never sold: the time in which nothing of a VM is billed


#: Units as they are metered that make one unit as it is priced: memory and images are metered in MiB and priced by GiB.
UNITS: Final = {Item.MEMORY: 1024, Item.SUSPENDED_MEMORY: 1024, Item.IMAGE: 1024}

#: What a commitment may cover and sustained use may make cheaper.
COMPUTE: Final = frozenset({Item.VCPU, Item.MEMORY})

#: The one type of disk and of address there is.
DISK_TYPE: Final = "standard"
ADDRESS_TYPE: Final = "internal"


class Sort(StrEnum):
    """What kind of line it is; a bill lists them in this order, resource by resource for the first three."""

    USAGE = "usage"
    REPAIR = "repair"
    SUSTAINED = "sustained"
    SLA = "sla"
    FREE = "free"
    COMMITTED = "committed"
    COMMITMENT = "commitment"
    DISCOUNT = "discount"
    CREDIT = "credit"
    CORRECTION = "correction"  # of a credit note


# -- prices --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Price:
    """What one unit of an item costs a second.

    Attributes:
        kind: the machine family, the type of disk or of address; empty: any.
        zone: empty: any. Of several prices that fit, the one that names more is taken; kind goes before zone.
        free_hours: unit-hours a month that each project has free.
    """

    item: Item
    per_second: Decimal
    kind: str = ""
    zone: str = ""
    free_hours: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class Tier:
    """From `above` (0 to 1) on, `percent`; of an SLA: below `above`, `percent` of the VM's charges come back."""

    above: Decimal
    percent: Decimal


@dataclass(frozen=True)
class PriceBook:
    """One version of the price list. It applies from `valid_from` until the next version does."""

    version: int
    currency: str
    valid_from: datetime
    prices: tuple[Price, ...]
    sustained: tuple[Tier, ...] = ()
    sla: tuple[Tier, ...] = ()
    _found: dict[tuple[Item, str, str], Price | None] = field(default_factory=dict, compare=False, repr=False)

    def price(self, item: Item, kind: str, zone: str) -> Price | None:
        """The price that fits best; None: the item is not sold."""
        key = (item, kind, zone)
        if key not in self._found:
            fitting = [p for p in self.prices if p.item == item and p.kind in {"", kind} and p.zone in {"", zone}]
            self._found[key] = max(fitting, key=lambda p: (bool(p.kind), bool(p.zone)), default=None)
        return self._found[key]


@dataclass(frozen=True)
class Tariff:
    """All versions in the order in which they apply. Before the first nothing is sold."""

    books: tuple[PriceBook, ...]

    @property
    def currency(self) -> str:
        """The currency of all versions; empty without any."""
        return self.books[0].currency if self.books else ""

    def at(self, moment: datetime) -> PriceBook | None:
        """The version that applies at `moment`."""
        return next((book for book in reversed(self.books) if book.valid_from <= moment), None)

    def parts(self, since: datetime, until: datetime) -> list[tuple[PriceBook, int, int]]:
        """Each version with the part of [since, until) in which it applies, in microseconds of the epoch."""
        found = []
        for index, book in enumerate(self.books):
            start = max(since, book.valid_from)
            after = self.books[index + 1].valid_from if index + 1 < len(self.books) else until
            if start < min(until, after):
                found.append((book, microseconds(start), microseconds(min(until, after))))
        return found


def microseconds(moment: datetime) -> int:
    """Whole microseconds of the epoch: what lengths are counted in, whatever the clocks on the wall do."""
    return (moment - _EPOCH) // _MICROSECOND


# -- what is held --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Holding:
    """So many units of an item, as they are metered."""

    item: Item
    kind: str
    units: int


@dataclass(frozen=True, slots=True)
class Piece:
    """What one resource held from when to when; without end: it still does."""

    resource: str
    zone: str
    started_at: datetime
    ended_at: datetime | None
    holds: tuple[Holding, ...]


@lru_cache(maxsize=10_000)
def held(state: State, shape: Shape) -> tuple[Holding, ...]:
    """What of a VM is billed in `state`: LIFECYCLE's table. In REPAIRING there is the time of repair alone."""
    if state in UNBILLED_REPAIR:
        return (Holding(Item.REPAIR, "", 1),)
    found = []
    if state in VCPU_BILLED:
        found.append(Holding(Item.VCPU, shape.family, shape.vcpus))
    if state in MEMORY_BILLED:
        on_disk = state in MEMORY_AT_STORAGE_RATE
        item, kind = (Item.SUSPENDED_MEMORY, "") if on_disk else (Item.MEMORY, shape.family)
        found.append(Holding(item, kind, shape.memory_mib))
    if state in STORAGE_BILLED:
        found += [Holding(Item.DISK, DISK_TYPE, shape.disk_gib), Holding(Item.ADDRESS, ADDRESS_TYPE, 1)]
    return tuple(found)


def kept(size_mib: int) -> tuple[Holding, ...]:
    """What of an image is billed as long as it is there, offered or not. It belongs to no zone."""
    return (Holding(Item.IMAGE, "", size_mib),)


#: How a line names an image; a VM is named by its id.
_IMAGE: Final = "image-"


def image_resource(number: int) -> str:
    """The resource of an image by the number of its row."""
    return f"{_IMAGE}{number}"


def image_of(resource: str) -> int | None:
    """The number behind `image_resource`; None: it is no image."""
    number = resource.removeprefix(_IMAGE)
    return int(number) if number != resource else None


# -- lines ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a bill.

    Attributes:
        resource: the id of what it is about; empty: the project.
        quantity: unit-seconds, in units as they are priced.
        rate: per unit and second; of a percentage: the percent.
        reference: what else it goes back to: a repair, a credit, a commitment.
    """

    sort: Sort
    amount: Decimal
    resource: str = ""
    item: str = ""
    kind: str = ""
    zone: str = ""
    version: int = 0
    quantity: Decimal = ZERO
    rate: Decimal = ZERO
    reference: str = ""

    @property
    def hours(self) -> Decimal:
        """The quantity in unit-hours, as people read it."""
        return self.quantity / 3600


def rounded(amount: Decimal) -> Decimal:
    """To the cent, half to even: the only place where money is rounded."""
    found = amount.quantize(CENT, ROUND_HALF_EVEN, EXACT)
    return found if found else abs(found)  # no "-0.00"


def amount_of(quantity: Decimal, rate: Decimal) -> Decimal:
    """`quantity` unit-seconds at `rate`, rounded."""
    return rounded(EXACT.multiply(quantity, rate))


_Key = tuple[Item, str, str, int]


def rate(pieces: Iterable[Piece], parts: Sequence[tuple[PriceBook, int, int]]) -> list[Line]:
    """The lines of ONE resource within `parts` (`Tariff.parts`): one for each item, kind, zone and version.

    A piece that lasts is counted to the end. What has no price is not sold and has no line; repair has a line of
    zero, which tells its time.
    """
    if not parts:
        return []
    resource = ""
    first, last = parts[0][1], parts[-1][2]
    counted: dict[_Key, int] = {}
    books = {book.version: book for book, _start, _end in parts}
    for piece in pieces:
        resource = piece.resource
        start = max(first, microseconds(piece.started_at))
        end = min(last, microseconds(piece.ended_at)) if piece.ended_at else last
        for book, since, until in parts if start < end else ():
            length = min(end, until) - max(start, since)
            if length <= 0:
                continue
            for each in piece.holds:
                key = (each.item, each.kind, piece.zone, book.version)
                counted[key] = counted.get(key, 0) + length * each.units
    found = (_line(resource, key, count, books[key[3]]) for key, count in counted.items())
    return sorted((line for line in found if line), key=_order)


_ITEMS: Final = {item: number for number, item in enumerate(Item)}


def _order(line: Line) -> tuple[int, str, str, int]:
    return (_ITEMS[Item(line.item)], line.kind, line.zone, line.version)


def quantity_of(item: Item, counted: int) -> Decimal:
    """Unit-seconds as they are priced, of `counted` units as they are metered times microseconds: exact."""
    return EXACT.divide(Decimal(counted), Decimal(UNITS.get(item, 1) * _MICROSECONDS))


def _line(resource: str, key: _Key, counted: int, book: PriceBook) -> Line | None:
    item, kind, zone, version = key
    quantity = quantity_of(item, counted)
    if item is Item.REPAIR:
        return Line(Sort.REPAIR, ZERO.quantize(CENT), resource, item, kind, zone, version, quantity)
    price = book.price(item, kind, zone)
    if price is None or not price.per_second or not counted:
        return None
    amount = amount_of(quantity, price.per_second)
    return Line(Sort.USAGE, amount, resource, item, kind, zone, version, quantity, price.per_second)


def by_resource(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    """The pieces of one resource at a time; they come resource by resource. One resource is held at once."""
    mine: list[Piece] = []
    for piece in pieces:
        if mine and mine[0].resource != piece.resource:
            yield mine
            mine = []
        mine.append(piece)
    if mine:
        yield mine
