"""What is taken off a bill, pure: sustained and committed use, free tier, the project's discount, credits.

In this order, each a line of its own, rounded once (`pricing.rounded`): sustained use, VM by VM; the credit of the
SLA, VM by VM (`domain.sla`); the free tier; commitments; the project's discount in percent of what then is left; and
credits, up to what then is left. A bill is never below zero.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from lifecycle.domain.pricing import (
    COMPUTE,
    EXACT,
    ZERO,
    Item,
    Line,
    Price,
    PriceBook,
    Sort,
    Tariff,
    Tier,
    amount_of,
    microseconds,
    rounded,
)

_HUNDRED = Decimal(100)

#: What is sold: item, kind, zone, version, rate; and how many unit-seconds of it.
_Key = tuple[str, str, str, int, Decimal]
_Sold = dict[_Key, Decimal]


@dataclass(frozen=True, slots=True)
class Commitment:
    """Units of an item that a project pays for from when to when, used or not, `percent` cheaper. Memory in GiB."""

    id: str
    item: Item
    kind: str
    units: Decimal
    percent: Decimal
    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Credit:
    """Money that a project has with the operator."""

    id: str
    left: Decimal


@dataclass(frozen=True, slots=True)
class Terms:
    """What was agreed with one project."""

    discount_percent: Decimal = ZERO
    commitments: tuple[Commitment, ...] = ()
    credits: tuple[Credit, ...] = ()

    def commits(self, line: Line) -> bool:
        """Whether what the line sells is under a commitment, which is why it earns no sustained-use discount."""
        return any(c.item == line.item and c.kind == line.kind for c in self.commitments)


@dataclass(slots=True)
class Totals:
    """What the discounts of a whole project need of its lines: sums by what is sold. Small however long the bill."""

    sold: _Sold = field(default_factory=dict)
    amount: Decimal = ZERO

    def add(self, line: Line) -> None:
        """Count a line."""
        self.amount += line.amount
        if line.sort is Sort.USAGE:
            key = (line.item, line.kind, line.zone, line.version, line.rate)
            self.sold[key] = EXACT.add(self.sold.get(key, ZERO), line.quantity)


def sustained(
    lines: Sequence[Line], parts: Sequence[tuple[PriceBook, int, int]], units: Mapping[str, Decimal], terms: Terms
) -> list[Line]:
    """The sustained-use discount of one VM, one line an item: the longer it used it in the period, the cheaper.

    Args:
        units: the most units of an item that the VM had in the period: all of them all the time is a share of 1.
    """
    if not parts or not parts[-1][0].sustained:
        return []
    length = Decimal(parts[-1][2] - parts[0][1]) / 1_000_000
    found = []
    for item in sorted(COMPUTE):
        mine = [line for line in lines if line.sort is Sort.USAGE and line.item == item and not terms.commits(line)]
        used = sum((line.quantity for line in mine), ZERO)
        if not used or not units.get(item):
            continue
        share = min(Decimal(1), EXACT.divide(used, length * units[item]))
        percent = effective_percent(share, parts[-1][0].sustained)
        cost = sum((EXACT.multiply(line.quantity, line.rate) for line in mine), ZERO)
        amount = min(rounded(EXACT.multiply(cost, percent) / _HUNDRED), sum((line.amount for line in mine), ZERO))
        if amount > 0:
            found.append(Line(Sort.SUSTAINED, -amount, mine[0].resource, item, quantity=used, rate=percent))
    return found


def effective_percent(share: Decimal, tiers: Iterable[Tier]) -> Decimal:
    """The discount on the whole of a use that lasted `share` of the period: each tier makes the part above it cheaper.

    To six digits, which is what a line shows.
    """
    if not share:
        return ZERO
    steps = sorted(tiers, key=lambda tier: tier.above)
    total = ZERO
    for index, tier in enumerate(steps):
        top = steps[index + 1].above if index + 1 < len(steps) else Decimal(1)
        total += max(ZERO, min(share, top) - tier.above) * tier.percent
    return EXACT.divide(total, share).quantize(Decimal("0.000001"))


def of_project(totals: Totals, tariff: Tariff, terms: Terms, since: datetime, until: datetime) -> list[Line]:
    """Free tier, commitments, the project's discount and credits, of a period's totals."""
    sold = dict(totals.sold)
    found = _free(sold, totals.amount, tariff, since, until)
    left = totals.amount + sum((line.amount for line in found), ZERO)
    found += _commitments(sold, left, tariff, terms, since, until)
    left = totals.amount + sum((line.amount for line in found), ZERO)
    if terms.discount_percent and left > 0:
        amount = rounded(EXACT.multiply(left, terms.discount_percent) / _HUNDRED)
        if amount:
            found.append(Line(Sort.DISCOUNT, -amount, rate=terms.discount_percent))
            left -= amount
    for credit in terms.credits:
        used = min(credit.left, max(left, ZERO))
        if used > 0:
            found.append(Line(Sort.CREDIT, -used, reference=credit.id))
            left -= used
    return found


def _free(sold: _Sold, most: Decimal, tariff: Tariff, since: datetime, until: datetime) -> list[Line]:
    """Each price's free unit-hours, in proportion to the part of the period in which its version applied.

    What is free is taken out of `sold`, so that no commitment covers it again; it takes off `most` at most.
    """
    whole = Decimal(microseconds(until) - microseconds(since))
    found = []
    for book, start, end in tariff.parts(since, until):
        for price in (price for price in book.prices if price.free_hours):
            free = EXACT.divide(price.free_hours * 3600 * (end - start), whole)
            taken = _take(sold, free, [key for key in sorted(sold) if _is_at(key, book, price)])
            quantity = sum((part for _key, part in taken), ZERO)
            amount = min(amount_of(quantity, price.per_second), most)
            if amount > 0:
                most -= amount
                line = Line(Sort.FREE, -amount, "", price.item, price.kind, price.zone, book.version)
                found.append(replace(line, quantity=quantity, rate=price.per_second))
    return found


def _is_at(key: _Key, book: PriceBook, price: Price) -> bool:
    item, kind, zone, version, _rate = key
    return version == book.version and item == price.item and book.price(price.item, kind, zone) is price


def _commitments(
    sold: _Sold, most: Decimal, tariff: Tariff, terms: Terms, since: datetime, until: datetime
) -> list[Line]:
    """A commitment is paid for all its time in the period; use up to it is taken off, dearest first, `most` at most."""
    found: list[Line] = []
    for each in terms.commitments:
        promised, cost = _promised(each, tariff, max(since, each.starts_at), min(until, each.ends_at))
        if not promised:
            continue
        line = Line(Sort.COMMITMENT, cost, "", each.item, each.kind, reference=each.id)
        found.append(replace(line, quantity=promised, rate=each.percent))
        mine = [key for key in sorted(sold, key=lambda k: (-k[4], k)) if key[0] == each.item and key[1] == each.kind]
        for key, taken in _take(sold, promised, mine):
            item, kind, zone, version, rate = key
            amount = min(amount_of(taken, rate), most)
            most -= amount
            found.append(Line(Sort.COMMITTED, -amount, "", item, kind, zone, version, taken, rate, each.id))
    return found


def _promised(each: Commitment, tariff: Tariff, start: datetime, end: datetime) -> tuple[Decimal, Decimal]:
    """Unit-seconds that were promised within [start, end), and what they cost."""
    promised, cost = ZERO, ZERO
    for book, begin, stop in tariff.parts(start, end) if start < end else ():
        quantity = EXACT.multiply(each.units, Decimal(stop - begin) / 1_000_000)
        price = book.price(each.item, each.kind, "")
        promised += quantity
        cost += EXACT.multiply(quantity, price.per_second) if price else ZERO
    return promised, rounded(EXACT.multiply(cost, _HUNDRED - each.percent) / _HUNDRED)


def _take(sold: _Sold, most: Decimal, keys: Iterable[_Key]) -> list[tuple[_Key, Decimal]]:
    """Up to `most` out of `sold`, key by key; what was taken of each."""
    found = []
    for key in keys:
        part = min(most, sold[key])
        if part > 0:
            sold[key] -= part
            most -= part
            found.append((key, part))
    return found
