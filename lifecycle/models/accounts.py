"""People."""

from django.contrib.auth.models import AbstractUser, Group
from django.db import models
from django.utils.translation import gettext_lazy as _


class User(AbstractUser):
    """A person who signs in. Tenants have memberships; operators are staff."""

    must_change_password = models.BooleanField(
        _("must change password"),
        default=False,
        help_text=_("Set for one-time passwords: the next sign-in leads to the password form and nowhere else."),
    )
    language = models.CharField(_("language"), max_length=8, blank=True, default="")
    time_zone = models.CharField(_("time zone"), max_length=64, blank=True, default="")

    #: Kind of event -> the ways by which this person wants to be told; a kind that is missing is as the product says.
    notification_choices = models.JSONField(
        _("notifications"), default=dict, blank=True, db_default=models.Value({}, models.JSONField())
    )

    #: Kept with the person, whose row every page reads anyway; written by `services.notifications`.
    unread_notifications = models.PositiveIntegerField(_("unread notifications"), default=0, db_default=0)

    class Meta(AbstractUser.Meta):
        swappable = "AUTH_USER_MODEL"


class GroupGrant(models.Model):
    """That a group of the product's was given a model's permissions once: what people take away then stays away."""

    group = models.ForeignKey(Group, on_delete=models.CASCADE, related_name="+", verbose_name=_("group"))
    model = models.CharField(_("model"), max_length=100)

    class Meta:
        verbose_name = _("grant of a group")
        verbose_name_plural = _("grants of groups")
        constraints = [models.UniqueConstraint(fields=["group", "model"], name="a_group_is_given_a_model_once")]

    def __str__(self) -> str:
        return f"{self.group} {self.model}"
