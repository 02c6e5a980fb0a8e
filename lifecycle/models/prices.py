"""Prices as dated data, and what was agreed with each project."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from lifecycle.models.projects import Project

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise as StrPromise

ITEM_CHOICES = [
    ("vcpu", _("vCPU")),
    ("memory", _("memory")),
    ("suspended_memory", _("memory of suspended VMs")),
    ("disk", _("disk")),
    ("address", _("address")),
    ("image", _("image")),
]
LANGUAGE_CHOICES = [("en", "English"), ("fr", "Français")]


def _percent(name: StrPromise) -> models.DecimalField[Decimal | int | str, Decimal]:
    return models.DecimalField(name, max_digits=5, decimal_places=2, default=0)


class PriceList(models.Model):
    """A version of the price list: a draft until it is published, and then never changed.

    Attributes:
        sustained, sla: tiers as lists of [bound, percent], both as text: `["0.25", "20"]`.
    """

    version = models.PositiveIntegerField(_("version"), unique=True)
    title = models.CharField(_("title"), max_length=100, blank=True, default="")
    currency = models.CharField(_("currency"), max_length=3)
    valid_from = models.DateTimeField(_("valid from"))
    sustained = models.JSONField(_("sustained use"), default=list, blank=True)
    sla = models.JSONField(_("credits of the SLA"), default=list, blank=True)
    created_at = models.DateTimeField(_("created"), default=timezone.now)
    published_at = models.DateTimeField(_("published"), null=True, blank=True)
    published_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("published by")
    )

    class Meta:
        verbose_name = _("price list")
        verbose_name_plural = _("price lists")
        ordering = ["-version"]
        constraints = [
            models.UniqueConstraint(
                fields=["valid_from"],
                condition=Q(published_at__isnull=False),
                name="one_price_list_begins_at_a_time",
            )
        ]

    def __str__(self) -> str:
        return f"{self.version} ({self.currency})"


class Price(models.Model):
    """What one unit of an item costs a second: a vCPU, a GiB of memory, disk or image, an address."""

    price_list = models.ForeignKey(
        PriceList, on_delete=models.CASCADE, related_name="prices", verbose_name=_("price list")
    )
    item = models.CharField(_("item"), max_length=16, choices=ITEM_CHOICES)
    kind = models.CharField(_("family or type"), max_length=20, blank=True, default="", help_text=_("Empty: any."))
    zone = models.CharField(_("zone"), max_length=40, blank=True, default="", help_text=_("Empty: any."))
    per_second = models.DecimalField(_("per unit and second"), max_digits=24, decimal_places=15)
    free_hours = models.DecimalField(
        _("free unit-hours a month"), max_digits=14, decimal_places=3, default=0, help_text=_("Of each project.")
    )

    class Meta:
        verbose_name = _("price")
        verbose_name_plural = _("prices")
        ordering = ["item", "kind", "zone"]
        constraints = [
            models.UniqueConstraint(fields=["price_list", "item", "kind", "zone"], name="one_price_for_a_thing"),
            models.CheckConstraint(condition=Q(per_second__gte=0, free_hours__gte=0), name="a_price_is_not_negative"),
        ]

    def __str__(self) -> str:
        return " ".join(filter(None, [self.item, self.kind, self.zone]))


class BillingAccount(models.Model):
    """Where a project's bills go, in which time zone its months are, and its discount."""

    project = models.OneToOneField(
        Project, on_delete=models.PROTECT, related_name="billing_account", verbose_name=_("project")
    )
    name = models.CharField(_("name on the invoice"), max_length=200, blank=True, default="")
    address = models.TextField(_("postal address"), max_length=500, blank=True, default="")
    country = models.CharField(
        _("country"), max_length=2, blank=True, default="", help_text=_("Two letters, as in FR or DE.")
    )
    tax_id = models.CharField(_("tax number"), max_length=30, blank=True, default="")
    email = models.EmailField(_("e-mail for invoices"), blank=True, default="")
    language = models.CharField(
        _("language"), max_length=5, choices=[("en", "English"), ("fr", "Français")], default="en"
    )
    time_zone = models.CharField(_("time zone"), max_length=60, default="UTC")
    discount_percent = _percent(_("discount (%)"))

    class Meta:
        verbose_name = _("billing account")
        verbose_name_plural = _("billing accounts")
        ordering = ["project__slug"]
        constraints = [
            models.CheckConstraint(
                condition=Q(discount_percent__gte=0, discount_percent__lte=100), name="a_discount_is_a_percentage"
            )
        ]

    def __str__(self) -> str:
        return str(self.project)

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of its months."""
        return ZoneInfo(self.time_zone)


class CommittedUse(models.Model):
    """Units that a project promised to pay for, used or not, from when to when, at a lower price."""

    project = models.ForeignKey(
        Project, on_delete=models.PROTECT, related_name="commitments", verbose_name=_("project")
    )
    item = models.CharField(_("item"), max_length=16, choices=ITEM_CHOICES[:2])
    family = models.CharField(_("family"), max_length=20, blank=True, default="")
    units = models.DecimalField(_("units"), max_digits=12, decimal_places=3, help_text=_("vCPUs, or GiB of memory."))
    percent = _percent(_("discount (%)"))
    starts_at = models.DateTimeField(_("from"))
    ends_at = models.DateTimeField(_("to"))

    class Meta:
        verbose_name = _("committed use")
        verbose_name_plural = _("committed use")
        ordering = ["-starts_at", "id"]
        constraints = [
            models.CheckConstraint(condition=Q(ends_at__gt=F("starts_at")), name="a_commitment_has_a_length"),
            models.CheckConstraint(
                condition=Q(units__gt=0, percent__gte=0, percent__lte=100), name="a_commitment_is_of_something"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.project}: {self.units} {self.item} {self.family}".strip()


class PromotionCode(models.Model):
    """A word that gives each project that enters it a credit, once."""

    code = models.CharField(_("code"), max_length=40, unique=True)
    amount = models.DecimalField(_("amount"), max_digits=14, decimal_places=2)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    most_uses = models.PositiveIntegerField(_("projects at most"), default=1)

    class Meta:
        verbose_name = _("promotion code")
        verbose_name_plural = _("promotion codes")
        ordering = ["code"]
        constraints = [models.CheckConstraint(condition=Q(amount__gt=0), name="a_promotion_is_worth_something")]

    def __str__(self) -> str:
        return self.code


class Credit(models.Model):
    """Money a project has with the operator: taken off its next bills. What is used stands in `CreditUse`."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="credits", verbose_name=_("project"))
    amount = models.DecimalField(_("amount"), max_digits=14, decimal_places=2)
    reason = models.CharField(_("reason"), max_length=200)
    promotion = models.ForeignKey(
        PromotionCode,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="credits",
        verbose_name=_("promotion"),
    )
    granted_at = models.DateTimeField(_("granted"), default=timezone.now)
    granted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("granted by")
    )
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)

    class Meta:
        verbose_name = _("credit")
        verbose_name_plural = _("credits")
        ordering = ["granted_at", "id"]
        constraints = [
            models.CheckConstraint(condition=Q(amount__gt=0), name="a_credit_is_worth_something"),
            models.UniqueConstraint(fields=["project", "promotion"], name="a_promotion_is_used_once_a_project"),
        ]

    def __str__(self) -> str:
        return f"{self.project}: {self.amount}"


