"""What the admin's classes share: read-only rows, links, badges, and actions that call a service an item."""

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import LogEntry
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from unfold.admin import ModelAdmin

from lifecycle.domain.errors import DomainError
from lifecycle.domain.states import State
from lifecycle.labels import refusal_text
from lifecycle.models import VM, Host, Project, User
from lifecycle.services import audit, operators

#: The colours of the states, as the theme names them.
STATE_LABELS = {
    State.RUNNING: "success",
    State.PROVISIONING: "info",
    State.STAGING: "info",
    State.STOPPING: "info",
    State.SUSPENDING: "info",
    State.SUSPENDED: "primary",
    State.REPAIRING: "danger",
}


def person(request: HttpRequest) -> User:
    """Who asks: the admin lets nobody in who is not signed in."""
    if not isinstance(request.user, User):
        raise PermissionDenied
    return request.user


def link_to(url: str, text: str) -> SafeString:
    """A link in the theme's colours."""
    return format_html('<a class="text-primary-600 dark:text-primary-500" href="{}">{}</a>', url, text)


def link(row: Model | None, text: str = "") -> str | SafeString:
    """A link to the row's own admin page; a dash for none."""
    if row is None:
        return "–"
    name = f"admin:{row._meta.app_label}_{row._meta.model_name}_change"
    return link_to(reverse(name, args=[row.pk]), text or str(row))


def list_url(model: type[Model], **filters: Any) -> str:
    """The address of a model's list, filtered."""
    url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    return f"{url}?{urlencode(filters)}" if filters else url


def badge(text: str, variant: str = "") -> SafeString:
    """The theme's label; `variant` is one of its colours."""
    return render_to_string("unfold/helpers/label.html", {"text": text, "variant": variant})


def meter(used: int, limit: int, text: str) -> SafeString:
    """A bar with its text; full is marked. A `meter` element needs no inline style and is read aloud."""
    most = max(limit, 1)
    return format_html(
        '<span class="op-meter"><meter min="0" max="{}" high="{}" optimum="0" value="{}"></meter>'
        "<span>{}</span></span>",
        most,
        round(most * 0.9),
        used,
        text,
    )


def cpu_meter(host: Host) -> SafeString:
    """vCPUs reserved of the limit."""
    return meter(host.vcpus_reserved, host.vcpus_limit, f"{host.vcpus_reserved} / {host.vcpus_limit}")


def memory_meter(host: Host) -> SafeString:
    """Memory reserved of the limit, in GiB."""
    used, limit = host.memory_mib_reserved, host.memory_mib_limit
    text = gettext("%(used)s / %(limit)s GiB") % {"used": f"{used / 1024:.1f}", "limit": f"{limit / 1024:.1f}"}
    return meter(used, limit, text)


def disk_meter(host: Host) -> SafeString:
    """Disk reserved of the limit, in GiB."""
    used, limit = host.disk_gib_reserved, host.disk_gib_limit
    return meter(used, limit, gettext("%(used)s / %(limit)s GiB") % {"used": used, "limit": limit})


def portal_url(row: VM | Project) -> str:
    """The page of a VM or a project in the portal."""
    if isinstance(row, VM):
        return reverse("web:vm", args=[row.project.slug, row.name])
    return reverse("web:vms", args=[row.slug])


def outcome(request: HttpRequest, rows: Iterable[Any], act: Callable[[Any], str]) -> None:
    """Run `act` on each row and tell, row by row, what became of it; one refusal stops no other row."""
    for row in rows:
        try:
            text = act(row)
        except DomainError as error:
            messages.error(request, f"{row}: {refusal_text(error)}")
        else:
            messages.success(request, f"{row}: {text}")


#: What an operator may write to a repair's log at once.
TEXT_MAX = 1000


def words(request: HttpRequest) -> str | None:
    """What was written into the form of `ask_for_words`; None before it was shown."""
    return request.POST["text"].strip()[:TEXT_MAX] if "text" in request.POST else None


def ask_for_words(
    model_admin: ModelAdmin, request: HttpRequest, rows: Iterable[Model], *, action: str, title: str, lead: str
) -> TemplateResponse:
    """A page that names the chosen rows and asks for a text; it sends the list's `action` again, with the text."""
    context = {
        **model_admin.admin_site.each_context(request),
        "title": title,
        "lead": lead,
        "opts": model_admin.opts,
        "rows": list(rows),
        "action": action,
        "missing": words(request) == "",
        "list_url": list_url(model_admin.model),
        "most": TEXT_MAX,
        "checkbox": ACTION_CHECKBOX_NAME,
    }
    return TemplateResponse(request, "admin/lifecycle/words.html", context)


def _recorded(request: HttpRequest, action: str, row: Model, message: Any = None) -> None:
    changed = [part["changed"]["fields"] for part in message or () if isinstance(part, dict) and "changed" in part]
    details = {"fields": ", ".join(str(name) for names in changed for name in names)} if changed else {}
    target = f"{row._meta.verbose_name}: {row}"
    audit.record(action, user=person(request), target=target, details=details)


class BaseAdmin(ModelAdmin):
    """The product's defaults: bounded pages, no count of whole tables, refusals as messages."""

    list_per_page = 50
    show_full_result_count = False
    list_filter_submit = True
    warn_unsaved_form = True
    compressed_fields = True

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> LogEntry:
        """In the audit log, too."""
        _recorded(request, "row.add", obj)
        return super().log_addition(request, obj, message)  # type: ignore[no-any-return]

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> LogEntry:
        """In the audit log, too, with the names of the fields."""
        _recorded(request, "row.change", obj, message)
        return super().log_change(request, obj, message)  # type: ignore[no-any-return]

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        """In the audit log, too."""
        for row in queryset:
            _recorded(request, "row.delete", row)
        return super().log_deletions(request, queryset)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """A service's refusal becomes a message on the form's page; its transaction wrote nothing."""
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)  # type: ignore[no-any-return]
        except DomainError as error:
            messages.error(request, refusal_text(error))
            return HttpResponseRedirect(request.get_full_path())


class ReadOnly:
    """Rows that only the product writes: no form of the admin adds, changes or deletes them."""

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class ReadOnlyAdmin(ReadOnly, BaseAdmin):
    """A page to look at."""

    list_disable_select_all = True


class SettingsAdmin(BaseAdmin):
    """Rows that people set and nothing else changes: written by a service, named fields only."""

    def save_model(self, request: HttpRequest, obj: Model, form: ModelForm[Any], change: bool) -> None:
        """A new row whole, a known one by its changed fields."""
        operators.save_settings(obj, form.changed_data)
