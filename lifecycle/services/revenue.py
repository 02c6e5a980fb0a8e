"""Revenue by day: written anew by a timer as late facts come in, and read by operators. Sums are the database's."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.db.models import QuerySet, Sum

from lifecycle.domain.pricing import Item, Sort, rounded
from lifecycle.models import Credit, CreditUse, InvoiceLine, Project, RevenueDay
from lifecycle.services.db import lock_project, service

#: How far back the charts look.
DAYS: Final = 31
PROJECTS_SHOWN: Final = 10
MONTHS_SHOWN: Final = 6
#: What is taken off an invoice, as the charts group it.
GIVEN: Final = (Sort.SLA, Sort.CREDIT, Sort.SUSTAINED, Sort.COMMITTED, Sort.FREE, Sort.DISCOUNT)


@service
def replace(project: Project, since: date, until: date, rows: Iterable[RevenueDay]) -> int:
    """The days [since, until) of a project are these rows; returns how many."""
    project = lock_project(project.pk)
    RevenueDay.objects.filter(project=project, day__gte=since, day__lt=until).delete()
    return len(RevenueDay.objects.bulk_create(rows, batch_size=500))


def rows_since(since: date) -> QuerySet[RevenueDay]:
    """All that is known from `since` on."""
    return RevenueDay.objects.filter(day__gte=since)


@dataclass(frozen=True, slots=True)
class Day:
    """One day of the installation: billed at list price, and the repair beside it."""

    day: date
    amount: Decimal
    repair_hours: Decimal
    forgone: Decimal


@dataclass(frozen=True, slots=True)
class Share:
    """What of the revenue is of one project or family."""

    name: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Given:
    """What the invoices of a month took off, by kind."""

    month: str
    amounts: dict[str, Decimal]

    @property
    def total(self) -> Decimal:
        """All of it."""
        return sum(self.amounts.values(), Decimal(0))


def first_day(now: datetime) -> date:
    """Where the charts begin."""
    return now.date() - timedelta(days=DAYS - 1)


def by_day(now: datetime) -> list[Day]:
    """Each day of the window, those without anything too: one query."""
    since = first_day(now)
    sums: dict[tuple[date, bool], tuple[Decimal, Decimal]] = {}
    for row in _sums(rows_since(since), "day", "item"):
        key = (row["day"], row["item"] == Item.REPAIR)
        amount, quantity = sums.get(key, (Decimal(0), Decimal(0)))
        sums[key] = amount + row["sum"], quantity + row["units"]
    nothing = (Decimal(0), Decimal(0))
    days = (since + timedelta(days=number) for number in range(DAYS))
    return [
        Day(
            day,
            rounded(sums.get((day, False), nothing)[0]),
            sums.get((day, True), nothing)[1] / 3600,
            rounded(sums.get((day, True), nothing)[0]),
        )
        for day in days
    ]


def by_project(now: datetime) -> list[Share]:
    """The projects that used most: one query."""
    rows = _sums(_billed(now), "project__slug").order_by("-sum", "project__slug")[:PROJECTS_SHOWN]
    return [Share(row["project__slug"], rounded(row["sum"])) for row in rows]


def by_family(now: datetime) -> list[Share]:
    """vCPUs and memory by machine family: one query."""
    rows = _sums(_billed(now).filter(item__in=[Item.VCPU, Item.MEMORY]), "family").order_by("-sum", "family")
    return [Share(row["family"] or "–", rounded(row["sum"])) for row in rows]


def _billed(now: datetime) -> QuerySet[RevenueDay]:
    return rows_since(first_day(now)).exclude(item=Item.REPAIR)


def _sums(rows: QuerySet[RevenueDay], *names: str) -> Any:
    return rows.order_by().values(*names).annotate(sum=Sum("amount"), units=Sum("quantity"))


def given() -> list[Given]:
    """What issued invoices took off, the latest months first: one query."""
    lines = InvoiceLine.objects.filter(invoice__status="issued", invoice__kind="invoice", sort__in=GIVEN)
    rows = lines.order_by().values("invoice__month", "sort").annotate(sum=Sum("amount")).order_by("-invoice__month")
    months: dict[str, dict[str, Decimal]] = {}
    for row in rows[: MONTHS_SHOWN * len(GIVEN)]:
        months.setdefault(row["invoice__month"], {})[row["sort"]] = -rounded(row["sum"])
    return [Given(month, amounts) for month, amounts in list(months.items())[:MONTHS_SHOWN]]


def credits_open(now: datetime) -> Decimal:
    """What projects have in credits that no invoice has taken and that have not expired: two queries."""
    rows = Credit.objects.exclude(expires_at__lte=now)
    granted = rows.aggregate(all=Sum("amount"))["all"] or Decimal(0)
    used = CreditUse.objects.filter(credit__in=rows).aggregate(all=Sum("amount"))["all"] or Decimal(0)
    return rounded(Decimal(granted) - Decimal(used))
