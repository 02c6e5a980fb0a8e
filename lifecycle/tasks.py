"""Celery's part: the bell that makes a worker look at an operation, and the workers' own sweep."""

from __future__ import annotations

import logging
import time
from typing import Any
from uuid import UUID

from celery import Task, shared_task
from celery.signals import worker_init, worker_shutting_down
from django.utils import timezone

from lifecycle.billing import budgets, invoices, reminders, revenue
from lifecycle.domain.alerts import Condition, Kind
from lifecycle.imaging.importer import importer
from lifecycle.operations import engine, registry
from lifecycle.operations.drain import drain
from lifecycle.operations.sweeper import sweeper
from lifecycle.repair import delivery, expiry, hooks, images, lookout, notices, periodic, schedules, silence
from lifecycle.services import alerts, bell, idle, image_metering, metering, operations, retention, rounds, usage

log = logging.getLogger(__name__)

#: Operations that one sweep by the timer rings for; a worker's own sweep finds the others.
SWEPT_MAX = 200
METERING_SECONDS = 1800.0
BILLING_SECONDS = 3600.0
BUDGETS_SECONDS = 1800.0
IDLE_SECONDS = 900.0
REVENUE_SECONDS = 1800.0
RETENTION_SECONDS = 60.0
USAGE_SECONDS = 900.0
#: The last five minutes of an hour are written shortly after it.
USAGE_LATE_SECONDS = 60.0
#: Between two batches, so that others write meanwhile.
RETENTION_PAUSE_SECONDS = 0.05
#: Of the words of a failed check; all are in its own report.
WORDS_MAX = 250


@shared_task(name=bell.TASK, ignore_result=True)
def run_operation(operation_id: str) -> bool:
    """Work on one operation, if it is due and free."""
    return engine.run(UUID(operation_id))


@shared_task(name="lifecycle.reconcile_hosts", ignore_result=True)
def reconcile_hosts() -> int:
    """The safety net beside the watchers: one task a host, so that one that hangs delays no other."""
    found = periodic.unwatched_hosts()
    for host_id in found:
        reconcile_host.apply_async(args=(host_id,), expires=60)
    return len(found)


@shared_task(name="lifecycle.reconcile_host", ignore_result=True)
def reconcile_host(host_id: int) -> dict[str, int] | None:
    """Reconcile one host, unless a watcher holds it."""
    return periodic.reconcile_unwatched(host_id)


@shared_task(name="lifecycle.verify_images", ignore_result=True)
def verify_images() -> int:
    """Golden images are compared with their checksums, slowly: one task a host."""
    found = images.hosts_with_images()
    for host_id in found:
        verify_images_of.apply_async(args=(host_id,), expires=600)
    return len(found)


@shared_task(name="lifecycle.verify_images_of", bind=True, ignore_result=True)
def verify_images_of(self: Task[Any, Any], host_id: int) -> str | None:
    """Verify one image of a host, unless another worker does."""
    return images.look_after_images(host_id, owner=str(self.request.id))


@shared_task(name="lifecycle.sweep_operations", ignore_result=True)
def sweep_operations() -> int:
    """Ring for every operation that is due: what the workers' own sweep does, by the other way."""
    found = operations.due(limit=SWEPT_MAX)
    for operation_id in found:
        bell.ring(operation_id)
    return len(found)


@shared_task(name="lifecycle.check_hosts", ignore_result=True)
def check_hosts() -> int:
    """Put the VMs of hosts that have been silent for too long into repair; returns how many."""
    return silence.check()


@shared_task(name="lifecycle.check_alerts", ignore_result=True)
def check_alerts() -> None:
    """The round of alerts and the messages that are due, if no worker has just done it."""
    lookout.look(registry.DEADLINES)
    delivery.deliver()
    notices.deliver()
    hooks.deliver()
    budgets.deliver()


@shared_task(name="lifecycle.check_metering", ignore_result=True)
def check_metering() -> int:
    """Derive every metering interval again; a difference is an alert. Returns how many there are."""
    with rounds.turn("metering", seconds=METERING_SECONDS) as mine:
        if mine is None:
            return 0
        report = metering.check() + image_metering.check()
        found = []
        if report.differences:
            values = {"number": str(report.differences), "first": "; ".join(report.words)[:WORDS_MAX]}
            found = [Condition(Kind.METERING, "intervals", values)]
        alerts.sync({Kind.METERING}, found)
    return report.differences


@shared_task(name="lifecycle.bill", ignore_result=True)
def bill() -> tuple[int, int, int]:
    """Draft the months that are over, issue what is old enough, remind of what is late; returns how many of each."""
    with rounds.turn("billing", seconds=BILLING_SECONDS) as mine:
        if mine is None:
            return 0, 0, 0
        done = invoices.run()
        return len(done.drafted), len(done.issued), reminders.send()


@shared_task(name="lifecycle.check_budgets", ignore_result=True)
def check_budgets() -> tuple[int, int, int]:
    """Rate what budgets have left, tell, and suspend; returns how many were looked at, told of, and VMs suspended."""
    with rounds.turn("budgets", seconds=BUDGETS_SECONDS) as mine:
        if mine is None:
            return 0, 0, 0
        done = budgets.look()
        return done.looked, done.told, done.suspended


@shared_task(name="lifecycle.sum_up_revenue", ignore_result=True)
def sum_up_revenue() -> int:
    """Derive the last days' revenue for the operators' charts; returns how many rows there are of them."""
    with rounds.turn("revenue", seconds=REVENUE_SECONDS) as mine:
        return revenue.sum_up(timezone.now()) if mine else 0


@shared_task(name="lifecycle.run_schedules", ignore_result=True)
def run_schedules() -> int | None:
    """Start and stop what is due, if no worker has just done it; returns how many due times were taken."""
    return schedules.run()


@shared_task(name="lifecycle.look_for_idle", ignore_result=True)
def look_for_idle() -> int:
    """Look for VMs that have been idle for days; returns how many there are."""
    with rounds.turn("idle", seconds=IDLE_SECONDS) as mine:
        return idle.look(timezone.now()) if mine else 0


@shared_task(name="lifecycle.expire_suspended", ignore_result=True)
def expire_suspended() -> tuple[int, int]:
    """End suspensions that lasted 60 days; tell people of those that end within a week."""
    return expiry.expire_and_tell()


@shared_task(name="lifecycle.sum_up_usage", ignore_result=True)
def sum_up_usage() -> int:
    """Sum up the five minutes of usage to hours, once the hour is over; returns how many rows were written."""
    with rounds.turn("usage", seconds=USAGE_SECONDS) as mine:
        return usage.sum_up_hours(time.time() - USAGE_LATE_SECONDS) if mine else 0


@shared_task(name="lifecycle.forget_old_rows", ignore_result=True)
def forget_old_rows() -> int:
    """Drop what is older than the settings say, for at most a minute; returns how many rows."""
    until = time.monotonic() + RETENTION_SECONDS
    taken = 0
    with rounds.turn("retention", seconds=RETENTION_SECONDS * 2) as mine:
        for rows in retention.batches() if mine else ():
            taken += rows
            if time.monotonic() > until:
                break
            time.sleep(RETENTION_PAUSE_SECONDS)
    return taken


@worker_init.connect  # not worker_ready, which waits for Redis
def _start_sweeping(**_kwargs: Any) -> None:
    sweeper.start()
    importer.start()
    lookout.lookout.start(registry.DEADLINES)


@worker_shutting_down.connect
def _stop_sweeping(**_kwargs: Any) -> None:
    drain.begin()
    sweeper.stop()
    importer.stop()
    lookout.lookout.stop()
