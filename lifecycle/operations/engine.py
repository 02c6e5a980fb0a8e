"""The engine: takes an operation's lease and runs its steps, one after the other, recording each.

What it promises:
- lease, attempt and back-off are written before the work;
- every write carries the lease's fencing token;
- a step that waits gives the lease back and says when to look again: no worker sleeps on a guest;
- a failure undoes the steps in reverse, the failed one first (its effect may have happened);
- the end (closing the operation, moving the VM) is one transaction; a record that fails is a failure of its step;
- a cancel turns the operation round between two steps, until its end is written;
- a process that drains ends its steps and gives its leases back.
"""

import logging
import os
import random
import socket
from collections.abc import Callable
from contextlib import suppress
from uuid import UUID

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection
from django.utils import timezone

from lifecycle import tracing
from lifecycle.domain.errors import DeadlineExceeded, DomainError, Gone, HypervisorError, StepFailed
from lifecycle.domain.text import mark
from lifecycle.models import Operation, OperationStep
from lifecycle.operations import registry
from lifecycle.operations.context import Context, Drained
from lifecycle.operations.definition import Again, Definition, Skip, Step
from lifecycle.operations.drain import drain
from lifecycle.operations.leases import keeper
from lifecycle.realtime import publish
from lifecycle.services import operations
from lifecycle.services.operations import LostLease

log = logging.getLogger(__name__)

StepStatus = OperationStep.Status

#: Unknown exceptions are defects; a few repetitions separate them from bad luck.
UNKNOWN_ERRORS_MAX = 3
BACKOFF_SECONDS = (0.5, 15.0)
UNDO_BACKOFF_SECONDS = (1.0, 60.0)

#: What a test puts here is called between a step's effect and its record: (operation, step, undoing).
after_effect: Callable[[Operation, Step, bool], None] | None = None


def owner_name() -> str:
    """This process, as leases name it."""
    return f"{socket.gethostname()}:{os.getpid()}"


def run(operation_id: UUID) -> bool:
    """Work on the operation until it is done, waits, or is taken away. False when there was nothing to take."""
    if drain.is_on:
        return False
    operation = operations.claim(operation_id, owner_name())
    if operation is None:
        return False
    context = Context(operation)
    kept, what = operation.data.get(tracing.KEY), {"operation": str(operation.pk), "vm": str(operation.vm_id)}
    with tracing.continued(kept, f"operation {operation.action}", **what), keeper.held(context):
        try:
            _drive(context, registry.DEFINITIONS[operation.action])
        except LostLease:
            log.info("operation %s was taken over; this worker leaves it", operation_id)
        except Exception as error:
            _leave_for_later(context, error)
    return True


def _drive(context: Context, definition: Definition) -> None:
    operation = context.operation
    if operation.step_started_at is None:
        with context.writing():
            operations.plan_steps(operation.pk, [s.name for s in definition.steps])
            _begin(context, 0, undoing=False)
            publish.vm_changed(operation.vm_id)
    try:
        while not operation.undoing and not drain.is_on:
            if _forward(context, definition):
                return
        while operation.undoing and not drain.is_on:
            if not _backward(context, definition):
                return
    except Drained:
        log.info("operation %s: its step takes too long for a process that ends; it is left", operation.pk)
    with context.writing():
        operations.postpone(operation, 0.0, failed=False, detail="")


def _leave_for_later(context: Context, error: Exception) -> None:
    """The database refused a record: the lease is given back if it takes that, and runs out if not."""
    log.error("operation %s is left for later", context.operation.pk, exc_info=error)
    _read_again(context)
    with suppress(LostLease), context.writing():
        _postpone_failed(context, error, BACKOFF_SECONDS)


# -- forward -------------------------------------------------------------------------------------


def _forward(context: Context, definition: Definition) -> bool:
    """Run the current step. True when this run is over."""
    operation = context.operation
    step = definition.steps[operation.step_index]
    if operation.cancel_time is not None:
        _cancel_before(context)
        return False
    try:
        with tracing.span(f"step {step.name}"):
            outcome = step.do(context)
        if after_effect:
            after_effect(operation, step, False)
        if not isinstance(outcome, Again):
            return _step_done(context, definition, operation.step_index, outcome)
    except LostLease:
        raise
    except Exception as error:
        return _step_failed(context, definition, step, error)
    if _overdue(operation, step):
        late = DeadlineExceeded(
            "%(step)s did not end within %(seconds)s seconds.", step=step.name, seconds=round(step.deadline_seconds)
        )
        return _step_failed(context, definition, step, late)
    with context.writing():
        operations.postpone(operation, outcome.seconds, failed=False, detail=outcome.detail)
    return True


