"""Delete: nothing of the VM is left on its host, and its record becomes a tombstone."""

from lifecycle.domain.transitions import Action
from lifecycle.operations import steps
from lifecycle.operations.context import Context
from lifecycle.operations.definition import Definition, Step

_GONE = "what is deleted is gone; repeated until it is"

STEPS = (
    Step("remove_domain", steps.undefine_domain, no_undo=_GONE),
    Step("remove_disk", steps.remove_disk, no_undo=_GONE),
    Step("remove_seed", steps.remove_seed, no_undo=_GONE),
    Step("release_address", steps.unbind_address, no_undo=_GONE),
)


def _complete(context: Context) -> None:
    steps.entomb(context)


DEFINITION = Definition(Action.DELETE, STEPS, complete=_complete, retried=True)
