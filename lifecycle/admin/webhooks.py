"""Webhooks of projects and how their messages fare, for operators: whom to ask why something was not told."""

from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from django.contrib import admin
from django.db.models import Count, Max, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter
from unfold.decorators import display

from lifecycle.admin.base import ReadOnlyAdmin, badge, link, link_to, list_url
from lifecycle.admin.filters import Delivery
from lifecycle.labels import WEBHOOK_KINDS, label, retold
from lifecycle.models import Webhook, WebhookDelivery


def _receiver(webhook: Webhook) -> str:
    """The host alone: what follows it in an address may be a secret between the project and its receiver."""
    return urlsplit(webhook.url).hostname or "–"


def _portal_page(webhook: Webhook) -> str:
    return reverse("web:webhook", args=[webhook.project.slug, webhook.pk])


def _number(rows: Any) -> Coalesce:
    """How many of `rows`: asked for the webhooks of the page alone, whose messages can be many."""
    return Coalesce(Subquery(rows.annotate(number=Count("pk")).values("number")), 0)


@admin.register(Webhook)
class WebhookAdmin(ReadOnlyAdmin):
    """Where projects are told of their events. The whole address and the secret are its project's matter."""

    list_display = ["project", "receiver", "events", "shown_active", "messages", "last_arrived", "created_by"]
    list_filter = ["is_active", ("project", AutocompleteSelectFilter)]
    search_fields = ["project__slug", "created_by__username"]
    search_help_text = _("Project or who made it")
    list_select_related = ["project", "created_by"]
    ordering = ["project__slug", "pk"]
    readonly_fields = ["receiver", "events", "shown_active", "messages", "last_arrived", "portal_link"]
    fields = [
        *("project", "receiver", "events", "shown_active", "created_at", "created_by"),
        *("messages", "last_arrived", "portal_link"),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Webhook]:
        """With how its messages fare: one query for the page."""
        its = WebhookDelivery.objects.filter(webhook=OuterRef("pk")).order_by().values("webhook")
        found: QuerySet[Webhook] = super().get_queryset(request)
        return found.annotate(
            waiting=_number(its.filter(sent_at__isnull=True, given_up_at__isnull=True)),
            given_up=_number(its.filter(given_up_at__isnull=False)),
            last_sent_at=Subquery(its.annotate(last=Max("sent_at")).values("last")),
        )

    @display(description=_("receiver"))
    def receiver(self, webhook: Webhook) -> str:
        """The host of the address."""
        return _receiver(webhook)

    @display(description=_("events"))
    def events(self, webhook: Webhook) -> str:
        """What it is told of, in words."""
        return ", ".join(label(WEBHOOK_KINDS, kind) for kind in webhook.kinds)

    @display(description=_("switched on"), ordering="is_active")
    def shown_active(self, webhook: Webhook) -> SafeString:
        """On or off, as a badge."""
        return badge(gettext("on"), "success") if webhook.is_active else badge(gettext("off"))

    @display(description=_("messages"))
    def messages(self, webhook: Webhook) -> SafeString:
        """How many wait and were given up, with the way to them."""
        text = gettext("%(waiting)s waiting, %(given_up)s given up") % {
            "waiting": webhook.waiting,  # type: ignore[attr-defined]
            "given_up": webhook.given_up,  # type: ignore[attr-defined]
        }
        return link_to(list_url(WebhookDelivery, webhook__id__exact=webhook.pk), text)

    @display(description=_("last arrived"))
    def last_arrived(self, webhook: Webhook) -> datetime | None:
        """When a message arrived last."""
        return webhook.last_sent_at  # type: ignore[attr-defined,no-any-return]

    @display(description=_("portal"))
    def portal_link(self, webhook: Webhook) -> SafeString:
        """Its page in the portal."""
        return link_to(_portal_page(webhook), gettext("Open in the portal"))

    def view_on_site(self, webhook: Webhook) -> str:
        """Its page in the portal."""
        return _portal_page(webhook)


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(ReadOnlyAdmin):
    """Messages, the newest first: what became of each, and why."""

    list_display = ["shown_kind", "webhook_link", "receiver", "outcome", "attempts", "created_at", "shown_problem"]
    list_filter = [
        Delivery,
        ("kind", ChoicesDropdownFilter),
        ("webhook", AutocompleteSelectFilter),
        ("webhook__project", AutocompleteSelectFilter),
    ]
    search_fields = ["message", "webhook__project__slug", "problem"]
    search_help_text = _("Id of the message, project or problem")
    list_select_related = ["webhook__project"]
    ordering = ["-pk"]
    readonly_fields = ["shown_kind", "webhook_link", "receiver", "outcome", "shown_problem"]
    fields = [
        *("shown_kind", "webhook_link", "receiver", "message", "outcome", "status", "shown_problem", "attempts"),
        *("created_at", "due_at", "sent_at", "given_up_at", "body"),
    ]

    @display(description=_("event"), ordering="kind")
    def shown_kind(self, row: WebhookDelivery) -> str:
        """What it tells of, in words."""
        return label(WEBHOOK_KINDS, row.kind)

    @display(description=_("webhook"), ordering="webhook")
    def webhook_link(self, row: WebhookDelivery) -> str | SafeString:
        """The webhook's page."""
        return link(row.webhook)

    @display(description=_("receiver"))
    def receiver(self, row: WebhookDelivery) -> str:
        """The host of the address."""
        return _receiver(row.webhook)

    @display(description=_("outcome"))
    def outcome(self, row: WebhookDelivery) -> SafeString:
        """Where it is on its way, as a badge."""
        if row.sent_at:
            return badge(gettext("arrived"), "success")
        if row.given_up_at:
            return badge(gettext("given up"), "danger")
        return badge(gettext("failed"), "warning") if row.attempts else badge(gettext("waiting"), "info")

    @display(description=_("problem"))
    def shown_problem(self, row: WebhookDelivery) -> str:
        """Why it did not arrive, in the reader's language."""
        return retold(row.problem) or "–"
