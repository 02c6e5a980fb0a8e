"""Reset: the machine's reset button. Memory is lost, disks and address stay; the VM stays RUNNING.

In the first moments of a machine its firmware (SeaBIOS) copies itself to RAM. QEMU's q35 leaves that RAM in place of
the firmware's ROM over a reset, so that a machine that is reset half-way through the copy runs into nothing, and no
further reset wakes it: docs/decisions/0038-no-reset-while-firmware-starts.md. It is reset a moment later.
"""

from django.utils import timezone

from lifecycle.domain.transitions import Action
from lifecycle.models import VM
from lifecycle.operations.context import Context
from lifecycle.operations.definition import Again, Definition, Outcome, Step
from lifecycle.realtime import publish

#: How long after a start or a reset the firmware is left alone; the copy takes less than 50 ms under emulation.
FIRMWARE_SECONDS = 1.0


def _reset_domain(context: Context) -> Outcome:
    started_at = context.vm.last_started_at
    age = (timezone.now() - started_at).total_seconds() if started_at else FIRMWARE_SECONDS
    if 0 <= age < FIRMWARE_SECONDS:
        return Again(FIRMWARE_SECONDS - age, "waiting for the machine's firmware to start")
    context.host().reset(context.vm.id)
    return None


STEPS = (Step("reset_domain", _reset_domain, no_undo="a reset cannot be taken back; repeated it does no more harm"),)


def _complete(context: Context) -> None:
    VM.objects.filter(pk=context.vm.pk).update(last_started_at=timezone.now())
    publish.vm_changed(context.vm.pk)


def _fail(context: Context) -> None:
    publish.vm_changed(context.vm.pk)  # a guest that is gone is the observer's to see: it opens the repair


DEFINITION = Definition(Action.RESET, STEPS, complete=_complete, fail=_fail)
