"""The product's periodic tasks: all there, within their bounds, put right when they are not; and what they do."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask, PeriodicTasks

from lifecycle import tasks
from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action
from lifecycle.models import Alert, Host, Image, MeteringInterval, Project, Round
from lifecycle.repair import lookout
from lifecycle.services import alerts, periodic
from lifecycle.services.bootstrap import bootstrap
from lifecycle.services.periodic import OWN, PERIODIC
from tests import factories
from tests.conftest import CHECKOUT
from vmportal.celery import app

pytestmark = [pytest.mark.bothdb, pytest.mark.django_db]


@pytest.fixture(autouse=True)
def _rows(db: None) -> None:
    bootstrap()


def task_of(name: str = "lifecycle.reconcile_hosts") -> PeriodicTask:
    return PeriodicTask.objects.get(name=name)


def slow(seconds: int) -> IntervalSchedule:
    return IntervalSchedule.objects.create(every=seconds, period=IntervalSchedule.SECONDS)


def test_every_task_is_a_row_that_celery_knows() -> None:
    app.loader.import_default_modules()
    assert set(PeriodicTask.objects.values_list("task", flat=True)) == set(OWN) <= set(app.tasks)
    assert all(own.seconds <= own.most for own in PERIODIC)


def test_every_task_goes_to_a_queue_that_the_workers_listen_to() -> None:
    app.loader.import_default_modules()
    queues = {
        name: app.amqp.router.route({}, name)["queue"].name for name in app.tasks if name.startswith("lifecycle.")
    }
    assert queues["lifecycle.run_operation"] == "operations"
    assert {name for name, queue in queues.items() if queue == "reconcile"} == {
        "lifecycle.reconcile_host",
        "lifecycle.verify_images_of",
    }
    heard = "operations,reconcile,periodic"
    assert set(queues.values()) == set(heard.split(","))
    for starts_workers in ("vmportal/launcher/supervisor.py", "docker-compose.yml"):
        assert heard in (CHECKOUT / starts_workers).read_text()


def test_run_again_it_changes_nothing_and_reports_nothing() -> None:
    before = list(PeriodicTask.objects.values())
    bootstrap()
    assert not periodic.wrong()
    assert periodic.put_right(report_missing=True) == []
    assert list(PeriodicTask.objects.values()) == before
    assert not Alert.objects.exists()


def test_an_interval_within_the_bound_is_the_operators() -> None:
    own = OWN["lifecycle.reconcile_hosts"]
    PeriodicTask.objects.filter(name=own.task).update(interval=slow(own.most), description="ours")
    bootstrap()
    task = task_of()
    assert (task.interval.every, task.description) == (own.most, "ours")


WAYS: dict[str, Callable[[], Any]] = {
    "switched off": lambda: {"enabled": False},
    "slowed down": lambda: {"interval": slow(301)},
    "by the clock": lambda: {"interval": None, "crontab": CrontabSchedule.objects.create(hour="3")},
    "sent where nobody listens": lambda: {"queue": "nowhere"},
    "routed away": lambda: {"routing_key": "nowhere"},
    "another task": lambda: {"task": "celery.ping"},
    "over": lambda: {"expires": timezone.now() - timedelta(days=1)},
    "not yet": lambda: {"start_time": timezone.now() + timedelta(days=1)},
    "once": lambda: {"one_off": True},
    "with arguments": lambda: {"args": "[1]"},
}


@pytest.mark.parametrize("way", WAYS)
def test_what_is_written_by_other_means_is_put_right_and_reported(way: str) -> None:
    before = task_of()
    PeriodicTask.objects.filter(pk=before.pk).update(**WAYS[way]())
    told = PeriodicTasks.last_change()
    assert periodic.wrong()
    bootstrap()
    task = task_of()
    assert (task.enabled, task.interval, task.queue, task.task) == (True, before.interval, "periodic", before.name)
    assert not periodic.wrong()
    assert PeriodicTasks.last_change() != told  # beat reads its tasks again
    assert [a.params["task"] for a in alerts.open_alerts()] == [before.name]


def test_a_task_that_was_deleted_is_made_again_by_the_lookout() -> None:
    PeriodicTask.objects.filter(name="lifecycle.reconcile_hosts").delete()
    lookout.look({})
    assert task_of().enabled
    assert alerts.open_alerts().get().kind == "periodic_changed"


def test_a_task_that_a_new_version_brings_is_no_alert() -> None:
    PeriodicTask.objects.filter(name="lifecycle.reconcile_hosts").delete()
    bootstrap()
    assert task_of().enabled
    assert not Alert.objects.exists()


def test_tasks_of_people_are_theirs() -> None:
    PeriodicTask.objects.create(name="ours", task="ours", interval=slow(86400), enabled=False)
    bootstrap()
    assert not task_of("ours").enabled


# -- what they do --------------------------------------------------------------------------------


def test_the_sweep_rings_for_what_is_due(project: Project) -> None:
    operation = factories.make_operation(factories.make_vm(project), Action.STOP)
    factories.make_operation(factories.make_vm(project), Action.STOP, due_at=timezone.now() + timedelta(minutes=1))
    assert tasks.sweep_operations() == 1
    operation.refresh_from_db()
    assert operation.status == "PENDING"


def test_vms_of_a_host_that_is_silent_for_too_long_are_in_repair(project: Project, host: Host) -> None:
    vm = factories.make_vm(project, host=host, state_since=timezone.now() - timedelta(hours=1))
    Host.objects.update(health="down", last_seen_at=timezone.now() - timedelta(seconds=80))
    assert tasks.check_hosts() == 0
    Host.objects.update(last_seen_at=timezone.now() - timedelta(seconds=100))
    assert tasks.check_hosts() == 1
    assert tasks.check_hosts() == 0
    assert factories.reload_vm(vm.pk).state == State.REPAIRING


def test_metering_that_differs_from_its_log_is_an_alert_until_it_does_not(project: Project, image: Image) -> None:
    from lifecycle.services import metering, vms

    vm = vms.request_create(project, vms.VMRequest(name="web-1"), user=None).vm
    assert tasks.check_metering() == 0
    assert not Alert.objects.exists()
    MeteringInterval.objects.filter(vm=vm).delete()
    assert tasks.check_metering() > 0
    alert = alerts.open_alerts().get()
    assert (alert.kind, alert.severity) == ("metering", "critical")
    assert alert.params["first"]
    metering.repair(vm.pk)
    assert tasks.check_metering() == 0
    assert not alerts.open_alerts().exists()


@pytest.mark.parametrize("name", ["metering", "expiry", "retention"])
def test_what_another_worker_does_now_is_not_done_twice(name: str) -> None:
    Round.objects.create(name=name, due_at=timezone.now() + timedelta(minutes=1))
    work = {"metering": tasks.check_metering, "expiry": tasks.expire_suspended, "retention": tasks.forget_old_rows}
    assert work[name]() in (0, (0, 0))
    assert Round.objects.get(name=name).owner == ""


def test_the_task_does_the_round_of_alerts() -> None:
    tasks.check_alerts()
    assert Round.objects.filter(name="alerts", due_at__gt=timezone.now()).exists()
