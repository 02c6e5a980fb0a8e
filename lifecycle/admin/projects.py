"""Projects with their members and quotas; invitations."""

from typing import Any

from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.forms import BaseInlineFormSet, ModelForm
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import StackedInline, TabularInline
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.decorators import display

from lifecycle.admin.base import BaseAdmin, ReadOnlyAdmin, SettingsAdmin, badge, link_to, list_url, person, portal_url
from lifecycle.models import VM, Invitation, Membership, Project, Quota
from lifecycle.services import operators, projects


class MembershipInline(TabularInline):
    """Who belongs to the project."""

    model = Membership
    extra = 0
    fields = ["user", "role", "created_at"]
    readonly_fields = ["created_at"]
    autocomplete_fields = ["user"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Membership]:
        """With the people."""
        found: QuerySet[Membership] = super().get_queryset(request).select_related("user")
        return found


class QuotaInline(StackedInline):
    """The project's limits."""

    model = Quota
    can_delete = False
    fields = ["vms", "vcpus", "memory_mib", "disk_gib"]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Every project has one, made with the project."""
        return False


@admin.register(Project)
class ProjectAdmin(BaseAdmin):
    """Projects. Members change through the services, which keep an owner and cut open pages."""

    list_display = ["slug", "title", "vms", "members", "portal", "created_at"]
    search_fields = ["slug", "title"]
    fields = ["slug", "title", "created_at", "portal"]
    ordering = ["slug"]

    def has_delete_permission(self, request: HttpRequest, obj: Project | None = None) -> bool:
        """A project stays: its VMs' history and money belong to it."""
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Project | None = None) -> list[str]:
        """A project keeps its name: addresses hold it."""
        return ["created_at", "portal", *(["slug"] if obj else [])]

    def get_inlines(self, request: HttpRequest, obj: Project | None) -> list[Any]:
        """Members and quota of a project that exists; a new one gets its maker as owner."""
        return [MembershipInline, QuotaInline] if obj else []

    def get_queryset(self, request: HttpRequest) -> QuerySet[Project]:
        """With the numbers of VMs and members."""
        found: QuerySet[Project] = (
            super()
            .get_queryset(request)
            .annotate(
                vm_count=Count("vms", filter=Q(vms__deleted_at__isnull=True), distinct=True),
                member_count=Count("memberships", distinct=True),
            )
        )
        return found

    def save_model(self, request: HttpRequest, obj: Project, form: ModelForm[Project], change: bool) -> None:
        """A new project is made whole: quota, network, owner."""
        if change:
            operators.save_settings(obj, form.changed_data)
            return
        made = projects.create_project(obj.slug, obj.title, owner=person(request))
        obj.pk, obj.created_at = made.pk, made.created_at
        obj._state.adding = False

    def save_formset(
        self, request: HttpRequest, form: ModelForm[Project], formset: BaseInlineFormSet[Any, Any, Any], change: bool
    ) -> None:
        """Members and quota, each change by its service. A refusal undoes the whole form."""
        formset.save(commit=False)
        for row, fields in formset.changed_objects:
            if isinstance(row, Membership):
                _change_member(row, fields)
            else:
                operators.save_settings(row, fields)
        for row in formset.deleted_objects:
            projects.remove_member(row.project, row.user, user=None)
        for row in formset.new_objects:
            made = operators.add_member(row.project, row.user, row.role)
            row.pk, row.created_at = made.pk, made.created_at

    @display(description=_("VMs"), ordering="vm_count")
    def vms(self, project: Project) -> SafeString:
        """How many, with the way there."""
        return link_to(list_url(VM, project__id__exact=project.pk), str(project.vm_count))  # type: ignore[attr-defined]

    @display(description=_("members"), ordering="member_count")
    def members(self, project: Project) -> int:
        """How many."""
        return project.member_count  # type: ignore[attr-defined,no-any-return]

    @display(description=_("portal"))
    def portal(self, project: Project) -> SafeString | str:
        """Its page in the portal."""
        return link_to(portal_url(project), gettext("Open in the portal")) if project.pk else "–"


def _change_member(row: Membership, fields: list[str]) -> None:
    before = Membership.objects.select_related("project", "user").get(pk=row.pk)
    if "user" in fields:
        operators.add_member(before.project, row.user, row.role)
        projects.remove_member(before.project, before.user, user=None)
    elif "role" in fields:
        projects.set_role(before.project, before.user, row.role, user=None)


@admin.register(Quota)
class QuotaAdmin(SettingsAdmin):
    """All quotas in one list."""

    list_display = ["project", "vms", "vcpus", "memory_mib", "disk_gib"]
    search_fields = ["project__slug"]
    list_select_related = ["project"]
    ordering = ["project__slug"]
    fields = ["project", "vms", "vcpus", "memory_mib", "disk_gib"]
    readonly_fields = ["project"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Made with the project."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Quota | None = None) -> bool:
        """Every project has one."""
        return False


@admin.register(Invitation)
class InvitationAdmin(ReadOnlyAdmin):
    """Invitations: sent from the project's page, which shows the secret link once; here they are taken back."""

    list_display = ["email", "project", "role", "shown_status", "invited_by", "created_at", "expires_at", "accepted_by"]
    list_filter = ["role", ("project", AutocompleteSelectFilter)]
    search_fields = ["email", "project__slug"]
    list_select_related = ["project", "invited_by", "accepted_by"]
    fields = [
        *("email", "project", "role", "shown_status", "invited_by"),
        *("created_at", "expires_at", "accepted_at", "accepted_by"),
    ]
    readonly_fields = ["shown_status"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only open ones can be taken back."""
        allowed: bool = request.user.has_perm("lifecycle.delete_invitation")
        return allowed and (obj is None or obj.accepted_at is None)

    def delete_model(self, request: HttpRequest, obj: Invitation) -> None:
        """Take it back."""
        projects.revoke_invitation(obj.project, obj.pk, user=None)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Invitation]) -> None:
        """Take each back; those that were accepted stay."""
        for invitation in queryset.select_related("project"):
            self.delete_model(request, invitation)

    @display(description=_("status"))
    def shown_status(self, invitation: Invitation) -> SafeString:
        """Open, accepted or expired."""
        if invitation.accepted_at:
            return badge(gettext("accepted"), "success")
        if invitation.expires_at <= timezone.now():
            return badge(gettext("expired"), "warning")
        return badge(gettext("open"), "info")
