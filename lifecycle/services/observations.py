"""What was observed on a host, written down. Called by repair and telemetry only.

Every change of a state re-checks, inside its transaction, that the VM is still as it was when the observer
looked: no operation is open, and nothing was settled after `seen_at` (a moment before the host was asked).
An observation that is too old changes nothing and says so.
"""

import logging
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, Q
from django.utils import timezone
from django.utils.translation import gettext_noop as _

from lifecycle.domain.errors import ResourcePoolExhausted
from lifecycle.domain.recovery import DOWN
from lifecycle.domain.states import Power, State
from lifecycle.domain.transitions import Action, Asker
from lifecycle.models import VM, Host, LibvirtEvent, Operation, Repair, SerialChunk, SerialLog
from lifecycle.realtime import publish
from lifecycle.services import capacity, keys, operations, repair_records, serial_history
from lifecycle.services.db import lock_project, service
from lifecycle.services.transitions import move

log = logging.getLogger(__name__)

#: A VM that crashed and was restarted so often within the window is not restarted again.
RESTARTS_MAX = 3
RESTARTS_WINDOW = timedelta(minutes=10)
#: How fresh "address seen in use" is kept.
ADDRESS_FRESHNESS = timedelta(seconds=60)
#: A block of host key fingerprints that came in two pieces began within so many characters.
HOST_KEYS_REACH = 2000

GUEST_SHUT_DOWN = _("The guest shut itself down.")
SWITCHED_OFF = _("It was switched off outside of the portal, by an operator of the host.")
DOMAIN_MISSING = _("Its definition was removed from the host outside of the portal; a start defines it again.")
STARTED_OUTSIDE = _("It was started outside of the portal, by an operator of the host.")
STARTED_WITHOUT_ROOM = _("It was started outside of the portal; its host has no free capacity for it.")
SAVED_OUTSIDE = _("It was suspended outside of the portal, by an operator of the host.")
HOST_SILENT = _("Its host does not answer. What the guest does is not known; nothing is tried until it answers.")
STILL_RUNS = _("The guest runs.")
NOT_RESTARTED = _("It is not restarted: automatic restart is off.")
RESTARTED_TOO_OFTEN = _("It is not restarted again: it crashed after each of its last restarts.")
HELD_TOO_OFTEN = _("It is switched off: this came back after each of its last repairs.")
DIED_SUSPENDING = _("Its QEMU process died while its memory was being saved.")


# -- power ---------------------------------------------------------------------------------------


@service
def record_power(vm_id: UUID, power: Power, *, run_id: int | None, seen_at: datetime) -> bool:
    """Note what the host showed at `seen_at`; tells the browsers when it changed. False when it did not."""
    lock_project(VM.objects.values_list("project_id", flat=True).get(pk=vm_id))
    newer = Q(power_seen_at__isnull=True) | Q(power_seen_at__lte=seen_at)
    rows = VM.objects.live().filter(newer, pk=vm_id)
    changed = rows.exclude(power=power).update(power=power, run_id=run_id, power_seen_at=seen_at)
    if changed:
        publish.vm_changed(vm_id)
    else:
        rows.update(run_id=run_id, power_seen_at=seen_at)
    return bool(changed)


@service
def confirm_power(vm_ids: Collection[UUID], seen_at: datetime) -> None:
    """The VMs were seen at `seen_at` with the power that is recorded: one UPDATE, nothing to tell."""
    VM.objects.filter(pk__in=vm_ids).filter(Q(power_seen_at__isnull=True) | Q(power_seen_at__lt=seen_at)).update(
        power_seen_at=seen_at
    )


@service
def record_event(host_id: int, vm_id: UUID, kind: str, detail: str, occurred_at: datetime) -> bool:
    """Keep what libvirt told of a VM. False when it is none of ours on that host."""
    if not VM.objects.filter(pk=vm_id, host=host_id).exists():
        return False
    LibvirtEvent.objects.create(
        vm_id=vm_id, host_id=host_id, kind=kind[:20], detail=detail[:100], occurred_at=occurred_at
    )
    return True


# -- states --------------------------------------------------------------------------------------


@service
def guest_stopped(
    vm_id: UUID, *, reason: str, occurred_at: datetime, seen_at: datetime, power: Power = Power.OFF, by: Asker
) -> bool:
    """RUNNING -> STOPPING -> TERMINATED, as one operation that is over. `by`: the guest itself, or the observer."""
    vm = _still(vm_id, State.RUNNING, seen_at)
    if vm is None:
        return False
    operation = operations.record_done(vm, Action.GUEST_SHUTDOWN, asked_by=by)
    for source, target in ((State.RUNNING, State.STOPPING), (State.STOPPING, State.TERMINATED)):
        _move(vm, Action.GUEST_SHUTDOWN, source, target, operation, by, reason, occurred_at, **_off(power, seen_at))
    capacity.release_compute(vm)
    return True


