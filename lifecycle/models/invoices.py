"""Invoices and credit notes: drafts that are derived, then issued and never changed; what was paid, and reminders."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.db.models import F, Q, Sum
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from lifecycle.models.images import Image
from lifecycle.models.prices import Credit
from lifecycle.models.projects import Project
from lifecycle.models.vms import VM

if TYPE_CHECKING:
    from lifecycle.models.accounts import User

_NEARLY = Decimal("0.001")


class InvoiceQuerySet(models.QuerySet["Invoice"]):
    """Fetching is authorising: views start here."""

    def visible_to(self, user: User | AnonymousUser) -> InvoiceQuerySet:
        """Those of the projects `user` may see."""
        return self.filter(project__in=Project.objects.visible_to(user))


class Invoice(models.Model):
    """A project's bill for a month, or a credit note that corrects one. The number exists once it is issued.

    Everything on the document is kept here: addresses and rates as they were. `digest` is the SHA-256 of the bill it
    was derived into: an unchanged month derives into the same bytes.
    """

    class Kind(models.TextChoices):
        INVOICE = "invoice", _("invoice")
        CREDIT_NOTE = "credit_note", _("credit note")

    class Status(models.TextChoices):
        DRAFT = "draft", _("draft")
        ISSUED = "issued", _("issued")

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="invoices", verbose_name=_("project"))
    kind = models.CharField(_("kind"), max_length=12, choices=Kind.choices, default=Kind.INVOICE)
    status = models.CharField(_("status"), max_length=8, choices=Status.choices, default=Status.DRAFT)
    sequence = models.PositiveIntegerField(_("running number"), null=True, blank=True, unique=True)
    number = models.CharField(_("number"), max_length=30, blank=True, default="")
    month = models.CharField(_("month"), max_length=7)
    period_start = models.DateTimeField(_("from"))
    period_end = models.DateTimeField(_("to"))
    time_zone = models.CharField(_("time zone"), max_length=60)
    currency = models.CharField(_("currency"), max_length=3)
    language = models.CharField(_("language"), max_length=5)
    seller = models.JSONField(_("seller"), default=dict)
    customer = models.JSONField(_("customer"), default=dict)
    net = models.DecimalField(_("net"), max_digits=14, decimal_places=2)
    tax_percent = models.DecimalField(_("tax rate (%)"), max_digits=5, decimal_places=2, default=0)
    reverse_charge = models.BooleanField(_("reverse charge"), default=False)
    tax = models.DecimalField(_("tax"), max_digits=14, decimal_places=2)
    total = models.DecimalField(_("total"), max_digits=14, decimal_places=2)
    digest = models.CharField(_("digest"), max_length=64)
    corrects = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="corrections", verbose_name=_("corrects")
    )
    reason = models.CharField(_("reason"), max_length=300, blank=True, default="")
    created_at = models.DateTimeField(_("created"), default=timezone.now)
    issued_at = models.DateTimeField(_("issued"), null=True, blank=True)
    due_at = models.DateTimeField(_("due"), null=True, blank=True)

    objects = InvoiceQuerySet.as_manager()

    class Meta:
        verbose_name = _("invoice")
        verbose_name_plural = _("invoices")
        ordering = ["-month", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["project", "month"], condition=Q(kind="invoice"), name="one_invoice_per_project_and_month"
            ),
            models.UniqueConstraint(fields=["number"], condition=~Q(number=""), name="an_invoice_number_is_given_once"),
            models.CheckConstraint(
                condition=Q(status="draft", number="", sequence=None, issued_at=None)
                | (Q(status="issued", sequence__isnull=False, issued_at__isnull=False) & ~Q(number="")),
                name="an_invoice_is_numbered_when_it_is_issued",
            ),
            # Within a tenth of a cent: SQLite compares decimals as floating-point numbers.
            models.CheckConstraint(
                condition=Q(total__gt=F("net") + F("tax") - _NEARLY, total__lt=F("net") + F("tax") + _NEARLY),
                name="an_invoice_adds_up",
            ),
            models.CheckConstraint(condition=Q(period_end__gt=F("period_start")), name="a_billed_period_has_a_length"),
        ]

    def __str__(self) -> str:
        return self.number or f"{self.project} {self.month}"

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of its month."""
        return ZoneInfo(self.time_zone)

    @property
    def is_draft(self) -> bool:
        """Whether it may still change."""
        return self.status == self.Status.DRAFT

    @property
    def paid(self) -> Decimal:
        """What was received for it, and what credit notes took off: one query each."""
        received: Decimal | None = self.payments.aggregate(all=Sum("amount"))["all"]
        corrected: Decimal | None = self.corrections.aggregate(all=Sum("total"))["all"]
        # Sums of SQLite are floating-point numbers.
        return ((received or Decimal(0)) - (corrected or Decimal(0))).quantize(Decimal("0.01"))

    @property
    def open(self) -> Decimal:
        """What is still to be paid; nothing of a draft or a credit note."""
        if self.is_draft or self.kind != self.Kind.INVOICE:
            return Decimal(0)
        return max(Decimal(0), self.total - self.paid)

    def is_overdue(self, now: datetime) -> bool:
        """Whether it should have been paid by now and is not."""
        return bool(self.due_at and self.due_at < now and self.open)


