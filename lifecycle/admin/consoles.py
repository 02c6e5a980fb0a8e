"""Consoles that people have or had open, for operators: who, where, when, and an end to it."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import action, display

from lifecycle.admin.base import ReadOnlyAdmin, badge, outcome, person
from lifecycle.models import ConsoleSession, User
from lifecycle.services import consoles


@admin.register(ConsoleSession)
class ConsoleSessionAdmin(ReadOnlyAdmin):
    """The newest first."""

    list_display = ["vm", "user", "kind", "shown_end", "opened_at", "closed_at", "address", "cut_by"]
    list_filter = [("kind", ChoicesDropdownFilter), ("ending", ChoicesDropdownFilter)]
    search_fields = ["vm__name", "user__username", "address"]
    list_select_related = ["vm", "user", "cut_by"]
    actions = ["cut"]
    fields = [
        *("vm", "project", "user", "kind", "address", "opened_at", "seen_at", "closed_at", "ending"),
        *("cut_at", "cut_by", "bytes_shown", "bytes_typed"),
    ]

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Whether this member of the staff may end people's consoles."""
        return request.user.has_perm("lifecycle.change_consolesession")

    @display(description=_("end"), ordering="ending")
    def shown_end(self, session: ConsoleSession) -> SafeString:
        """Open, or why it ended."""
        return badge(gettext("open"), "success") if session.closed_at is None else badge(session.get_ending_display())

    @action(description=_("Cut"), permissions=["operate"])
    def cut(self, request: HttpRequest, queryset: QuerySet[ConsoleSession]) -> None:
        """End the chosen consoles."""
        user = person(request)
        outcome(request, queryset, lambda session: _cut(session, user))


def _cut(session: ConsoleSession, user: User) -> str:
    return gettext("told to end.") if consoles.cut(session, user=user, as_operator=True) else gettext("has ended.")
