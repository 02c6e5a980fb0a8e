"""People and groups. Passwords set here are one-time passwords; only superusers make superusers."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group
from django.db.models import Count, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.admin import TabularInline
from unfold.decorators import display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from lifecycle.admin.base import BaseAdmin, ReadOnly
from lifecycle.models import Membership, User


class OneTimePasswordForm(AdminPasswordChangeForm):
    """The password an operator gives somebody leads to the password form at the next sign-in."""

    def save(self, commit: bool = True) -> User:
        """Set the password and the mark together."""
        self.user.must_change_password = True
        saved: User = super().save(commit)
        return saved


class MembershipInline(ReadOnly, TabularInline):
    """The projects of a person; changed on the project's page."""

    model = Membership
    extra = 0
    fields = ["project", "role", "created_at"]
    readonly_fields = fields


@admin.register(User)
class PersonAdmin(UserAdmin, BaseAdmin):  # type: ignore[type-arg]  # not generic when it runs
    """People. They are switched off, not deleted: history names them."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = OneTimePasswordForm
    list_display = ["username", "email", "full_name", "is_staff", "is_superuser", "is_active", "projects", "last_login"]
    list_filter = ["is_active", "is_staff", "is_superuser", "must_change_password"]
    search_fields = ["username", "email", "first_name", "last_name"]
    ordering = ["username"]
    inlines = [MembershipInline]
    readonly_fields = ["last_login", "date_joined"]
    fieldsets = [
        (None, {"fields": ["username", "password", "must_change_password"]}),
        (_("Person"), {"fields": ["first_name", "last_name", "email", "language", "time_zone"]}),
        (_("Rights"), {"fields": ["is_active", "is_staff", "is_superuser", "groups", "user_permissions"]}),
        (_("History"), {"fields": ["last_login", "date_joined"]}),
    ]
    add_fieldsets = [
        (None, {"classes": ["wide"], "fields": ["username", "email", "password1", "password2"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        """With the number of projects."""
        found: QuerySet[User] = super().get_queryset(request).annotate(project_count=Count("memberships"))
        return found

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Superusers are changed by superusers: else a password set here would be a way up."""
        allowed: bool = super().has_change_permission(request, obj)
        return allowed and (obj is None or not obj.is_superuser or request.user.is_superuser)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Nobody is deleted."""
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> list[str]:
        """Rights are given by superusers."""
        fixed = [*self.readonly_fields]
        if not request.user.is_superuser:
            fixed += ["is_staff", "is_superuser", "groups", "user_permissions"]
        return fixed

    def get_inlines(self, request: HttpRequest, obj: User | None) -> list[Any]:
        """Projects of a person who exists."""
        return self.inlines if obj else []

    def save_model(self, request: HttpRequest, obj: User, form: ModelForm[User], change: bool) -> None:
        """A new person begins with a one-time password."""
        if not change:
            obj.must_change_password = True
        super().save_model(request, obj, form, change)

    @display(description=_("name"))
    def full_name(self, user: User) -> str:
        """First and last name."""
        return user.get_full_name() or "–"

    @display(description=_("projects"), ordering="project_count")
    def projects(self, user: User) -> int:
        """How many projects the person belongs to."""
        return user.project_count  # type: ignore[attr-defined,no-any-return]


admin.site.unregister(Group)


@admin.register(Group)
class RightsAdmin(GroupAdmin, BaseAdmin):
    """Sets of permissions for the staff; given and changed by superusers only."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.is_superuser

    def has_change_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return request.user.is_superuser

    def has_delete_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return request.user.is_superuser
