"""`move`: the one place that changes a VM's state."""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from django.utils import timezone

from lifecycle.domain.errors import StateConflict
from lifecycle.domain.states import State
from lifecycle.domain.transitions import BIRTHS, DEATHS, Action, Asker, may_move
from lifecycle.models import VM, Operation, Transition, User
from lifecycle.realtime import publish
from lifecycle.services import metering, repair_records, webhooks
from lifecycle.services.db import lock_project_of, service


@service
def move(
    vm_id: UUID,
    action: Action,
    source: State | Collection[State],
    target: State | None,
    *,
    asked_by: Asker,
    operation: Operation | None = None,
    reason: str = "",
    user: User | None = None,
    occurred_at: datetime | None = None,
    **fields: Any,
) -> VM:
    """Take a VM from `source` to `target` (None: gone) by one conditional UPDATE.

    Args:
        source: the state, or the states, expected now.
        reason: a sentence for people, kept on the VM and the transition.
        occurred_at: when it really happened; now when not given. Never earlier than the VM's last change: what
            claims to be (a clock set back, a proof of life older than the change) occurred with that change.
        fields: further columns of the VM to set in the same UPDATE; `last_started_at` says it was started anew.

    Raises:
        StateConflict: the VM is in another state than expected; the text says in which.
        ValueError: the table has no such move: a defect of the caller.
    """
    now = timezone.now()
    expected = {State(source)} if isinstance(source, str) else {State(s) for s in source}
    project = lock_project_of(vm_id)
    if project is None:
        raise VM.DoesNotExist(f"there is no VM {vm_id}")
    before = metering.look(vm_id)
    found = before.state
    if found not in expected:
        raise _conflict(vm_id, expected, found)
    if not (may_move(action, found, target) if target else found in DEATHS):
        raise ValueError(f"the table has no {action}: {found} -> {target}")
    at = max(occurred_at or now, before.changed_at)
    changes: dict[str, Any] = {"state_since": at, "state_reason": reason[:300], **fields}
    changes |= {"state": target} if target else {"deleted_at": now}
    if not VM.objects.filter(pk=vm_id, state=found, deleted_at__isnull=True).update(**changes):
        raise _conflict(vm_id, expected, found)
    number = publish.vm_changed(vm_id)
    transition = _append(vm_id, number, found, target, action, operation, asked_by, user, reason, at)
    metering.begin(transition, project.pk, before)
    webhooks.state_changed(transition, project.pk)
    repair_records.follow(transition, started_anew="last_started_at" in fields)
    return VM.objects.get(pk=vm_id)


def born(
    vm: VM, action: Action, *, asked_by: Asker, operation: Operation | None = None, user: User | None = None
) -> None:
    """Record the beginning of a VM whose row and disks were just made. Needs an open transaction."""
    if vm.lifecycle_state not in BIRTHS:
        raise ValueError(f"no VM begins in {vm.state}")
    number = publish.vm_changed(vm.id)
    at = vm.created_at
    transition = _append(vm.id, number, None, vm.lifecycle_state, action, operation, asked_by, user, "", at)
    metering.begin(transition, vm.project_id, metering.look(vm.id))
    webhooks.state_changed(transition, vm.project_id)


def _append(
    vm_id: UUID,
    number: int,
    source: State | None,
    target: State | None,
    action: Action,
    operation: Operation | None,
    asked_by: Asker,
    user: User | None,
    reason: str,
    occurred_at: datetime,
) -> Transition:
    return Transition.objects.create(
        vm_id=vm_id,
        number=number,
        from_state=source or "",
        to_state=target or "",
        action=action,
        reason=reason[:300],
        operation=operation,
        asked_by=asked_by,
        user=user,
        occurred_at=occurred_at,
    )


def _conflict(vm_id: UUID, expected: Collection[State], found: State) -> StateConflict:
    return StateConflict(
        "The VM is %(found)s, not %(expected)s any more: somebody was faster. "
        "Look again and repeat if you still want to.",
        found=found,
        expected=", ".join(sorted(expected)),
        detail=f"vm {vm_id}",
    )
