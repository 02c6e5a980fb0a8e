"""Looking before leaping: what a price list would have changed last month, and what a run of invoices would do."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from lifecycle.billing import invoices
from lifecycle.domain.periods import Month
from lifecycle.domain.pricing import CENT, ZERO, Line
from lifecycle.models import Invoice, PriceList, Project
from lifecycle.services import prices


@dataclass(frozen=True, slots=True)
class Effect:
    """A project's last month at the prices that applied, and at others."""

    project: Project
    month: Month
    before: Decimal
    after: Decimal

    @property
    def change(self) -> Decimal:
        """How much more it would have been."""
        return self.after - self.before


def of_price_list(price_list: PriceList, now: datetime) -> Iterator[Effect]:
    """Project by project; those with neither are left out."""
    tariff, other = prices.tariff(), prices.tariff(instead=price_list)
    for project in Project.objects.order_by("slug").iterator():
        month = Month.of(now, prices.account_of(project).zone).before
        before = net(invoices.derive(project, month, tariff=tariff).lines)
        after = net(invoices.derive(project, month, tariff=other).lines)
        if before or after:
            yield Effect(project, month, before, after)


def net(lines: object) -> Decimal:
    """The sum of lines."""
    found: list[Line] = list(lines)  # type: ignore[call-overload]
    return sum((line.amount for line in found), ZERO.quantize(CENT))


@dataclass(frozen=True, slots=True)
class Step:
    """What a run would do with a project's month. `kept` is the net of the draft there is; None: there is none."""

    project: Project
    month: Month
    kept: Decimal | None
    derived: Decimal
    would_issue: bool

    @property
    def differs(self) -> bool:
        """Whether the draft would be written anew."""
        return self.kept != self.derived


def of_run(now: datetime) -> Iterator[Step]:
    """The steps of a run, in its order; nothing is written."""
    seller = prices.seller()
    for project in Project.objects.order_by("pk").iterator():
        kept = dict(Invoice.objects.filter(project=project, status="draft").values_list("month", "net"))
        for month in invoices.months_to_do(project, now):
            found = invoices.derive(project, month)
            if found.lines or str(month) in kept:
                old = bool(seller and found.lines and found.until + timedelta(days=seller.issue_after_days) <= now)
                yield Step(project, month, kept.get(str(month)), net(found.lines), old)
