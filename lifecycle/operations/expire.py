"""Expire: a VM that was suspended for 60 days loses its saved memory and is TERMINATED."""

from django.utils import timezone

from lifecycle.domain.states import Power, State
from lifecycle.domain.text import mark
from lifecycle.domain.transitions import Action
from lifecycle.operations import steps
from lifecycle.operations.context import Context
from lifecycle.operations.definition import Definition, Outcome, Step


def _discard_memory(context: Context) -> Outcome:
    context.host().discard_saved_memory(context.vm.id)
    return None


STEPS = (
    Step("discard_memory", _discard_memory, no_undo="memory that was thrown away is gone"),
    steps.RELEASE_COMPUTE,
)


def _complete(context: Context) -> None:
    context.move(
        State.STOPPING,
        State.TERMINATED,
        reason=mark("It was suspended for 60 days; its memory was discarded."),
        power=Power.OFF,
        power_seen_at=timezone.now(),
    )


DEFINITION = Definition(Action.EXPIRE, STEPS, complete=_complete, retried=True)
