"""Delete: nothing of the VM is left on its host, and its record becomes a tombstone.

With a host that does not answer it ends for the user all the same: a cleanup waits for the host.
"""

from datetime import timedelta

from django.utils import timezone

from lifecycle.domain.errors import Transient
from lifecycle.domain.transitions import Action
from lifecycle.models import Host
from lifecycle.operations import steps
from lifecycle.operations.context import Context
from lifecycle.operations.definition import Definition, Outcome, Skip, Step, Work
from lifecycle.services import cleanups

_GONE = "what is deleted is gone; repeated until it is"


def _or_leave(work: Work) -> Work:
    """`work` at a host that answers; a dead one is left to a cleanup.

    Dead is a host that answers neither us nor those who watch it, or that was silent for so long that it is not tried.
    """

    def run(context: Context) -> Outcome:
        if _is_long_silent(context):
            return _leave(context)
        try:
            return work(context)
        except Transient:
            if not _is_down(context):
                raise
        return _leave(context)

    return run


def _is_down(context: Context) -> bool:
    """Whether those who watch its host say, at this moment, that it does not answer."""
    return Host.objects.filter(vms=context.vm, health=Host.Health.DOWN).exists()


def _is_long_silent(context: Context) -> bool:
    """Whether its host was tried in vain for longer than the VM's host error timeout."""
    long_ago = timezone.now() - timedelta(seconds=context.vm.host_error_timeout_seconds)
    return _is_down(context) and Host.objects.filter(vms=context.vm, last_seen_at__lt=long_ago).exists()


def _leave(context: Context) -> Skip:
    context.remember(left=True)
    return Skip("its host does not answer: what is left there is removed when it does")


STEPS = (
    Step("remove_domain", _or_leave(steps.undefine_domain), no_undo=_GONE),
    Step("remove_disk", _or_leave(steps.remove_disk), no_undo=_GONE),
    Step("remove_seed", _or_leave(steps.remove_seed), no_undo=_GONE),
    Step("release_address", _or_leave(steps.unbind_address), no_undo=_GONE),
)


def _complete(context: Context) -> None:
    left = bool(context.recall("left"))
    if left:
        cleanups.leave(context.vm)
    steps.entomb(context, holds_capacity=left)


DEFINITION = Definition(Action.DELETE, STEPS, complete=_complete, retried=True)
