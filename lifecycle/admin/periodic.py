"""Celery beat's tables in the theme: periodic tasks, visible and editable; the product's own within their bounds."""

from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django_celery_beat.admin import CrontabScheduleAdmin, PeriodicTaskAdmin, PeriodicTaskForm
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule
from unfold.widgets import UnfoldAdminTextInputWidget

from lifecycle.admin.base import BaseAdmin
from lifecycle.services import periodic

for model in (ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule):
    admin.site.unregister(model)

#: What an operator may change of a task of the product.
OPEN_FIELDS = ("enabled", "description", "interval")


class TaskForm(PeriodicTaskForm):
    """Their form without its list of tasks: making that list would load the workers' code into the web process."""

    regtask = None

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        if "task" in self.fields:
            self.fields["task"].widget = UnfoldAdminTextInputWidget()

    def clean(self) -> dict[str, Any]:
        """A task of the product stays on and within its bound."""
        own = periodic.own_of(self.instance)
        if own is None:
            data: dict[str, Any] = super().clean()
            return data
        data = self.cleaned_data
        if not data.get("enabled"):
            self.add_error("enabled", gettext("This task is part of the product and cannot be switched off."))
        if "interval" in data and periodic.too_slow(own, data["interval"]):
            text = gettext("This task is part of the product and needs an interval of at most %(most)s seconds.")
            self.add_error("interval", text % {"most": own.most})
        return data


@admin.register(PeriodicTask)
class PeriodicAdmin(PeriodicTaskAdmin, BaseAdmin):
    """What runs on a timer. Running one now is left out: it, too, would load the workers' code."""

    form = TaskForm
    actions = ["enable_tasks", "disable_tasks", "toggle_tasks"]
    date_hierarchy = None
    change_form_template = None  # theirs holds an inline script
    list_filter = ["enabled", "one_off"]
    fieldsets = [
        (None, {"fields": ["name", "task", "enabled", "description"]}),
        (None, {"fields": ["interval", "crontab", "start_time", "last_run_at", "one_off"]}),
        (None, {"fields": ["args", "kwargs", "queue", "priority", "expires", "expire_seconds", "headers"]}),
    ]

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        """Of a task of the product only its pace is open."""
        fixed = list(super().get_readonly_fields(request, obj))
        if not isinstance(obj, PeriodicTask) or periodic.own_of(obj) is None:
            return fixed
        shown = [name for _title, options in self.fieldsets for name in options["fields"]]
        return [*fixed, *(name for name in shown if name not in OPEN_FIELDS and name not in fixed)]

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """A task of the product cannot be deleted."""
        listed, counts, needed, protected = super().get_deleted_objects(objs, request)
        return listed, counts, needed, [*protected, *(str(task) for task in objs if periodic.own_of(task))]

    @admin.action(description=_("Disable selected tasks"))
    def disable_tasks(self, request: HttpRequest, queryset: QuerySet[PeriodicTask]) -> None:
        """All but those of the product."""
        super().disable_tasks(request, self._of_people(request, queryset))

    @admin.action(description=_("Toggle activity of selected tasks"))
    def toggle_tasks(self, request: HttpRequest, queryset: QuerySet[PeriodicTask]) -> None:
        """All but those of the product."""
        super().toggle_tasks(request, self._of_people(request, queryset))

    def _of_people(self, request: HttpRequest, queryset: QuerySet[PeriodicTask]) -> QuerySet[PeriodicTask]:
        left = queryset.filter(name__in=periodic.OWN).count()
        if left:
            text = ngettext(
                "%(n)s task is part of the product and stays on.",
                "%(n)s tasks are part of the product and stay on.",
                left,
            )
            self.message_user(request, text % {"n": left}, messages.ERROR)
        return queryset.exclude(name__in=periodic.OWN)


class IntervalForm(forms.ModelForm[Any]):
    """An interval that the product's tasks have cannot become longer than they may be apart."""

    def clean(self) -> dict[str, Any]:
        """Refuses what would slow a task of the product down too much."""
        data: dict[str, Any] = super().clean() or {}
        if self.instance.pk and data.get("every") and data.get("period"):
            seconds = periodic.seconds_of(IntervalSchedule(every=data["every"], period=data["period"]))
            if slowed := periodic.slowed_by(self.instance, seconds):
                text = gettext("%(task)s is part of the product and needs an interval of at most %(most)s seconds.")
                self.add_error("every", text % {"task": slowed[0].task, "most": slowed[0].most})
        return data


@admin.register(IntervalSchedule)
class IntervalAdmin(BaseAdmin):
    """Every so often."""

    form = IntervalForm

    def get_deleted_objects(self, objs: Iterable[Any], request: HttpRequest) -> Any:
        """An interval goes with its tasks: one that the product's tasks have stays."""
        listed, counts, needed, protected = super().get_deleted_objects(objs, request)
        kept = [own.task for interval in objs for own in periodic.slowed_by(interval)]
        return listed, counts, needed, [*protected, *kept]


@admin.register(CrontabSchedule)
class CrontabAdmin(CrontabScheduleAdmin, BaseAdmin):
    """At times of the clock."""
