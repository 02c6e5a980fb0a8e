"""Delete: nothing of the VM is left on its host, and its record becomes a tombstone.

With a host that has been silent for long it ends for the user all the same: a cleanup waits for the host.
"""

from django.utils import timezone

from lifecycle.domain.transitions import Action
from lifecycle.models import Host
from lifecycle.operations import steps
from lifecycle.operations.context import Context
from lifecycle.operations.definition import Definition, Outcome, Skip, Step, Work
from lifecycle.services import cleanups

_GONE = "what is deleted is gone; repeated until it is"


def _host_is_silent(context: Context) -> bool:
    """Whether its host was tried in vain for longer than the VM's host error timeout."""
    host = context.vm.host
    if host is None or host.health != Host.Health.DOWN or host.last_seen_at is None:
        return False
    return (timezone.now() - host.last_seen_at).total_seconds() > context.vm.host_error_timeout_seconds


def _or_leave(work: Work) -> Work:
    """`work` at a host that answers; a silent one is left to a cleanup."""

    def run(context: Context) -> Outcome:
        if _host_is_silent(context):
            context.remember(left=True)
            return Skip("its host does not answer: what is left there is removed when it does")
        return work(context)

    return run


STEPS = (
    Step("remove_domain", _or_leave(steps.undefine_domain), no_undo=_GONE),
    Step("remove_disk", _or_leave(steps.remove_disk), no_undo=_GONE),
    Step("remove_seed", _or_leave(steps.remove_seed), no_undo=_GONE),
    Step("release_address", _or_leave(steps.unbind_address), no_undo=_GONE),
)


def _complete(context: Context) -> None:
    if context.recall("left"):
        cleanups.leave(context.vm)
    steps.entomb(context)


DEFINITION = Definition(Action.DELETE, STEPS, complete=_complete, retried=True)