class TaxRate(models.Model):
    """The tax of a country, in percent, from a day on."""

    country = models.CharField(_("country"), max_length=2)
    percent = _percent(_("rate (%)"))
    valid_from = models.DateTimeField(_("valid from"), default=datetime(2000, 1, 1, tzinfo=UTC))

    class Meta:
        verbose_name = _("tax rate")
        verbose_name_plural = _("tax rates")
        ordering = ["country", "-valid_from"]
        constraints = [
            models.UniqueConstraint(fields=["country", "valid_from"], name="one_tax_rate_begins_at_a_time"),
            models.CheckConstraint(condition=Q(percent__gte=0, percent__lte=100), name="a_tax_rate_is_a_percentage"),
        ]

    def __str__(self) -> str:
        return f"{self.country} {self.percent} %"


class Seller(models.Model):
    """Who sends the invoices: one row. Without it nothing is issued."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    name = models.CharField(_("name"), max_length=200)
    address = models.TextField(_("postal address"), max_length=500)
    country = models.CharField(_("country"), max_length=2)
    tax_id = models.CharField(_("tax number"), max_length=30, blank=True, default="")
    payment_note = models.TextField(_("how to pay"), max_length=500, blank=True, default="")
    due_days = models.PositiveSmallIntegerField(_("days to pay"), default=14)
    issue_after_days = models.PositiveSmallIntegerField(
        _("issue after days"), default=3, help_text=_("So long after its end a month's draft becomes an invoice.")
    )
    number_prefix = models.CharField(_("prefix of numbers"), max_length=10, default="VMP-")

    class Meta:
        verbose_name = _("seller")
        verbose_name_plural = _("seller")
        constraints = [models.CheckConstraint(condition=Q(id=1), name="there_is_one_seller")]

    def __str__(self) -> str:
        return self.name
