"""Resume: the saved memory is restored on the host that holds it. When it fails: SUSPENDED, memory kept."""

from lifecycle.domain.errors import Broken
from lifecycle.domain.states import Power, State
from lifecycle.domain.transitions import Action
from lifecycle.operations import steps
from lifecycle.operations.context import Context
from lifecycle.operations.definition import Definition, Outcome, Step


def _restore_memory(context: Context) -> Outcome:
    view = context.host().look(context.vm.id)
    if view is None or view.power is Power.OFF:
        raise Broken(f"the saved memory of VM {context.vm.id} is missing: a resume would be a cold boot")
    if view.power is Power.PAUSED:
        context.host().resume_cpus(context.vm.id)
    context.host().start(context.vm.id)
    context.seen = context.host().look(context.vm.id)
    return None


def _save_again(context: Context) -> Outcome:
    if not steps.guest_is_off(context):
        context.host().save_memory(context.vm.id)
    return None


STEPS = (
    steps.RESERVE,
    steps.PREPARE_NETWORK,
    Step("restore_memory", _restore_memory, undo=_save_again, deadline_seconds=900),
)


def _complete(context: Context) -> None:
    steps.arrived(context, State.STAGING)


def _fail(context: Context) -> None:
    context.move({State.PROVISIONING, State.STAGING}, State.SUSPENDED, reason=context.why_failed("The resume failed"))


DEFINITION = Definition(Action.RESUME, STEPS, complete=_complete, fail=_fail)
