"""What happened: transitions (for people, money and the SLA) and events (what was pushed)."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from lifecycle.domain.transitions import ALL_PAIRS, BIRTHS, DEATHS
from lifecycle.models.operations import ACTION_CHOICES, ASKER_CHOICES, Operation
from lifecycle.models.projects import Project
from lifecycle.models.vms import VM


def _pairs_in_the_table() -> Q:
    allowed = Q(from_state="", to_state__in=sorted(BIRTHS)) | Q(from_state__in=sorted(DEATHS), to_state="")
    for source in sorted({a for a, _b in ALL_PAIRS}):
        allowed |= Q(from_state=source, to_state__in=sorted(b for a, b in ALL_PAIRS if a == source))
    return allowed


class Transition(models.Model):
    """One change of a VM's state; append-only. Empty `from_state`: born; empty `to_state`: gone.

    `occurred_at` is the last proof of life or the moment libvirt told; money and SLA use it.
    """

    vm = models.ForeignKey(VM, on_delete=models.PROTECT, related_name="transitions", verbose_name=_("VM"))
    number = models.BigIntegerField(_("event number"))
    from_state = models.CharField(_("from"), max_length=12, blank=True, default="")
    to_state = models.CharField(_("to"), max_length=12, blank=True, default="")
    action = models.CharField(_("action"), max_length=20, choices=ACTION_CHOICES)
    reason = models.CharField(_("reason"), max_length=300, blank=True, default="")
    operation = models.ForeignKey(
        Operation,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="transitions",
        verbose_name=_("operation"),
    )
    asked_by = models.CharField(_("asked by"), max_length=10, choices=ASKER_CHOICES)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("user")
    )
    occurred_at = models.DateTimeField(_("occurred"))
    recorded_at = models.DateTimeField(_("recorded"), default=timezone.now)

    class Meta:
        verbose_name = _("transition")
        verbose_name_plural = _("transitions")
        ordering = ["-id"]
        indexes = [models.Index(fields=["vm", "-id"], name="transition_by_vm")]
        constraints = [models.CheckConstraint(condition=_pairs_in_the_table(), name="a_transition_stands_in_the_table")]

    def __str__(self) -> str:
        return f"{self.from_state or '–'} → {self.to_state or '–'}"


class Event(models.Model):
    """What the browsers of a project were told, in order and without gaps; append-only."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="events")
    number = models.BigIntegerField(_("number"))
    kind = models.CharField(_("kind"), max_length=20)
    payload = models.JSONField(_("payload"))
    at = models.DateTimeField(_("at"), default=timezone.now)

    class Meta:
        verbose_name = _("event")
        verbose_name_plural = _("events")
        ordering = ["project", "number"]
        constraints = [models.UniqueConstraint(fields=["project", "number"], name="event_numbers_are_unique")]

    def __str__(self) -> str:
        return f"{self.project_id}#{self.number} {self.kind}"
