"""What operators do about repairs: report a VM faulty, note, try again, give up, close. Each is told in the record."""

from django.utils.translation import gettext_noop as _

from lifecycle.domain.errors import ActionNotAllowed, InvalidInput
from lifecycle.domain.recovery import DOWN, UP
from lifecycle.domain.states import Power, State
from lifecycle.domain.transitions import Action, Asker
from lifecycle.models import VM, Host, Operation, Repair, RepairEntry, User
from lifecycle.realtime import publish
from lifecycle.services import capacity, operations, repair_records
from lifecycle.services.db import lock_project, service
from lifecycle.services.transitions import move

Kind = RepairEntry.Kind

GIVEN_UP = _("An operator gave its repair up.")
CLOSED = _("An operator closed its repair.")
REPORTED = _("An operator reported it faulty; it is switched off and started again.")


@service
def report_faulty(vm: VM, user: User | None, text: str) -> Operation:
    """RUNNING -> REPAIRING by an operator's word: the guest is switched off and started again.

    Raises:
        InvalidInput: no text.
        ActionNotAllowed: the VM is not RUNNING, or something is under way on it.
    """
    said = _said(text)
    lock_project(vm.project_id)
    found = VM.objects.live().filter(pk=vm.pk, state=State.RUNNING).first()
    if found is None or operations.current(vm.pk) is not None:
        raise ActionNotAllowed("%(name)s is not RUNNING, or something is under way on it.", name=vm.name)
    data = {"asked_in": State.RUNNING, "cause": REPORTED, "restart": True}
    operation = operations.open_operation(found, Action.REPAIR, asked_by=Asker.OPERATOR, user=user, data=data)
    move(
        found.pk, Action.REPAIR, State.RUNNING, State.REPAIRING,
        asked_by=Asker.OPERATOR, operation=operation, user=user, reason=REPORTED,
    )  # fmt: skip
    if repair := repair_records.open_of(found.pk):
        repair_records.write(repair, Kind.NOTE, Asker.OPERATOR, user=user, text=said)
    return operation


@service
def add_note(repair: Repair, user: User | None, text: str) -> RepairEntry:
    """Write a note into the record, open or closed. Raises InvalidInput without a text."""
    return repair_records.write(repair, Kind.NOTE, Asker.OPERATOR, user=user, text=_said(text))


@service
def retry(repair: Repair, user: User | None) -> Operation:
    """Try now: what waits is due at once; where nothing is at work, a repair operation is opened.

    Raises ActionNotAllowed when the repair is over, or the VM is given up.
    """
    vm = _still_open(repair)
    operation = operations.current(vm.pk)
    if operation is not None and operation.data.get("end"):
        raise ActionNotAllowed("%(name)s is given up: it is being switched off.", name=vm.name)
    if operation is None:
        data = {"asked_in": State.RUNNING, "cause": repair.summary}
        operation = operations.open_operation(vm, Action.REPAIR, asked_by=Asker.OPERATOR, user=user, data=data)
        repair_records.taken_up(vm.pk, operation.pk)
    else:
        operations.wake(vm.pk)
    repair_records.write(repair, Kind.RETRY, Asker.OPERATOR, user=user)
    return operation


@service
def give_up(repair: Repair, user: User | None, text: str) -> Operation:
    """Repair it no more: it is switched off, if it runs, and TERMINATED with its cause; takes over what is under way.

    While its host does not answer it stays in REPAIRING. Raises ActionNotAllowed when the repair is over.
    """
    said, vm = _said(text), _still_open(repair)
    running = operations.current(vm.pk)
    if running is not None and running.data.get("end"):
        return running
    if running is not None:
        vm.fence = operations.preempt(running)
    data = {"asked_in": State.REPAIRING, "cause": f"{repair.summary} {GIVEN_UP}".strip(), "end": True}
    operation = operations.open_operation(vm, Action.REPAIR, asked_by=Asker.OPERATOR, user=user, data=data)
    if running is not None:
        Operation.objects.filter(pk=running.pk).update(preempted_by=operation)
    repair_records.taken_up(vm.pk, operation.pk)
    repair_records.write(repair, Kind.GIVE_UP, Asker.OPERATOR, user=user, text=said)
    publish.vm_changed(vm.pk)
    return operation


@service
def close(repair: Repair, user: User | None, text: str) -> None:
    """End a repair in which nothing is left to do: the VM is recorded as its host showed it since.

    Raises ActionNotAllowed when the repair is over, something is at work on it, or nobody has seen it since.
    """
    said, vm = _said(text), _still_open(repair)
    if operations.current(vm.pk) is not None:
        raise ActionNotAllowed("A repair of %(name)s is under way. Give it up first.", name=vm.name)
    if not _was_seen_since(repair, vm):
        raise ActionNotAllowed("%(name)s has not been seen since: its host does not answer.", name=vm.name)
    repair_records.write(repair, Kind.CLOSED, Asker.OPERATOR, user=user, text=said)
    operation = operations.record_done(vm, Action.REPAIR, asked_by=Asker.OPERATOR, user=user)
    target = State.RUNNING if Power(vm.power) in UP else State.TERMINATED
    move(
        vm.pk, Action.REPAIR, State.REPAIRING, target,
        asked_by=Asker.OPERATOR, operation=operation, user=user, reason=CLOSED,
    )  # fmt: skip
    if target is State.TERMINATED:
        capacity.release_compute(vm)


def _was_seen_since(repair: Repair, vm: VM) -> bool:
    up = vm.host is not None and vm.host.health == Host.Health.UP
    seen = vm.power_seen_at is not None and vm.power_seen_at > repair.opened_at
    return up and seen and Power(vm.power) in UP | DOWN


def _still_open(repair: Repair) -> VM:
    """The VM, its project locked."""
    lock_project(repair.vm.project_id)
    if not Repair.objects.filter(pk=repair.pk, closed_at__isnull=True).exists():
        raise ActionNotAllowed("This repair is over.")
    return VM.objects.select_related("host").get(pk=repair.vm_id)


def _said(text: str) -> str:
    if not text.strip():
        raise InvalidInput("Say what was seen, in a few words.", field="text")
    return text.strip()
