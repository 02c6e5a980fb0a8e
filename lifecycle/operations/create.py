"""Create: from a row to a running guest. When it fails everything is undone and the VM is gone."""

from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action
from lifecycle.operations import steps
from lifecycle.operations.context import Context
from lifecycle.operations.definition import Definition

STEPS = (
    steps.RESERVE_FOR_NEW,
    steps.PREPARE_NETWORK_FOR_NEW,
    steps.PREPARE_IMAGE,
    steps.PREPARE_DISK_FOR_NEW,
    steps.WRITE_SEED_FOR_NEW,
    steps.DEFINE_FOR_NEW,
    steps.START_DOMAIN,
)


def _complete(context: Context) -> None:
    steps.arrived(context, State.STAGING)


def _fail(context: Context) -> None:
    error = context.recall("error") or {}
    steps.entomb(context, reason=str(error.get("message", "")))


DEFINITION = Definition(Action.CREATE, STEPS, complete=_complete, fail=_fail)
