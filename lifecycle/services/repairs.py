"""What operators do about repairs: report a VM faulty, note, try again, give up. Each is told in the record."""

from django.utils.translation import gettext_noop as _

from lifecycle.domain.errors import ActionNotAllowed, InvalidInput
from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action, Asker
from lifecycle.models import VM, Operation, Repair, RepairEntry, User
from lifecycle.services import operations, repair_records, vms
from lifecycle.services.db import lock_project, service
from lifecycle.services.transitions import move

Kind = RepairEntry.Kind

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

    Raises ActionNotAllowed when the repair is over.
    """
    vm = _still_open(repair)
    operation = operations.current(vm.pk)
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
    """Repair it no more: it is switched off and TERMINATED. Raises ActionNotAllowed when the repair is over."""
    vm = _still_open(repair)
    repair_records.write(repair, Kind.GIVE_UP, Asker.OPERATOR, user=user, text=_said(text))
    return vms.request_action(vm, Action.STOP, user=user, as_operator=True)


def _still_open(repair: Repair) -> VM:
    """The VM, its project locked."""
    lock_project(repair.vm.project_id)
    if not Repair.objects.filter(pk=repair.pk, closed_at__isnull=True).exists():
        raise ActionNotAllowed("This repair is over.")
    return VM.objects.get(pk=repair.vm_id)


def _said(text: str) -> str:
    if not text.strip():
        raise InvalidInput("Say what was seen, in a few words.", field="text")
    return text.strip()
