"""From a month to an invoice: derived, drafted, issued. Run by a timer and by operators, as often as they like."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.utils import timezone

from lifecycle.billing import rating
from lifecycle.domain.errors import DomainError, NotFound
from lifecycle.domain.periods import Month
from lifecycle.domain.pricing import Tariff
from lifecycle.models import Invoice, MeteringInterval, Project
from lifecycle.services import image_metering, invoices, prices
from lifecycle.services.invoices import Draft

log = logging.getLogger(__name__)

#: Months that a run looks back at: what was missed for longer is derived by hand.
MONTHS_MOST = 24


def bounds(project: Project, month: Month) -> tuple[datetime, datetime]:
    """[start, end) of the project's month in its time zone.

    A month begins where the one invoiced before it ended: a project that changes its time zone pays no hour twice,
    and none is forgotten.
    """
    start, end = month.bounds(prices.account_of(project).zone)
    before = Invoice.objects.filter(
        project=project, month=str(month.before), kind=Invoice.Kind.INVOICE, status=Invoice.Status.ISSUED
    ).first()
    return (before.period_end if before else start), end


def derive(project: Project, month: Month, *, tariff: Tariff | None = None) -> Draft:
    """The month as it is derived now; nothing is written."""
    since, until = bounds(project, month)
    bill = rating.bill(project, since, until, tariff=tariff)
    return Draft(str(month), since, until, bill.currency, bill.lines, bill.canonical())


def draft(project: Project, month: Month) -> Invoice | None:
    """The draft of the month, derived anew; an issued invoice as it is; None when there is nothing to bill."""
    return invoices.write_draft(project, derive(project, month))


def issue(project: Project, month: Month) -> Invoice:
    """Derive the month once more and issue it.

    Raises:
        NotFound: there is nothing to bill.
        StateConflict, InvalidInput: as `services.invoices.issue`.
    """
    made = draft(project, month)
    if made is None:
        raise NotFound("There is nothing to bill for this month.")
    return invoices.issue(made, made.digest)


# -- the run -------------------------------------------------------------------------------------


@dataclass(slots=True)
class Run:
    """What a run did, or would do: project and month of each."""

    drafted: list[Invoice] = field(default_factory=list)
    issued: list[Invoice] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def months_to_do(project: Project, now: datetime) -> Iterator[Month]:
    """The months that are over, not issued, and in which something was metered and sold."""
    zone = prices.account_of(project).zone
    rows = MeteringInterval.objects.filter(project=project).order_by("started_at")
    firsts = [rows.values_list("started_at", flat=True).first(), image_metering.first_at(project.pk)]
    first = min(filter(None, firsts), default=None)
    tariff = prices.tariff()
    if first is None or not tariff.books:
        return
    done = set(
        Invoice.objects.filter(project=project, kind=Invoice.Kind.INVOICE, status=Invoice.Status.ISSUED).values_list(
            "month", flat=True
        )
    )
    month = Month.of(max(first, tariff.books[0].valid_from), zone)
    last = Month.of(now, zone).before
    found = []
    while month <= last:
        if str(month) not in done:
            found.append(month)
        month = month.next
    yield from found[-MONTHS_MOST:]


def run(now: datetime | None = None) -> Run:
    """Draft every month that is over, and issue what is old enough. One project's trouble stops no other."""
    now = now or timezone.now()
    result = Run()
    seller = prices.seller()
    for project in Project.objects.order_by("pk").iterator():
        for month in months_to_do(project, now):
            try:
                made = draft(project, month)
                if made is None:
                    continue
                result.drafted.append(made)
                if seller and made.period_end + timedelta(days=seller.issue_after_days) <= now:
                    result.issued.append(invoices.issue(made, made.digest))
            except DomainError as error:
                log.warning("the bill of %s for %s: %s", project, month, error.text)
                result.refused.append(f"{project} {month}: {error.text}")
    return result
