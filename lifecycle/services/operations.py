"""Operations: opened by requests, leased by workers, closed once.

Every write of a worker goes through `fenced`: it is conditional on the lease token the worker got, so a
worker that lost its lease can write nothing.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Count, DateTimeField, F, Min, Q, Value
from django.db.models.functions import Coalesce, Greatest
from django.utils import timezone

from lifecycle import tracing
from lifecycle.domain.access import Right
from lifecycle.domain.errors import ActionNotAllowed, OperationCancelled, OperationPreempted, RequestIdReused
from lifecycle.domain.transitions import Action, Asker, may_cancel
from lifecycle.models import VM, Change, Operation, OperationStep, Project, User
from lifecycle.realtime import publish, push
from lifecycle.services import bell, notifications, webhooks
from lifecycle.services.access import authorise, require
from lifecycle.services.db import lock_project, service

log = logging.getLogger(__name__)

Status = Operation.Status

#: Operations in which a domain is started. A worker that lost its lease may have just that call in flight.
_POWERS_ON = frozenset({Action.CREATE, Action.START, Action.SUSPEND, Action.RESUME, Action.REPAIR})


#: Longer than any operation is ever put off: the longest back-off, of an undo, is a minute.
WAIT_MAX = timedelta(minutes=2)
#: A due operation that nobody took for so long means that no worker is at work.
LATE = timedelta(seconds=20)


class LostLease(Exception):
    """Another worker owns the operation, or it was closed: stop working on it and write nothing."""


# -- opening and closing -------------------------------------------------------------------------


def open_operation(
    vm: VM,
    action: Action,
    *,
    asked_by: Asker,
    user: User | None = None,
    request_id: UUID | None = None,
    data: dict[str, Any] | None = None,
) -> Operation:
    """Write a PENDING operation and ring. Needs an open transaction; one open a VM is a constraint."""
    operation = Operation.objects.create(
        project_id=vm.project_id,
        vm=vm,
        target_name=vm.name,
        action=action,
        asked_by=asked_by,
        user=user,
        request_id=request_id,
        vm_fence=vm.fence,
        data={**(data or {}), **({tracing.KEY: kept} if (kept := tracing.carrier()) else {})},
    )
    bell.ring(operation.id)
    return operation


def of_request(project: Project, request_id: UUID | None) -> Operation | Change | None:
    """What a request with this id did before, whether it was work or a change of settings."""
    if request_id is None:
        return None
    asked = {"project": project, "request_id": request_id}
    return Operation.objects.filter(**asked).first() or Change.objects.filter(**asked).first()


def reused(request_id: UUID, action: str, name: str) -> RequestIdReused:
    """The refusal of an id that stands for another request, namely `action` of the VM `name`."""
    return RequestIdReused(
        "The request id %(id)s was used before, for another request (%(action)s of %(name)s). Use a new one.",
        field="request_id",
        id=request_id,
        action=action,
        name=name,
    )


def current(vm_id: UUID) -> Operation | None:
    """The VM's open operation."""
    return Operation.objects.filter(vm=vm_id).exclude(status=Status.DONE).first()


def close(operation_id: UUID, error: dict[str, Any] | None = None, **fields: Any) -> bool:
    """Make it DONE, once. Needs an open transaction. False when it already was.

    An operation during which the clock was set back to before its request ends with that.
    """
    ended_at = Greatest(Value(timezone.now(), DateTimeField()), F("insert_time"))
    changes: dict[str, Any] = {"end_time": ended_at, "lease_until": None, "lease_owner": "", **fields}
    if error is None:
        changes["progress"] = 100
    changed = (
        Operation.objects.filter(pk=operation_id)
        .exclude(status=Status.DONE)
        .update(status=Status.DONE, error=error, **changes)
    )
    if changed and error is not None and error.get("code") != OperationPreempted.code:
        notifications.operation_failed(operation_id)
    if changed:
        webhooks.operation_ended(operation_id)
        push.operation_ended(operation_id)
    return bool(changed)


def preempt(operation: Operation) -> int:
    """Close an open operation because another takes over; raises the VM's fence. Needs an open transaction.

    Returns the VM's new fencing counter. The old worker can write nothing from here on.
    """
    error = OperationPreempted("A later request took over.").as_dict()
    close(operation.id, error=error, lease_token=F("lease_token") + 1)
    OperationStep.objects.filter(operation=operation, status=OperationStep.Status.RUNNING).update(
        status=OperationStep.Status.SKIPPED, ended_at=timezone.now()
    )
    VM.objects.filter(pk=operation.vm_id).update(fence=F("fence") + 1)
    return VM.objects.values_list("fence", flat=True).get(pk=operation.vm_id)