@service
def guest_crashed(
    vm_id: UUID,
    *,
    reason: str,
    occurred_at: datetime,
    seen_at: datetime,
    power: Power,
    cause: str = Repair.Cause.CRASH,
    event: str = "",
    alive: bool = False,
) -> bool:
    """RUNNING -> REPAIRING with a repair operation; TERMINATED at once when it is not to be restarted.

    `alive`: its QEMU is still there (it holds a guest that hangs or panicked): the operation switches it off first.
    """
    vm = _still(vm_id, State.RUNNING, seen_at)
    if vm is None:
        return False
    earlier = _recent_restarts(vm)
    why_not = _why_not_restarted(vm, earlier)
    if why_not and not alive:
        operation = operations.record_done(vm, Action.CRASH, asked_by=Asker.OBSERVER)
        _crash(vm, State.RUNNING, State.REPAIRING, operation, reason, occurred_at, **_off(power, seen_at))
        repair_records.describe(vm.pk, cause, event)
        _crash(vm, State.REPAIRING, State.TERMINATED, operation, f"{reason} {why_not}", occurred_at)
        capacity.release_compute(vm)
        return True
    data: dict[str, Any] = {"asked_in": State.RUNNING, "cause": f"{reason} {why_not}".strip(), "earlier": earlier}
    data |= {"restart": alive, "end": bool(why_not), "occurred_at": occurred_at.isoformat()}
    operation = operations.open_operation(vm, Action.REPAIR, asked_by=Asker.OBSERVER, data=data)
    _crash(vm, State.RUNNING, State.REPAIRING, operation, reason, occurred_at, **_off(power, seen_at))
    repair_records.describe(vm.pk, cause, event)
    return True


def _why_not_restarted(vm: VM, earlier: int) -> str:
    """Empty when it is restarted."""
    if not vm.automatic_restart:
        return NOT_RESTARTED
    return RESTARTED_TOO_OFTEN if earlier >= RESTARTS_MAX else ""


@service
def guest_held(vm_id: UUID, *, reason: str, occurred_at: datetime, seen_at: datetime, event: str) -> bool:
    """RUNNING -> REPAIRING: a disk error holds the guest. It is let go on, which is no restart and needs no consent.

    One that is held again and again is switched off and TERMINATED.
    """
    vm = _still(vm_id, State.RUNNING, seen_at)
    if vm is None:
        return False
    earlier = _recent_restarts(vm)
    data: dict[str, Any] = {"asked_in": State.RUNNING, "cause": reason, "earlier": earlier}
    if earlier >= RESTARTS_MAX:
        data |= {"cause": f"{reason} {HELD_TOO_OFTEN}", "end": True}
    operation = operations.open_operation(vm, Action.REPAIR, asked_by=Asker.OBSERVER, data=data)
    held = {"power": Power.PAUSED, "power_seen_at": seen_at}
    _crash(vm, State.RUNNING, State.REPAIRING, operation, reason, occurred_at, **held)
    repair_records.describe(vm.pk, Repair.Cause.IO_ERROR, event)
    return True


@service
def host_error(vm_id: UUID, *, last_life: datetime, now: datetime) -> bool:
    """RUNNING -> REPAIRING: its host has been silent for too long. Nothing is tried and nothing concluded."""
    vm = _still(vm_id, State.RUNNING, now)
    if vm is None or vm.host_id is None or not Host.objects.filter(pk=vm.host_id, health=Host.Health.DOWN).exists():
        return False
    operation = operations.record_done(vm, Action.HOST_ERROR, asked_by=Asker.OBSERVER)
    _move(
        vm, Action.HOST_ERROR, State.RUNNING, State.REPAIRING,
        operation, Asker.OBSERVER, HOST_SILENT, last_life, power=Power.UNKNOWN,
    )  # fmt: skip
    return True


@service
def domain_missing(vm_id: UUID, *, occurred_at: datetime, seen_at: datetime) -> bool:
    """The host knows the domain no more: the guest has stopped. Its disk is still there; a start defines it again."""
    return guest_stopped(
        vm_id, reason=DOMAIN_MISSING, occurred_at=occurred_at, seen_at=seen_at, power=Power.ABSENT, by=Asker.OBSERVER
    )


