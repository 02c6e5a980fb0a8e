"""The product's periodic tasks in the admin: seen, sped up, and neither switched off, slowed down nor deleted."""

from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from lifecycle.services import periodic
from lifecycle.services.bootstrap import bootstrap

NAME = "lifecycle.reconcile_hosts"


@pytest.fixture(autouse=True)
def _rows(superuser: object) -> None:
    bootstrap()


@pytest.fixture
def theirs() -> PeriodicTask:
    return PeriodicTask.objects.create(name="ours", task="ours", interval=interval(90), queue="periodic")


def interval(seconds: int) -> IntervalSchedule:
    return IntervalSchedule.objects.create(every=seconds, period=IntervalSchedule.SECONDS)


def task() -> PeriodicTask:
    return PeriodicTask.objects.get(name=NAME)


def change(client: Client, **data: Any) -> HttpResponse:
    url = reverse("admin:django_celery_beat_periodictask_change", args=[task().pk])
    return client.post(url, {"enabled": "on", "interval": task().interval_id, "description": "", **data})  # type: ignore[return-value]


def act(client: Client, model: str, action: str, *rows: Any) -> HttpResponse:
    url = reverse(f"admin:django_celery_beat_{model}_changelist")
    data = {"action": action, "_selected_action": [row.pk for row in rows], "post": "yes"}
    return client.post(url, data, follow=True)  # type: ignore[return-value]


def test_every_task_is_listed(admin_client: Client) -> None:
    page = admin_client.get(reverse("admin:django_celery_beat_periodictask_changelist")).content.decode()
    assert all(own.task in page for own in periodic.PERIODIC)


def test_a_task_may_run_more_often(admin_client: Client) -> None:
    faster = interval(20)
    assert change(admin_client, interval=faster.pk).status_code == 302
    assert task().interval == faster
    assert task().enabled


def test_a_task_is_not_switched_off(admin_client: Client) -> None:
    response = change(admin_client, enabled="")
    assert "cannot be switched off" in response.content.decode()
    assert task().enabled


def test_a_task_is_not_slowed_down_past_its_bound(admin_client: Client) -> None:
    most = periodic.OWN[NAME].most
    assert change(admin_client, interval=interval(most).pk).status_code == 302
    response = change(admin_client, interval=interval(most + 1).pk)
    assert f"at most {most} seconds" in response.content.decode()
    assert task().interval.every == most
    assert "at most" in change(admin_client, interval="").content.decode()


def test_nothing_else_of_a_task_can_be_changed(admin_client: Client) -> None:
    change(admin_client, queue="nowhere", task="ours", name="ours", one_off="on", args="[1]", expires_0="2020-01-01")
    assert not periodic.wrong()


def test_a_task_is_not_deleted(admin_client: Client, theirs: PeriodicTask) -> None:
    url = reverse("admin:django_celery_beat_periodictask_delete", args=[task().pk])
    assert "would require deleting the following protected" in admin_client.post(url, {"post": "yes"}).content.decode()
    act(admin_client, "periodictask", "delete_selected", task(), theirs)
    assert PeriodicTask.objects.filter(name__in=[NAME, "ours"]).count() == 2
    act(admin_client, "periodictask", "delete_selected", theirs)
    assert not PeriodicTask.objects.filter(name="ours").exists()


@pytest.mark.parametrize("action", ["disable_tasks", "toggle_tasks"])
def test_an_action_switches_off_what_people_added_alone(
    admin_client: Client, theirs: PeriodicTask, action: str
) -> None:
    response = act(admin_client, "periodictask", action, task(), theirs)
    assert "1 task is part of the product" in response.content.decode()
    assert task().enabled
    theirs.refresh_from_db()
    assert not theirs.enabled


def test_an_interval_of_a_task_stays_within_its_bound(admin_client: Client) -> None:
    url = reverse("admin:django_celery_beat_intervalschedule_change", args=[task().interval_id])
    response = admin_client.post(url, {"every": 2, "period": "hours"})
    assert "part of the product" in response.content.decode()
    assert admin_client.post(url, {"every": 2, "period": "minutes"}).status_code == 302
    assert periodic.seconds_of(task().interval) == 120


def test_an_interval_of_a_task_is_not_deleted(admin_client: Client) -> None:
    url = reverse("admin:django_celery_beat_intervalschedule_delete", args=[task().interval_id])
    assert NAME in admin_client.post(url, {"post": "yes"}).content.decode()
    free = interval(77)
    act(admin_client, "intervalschedule", "delete_selected", task().interval, free)
    assert task().interval
    act(admin_client, "intervalschedule", "delete_selected", free)
    assert not IntervalSchedule.objects.filter(pk=free.pk).exists()


def test_tasks_of_people_are_theirs_to_change(admin_client: Client, theirs: PeriodicTask) -> None:
    url = reverse("admin:django_celery_beat_periodictask_change", args=[theirs.pk])
    data = {
        "name": "ours",
        "task": "ours",
        "interval": theirs.interval_id,
        "args": "[]",
        "kwargs": "{}",
        "headers": "{}",
    }
    assert admin_client.post(url, data).status_code == 302
    theirs.refresh_from_db()
    assert not theirs.enabled
