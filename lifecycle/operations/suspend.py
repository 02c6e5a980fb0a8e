"""Suspend: memory to the host's disk (libvirt's managed save), vCPU and memory given back."""

from django.utils import timezone

from lifecycle.domain.errors import Gone
from lifecycle.domain.recovery import Cause, cause_of
from lifecycle.domain.states import Power, State
from lifecycle.domain.transitions import Action
from lifecycle.operations.context import Context
from lifecycle.operations.definition import Definition, Outcome, Step
from lifecycle.services import capacity, observations


def _save_memory(context: Context) -> Outcome:
    context.host().save_memory(context.vm.id)
    return None


def _wake_again(context: Context) -> Outcome:
    """A save that failed leaves the guest running; one that succeeded is restored; one that is dead is repaired."""
    view = context.host().look(context.vm.id)
    if view is None:
        raise Gone(f"domain {context.vm.id} is gone")
    if view.power in {Power.OFF, Power.CRASHED} and cause_of(view.reason) is Cause.CRASH:
        context.remember(found=view.power)
    elif view.power is Power.SAVED:
        context.host().start(context.vm.id)
    elif view.power is Power.PAUSED:
        context.host().resume_cpus(context.vm.id)
    return None


STEPS = (Step("save_memory", _save_memory, undo=_wake_again, deadline_seconds=900),)


def _complete(context: Context) -> None:
    """Compute is given back with the change of the state: a suspend that fails never gave it away."""
    capacity.release_compute(context.vm)
    context.move(State.SUSPENDING, State.SUSPENDED, power=Power.SAVED, power_seen_at=timezone.now(), run_id=None)


def _fail(context: Context) -> None:
    if found := context.recall("found"):
        observations.died_suspending(context.vm.pk, power=Power(found), seen_at=timezone.now())
        return
    context.move(State.SUSPENDING, State.RUNNING, reason=context.why_failed("The suspend failed"))


DEFINITION = Definition(Action.SUSPEND, STEPS, complete=_complete, fail=_fail)
