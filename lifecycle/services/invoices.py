"""Invoices: drafts written anew while they may change; issued, numbered without gaps and fixed; corrected and paid."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import F, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from lifecycle.domain import pricing
from lifecycle.domain.errors import InvalidInput, StateConflict
from lifecycle.domain.pricing import CENT, ZERO, Line, Sort, rounded
from lifecycle.domain.taxes import Tax, tax_of
from lifecycle.models import (
    VM,
    BillingAccount,
    Credit,
    CreditUse,
    Image,
    Invoice,
    InvoiceLine,
    Numbering,
    Payment,
    Project,
    Reminder,
    Seller,
    User,
)
from lifecycle.services import prices
from lifecycle.services.db import lock_project, service

LINES_AT_ONCE: Final = 500
#: Days after the due date from which on an unpaid invoice is at a level of dunning.
DUNNING_DAYS: Final = ((3, 28), (2, 14), (1, 1))


@dataclass(frozen=True, slots=True)
class Draft:
    """A month as it was derived. `canonical` is the bill as bytes."""

    month: str
    since: datetime
    until: datetime
    currency: str
    lines: Sequence[Line]
    canonical: bytes


@service
def write_draft(project: Project, draft: Draft) -> Invoice | None:
    """Make the project's draft of the month what was derived; one that says the same already is left alone.

    Returns None when there is nothing to bill: such a draft goes away. An issued invoice is returned as it is.
    """
    project = lock_project(project.pk)
    row = Invoice.objects.filter(project=project, month=draft.month, kind=Invoice.Kind.INVOICE).first()
    if row and not row.is_draft:
        return row
    if not draft.lines:
        _remove(row)
        return None
    head = _head(project, draft)
    digest = _digest(draft, head)
    if row and row.digest == digest:
        return row
    _remove(row)
    made = Invoice.objects.create(project=project, month=draft.month, digest=digest, **head)
    _write_lines(made, draft.lines)
    return made


def digest_of(project: Project, draft: Draft) -> str:
    """What the draft's digest would be: by it an unchanged month is known, whatever its sum."""
    return _digest(draft, _head(project, draft))


def _digest(draft: Draft, head: dict[str, Any]) -> str:
    return hashlib.sha256(draft.canonical + json.dumps(head, sort_keys=True, default=str).encode()).hexdigest()


def _remove(row: Invoice | None) -> None:
    if row:
        row.lines.all().delete()
        row.delete()


def _head(project: Project, draft: Draft) -> dict[str, Any]:
    """What the document says beside its lines."""
    account, seller = prices.account_of(project), prices.seller()
    net = sum((line.amount for line in draft.lines), ZERO.quantize(CENT))
    tax = _tax(account, seller, draft.until)
    amount = tax.on(net)
    return {
        "period_start": draft.since,
        "period_end": draft.until,
        "time_zone": account.time_zone,
        "currency": draft.currency,
        "language": account.language,
        "seller": _seller(seller),
        "customer": _customer(account),
        "net": net,
        "tax_percent": tax.percent,
        "reverse_charge": tax.reverse_charge,
        "tax": amount,
        "total": net + amount,
    }


def _tax(account: BillingAccount, seller: Seller | None, at: datetime) -> Tax:
    if seller is None:
        return Tax()
    return tax_of(seller.country, account.country, account.tax_id, prices.tax_rates(at))


def _seller(row: Seller | None) -> dict[str, str]:
    names = ("name", "address", "country", "tax_id", "payment_note")
    return {name: getattr(row, name) for name in names} if row else {}


def _customer(row: BillingAccount) -> dict[str, str]:
    found = {name: getattr(row, name) for name in ("name", "address", "country", "tax_id", "email")}
    return {**found, "project": row.project.slug}


def _write_lines(invoice: Invoice, lines: Sequence[Line]) -> None:
    names = names_of(invoice.project, lines)
    rows = [_line(invoice, number, line, names) for number, line in enumerate(lines, 1)]
    InvoiceLine.objects.bulk_create(rows, batch_size=LINES_AT_ONCE)


def names_of(project: Project, lines: Iterable[Line]) -> dict[str, str]:
    """Resource -> what the VM or image of a line is called: two queries."""
    resources = {line.resource for line in lines if line.resource}
    numbers = {key: pricing.image_of(key) for key in resources}
    vms = VM.objects.filter(project=project, pk__in=[UUID(key) for key in resources if numbers[key] is None])
    images = Image.objects.filter(project=project, pk__in=[n for n in numbers.values() if n is not None])
    names = {str(pk): name for pk, name in vms.values_list("pk", "name")}
    return names | {pricing.image_resource(pk): name for pk, name in images.values_list("pk", "name")}


