"""Celery's part: the bell that makes a worker look at an operation, and the workers' own sweep."""

from __future__ import annotations

import logging
from typing import Any
from uuid import UUID

from celery import shared_task
from celery.signals import worker_ready, worker_shutting_down

from lifecycle.operations import engine
from lifecycle.operations.sweeper import sweeper
from lifecycle.repair import periodic
from lifecycle.services import bell

log = logging.getLogger(__name__)


@shared_task(name=bell.TASK, queue=bell.QUEUE, ignore_result=True)
def run_operation(operation_id: str) -> bool:
    """Work on one operation, if it is due and free."""
    return engine.run(UUID(operation_id))


@shared_task(name="lifecycle.reconcile_hosts", queue="periodic", ignore_result=True)
def reconcile_hosts() -> int:
    """The safety net beside the watchers: one task a host, so that one that hangs delays no other."""
    found = periodic.unwatched_hosts()
    for host_id in found:
        reconcile_host.apply_async(args=(host_id,), expires=60)
    return len(found)


@shared_task(name="lifecycle.reconcile_host", queue="reconcile", ignore_result=True)
def reconcile_host(host_id: int) -> dict[str, int] | None:
    """Reconcile one host, unless a watcher holds it."""
    return periodic.reconcile_unwatched(host_id)


@worker_ready.connect
def _start_sweeping(**_kwargs: Any) -> None:
    sweeper.start()


@worker_shutting_down.connect
def _stop_sweeping(**_kwargs: Any) -> None:
    sweeper.stop()