@service
def cancel(operation: Operation, user: User | None, *, as_operator: bool = False) -> Operation:
    """Turn an open operation round: what it did is undone, and it ends with OPERATION_CANCELLED.

    The worker sees it between two steps; an operation that ends before that has ended. Twice changes nothing.

    Args:
        as_operator: `user` acts by a permission of the staff that the caller checked, not by a role in the project.

    Raises:
        NotFound, Forbidden: by the user's role in the project.
        ActionNotAllowed: it is over, is being undone already, or cannot be taken back.
    """
    project = lock_project(operation.project_id)
    authorise(project, None if as_operator else user, Action(operation.action))
    found = Operation.objects.select_for_update().get(pk=operation.pk)
    _check_cancellable(found)
    if found.cancel_time is None:
        found.cancel_time, found.cancelled_by = timezone.now(), user
        found.due_at = found.cancel_time
        found.save(update_fields=["cancel_time", "cancelled_by", "due_at"])
        publish.vm_changed(found.vm_id)
        bell.ring(found.pk)
    return found


def _check_cancellable(operation: Operation) -> None:
    names = {"action": operation.action, "name": operation.target_name}
    if operation.is_done:
        raise ActionNotAllowed("The %(action)s of %(name)s is over: there is nothing left to cancel.", **names)
    if not may_cancel(Action(operation.action)):
        raise ActionNotAllowed("A %(action)s cannot be cancelled: it cannot be taken back.", **names)
    if operation.undoing:
        raise ActionNotAllowed("The %(action)s of %(name)s has failed and is being undone already.", **names)


def cancellation(operation_id: UUID) -> OperationCancelled | None:
    """The error of an operation that somebody cancelled. Sound inside `fenced` only, which orders it with `cancel`."""
    found = Operation.objects.filter(pk=operation_id, cancel_time__isnull=False)
    names = found.values_list("cancelled_by__username", flat=True)
    if not names:
        return None
    return OperationCancelled("It was cancelled by %(user)s.", user=names[0] or "–")


@service
def record_done(
    vm: VM,
    action: Action,
    *,
    asked_by: Asker,
    user: User | None = None,
    error: dict[str, Any] | None = None,
) -> Operation:
    """An operation that is over as it is written: something that happened outside of us."""
    now = timezone.now()
    made = Operation.objects.create(
        project_id=vm.project_id,
        vm=vm,
        target_name=vm.name,
        action=action,
        asked_by=asked_by,
        user=user,
        status=Status.DONE,
        progress=100,
        insert_time=now,
        start_time=now,
        end_time=now,
        error=error,
        vm_fence=vm.fence,
    )
    webhooks.operation_ended(made.pk)
    return made


@service
def hide_from_api(operation: Operation | Change, *, user: User) -> None:
    """Take a finished operation out of the API's answers; its row, the project's history, stays.

    Raises:
        NotFound, Forbidden: the user is a stranger, or only looks.
    """
    require(operation.project, user, Right.USE_VMS)
    type(operation).objects.filter(pk=operation.pk).update(hidden_from_api=True)


# -- leases --------------------------------------------------------------------------------------


def due(limit: int) -> list[UUID]:
    """Open operations nobody works on and whose time has come, oldest first."""
    now = timezone.now()
    found = Operation.objects.filter(_free(now), _its_time_has_come(now)).exclude(status=Status.DONE)
    return list(found.order_by("due_at").values_list("pk", flat=True)[:limit])


def queue() -> dict[str, Any]:
    """Open operations and how long the oldest has been due without anybody at work on it: one query."""
    now = timezone.now()
    waiting = _its_time_has_come(now) & (Q(lease_until__isnull=True) | Q(lease_until__lt=now))
    found = Operation.objects.exclude(status=Operation.Status.DONE).aggregate(
        open=Count("pk"),
        waiting=Count("pk", filter=waiting),
        oldest=Min("due_at", filter=waiting),
        recovered=Count("pk", filter=Q(recovered__gt=0)),
    )
    age = now - found["oldest"] if found["oldest"] else timedelta()
    return {**found, "age_seconds": int(age.total_seconds()), "late": age > LATE}


@service
def claim(operation_id: UUID, owner: str) -> Operation | None:
    """Take the lease; None when it is taken, not due or done. Lease and attempt are written before any work."""
    now = timezone.now()
    found = Operation.objects.filter(pk=operation_id).values_list("lease_until", "project_id").first()
    before, project_id = found or (None, None)
    lost = 1 if before is not None else 0
    if lost and project_id is not None:
        lock_project(project_id)
    taken = (
        Operation.objects.filter(pk=operation_id, lease_until=before)
        .filter(_free(now), _its_time_has_come(now + timedelta(milliseconds=50)))
        .exclude(status=Status.DONE)
        .update(
            status=Status.RUNNING,
            start_time=Coalesce(F("start_time"), now),
            lease_owner=owner,
            lease_token=F("lease_token") + 1,
            lease_until=now + timedelta(seconds=settings.OPERATION_LEASE_SECONDS),
            attempt=F("attempt") + 1,
            recovered=F("recovered") + lost,
        )
    )
    if not taken:
        return None
    if lost:
        log.warning("operation %s is recovered after the loss of its worker", operation_id)
        _outdate(operation_id)
    return Operation.objects.select_related("vm").get(pk=operation_id)


def _its_time_has_come(now: datetime) -> Q:
    """It is due; or due so late that the clock was set back since it was put off: nobody knows for how long."""
    return Q(due_at__lte=now) | Q(due_at__gt=now + WAIT_MAX)


