"""Stop: the guest is asked by ACPI, then forced after its grace period.

A stop that preempted a resume keeps the memory: the VM goes back to SUSPENDED. Only where the guest's QEMU hangs, so
that nobody can read its memory any more, is it forced off after `SAVE_SECONDS` and ends TERMINATED.
"""

from contextlib import suppress

from django.utils import timezone

from lifecycle.domain.errors import Held
from lifecycle.domain.states import Power, State
from lifecycle.domain.text import mark
from lifecycle.domain.transitions import Action
from lifecycle.operations import steps
from lifecycle.operations.context import Context
from lifecycle.operations.definition import Again, Definition, Outcome, Step

#: How long a hanging QEMU is asked for its memory, the deadline of every other saving.
SAVE_SECONDS = 900.0
#: How long forcing a guest off takes at most; libvirt gives a QEMU that does not end half a minute.
FORCE_SECONDS = 120.0


def _keeps_memory(context: Context) -> bool:
    return bool(context.recall("preempted") == Action.RESUME)


def _ask_guest(context: Context) -> Outcome:
    if steps.guest_is_off(context):
        return None
    if _keeps_memory(context):
        _save_memory(context)
        return None
    _press(context)
    if not context.recall("asked_at"):
        context.remember(asked_at=timezone.now().isoformat())
    return None


def _save_memory(context: Context) -> None:
    """Save it again. Raises what the host says; a QEMU that has hung for too long is given up with its memory."""
    try:
        context.host().save_memory(context.vm.id)
    except Held:
        if context.operation.seconds_at_step < SAVE_SECONDS:
            raise
        context.remember(memory_lost=True)
        steps.power_off(context)


def _press(context: Context) -> None:
    """Press the guest's power button. One whose QEMU hangs cannot be asked: it is forced when its time is over."""
    with suppress(Held):
        context.host().ask_shutdown(context.vm.id)


def _await_off(context: Context) -> Outcome:
    if steps.guest_is_off(context):
        return None
    if not context.recall("asked_at"):
        # It came up after it was found off: by the last call of a worker that was taken over.
        _ask_guest(context)
        return Again(0.2, "waiting for the guest to shut down")
    waited, grace = steps.seconds_since(context.recall("asked_at")), context.vm.stop_grace_seconds
    if waited < 0:  # the clock was set back: the guest gets its grace period by the new one
        context.remember(asked_at=timezone.now().isoformat())
    if waited < grace:
        # A guest that still boots misses the power button: it is pressed again while we wait.
        if waited > 5:
            _press(context)
        return Again(min(2.0, max(0.2, grace - waited)), "waiting for the guest to shut down")
    if not context.recall("forced"):
        context.expect_end("await_shutdown", FORCE_SECONDS)
        context.remember(forced=True)
    return steps.power_off(context)


def _note_power(context: Context) -> Outcome:
    view = context.host().look(context.vm.id) if context.vm.host_id else None
    context.remember(power=view.power if view else Power.ABSENT)
    return None


STEPS = (
    Step("ask_guest", _ask_guest, no_undo="a guest that shuts down cannot be called back"),
    Step("await_shutdown", _await_off, no_undo="only waits", deadline_seconds=7200),
    Step("look_at_domain", _note_power, no_undo="only looks"),
    steps.RELEASE_COMPUTE,
)


def _why_forced(context: Context) -> str:
    if context.recall("memory_lost"):
        return mark("Forced off: its QEMU hung, so its memory could not be saved again.")
    return mark("Forced off after the grace period.") if context.recall("forced") else ""


def _complete(context: Context) -> None:
    power = Power(context.recall("power", Power.UNKNOWN))
    kept = _keeps_memory(context) and power is Power.SAVED
    context.move(
        State.STOPPING,
        State.SUSPENDED if kept else State.TERMINATED,
        reason="" if kept else _why_forced(context),
        power=power,
        power_seen_at=timezone.now(),
        run_id=None,
    )


DEFINITION = Definition(Action.STOP, STEPS, complete=_complete, retried=True)
