"""What belongs to people, for operators who help them: access tokens, notifications and their mails, saved views."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.decorators import action, display

from lifecycle.admin.base import ReadOnlyAdmin, badge, link_to, outcome, person
from lifecycle.admin.filters import Mailed, Usability
from lifecycle.labels import NOTIFICATIONS, filled
from lifecycle.models import ApiToken, Notification, SavedView, User
from lifecycle.services import tokens


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnlyAdmin):
    """Whose they are, what they open, when they were used; an end to one that leaked. The secret is nowhere."""

    list_display = ["name", "user", "beginning", "shown_status", "may_write", "last_used_at", "expires_at"]
    list_filter = [
        Usability,
        "may_write",
        ("user", AutocompleteSelectFilter),
        ("projects", AutocompleteSelectFilter),
    ]
    search_fields = ["name", "beginning", "key_id", "user__username", "projects__slug"]
    search_help_text = _("Name, beginning, key id, person or project")
    list_select_related = ["user"]
    ordering = ["-created_at", "-pk"]
    actions = ["revoke"]
    readonly_fields = ["shown_status", "shown_key", "shown_projects"]
    fields = [
        *("name", "user", "beginning", "shown_key", "shown_projects", "may_write", "shown_status"),
        *("created_at", "last_used_at", "expires_at", "revoked_at"),
    ]

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Whether this member of the staff may take tokens back."""
        return request.user.has_perm("lifecycle.change_apitoken")

    @display(description=_("status"))
    def shown_status(self, token: ApiToken) -> SafeString:
        """Usable, expired or revoked."""
        if token.revoked_at:
            return badge(gettext("revoked"), "danger")
        if token.expires_at <= timezone.now():
            return badge(gettext("expired"), "warning")
        return badge(gettext("usable"), "success")

    @display(description=_("key id"))
    def shown_key(self, token: ApiToken) -> str:
        """Of a service account's key: what its signatures are found by."""
        return token.key_id or "–"

    @display(description=_("projects"))
    def shown_projects(self, token: ApiToken) -> str:
        """What it opens."""
        return ", ".join(token.projects.values_list("slug", flat=True)) or "–"

    @action(description=_("Revoke: programs that use it get in no more"), permissions=["operate"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        """Take the chosen tokens back."""
        user = person(request)
        outcome(request, queryset.select_related("user"), lambda token: _revoked(token, user))


def _revoked(token: ApiToken, user: User) -> str:
    return gettext("was revoked.") if tokens.revoke_as_operator(token, user=user) else gettext("was revoked before.")


@admin.register(Notification)
class NotificationAdmin(ReadOnlyAdmin):
    """What people were told, the newest first, and whether the mail about it went out."""

    list_display = ["at", "user", "shown_kind", "shown_text", "project", "read_at", "mail"]
    list_filter = [Mailed, ("user", AutocompleteSelectFilter), ("project", AutocompleteSelectFilter)]
    search_fields = ["user__username", "user__email", "project__slug", "kind"]
    search_help_text = _("Person, mail address or project")
    list_select_related = ["user", "project"]
    ordering = ["-pk"]
    readonly_fields = ["shown_kind", "shown_text", "mail", "portal_link"]
    fields = [
        *("at", "user", "project", "shown_kind", "shown_text", "in_portal", "read_at"),
        *("mail", "mail_due_at", "mail_attempts", "mailed_at", "given_up_at", "portal_link"),
    ]

    @display(description=_("event"), ordering="kind")
    def shown_kind(self, row: Notification) -> str:
        """The event, in words."""
        found = NOTIFICATIONS.get(row.kind)
        return str(found[0]) if found else row.kind

    @display(description=_("text"))
    def shown_text(self, row: Notification) -> str:
        """What it says, in the operator's language."""
        return filled(row.text, row.params)

    @display(description=_("mail"))
    def mail(self, row: Notification) -> str | SafeString:
        """Where the mail is on its way; a dash when none was wanted."""
        if row.mailed_at:
            return badge(gettext("mailed"), "success")
        if row.given_up_at:
            return badge(gettext("given up"), "danger")
        return badge(gettext("waiting"), "info") if row.mail_due_at else "–"

    @display(description=_("portal"))
    def portal_link(self, row: Notification) -> str | SafeString:
        """The page that it leads to."""
        return link_to(row.path, gettext("Open in the portal")) if row.path else "–"


@admin.register(SavedView)
class SavedViewAdmin(ReadOnlyAdmin):
    """Searches of lists that people keep: an operator sees what they see."""

    list_display = ["name", "user", "project", "query", "portal_link", "created_at"]
    list_filter = [("user", AutocompleteSelectFilter), ("project", AutocompleteSelectFilter)]
    search_fields = ["name", "user__username", "project__slug", "query"]
    search_help_text = _("Name, person, project or search")
    list_select_related = ["user", "project"]
    ordering = ["project__slug", "user__username", "name"]
    readonly_fields = ["portal_link"]
    fields = ["name", "user", "project", "query", "created_at", "portal_link"]

    @display(description=_("portal"))
    def portal_link(self, view: SavedView) -> SafeString:
        """The list that it shows."""
        return link_to(self.view_on_site(view), gettext("Open in the portal"))

    def view_on_site(self, view: SavedView) -> str:
        """The list that it shows."""
        return f"{reverse('web:vms', args=[view.project.slug])}?{view.query}"