@service
def observed_start(vm_id: UUID, *, power: Power, run_id: int | None, occurred_at: datetime, seen_at: datetime) -> bool:
    """TERMINATED -> RUNNING: started outside. It holds capacity from now on; where there is none, it says so."""
    vm = _still(vm_id, State.TERMINATED, seen_at)
    if vm is None:
        return False
    reason = STARTED_OUTSIDE
    try:
        capacity.reserve(vm)
    except ResourcePoolExhausted as error:
        log.warning("VM %s was started outside and there is no room for it: %s", vm_id, error.reasons)
        reason = STARTED_WITHOUT_ROOM
    fields = {"power": power, "run_id": run_id, "power_seen_at": seen_at, "last_started_at": occurred_at}
    operation = operations.record_done(vm, Action.OBSERVED_START, asked_by=Asker.OBSERVER)
    _move(
        vm, Action.OBSERVED_START, State.TERMINATED, State.RUNNING,
        operation, Asker.OBSERVER, reason, occurred_at, **fields,
    )  # fmt: skip
    return True


@service
def observed_save(vm_id: UUID, *, occurred_at: datetime, seen_at: datetime) -> bool:
    """RUNNING -> SUSPENDED: its memory was saved outside."""
    vm = _still(vm_id, State.RUNNING, seen_at)
    if vm is None:
        return False
    operation = operations.record_done(vm, Action.OBSERVED_SAVE, asked_by=Asker.OBSERVER)
    _move(
        vm, Action.OBSERVED_SAVE, State.RUNNING, State.SUSPENDED,
        operation, Asker.OBSERVER, SAVED_OUTSIDE, occurred_at, **_off(Power.SAVED, seen_at),
    )  # fmt: skip
    capacity.release_compute(vm)
    return True


@service
def repair_again(vm_id: UUID, *, power: Power, occurred_at: datetime, seen_at: datetime, alive: bool = False) -> bool:
    """REPAIRING with nobody at work on it, and the guest does not run: a repair operation, if it may be restarted.

    `alive`: its QEMU is still there: an operation switches it off first.
    """
    vm = _still(vm_id, State.REPAIRING, seen_at)
    if vm is None:
        return False
    not_restarted = not vm.automatic_restart and power in DOWN
    reason = f"{vm.state_reason} {NOT_RESTARTED}".strip() if not_restarted else vm.state_reason
    if not_restarted and not alive:
        operation = operations.record_done(vm, Action.CRASH, asked_by=Asker.OBSERVER)
        _crash(vm, State.REPAIRING, State.TERMINATED, operation, reason, occurred_at, **_off(power, seen_at))
        capacity.release_compute(vm)
        return True
    data: dict[str, Any] = {"asked_in": State.RUNNING, "cause": reason, "earlier": _recent_restarts(vm)}
    data["end"] = not_restarted
    operation = operations.open_operation(vm, Action.REPAIR, asked_by=Asker.OBSERVER, data=data)
    repair_records.taken_up(vm.pk, operation.pk)
    publish.vm_changed(vm.id)
    return True


@service
def repaired(
    vm_id: UUID, *, run_id: int | None, occurred_at: datetime, seen_at: datetime, power: Power = Power.ON
) -> bool:
    """REPAIRING with nobody at work on it, and the guest runs, or a person holds it: RUNNING, untouched."""
    vm = _still(vm_id, State.REPAIRING, seen_at)
    if vm is None:
        return False
    fields = {"power": power, "run_id": run_id, "power_seen_at": seen_at}
    operation = operations.record_done(vm, Action.REPAIR, asked_by=Asker.OBSERVER)
    _move(
        vm, Action.REPAIR, State.REPAIRING, State.RUNNING,
        operation, Asker.OBSERVER, STILL_RUNS, occurred_at, **fields,
    )  # fmt: skip
    return True


@service
def died_suspending(vm_id: UUID, *, power: Power, seen_at: datetime) -> None:
    """SUSPENDING -> REPAIRING, from where it is booted cold; TERMINATED when it is not to be restarted.

    For a suspend that has just failed, in the transaction that closes it: nothing else is under way.
    """
    vm = VM.objects.select_related("zone", "image").get(pk=vm_id)
    why_not = _why_not_restarted(vm, _recent_restarts(vm))
    if why_not:
        operation = operations.record_done(vm, Action.REPAIR, asked_by=Asker.OBSERVER)
    else:
        data = {"asked_in": State.SUSPENDING, "cause": DIED_SUSPENDING}
        operation = operations.open_operation(vm, Action.REPAIR, asked_by=Asker.OBSERVER, data=data)
    _move(
        vm, Action.REPAIR, State.SUSPENDING, State.REPAIRING,
        operation, Asker.OBSERVER, DIED_SUSPENDING, seen_at, **_off(power, seen_at),
    )  # fmt: skip
    repair_records.describe(vm.pk, Repair.Cause.CRASH)
    if why_not:
        reason = f"{DIED_SUSPENDING} {why_not}"
        _move(vm, Action.REPAIR, State.REPAIRING, State.TERMINATED, operation, Asker.OBSERVER, reason, seen_at)
        capacity.release_compute(vm)


