"""Images on their way in, for operators: from where, how far, what went wrong, and an end to them."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter
from unfold.decorators import action, display

from lifecycle.admin.base import ReadOnlyAdmin, badge, outcome, person
from lifecycle.labels import error_text, sized
from lifecycle.models import ImageChange, ImageImport, ImageInterval, User
from lifecycle.services import image_imports

_COLOURS = {
    ImageImport.Status.DONE: "success",
    ImageImport.Status.FAILED: "danger",
    ImageImport.Status.RUNNING: "info",
    ImageImport.Status.UPLOADING: "info",
}


@admin.register(ImageImport)
class ImageImportAdmin(ReadOnlyAdmin):
    """The newest first."""

    list_display = ["name", "project", "source", "shown_status", "progress", "user", "created_at", "ended_at"]
    list_filter = [("status", ChoicesDropdownFilter), ("source", ChoicesDropdownFilter)]
    search_fields = ["name", "family", "url", "sha256", "project__slug"]
    list_select_related = ["project", "user"]
    ordering = ["-created_at"]
    actions = ["cancel"]
    fields = [
        *("name", "family", "project", "user", "source", "url", "sha256", "firmware", "shown_status", "phase"),
        *("progress", "problem", "image", "created_at", "ended_at"),
    ]
    readonly_fields = ["shown_status", "progress", "problem"]

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Whether this member of the staff may end imports."""
        return request.user.has_perm("lifecycle.change_imageimport")

    @display(description=_("status"), ordering="status")
    def shown_status(self, row: ImageImport) -> SafeString:
        """The status as a badge."""
        return badge(row.get_status_display(), _COLOURS.get(ImageImport.Status(row.status), ""))

    @display(description=_("progress"), ordering="done_bytes")
    def progress(self, row: ImageImport) -> str:
        """Bytes that are here, of how many."""
        parts = [size for size in (row.done_bytes, row.total_bytes) if size]
        return " / ".join(sized(size) for size in parts) or "–"

    @display(description=_("problem"))
    def problem(self, row: ImageImport) -> str:
        """Why it failed, or what it waits for."""
        return error_text(row.error) if row.error else "–"

    @action(description=_("Cancel"), permissions=["operate"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[ImageImport]) -> None:
        """End the chosen imports; what was fetched of them is removed."""
        user = person(request)
        outcome(request, queryset, lambda row: self._cancel(request, row, user))

    def _cancel(self, request: HttpRequest, row: ImageImport, user: User) -> str:
        image_imports.cancel(row, user=user)
        text = gettext("was cancelled.")
        self.log_change(request, row, text)
        return text


@admin.register(ImageInterval)
class ImageMeteringAdmin(ReadOnlyAdmin):
    """From when to when projects' images took storage."""

    list_display = ["image", "project", "size_mib", "started_at", "ended_at"]
    list_filter = [("project", AutocompleteSelectFilter)]
    search_fields = ["image__name", "project__slug"]
    list_select_related = ["image", "project"]


@admin.register(ImageChange)
class ImageChangeAdmin(ReadOnlyAdmin):
    """The log behind them."""

    list_display = ["image", "project", "kind", "size_mib", "user", "occurred_at", "recorded_at"]
    list_filter = [("kind", ChoicesDropdownFilter), ("project", AutocompleteSelectFilter)]
    search_fields = ["image__name", "project__slug"]
    list_select_related = ["image", "project", "user"]