def _line(invoice: Invoice, position: int, line: Line, names: dict[str, str]) -> InvoiceLine:
    image_id = pricing.image_of(line.resource)
    return InvoiceLine(
        invoice=invoice,
        position=position,
        sort=line.sort,
        vm_id=UUID(line.resource) if line.resource and image_id is None else None,
        image_id=image_id,
        name=names.get(line.resource, ""),
        item=line.item,
        kind=line.kind,
        zone=line.zone,
        version=line.version,
        quantity=f"{line.quantity:f}",
        rate=line.rate,
        amount=line.amount,
        reference=line.reference[:300],
    )


# -- issuing -------------------------------------------------------------------------------------


@service
def issue(invoice: Invoice, digest: str) -> Invoice:
    """Give a draft its number and fix it, with the credits that it takes.

    Args:
        digest: of the draft as it was derived just now: another means that it changed meanwhile.

    Raises:
        StateConflict: it is issued already, or changed.
        InvalidInput: nobody is the seller yet, or the month is not over.
    """
    lock_project(invoice.project_id)
    now = timezone.now()
    row = Invoice.objects.select_for_update().get(pk=invoice.pk)
    if not row.is_draft:
        raise StateConflict("This invoice is issued already.")
    if row.digest != digest:
        raise StateConflict("The month changed while it was being issued. Look at the draft and try again.")
    seller = prices.seller()
    if seller is None:
        raise InvalidInput("Nobody is the seller yet: enter who sends the invoices first.")
    if row.period_end > now:
        raise InvalidInput("The month is not over.")
    _take_credits(row)
    _number(row, seller, now, now + timedelta(days=seller.due_days))
    return Invoice.objects.get(pk=row.pk)


def _number(row: Invoice, seller: Seller, now: datetime, due_at: datetime | None) -> None:
    """The next number. Its row is locked until the commit: a number that is given is used."""
    Numbering.objects.get_or_create(pk=1)
    last = Numbering.objects.select_for_update().get(pk=1).last + 1
    Numbering.objects.filter(pk=1).update(last=last)
    Invoice.objects.filter(pk=row.pk, status=Invoice.Status.DRAFT).update(
        status=Invoice.Status.ISSUED,
        sequence=last,
        number=f"{seller.number_prefix}{last:06}",
        seller=_seller(seller),
        issued_at=now,
        due_at=due_at,
    )


def _take_credits(row: Invoice) -> None:
    taken: dict[str, Decimal] = {}
    for line in row.lines.filter(sort=Sort.CREDIT):
        taken[line.reference] = taken.get(line.reference, ZERO) - line.amount
    for credit in Credit.objects.select_for_update().filter(pk__in=taken).order_by("pk"):
        used = credit.uses.aggregate(all=Coalesce(Sum("amount"), Decimal(0)))["all"]
        if rounded(credit.amount - used) < taken[str(credit.pk)]:
            raise StateConflict("A credit of this draft was used meanwhile. Derive the draft again.")
        CreditUse.objects.create(credit=credit, invoice=row, amount=taken[str(credit.pk)])


@service
def credit_note(invoice: Invoice, reason: str, *, net: Decimal | None = None) -> Invoice:
    """Correct an issued invoice by a document of its own: take `net` back, or all that is left of it.

    Raises:
        InvalidInput: no reason, nothing to take back, or more than the invoice was for.
        StateConflict: only issued invoices are corrected; a draft is derived again.
    """
    lock_project(invoice.project_id)
    row = Invoice.objects.select_for_update().get(pk=invoice.pk)
    if row.is_draft or row.kind != Invoice.Kind.INVOICE:
        raise StateConflict("Only an issued invoice is corrected by a credit note.")
    if not reason.strip():
        raise InvalidInput("Say why: the reason stands on the credit note.", field="reason")
    before = row.corrections.aggregate(net=Coalesce(Sum("net"), Decimal(0)), tax=Coalesce(Sum("tax"), Decimal(0)))
    left = rounded(row.net + before["net"])
    amount = left if net is None else net
    if not 0 < amount <= left:
        raise InvalidInput("There is %(left)s left to take back.", field="net", left=left)
    # What takes back the rest takes back the rest of the tax, so that both add up.
    tax = rounded(row.tax + before["tax"]) if amount == left else Tax(row.tax_percent).on(amount)
    return _write_note(row, amount, tax, reason.strip()[:300])


