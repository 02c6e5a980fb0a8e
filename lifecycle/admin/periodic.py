"""Celery beat's tables in the theme: periodic tasks, visible and editable."""

from django.contrib import admin
from django_celery_beat.admin import CrontabScheduleAdmin, PeriodicTaskAdmin, PeriodicTaskForm
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule
from unfold.widgets import UnfoldAdminTextInputWidget

from lifecycle.admin.base import BaseAdmin

for model in (ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule):
    admin.site.unregister(model)


class TaskForm(PeriodicTaskForm):
    """Their form without its list of tasks: making that list would load the workers' code into the web process."""

    regtask = None

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.fields["task"].widget = UnfoldAdminTextInputWidget()


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


@admin.register(IntervalSchedule)
class IntervalAdmin(BaseAdmin):
    """Every so often."""


@admin.register(CrontabSchedule)
class CrontabAdmin(CrontabScheduleAdmin, BaseAdmin):
    """At times of the clock."""