class InvoiceLine(models.Model):
    """A line as `domain.pricing.Line` says it. Its intervals are found again by what it names."""

    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="lines", verbose_name=_("invoice"))
    position = models.PositiveIntegerField(_("position"))
    sort = models.CharField(_("sort"), max_length=12)
    vm = models.ForeignKey(VM, on_delete=models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("VM"))
    image = models.ForeignKey(
        Image, on_delete=models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("image")
    )
    name = models.CharField(_("name"), max_length=100, blank=True, default="")
    item = models.CharField(_("item"), max_length=16, blank=True, default="")
    kind = models.CharField(_("family or type"), max_length=20, blank=True, default="")
    zone = models.CharField(_("zone"), max_length=40, blank=True, default="")
    version = models.PositiveIntegerField(_("price list"), default=0)
    # As text: SQLite keeps fifteen digits of a number.
    quantity = models.CharField(_("unit-seconds"), max_length=70)
    rate = models.DecimalField(_("rate"), max_digits=24, decimal_places=15)
    amount = models.DecimalField(_("amount"), max_digits=14, decimal_places=2)
    reference = models.CharField(_("goes back to"), max_length=300, blank=True, default="")

    class Meta:
        verbose_name = _("invoice line")
        verbose_name_plural = _("invoice lines")
        ordering = ["invoice", "position"]
        constraints = [models.UniqueConstraint(fields=["invoice", "position"], name="an_invoice_has_a_line_once")]

    def __str__(self) -> str:
        return f"{self.invoice} {self.position}"


class CreditUse(models.Model):
    """How much of a credit an issued invoice took."""

    credit = models.ForeignKey(Credit, on_delete=models.PROTECT, related_name="uses", verbose_name=_("credit"))
    invoice = models.ForeignKey(
        Invoice, on_delete=models.PROTECT, related_name="credit_uses", verbose_name=_("invoice")
    )
    amount = models.DecimalField(_("amount"), max_digits=14, decimal_places=2)

    class Meta:
        verbose_name = _("use of a credit")
        verbose_name_plural = _("uses of credits")
        constraints = [
            models.UniqueConstraint(fields=["credit", "invoice"], name="an_invoice_takes_of_a_credit_once"),
            models.CheckConstraint(condition=Q(amount__gt=0), name="what_is_taken_of_a_credit_is_something"),
        ]

    def __str__(self) -> str:
        return f"{self.invoice}: {self.amount}"


class Payment(models.Model):
    """Money received; append-only. `reference` is the bank's or the provider's: the same is recorded once."""

    class Method(models.TextChoices):
        TRANSFER = "transfer", _("bank transfer")
        CARD = "card", _("card, by Stripe")
        OTHER = "other", _("other")

    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="payments", verbose_name=_("invoice"))
    amount = models.DecimalField(_("amount"), max_digits=14, decimal_places=2)
    method = models.CharField(_("method"), max_length=10, choices=Method.choices)
    reference = models.CharField(_("reference"), max_length=200, unique=True)
    received_at = models.DateTimeField(_("received"), default=timezone.now)
    recorded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("recorded by")
    )

    class Meta:
        verbose_name = _("payment")
        verbose_name_plural = _("payments")
        ordering = ["-received_at", "-id"]
        constraints = [models.CheckConstraint(condition=~Q(amount=0), name="a_payment_is_of_something")]

    def __str__(self) -> str:
        return f"{self.invoice}: {self.amount}"


class Reminder(models.Model):
    """A reminder that was sent for an overdue invoice: its state of dunning is the highest level there is."""

    class Level(models.IntegerChoices):
        FIRST = 1, _("reminder")
        SECOND = 2, _("second reminder")
        LAST = 3, _("last reminder")

    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="reminders", verbose_name=_("invoice"))
    level = models.PositiveSmallIntegerField(_("level"), choices=Level.choices)
    sent_at = models.DateTimeField(_("sent"), default=timezone.now)

    class Meta:
        verbose_name = _("reminder")
        verbose_name_plural = _("reminders")
        ordering = ["invoice", "level"]
        constraints = [models.UniqueConstraint(fields=["invoice", "level"], name="a_reminder_is_sent_once")]

    def __str__(self) -> str:
        return f"{self.invoice}: {self.get_level_display()}"


class Numbering(models.Model):
    """The running number that was given last: one row, locked while a number is given."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    last = models.PositiveIntegerField(default=0)

    class Meta:
        verbose_name = _("numbering")
        verbose_name_plural = _("numbering")

    def __str__(self) -> str:
        return str(self.last)