@service
def stop_ended(vm_id: UUID, *, power: Power, occurred_at: datetime, seen_at: datetime) -> bool:
    """STOPPING with nobody at work on it, and the guest is off: it has arrived."""
    vm = _still(vm_id, State.STOPPING, seen_at)
    if vm is None:
        return False
    operation = operations.record_done(vm, Action.REPAIR, asked_by=Asker.OBSERVER)
    _move(
        vm, Action.REPAIR, State.STOPPING, State.TERMINATED,
        operation, Asker.OBSERVER, "", occurred_at, **_off(power, seen_at),
    )  # fmt: skip
    capacity.release_compute(vm)
    return True


def _still(vm_id: UUID, state: State, seen_at: datetime) -> VM | None:
    """The VM, locked, when it is as the observer believes; None when it is not any more."""
    project_id = VM.objects.values_list("project_id", flat=True).filter(pk=vm_id).first()
    if project_id is None:
        return None
    lock_project(project_id)
    operation = Operation.objects.filter(vm=OuterRef("pk"))
    newer = operation.filter(Q(end_time__isnull=True) | Q(end_time__gt=seen_at))
    still = VM.objects.live().filter(~Exists(newer), pk=vm_id, state=state, state_since__lte=seen_at)
    return still.select_related("zone", "image").first()


def _move(
    vm: VM,
    action: Action,
    source: State,
    target: State,
    operation: Operation,
    by: Asker,
    reason: str,
    occurred_at: datetime,
    **fields: Any,
) -> None:
    move(
        vm.id, action, source, target,
        asked_by=by, operation=operation, reason=reason, occurred_at=occurred_at, **fields,
    )  # fmt: skip


def _crash(
    vm: VM, source: State, target: State, operation: Operation, reason: str, occurred_at: datetime, **fields: Any
) -> None:
    _move(vm, Action.CRASH, source, target, operation, Asker.OBSERVER, reason, occurred_at, **fields)


def _off(power: Power, seen_at: datetime) -> dict[str, Any]:
    return {"power": power, "power_seen_at": seen_at, "run_id": None}


def _recent_restarts(vm: VM) -> int:
    """How often it was repaired since it was last started by somebody, within the window."""
    worked_on = {"asked_by": Asker.OBSERVER, "lease_token__gt": 0}  # not those that were only written down
    repairs = Operation.objects.filter(vm=vm, action=Action.REPAIR, **worked_on)
    since = timezone.now() - RESTARTS_WINDOW
    started = (
        Operation.objects.filter(vm=vm, action__in=[Action.START, Action.RESUME, Action.OBSERVED_START])
        .filter(error__isnull=True, end_time__gt=since)
        .order_by("-end_time")
        .values_list("end_time", flat=True)
        .first()
    )
    return repairs.filter(insert_time__gt=started or since).count()


# -- addresses and serial output -----------------------------------------------------------------


@service
def record_addresses(host_id: int, seen: Mapping[str, str], seen_at: datetime) -> int:
    """Mark the VMs of the host whose address is in use (`seen`: MAC -> address). Returns how many were news."""
    stale = Q(address_seen_at__isnull=True) | Q(address_seen_at__lt=seen_at - ADDRESS_FRESHNESS)
    rows = VM.objects.live().filter(stale, host=host_id, state=State.RUNNING, mac__in=list(seen))
    mine = [pk for pk, mac, ip in rows.values_list("pk", "mac", "address__ip") if seen[mac] == ip]
    return VM.objects.filter(pk__in=mine).update(address_seen_at=seen_at) if mine else 0


@service
def append_serial(vm_id: UUID, text: str, *, read_from: int, read_to: int) -> bool:
    """Append to the VM's serial log, of which the end is kept.

    `read_from` is what the log said was read so far: when another recorder was faster, nothing is written and
    False is returned. `read_to` is the offset in the host's file to go on from.
    """
    if not VM.objects.live().filter(pk=vm_id).exists():
        return False
    kept, _made = SerialLog.objects.get_or_create(vm_id=vm_id)
    whole = (kept.text + text.replace("\0", "\ufffd"))[-SerialLog.KEPT_CHARACTERS :]
    now = timezone.now()
    rows = SerialLog.objects.filter(vm=vm_id, read_bytes=read_from)
    if not rows.update(text=whole, read_bytes=read_to, updated_at=now):
        return False
    serial_history.append(vm_id, text.replace("\0", "\ufffd"), now)
    keys.note_host_keys(vm_id, kept.text[-HOST_KEYS_REACH:] + text)
    return True


@service
def forget_serial(vm_ids: Iterable[UUID]) -> int:
    """Drop the recorded output of VMs that are gone."""
    gone = list(vm_ids)
    SerialChunk.objects.filter(vm__in=gone, vm__deleted_at__isnull=False).delete()
    deleted, _rows = SerialLog.objects.filter(vm__in=gone, vm__deleted_at__isnull=False).delete()
    return deleted
