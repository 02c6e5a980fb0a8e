"""Looking before leaping: what a price list would have changed last month, and what a run of invoices would do."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from lifecycle.billing import invoices
from lifecycle.billing.words import AnyLine
from lifecycle.domain import pricing
from lifecycle.domain.periods import Month
from lifecycle.domain.pricing import CENT, ZERO, Line
from lifecycle.models import Invoice, InvoiceLine, PriceList, Project
from lifecycle.services import invoices as service
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
class Changed:
    """A line that would be another, with its amounts; None: there it is not. `line` says what it is."""

    line: AnyLine
    name: str
    before: Decimal | None
    after: Decimal | None


@dataclass(frozen=True, slots=True)
class Step:
    """What a run would do with a project's month. `kept` is the net of the draft there is; None: there is none.

    `changes` are the lines in which that draft and the month as it is derived now differ.
    """

    project: Project
    month: Month
    kept: Decimal | None
    derived: Decimal
    would_issue: bool
    differs: bool
    changes: tuple[Changed, ...] = ()


def of_run(now: datetime) -> Iterator[Step]:
    """The steps of a run, in its order; nothing is written."""
    seller = prices.seller()
    for project in Project.objects.order_by("pk").iterator():
        drafts = {row.month: row for row in Invoice.objects.filter(project=project, status=Invoice.Status.DRAFT)}
        for month in invoices.months_to_do(project, now):
            found, kept = invoices.derive(project, month), drafts.get(str(month))
            if not found.lines and kept is None:
                continue
            old = bool(seller and found.lines and found.until + timedelta(days=seller.issue_after_days) <= now)
            differs = kept is None or kept.digest != service.digest_of(project, found)
            changes = tuple(_changes(kept, found.lines)) if kept and differs else ()
            yield Step(project, month, kept.net if kept else None, net(found.lines), old, differs, changes)


_Key = tuple[str, ...]


def _changes(kept: Invoice, lines: Sequence[Line]) -> Iterator[Changed]:
    """In the order of what is derived, and then what is gone."""
    before = {_key_of_row(row): row for row in kept.lines.order_by("position")}
    names = service.names_of(kept.project, lines)
    for line in lines:
        old = before.pop(_key(line, line.resource), None)
        if old is None or (old.amount, Decimal(old.quantity), old.rate) != (line.amount, line.quantity, line.rate):
            yield Changed(line, names.get(line.resource, ""), old.amount if old else None, line.amount)
    for row in before.values():
        yield Changed(row, row.name, row.amount, None)


def _key(line: AnyLine, resource: str) -> _Key:
    return (line.sort, resource, line.item, line.kind, line.zone, str(line.version), line.reference[:300])


def _key_of_row(row: InvoiceLine) -> _Key:
    image = pricing.image_resource(row.image_id) if row.image_id else ""
    return _key(row, str(row.vm_id) if row.vm_id else image)
