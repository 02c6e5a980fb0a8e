"""Rounds: what one process at a time does for the whole installation, every so often."""

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class Round(models.Model):
    """Whose turn a piece of work is, and when it is due again. Until `due_at` nobody else begins it.

    `memory` is what one round leaves to the next, whichever process does that.
    """

    name = models.CharField(_("name"), max_length=30, primary_key=True)
    owner = models.CharField(_("process"), max_length=100, blank=True, default="")
    due_at = models.DateTimeField(_("due"), default=timezone.now)
    memory = models.JSONField(_("memory"), default=dict, blank=True)

    class Meta:
        verbose_name = _("round")
        verbose_name_plural = _("rounds")

    def __str__(self) -> str:
        return self.name
