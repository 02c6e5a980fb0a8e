"""What people write on a VM: its labels and its notes. Nothing of it reaches the host."""

from collections.abc import Mapping
from typing import Final

from lifecycle.domain import vm_labels
from lifecycle.domain.errors import InvalidInput, NotFound, StateConflict
from lifecycle.domain.transitions import Action
from lifecycle.models import VM, User
from lifecycle.realtime import publish
from lifecycle.services import audit
from lifecycle.services.access import authorise
from lifecycle.services.db import lock_project, service

NOTES_MAX: Final = 4000  # characters


@service
def set_labels(vm: VM, labels: Mapping[str, str], *, user: User | None, fingerprint: str | None = None) -> VM:
    """Replace the labels.

    Args:
        fingerprint: of the labels that the caller read; None replaces whatever is there.

    Raises:
        InvalidInput: a label is not possible.
        StateConflict: somebody changed the labels since `fingerprint` was read.
        Forbidden, NotFound: as of any change.
    """
    found = _changeable(vm, user)
    wanted = vm_labels.check_labels(labels)
    if fingerprint is not None and fingerprint != vm_labels.fingerprint(found.labels):
        raise StateConflict("Somebody changed the labels of %(name)s meanwhile. Look at them again.", name=found.name)
    if wanted != found.labels:
        text = vm_labels.as_searched(wanted)
        VM.objects.filter(pk=found.pk).update(labels=wanted, label_text=text)
        details = {"before": found.labels, "after": wanted}
        audit.record("vm.labels", project=found.project, user=user, target=found.name, details=details)
        publish.vm_changed(found.pk)
    found.labels, found.label_text = wanted, vm_labels.as_searched(wanted)
    return found


@service
def set_notes(vm: VM, notes: str, *, user: User | None) -> None:
    """Replace the notes: plain text for people. Raises InvalidInput for more than `NOTES_MAX` characters."""
    found = _changeable(vm, user)
    text = notes.replace("\r\n", "\n").replace("\0", "").strip()
    if len(text) > NOTES_MAX:
        raise InvalidInput(
            "The notes have %(length)s characters; at most %(most)s are kept.",
            field="notes",
            length=len(text),
            most=NOTES_MAX,
        )
    if text != found.notes:
        VM.objects.filter(pk=found.pk).update(notes=text)
        audit.record("vm.notes", project=found.project, user=user, target=found.name)


@service
def describe(
    vm: VM, labels: Mapping[str, str], notes: str, *, user: User | None, fingerprint: str | None = None
) -> None:
    """Labels and notes, both or none. Raises what `set_labels` and `set_notes` raise."""
    set_labels(vm, labels, user=user, fingerprint=fingerprint)
    set_notes(vm, notes, user=user)


def _changeable(vm: VM, user: User | None) -> VM:
    """The live VM, its project locked, if `user` may change it."""
    project = lock_project(vm.project_id)
    authorise(project, user, Action.START)
    found = VM.objects.live().select_related("project").filter(pk=vm.pk).first()
    if found is None:
        raise NotFound("The VM %(name)s does not exist any more.", name=vm.name)
    return found
