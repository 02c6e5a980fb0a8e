"""Reset: the machine's reset button. Memory is lost, disks and address stay; the VM stays RUNNING."""

from django.utils import timezone

from lifecycle.domain.transitions import Action
from lifecycle.models import VM
from lifecycle.operations.context import Context
from lifecycle.operations.definition import Definition, Outcome, Step
from lifecycle.realtime import publish


def _reset_domain(context: Context) -> Outcome:
    context.host().reset(context.vm.id)
    return None


STEPS = (Step("reset_domain", _reset_domain, no_undo="a reset cannot be taken back; repeated it does no more harm"),)


def _complete(context: Context) -> None:
    VM.objects.filter(pk=context.vm.pk).update(last_started_at=timezone.now())
    publish.vm_changed(context.vm.pk)


def _fail(context: Context) -> None:
    publish.vm_changed(context.vm.pk)  # a guest that is gone is the observer's to see: it opens the repair


DEFINITION = Definition(Action.RESET, STEPS, complete=_complete, fail=_fail)
