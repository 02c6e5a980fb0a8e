"""What was used by day, rated by the invoices' own code with each day as a period of its own; repair beside it.

Amounts are at list price and rounded for each VM and day: charts, not claims. Invoices stay what they are derived from.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import chain
from typing import Final
from uuid import UUID

from lifecycle.billing import rating
from lifecycle.domain import pricing
from lifecycle.domain.pricing import ZERO, Item, Line, Piece, PriceBook, Tariff
from lifecycle.domain.states import State
from lifecycle.models import MeteringInterval, Project, Repair, RevenueDay
from lifecycle.services import prices, revenue

#: Days that are derived anew each time: a host that was silent moves the end of what was running.
DAYS_ANEW: Final = 7
#: Of a project that has no days yet.
DAYS_AT_FIRST: Final = 62

_Key = tuple[date, str, str]


def sum_up(now: datetime) -> int:
    """Derive the last days of every project, up to now; returns how many rows there are of them."""
    tariff = prices.tariff()
    known = set(RevenueDay.objects.order_by().values_list("project_id", flat=True).distinct())
    until = now.date() + timedelta(days=1)
    written = 0
    for project in Project.objects.order_by("pk").iterator():
        since = until - timedelta(days=DAYS_ANEW if project.pk in known else DAYS_AT_FIRST)
        written += revenue.replace(project, since, until, derive(project, since, until, now, tariff))
    return written


def derive(project: Project, since: date, until: date, now: datetime, tariff: Tariff) -> list[RevenueDay]:
    """The rows of the days [since, until); of the last day, what was used by `now`."""
    parts, days = _days(tariff, since, until, now)
    if not parts:
        return []
    rows = rating.rows_within(MeteringInterval.objects.filter(project=project), _start(since), min(now, _start(until)))
    sums: dict[_Key, tuple[Decimal, Decimal]] = defaultdict(lambda: (ZERO, ZERO))
    used = chain(rating.pieces_of(rows), rating.images(project, _start(since), min(now, _start(until))))
    for line in _lines(used, parts):
        _add(sums, (days[line.version], line.item, line.kind), line.amount, line.quantity)
    for line in _lines(rating.pieces_of(rows.filter(state=State.REPAIRING), as_if=State.RUNNING), parts):
        _add(sums, (days[line.version], Item.REPAIR, ""), line.amount, ZERO)
    return [
        RevenueDay(day=day, project=project, item=item, family=kind, amount=amount, quantity=round(quantity, 6))
        for (day, item, kind), (amount, quantity) in sorted(sums.items())
    ]


def _add(sums: dict[_Key, tuple[Decimal, Decimal]], key: _Key, amount: Decimal, quantity: Decimal) -> None:
    before = sums[key]
    sums[key] = before[0] + amount, before[1] + quantity


def _lines(pieces: Iterator[Piece], parts: rating.Parts) -> Iterator[Line]:
    """VM by VM and image by image: one is in memory at a time."""
    for mine in pricing.by_resource(pieces):
        yield from pricing.rate(mine, parts)


def _start(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)


def _days(
    tariff: Tariff, since: date, until: date, now: datetime
) -> tuple[list[tuple[PriceBook, int, int]], dict[int, date]]:
    """Each day as versions of their own, so that lines come by day; and which day each of them is."""
    parts: list[tuple[PriceBook, int, int]] = []
    days: dict[int, date] = {}
    for number in range((until - since).days):
        day = since + timedelta(days=number)
        begin, end = _start(day), min(now, _start(day + timedelta(days=1)))
        for book, start, stop in tariff.parts(begin, end) if begin < end else ():
            own = len(days) + 1
            days[own] = day
            parts.append((replace(book, version=own), start, stop))
    return parts, days


# -- repairs beside their cost -------------------------------------------------------------------


@dataclass(slots=True)
class Forgone:
    """Repairs of one host and cause: how many, how long in all, and what that time would have cost."""

    host: str
    cause: str
    repairs: int = 0
    hours: Decimal = ZERO
    amount: Decimal = ZERO


def by_cause(now: datetime) -> list[Forgone]:
    """Of the charts' window, dearest first: three queries and the prices'. In memory are the repairs of the window."""
    since = _start(revenue.first_day(now))
    parts = prices.tariff().parts(since, now)
    repairs: dict[UUID, list[tuple[datetime, str, str]]] = defaultdict(list)
    found: dict[tuple[str, str], Forgone] = {}
    rows = Repair.objects.exclude(closed_at__lt=since).order_by("opened_at", "pk")
    for vm_id, opened, host, cause in rows.values_list("vm_id", "opened_at", "host__name", "cause").iterator():
        key = (host or "–", cause)
        repairs[vm_id].append((opened, *key))
        found.setdefault(key, Forgone(*key)).repairs += 1
    stays = rating.rows_within(MeteringInterval.objects.filter(state=State.REPAIRING), since, now)
    for piece in rating.pieces_of(stays, as_if=State.RUNNING) if parts else ():
        mine = repairs.get(UUID(piece.resource), [])
        at = bisect_right(mine, piece.started_at, key=lambda repair: repair[0]) - 1
        if at >= 0:
            row = found[mine[at][1:]]
            row.amount += rating.total(pricing.rate([piece], parts))
            row.hours += _hours(piece, since, now)
    return sorted(found.values(), key=lambda row: (-row.amount, row.host, row.cause))


def _hours(piece: Piece, since: datetime, now: datetime) -> Decimal:
    length = min(piece.ended_at or now, now) - max(piece.started_at, since)
    return Decimal(round(length.total_seconds())) / 3600
