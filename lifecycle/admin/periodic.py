"""Celery beat's tables in the theme: periodic tasks, visible and editable."""

from django.contrib import admin
from django_celery_beat.admin import (
    ClockedScheduleAdmin,
    CrontabScheduleAdmin,
    PeriodicTaskAdmin,
    PeriodicTaskForm,
    TaskSelectWidget,
)
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from lifecycle.admin.base import BaseAdmin

for model in (ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule):
    admin.site.unregister(model)


class ThemedTaskSelectWidget(UnfoldAdminSelectWidget, TaskSelectWidget):
    """The list of known tasks, in the theme."""


class ThemedPeriodicTaskForm(PeriodicTaskForm):
    """Their form with the theme's fields."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.fields["task"].widget = UnfoldAdminTextInputWidget()
        self.fields["regtask"].widget = ThemedTaskSelectWidget()


@admin.register(PeriodicTask)
class PeriodicAdmin(PeriodicTaskAdmin, BaseAdmin):
    """What runs on a timer."""

    form = ThemedPeriodicTaskForm


@admin.register(IntervalSchedule)
class IntervalAdmin(BaseAdmin):
    """Every so often."""


@admin.register(CrontabSchedule)
class CrontabAdmin(CrontabScheduleAdmin, BaseAdmin):
    """At times of the clock."""


@admin.register(SolarSchedule)
class SolarAdmin(BaseAdmin):
    """At times of the sun."""


@admin.register(ClockedSchedule)
class ClockedAdmin(ClockedScheduleAdmin, BaseAdmin):
    """Once, at a moment."""