def _free(now: datetime) -> Q:
    """Nobody's lease holds."""
    if "leases" in settings.UNSAFE_TEST_SWITCHES:
        return Q()
    return Q(lease_until__isnull=True) | Q(lease_until__lt=now)


def _outdate(operation_id: UUID) -> None:
    """Raise the VM's fence when its lost worker may yet start the domain: a reconcile tells such a start by it."""
    vm_id, action = Operation.objects.values_list("vm_id", "action").get(pk=operation_id)
    if action in _POWERS_ON:
        VM.objects.filter(pk=vm_id).update(fence=F("fence") + 1)
    publish.vm_changed(vm_id)


@service
def renew(held: Iterable[tuple[UUID, int]]) -> list[UUID]:
    """Prolong leases; returns those that are lost."""
    until = timezone.now() + timedelta(seconds=settings.OPERATION_LEASE_SECONDS)
    return [
        pk
        for pk, token in held
        if not Operation.objects.filter(pk=pk, lease_token=token).exclude(status=Status.DONE).update(lease_until=until)
    ]


def holds(operation_id: UUID, token: int) -> bool:
    """Whether the lease is still ours: asked before each hypervisor call."""
    if "fencing" in settings.UNSAFE_TEST_SWITCHES:
        return True
    return (
        Operation.objects.filter(pk=operation_id, lease_token=token, lease_until__gt=timezone.now())
        .exclude(status=Status.DONE)
        .exists()
    )


@contextmanager
def fenced(operation: Operation, token: int) -> Iterator[None]:
    """A transaction whose writes happen only while the lease is ours. Raises `LostLease` else."""
    with transaction.atomic():
        lock_project(operation.project_id)
        mine = Operation.objects.filter(pk=operation.pk, lease_token=token).exclude(status=Status.DONE)
        if not mine.update(lease_token=token) and "fencing" not in settings.UNSAFE_TEST_SWITCHES:
            raise LostLease(str(operation.pk))
        yield


# -- steps ---------------------------------------------------------------------------------------


def plan_steps(operation_id: UUID, names: Sequence[str]) -> None:
    """Write the list of steps, once."""
    OperationStep.objects.bulk_create(
        [OperationStep(operation_id=operation_id, index=i, name=name) for i, name in enumerate(names)],
        ignore_conflicts=True,
    )


def begin_step(operation: Operation, index: int, *, undoing: bool) -> None:
    """The step is under way: told once, with its start; repeated runs keep the start."""
    now = timezone.now()
    Operation.objects.filter(pk=operation.pk).update(
        step_index=index, undoing=undoing, step_started_at=now, step_failures=0
    )
    if not undoing:
        OperationStep.objects.filter(operation=operation, index=index).update(
            status=OperationStep.Status.RUNNING, started_at=now, detail=""
        )


def end_step(operation: Operation, index: int, status: str, detail: str = "") -> None:
    """The step is done, failed or undone."""
    OperationStep.objects.filter(operation=operation, index=index).update(
        status=status, ended_at=timezone.now(), detail=detail[:500]
    )


def set_progress(operation: Operation, percent: int) -> None:
    """Progress never falls."""
    Operation.objects.filter(pk=operation.pk, progress__lt=percent).update(progress=percent)


def remember(operation: Operation, **values: Any) -> None:
    """Keep something for a later run of the operation's steps. The caller is inside `fenced`."""
    operation.data = {**operation.data, **values}
    Operation.objects.filter(pk=operation.pk).update(data=operation.data)


def postpone(operation: Operation, seconds: float, *, failed: bool, detail: str) -> None:
    """Give the lease back; the operation is due again in `seconds`. The caller is inside `fenced`.

    Woken since it was claimed, a wait is over at once: what woke it may have happened after the step looked.
    """
    if not failed and Operation.objects.filter(pk=operation.pk, due_at__gt=operation.due_at).exists():
        seconds = 0.0
    Operation.objects.filter(pk=operation.pk).update(
        lease_until=None,
        lease_owner="",
        due_at=timezone.now() + timedelta(seconds=seconds),
        step_failures=F("step_failures") + (1 if failed else 0),
    )
    if detail:
        changed = (
            OperationStep.objects.filter(operation=operation, index=operation.step_index)
            .exclude(detail=detail[:500])
            .update(detail=detail[:500])
        )
        if changed:
            publish.vm_changed(operation.vm_id)
    bell.ring(operation.id, seconds)


@service
def wake(vm_id: UUID) -> bool:
    """Make the VM's open operation due now: something happened that it waits for."""
    found = current(vm_id)
    if found is None:
        return False
    Operation.objects.filter(pk=found.pk).update(due_at=timezone.now())
    bell.ring(found.pk)
    return True


def last_end(vm_id: UUID) -> datetime | None:
    """When the VM's last operation ended."""
    return (
        Operation.objects.filter(vm=vm_id, end_time__isnull=False)
        .order_by("-end_time")
        .values_list("end_time", flat=True)
        .first()
    )