def _step_done(context: Context, definition: Definition, index: int, outcome: Skip | None) -> bool:
    operation, steps = context.operation, definition.steps
    last = index + 1 == len(steps) or isinstance(outcome, Skip)
    with context.writing():
        operations.end_step(operation, index, StepStatus.DONE, outcome.detail if outcome else "")
        if cancelled := operations.cancellation(operation.pk):
            _turn_round(context, cancelled)
            return False
        if last:
            for later in range(index + 1, len(steps)):
                operations.end_step(operation, later, StepStatus.SKIPPED)
            operations.close(operation.pk)
            definition.complete(context)
        else:
            operations.set_progress(operation, (index + 1) * 100 // (len(steps) + 1))
            _begin(context, index + 1, undoing=False)
            publish.vm_changed(operation.vm_id)
    return last


def _step_failed(context: Context, definition: Definition, step: Step, error: Exception) -> bool:
    """Repeat the step later, or turn round. True when this run is over."""
    operation = context.operation
    _read_again(context)
    if definition.retried or (_worth_repeating(operation, error) and not _overdue(operation, step)):
        _log_failure(operation, step, error, "is repeated")
        with context.writing():
            _postpone_failed(context, error, BACKOFF_SECONDS)
        return True
    _log_failure(operation, step, error, "failed for good; its operation is undone")
    refusal = _as_domain_error(step, error)
    with context.writing():
        operations.end_step(operation, operation.step_index, StepStatus.FAILED, refusal.text)
        _turn_round(context, refusal)
    return False


def _cancel_before(context: Context) -> None:
    """It was cancelled while nobody worked on it: the step that was next, or waited, is not gone on with."""
    operation = context.operation
    with context.writing():
        operations.end_step(operation, operation.step_index, StepStatus.SKIPPED)
        if cancelled := operations.cancellation(operation.pk):
            _turn_round(context, cancelled)


def _turn_round(context: Context, refusal: DomainError) -> None:
    """From here on the operation undoes what it did, the current step first. Inside `writing`."""
    operation = context.operation
    operations.remember(operation, error=refusal.as_dict())
    _begin(context, operation.step_index, undoing=True)
    publish.vm_changed(operation.vm_id)


# -- backward ------------------------------------------------------------------------------------


def _backward(context: Context, definition: Definition) -> bool:
    """Undo the current step. False when this run is over."""
    operation = context.operation
    step = definition.steps[operation.step_index]
    try:
        with tracing.span(f"undo {step.name}"):
            outcome = _undo(context, step)
        if after_effect:
            after_effect(operation, step, True)
        if not isinstance(outcome, Again):
            return _step_undone(context, definition, operation.step_index)
    except LostLease:
        raise
    except Exception as error:
        _read_again(context)
        _log_failure(operation, step, error, "could not be undone yet; it is repeated")
        with context.writing():
            _postpone_failed(context, error, UNDO_BACKOFF_SECONDS)
        return False
    with context.writing():
        operations.postpone(operation, outcome.seconds, failed=False, detail=outcome.detail)
    return False


def _step_undone(context: Context, definition: Definition, index: int) -> bool:
    operation, step = context.operation, definition.steps[index]
    with context.writing():
        if step.undo and operation.steps.get(index=index).status != StepStatus.FAILED:
            operations.end_step(operation, index, StepStatus.UNDONE)
        if index > 0:
            _begin(context, index - 1, undoing=True)
            return True
        operations.close(operation.pk, error=operation.data.get("error") or {})
        if definition.fail:
            definition.fail(context)
    return False


def _undo(context: Context, step: Step) -> Again | Skip | None:
    if step.undo is None or "undo" in settings.UNSAFE_TEST_SWITCHES:
        return None
    try:
        return step.undo(context)
    except Gone:
        return None  # already gone is what an undo wants


# -- small parts ---------------------------------------------------------------------------------


def _begin(context: Context, index: int, *, undoing: bool) -> None:
    operation = context.operation
    operations.begin_step(operation, index, undoing=undoing)
    operation.step_index, operation.undoing = index, undoing
    operation.step_started_at, operation.step_failures = timezone.now(), 0


def _read_again(context: Context) -> None:
    """After a failure: a record may have been taken back, and the connection to the database may be lost."""
    if not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()
    fields = ["step_index", "undoing", "step_started_at", "step_failures", "data"]
    context.operation.refresh_from_db(fields=fields)
    context.reload()


def _postpone_failed(context: Context, error: Exception, bounds: tuple[float, float]) -> None:
    seconds = _backoff(context.operation.step_failures, bounds)
    operations.postpone(context.operation, seconds, failed=True, detail=_for_people(error))


def _overdue(operation: Operation, step: Step) -> bool:
    return operation.seconds_at_step > step.deadline_seconds


def _worth_repeating(operation: Operation, error: Exception) -> bool:
    if isinstance(error, HypervisorError):
        return error.retry
    if isinstance(error, DomainError):
        return False
    if isinstance(error, OperationalError | InterfaceError):
        return True  # the database is away or busy, which says nothing about the step
    return operation.step_failures + 1 < UNKNOWN_ERRORS_MAX


def _backoff(failures: int, bounds: tuple[float, float]) -> float:
    """Doubling from the lower bound up to the upper one, with a fifth of jitter."""
    low, high = bounds
    jitter = random.uniform(0.8, 1.2)  # noqa: S311  # not a secret
    return min(high, low * 2.0 ** min(failures, 10)) * jitter


def _for_people(error: Exception) -> str:
    if isinstance(error, HypervisorError):
        return error.user_text
    return error.text if isinstance(error, DomainError) else mark("An internal error occurred.")


def _as_domain_error(step: Step, error: Exception) -> DomainError:
    if isinstance(error, DomainError):
        return error
    failed = StepFailed(_for_people(error), detail=f"{step.name}: {error}")
    if isinstance(error, HypervisorError):
        failed.code = error.code  # type: ignore[misc]  # the instance tells the precise code
    return failed


def _log_failure(operation: Operation, step: Step, error: Exception, what: str) -> None:
    expected = isinstance(error, HypervisorError | DomainError)
    log.warning(
        "operation %s (%s %s), step %s %s: %s",
        operation.pk, operation.action, operation.target_name, step.name, what, error,
        exc_info=None if expected and not settings.DEBUG else error,
    )  # fmt: skip