def _write_note(row: Invoice, net: Decimal, tax: Decimal, reason: str) -> Invoice:
    seller = prices.seller()
    if seller is None:
        raise InvalidInput("Nobody is the seller yet: enter who sends the invoices first.")
    copied = ("project", "month", "period_start", "period_end", "time_zone", "currency", "language", "customer")
    note = Invoice.objects.create(
        kind=Invoice.Kind.CREDIT_NOTE,
        corrects=row,
        reason=reason,
        net=-net,
        tax_percent=row.tax_percent,
        reverse_charge=row.reverse_charge,
        tax=-tax,
        total=-net - tax,
        digest=row.digest,
        **{name: getattr(row, name) for name in copied},
    )
    line = Line(Sort.CORRECTION, -net, reference=row.number)
    _write_lines(note, [line])
    _number(note, seller, timezone.now(), None)
    return Invoice.objects.get(pk=note.pk)


# -- payments and dunning ------------------------------------------------------------------------


@service
def record_payment(
    invoice: Invoice,
    amount: Decimal,
    method: str,
    reference: str,
    *,
    user: User | None,
    received_at: datetime | None = None,
) -> Payment:
    """Money that was received for an issued invoice. The same reference again is the same payment: nothing is done.

    Raises:
        InvalidInput: no amount, an unknown method, no reference, or one that is another invoice's.
        StateConflict: a draft and a credit note are not paid.
    """
    lock_project(invoice.project_id)
    row = Invoice.objects.get(pk=invoice.pk)
    if row.is_draft or row.kind != Invoice.Kind.INVOICE:
        raise StateConflict("Only an issued invoice is paid.")
    reference = reference.strip()[:200]
    if not reference:
        raise InvalidInput("A payment has a reference: the bank's, or one of your own.", field="reference")
    if not amount or amount != amount.quantize(CENT):
        raise InvalidInput("The amount is a sum of money, to the cent.", field="amount")
    if method not in Payment.Method.values:
        raise InvalidInput("There is no method of payment called %(value)s.", field="method", value=method)
    before = Payment.objects.filter(reference=reference).first()
    if before:
        return _same(before, row, amount)
    try:
        with transaction.atomic():
            return Payment.objects.create(
                invoice=row,
                amount=amount,
                method=method,
                reference=reference,
                received_at=received_at or timezone.now(),
                recorded_by=user,
            )
    except IntegrityError:
        return _same(Payment.objects.get(reference=reference), row, amount)


def _same(before: Payment, row: Invoice, amount: Decimal) -> Payment:
    if before.invoice_id == row.pk and before.amount == amount:
        return before
    raise InvalidInput("This reference was recorded with another payment.", field="reference")


def unpaid() -> QuerySet[Invoice]:
    """Issued invoices of which something is open, oldest first: `left` is how much."""
    issued = Invoice.objects.filter(status=Invoice.Status.ISSUED, kind=Invoice.Kind.INVOICE)
    return with_left(issued).filter(left__gt=Decimal("0.001")).order_by("due_at", "pk")


def with_left(rows: QuerySet[Invoice]) -> QuerySet[Any]:
    """The same with `left`, what is to be paid of each, and `reminded`, the level of the last reminder (None: none)."""
    paid = Payment.objects.order_by().values("invoice").annotate(all=Sum("amount")).values("all")
    notes = Invoice.objects.filter(kind=Invoice.Kind.CREDIT_NOTE).order_by().values("corrects")
    corrected = notes.annotate(all=Sum("total")).values("all")
    left = (
        F("total")
        - Coalesce(Subquery(paid.filter(invoice=OuterRef("pk"))), Decimal(0))
        + Coalesce(Subquery(corrected.filter(corrects=OuterRef("pk"))), Decimal(0))
    )
    last = Reminder.objects.filter(invoice=OuterRef("pk")).order_by("-level").values("level")[:1]
    return rows.annotate(left=left, reminded=Subquery(last))


def dunning_level(due_at: datetime | None, now: datetime) -> int:
    """0: nothing is late; else how many reminders are called for."""
    late = (now - due_at).days if due_at else 0
    return next((level for level, days in DUNNING_DAYS if late >= days), 0)


@service
def remind(invoice: Invoice, now: datetime) -> Reminder | None:
    """Write down that a reminder goes out, once for each level; None: none is called for, or it was sent."""
    row = unpaid().filter(pk=invoice.pk).first()
    level = dunning_level(row.due_at, now) if row else 0
    if not level or Reminder.objects.filter(invoice=invoice, level__gte=level).exists():
        return None
    return Reminder.objects.create(invoice=invoice, level=level, sent_at=now)


def overdue(now: datetime) -> Iterable[Invoice]:
    """Unpaid invoices that are late."""
    return unpaid().filter(due_at__lt=now - timedelta(days=1)).select_related("project")
