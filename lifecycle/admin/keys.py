"""SSH keys that people and projects keep, for operators: whose they are, and an end to one that leaked."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action, display

from lifecycle.admin.base import ReadOnlyAdmin, link, outcome
from lifecycle.models import SSHKey
from lifecycle.services import keys


@admin.register(SSHKey)
class SSHKeyAdmin(ReadOnlyAdmin):
    """Public halves only: the portal never sees another. Search finds a fingerprint from a guest's log."""

    list_display = ["name", "holder", "shown_fingerprint", "added_by", "created_at"]
    list_filter = ["created_at"]
    search_fields = ["name", "fingerprint", "user__username", "project__slug"]
    list_select_related = ["user", "project", "added_by"]
    ordering = ["-created_at"]
    actions = ["remove"]
    fields = ["name", "user", "project", "fingerprint", "key", "added_by", "created_at"]

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Whether this member of the staff may take keys away."""
        return request.user.has_perm("lifecycle.delete_sshkey")

    @display(description=_("whose"))
    def holder(self, key: SSHKey) -> str | SafeString:
        """The person or the project that keeps it."""
        return link(key.user or key.project)

    @display(description=_("fingerprint"), ordering="fingerprint")
    def shown_fingerprint(self, key: SSHKey) -> SafeString:
        """Whole on its page, and where there is room; a phone shows its beginning."""
        return format_html('<span class="truncate">{}</span>', key.fingerprint)

    @action(description=_("Remove: VMs lose it at their next start"), permissions=["operate"])
    def remove(self, request: HttpRequest, queryset: QuerySet[SSHKey]) -> None:
        """Forget the chosen keys."""
        outcome(request, queryset, lambda key: self._remove(request, key))

    def _remove(self, request: HttpRequest, key: SSHKey) -> str:
        self.log_deletions(request, [key])
        keys.remove_as_operator(key)
        return gettext("was removed.")
