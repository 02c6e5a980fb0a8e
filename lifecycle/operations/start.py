"""Start: a cold start of a stopped VM on the host that holds its disks. When it fails: TERMINATED again.

A VM that was stopped before its first boot has nothing on a host yet: the same steps make it.
"""

from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action
from lifecycle.operations import steps
from lifecycle.operations.context import Context
from lifecycle.operations.definition import Definition

STEPS = (
    steps.RESERVE,
    steps.PREPARE_NETWORK,
    steps.PREPARE_IMAGE,
    steps.PREPARE_DISK,
    steps.WRITE_SEED,
    steps.DEFINE,
    steps.START_DOMAIN,
)


def _complete(context: Context) -> None:
    steps.arrived(context, State.STAGING)


def _fail(context: Context) -> None:
    context.move({State.PROVISIONING, State.STAGING}, State.TERMINATED, reason=context.why_failed("The start failed"))


DEFINITION = Definition(Action.START, STEPS, complete=_complete, fail=_fail)
