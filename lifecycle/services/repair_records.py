"""Repair records: opened and closed by `services.transitions.move`, in the transaction of the state.

A VM is in REPAIRING if and only if it has an open record.
"""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.utils import timezone

from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action, Asker
from lifecycle.models import Host, Repair, RepairEntry, SerialLog, Transition, User
from lifecycle.services import notifications, webhooks
from lifecycle.services.db import service

Cause, Outcome, Kind = Repair.Cause, Repair.Outcome, RepairEntry.Kind

SERIAL_CHARACTERS: Final = 4000
QEMU_LOG_CHARACTERS: Final = 4000
#: A host on which so many VMs went into repair within the window gets no new VMs for a while.
HOST_REPAIRS: Final = 3
HOST_WINDOW: Final = timedelta(minutes=15)
HOST_PAUSE: Final = timedelta(minutes=30)

#: What an action that leads into REPAIRING means when the observer told no more.
_CAUSES: Final = {Action.CRASH: Cause.CRASH, Action.HOST_ERROR: Cause.HOST_ERROR}

#: How a record ends by the action that leads out of REPAIRING into STOPPING.
_ENDED_BY: Final = {Action.STOP: Outcome.STOPPED, Action.DELETE: Outcome.DELETED}


def follow(transition: Transition, *, started_anew: bool) -> None:
    """Open or close the VM's record as `transition` goes into REPAIRING or out of it."""
    if transition.to_state == State.REPAIRING:
        _open(transition)
    elif transition.from_state == State.REPAIRING:
        _close(transition, started_anew)


def open_of(vm_id: UUID) -> Repair | None:
    """The VM's open record."""
    return Repair.objects.filter(vm=vm_id, closed_at__isnull=True).first()


def describe(vm_id: UUID, cause: str, event: str = "") -> None:
    """What the observer knows of the cause of the open record. Needs an open transaction."""
    Repair.objects.filter(vm=vm_id, closed_at__isnull=True).update(cause=cause, event=event[:200])


def taken_up(vm_id: UUID, operation_id: UUID) -> None:
    """A repair operation works on it from now on. Needs an open transaction."""
    Repair.objects.filter(vm=vm_id, closed_at__isnull=True).update(operation=operation_id)


def recorded_bytes(vm_id: UUID) -> int:
    """Up to where the VM's serial output is recorded."""
    return SerialLog.objects.filter(vm=vm_id).values_list("read_bytes", flat=True).first() or 0


@service
def keep_evidence(vm_id: UUID, *, qemu_log: str, said: str, read_from: int) -> None:
    """Keep what the guest left, once, with its latest record, which may be closed by now.

    `said`: its serial output after the byte `read_from`; what was recorded meanwhile is not kept twice.
    """
    found = Repair.objects.filter(vm=vm_id).first()
    if found is None or found.qemu_log:
        return
    serial = SerialLog.objects.filter(vm=vm_id).first()
    recorded, position = (serial.text, serial.read_bytes) if serial else ("", 0)
    whole = recorded + (said if position == read_from else "")
    Repair.objects.filter(pk=found.pk).update(
        qemu_log=_text(qemu_log)[-QEMU_LOG_CHARACTERS:], serial_tail=_text(whole)[-SERIAL_CHARACTERS:]
    )


def _text(raw: str) -> str:
    """PostgreSQL stores no NUL."""
    return raw.replace("\0", "\ufffd")


def count_attempt(vm_id: UUID, number: int, problem: str = "") -> None:
    """Attempt `number` began, or failed with `problem`. Needs an open transaction."""
    found = open_of(vm_id)
    if found is None:
        return
    Repair.objects.filter(pk=found.pk, attempts__lt=number).update(attempts=number)
    write(found, Kind.FAILED if problem else Kind.ATTEMPT, Asker.REPAIR, text=problem)


def hurried(vm_id: UUID, since: datetime) -> bool:
    """Whether somebody asked after `since` to try again now."""
    return RepairEntry.objects.filter(repair__vm=vm_id, kind=Kind.RETRY, at__gte=since).exists()


def write(repair: Repair, kind: str, by: str, *, user: User | None = None, text: str = "") -> RepairEntry:
    """Add a line to the record's log."""
    return RepairEntry.objects.create(repair=repair, kind=kind, asked_by=by, user=user, text=text[:1000])


def _open(transition: Transition) -> None:
    vm = transition.vm
    serial = SerialLog.objects.filter(vm=vm).values_list("text", flat=True).first() or ""
    made = Repair.objects.create(
        vm=vm,
        host_id=vm.host_id,
        operation=transition.operation,
        cause=_CAUSES.get(Action(transition.action), Cause.REPORTED),
        summary=transition.reason,
        prior_state=transition.from_state,
        serial_tail=serial[-SERIAL_CHARACTERS:],
        opened_by=transition.asked_by,
        user=transition.user,
        opened_at=transition.occurred_at,
    )
    write(made, Kind.OPENED, transition.asked_by, user=transition.user, text=transition.reason)
    notifications.repair_opened(vm)
    webhooks.repair_opened(made)
    if vm.host_id:
        _keep_out_of(vm.host_id)


def _keep_out_of(host_id: int) -> None:
    """Where several VMs went into repair lately, no new ones are placed for a while; silence is another matter."""
    now = timezone.now()
    lately = Repair.objects.filter(host=host_id, opened_at__gt=now - HOST_WINDOW).exclude(cause=Cause.HOST_ERROR)
    if lately.order_by().values("vm").distinct().count() >= HOST_REPAIRS:
        Host.objects.filter(pk=host_id).update(kept_out_until=now + HOST_PAUSE)


def _close(transition: Transition, started_anew: bool) -> None:
    found = open_of(transition.vm_id)
    if found is None:
        return
    outcome = _outcome(found, transition, started_anew)
    at = max(found.opened_at, transition.occurred_at)
    Repair.objects.filter(pk=found.pk).update(closed_at=at, outcome=outcome, outcome_text=transition.reason)
    notifications.repair_closed(transition.vm, Outcome(outcome))
    if outcome != Outcome.CLOSED:  # who closed it by hand has said so
        write(found, Kind.CLOSED, transition.asked_by, user=transition.user, text=transition.reason)


def _outcome(repair: Repair, transition: Transition, started_anew: bool) -> str:
    if repair.entries.filter(kind=Kind.CLOSED).exists():
        return Outcome.CLOSED
    match transition.to_state:
        case State.RUNNING:
            return Outcome.RESTARTED if started_anew else Outcome.UNTOUCHED
        case State.TERMINATED:
            return Outcome.GAVE_UP if _was_given_up(repair) else Outcome.NOT_RESTARTED
        case _:
            return _ENDED_BY.get(Action(transition.action), Outcome.CLOSED)


def _was_given_up(repair: Repair) -> bool:
    """By a person, after attempts, or because it came too often: all else is a VM that is not to be restarted."""
    by_hand = repair.entries.filter(kind=Kind.GIVE_UP).exists()
    return by_hand or repair.attempts > 0 or repair.vm.automatic_restart


def length(repair: Repair, now: datetime) -> timedelta:
    """How long the VM was, or has been, in repair."""
    return (repair.closed_at or now) - repair.opened_at
