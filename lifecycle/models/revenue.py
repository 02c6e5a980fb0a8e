"""What each project used a day, rated: derived rows for operators' charts, never the source of an invoice."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from lifecycle.models.projects import Project


class RevenueDay(models.Model):
    """An item of a project on a day (UTC), at list price: before discounts, credits and tax.

    Of the item `repair` nothing is billed: `quantity` is the time in it, and `amount` what it would have cost.
    """

    day = models.DateField(_("day"))
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="+", verbose_name=_("project"))
    item = models.CharField(_("item"), max_length=16)
    family = models.CharField(_("family or type"), max_length=20, blank=True, default="")
    quantity = models.DecimalField(_("unit-seconds"), max_digits=30, decimal_places=6)
    amount = models.DecimalField(_("amount"), max_digits=14, decimal_places=2)

    class Meta:
        verbose_name = _("revenue of a day")
        verbose_name_plural = _("revenue by day")
        ordering = ["-day", "project", "item", "family"]
        constraints = [
            models.UniqueConstraint(fields=["day", "project", "item", "family"], name="a_day_has_an_item_once")
        ]

    def __str__(self) -> str:
        return f"{self.project} {self.day} {self.item}"
