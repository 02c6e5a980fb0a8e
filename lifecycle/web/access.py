"""Fetching is authorising: what a view works on comes from here, and a stranger gets 404."""

from dataclasses import dataclass
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.http import Http404
from django.utils.translation import gettext as _

from lifecycle.domain.access import NEEDS, Right, Role, may
from lifecycle.domain.transitions import Action, allowed_actions
from lifecycle.models import VM, Operation, Project, User
from lifecycle.models.vms import VMQuerySet


@dataclass(frozen=True, slots=True)
class Place:
    """A project as one person sees it. `number` was read before anything else of the project."""

    project: Project
    role: Role
    user: User

    @property
    def may_use(self) -> bool:
        """Whether VMs may be created and changed."""
        return may(self.role, Right.USE_VMS)

    @property
    def may_delete(self) -> bool:
        """Whether VMs may be deleted."""
        return may(self.role, Right.DELETE_VMS)

    @property
    def may_manage(self) -> bool:
        """Whether members may be managed."""
        return may(self.role, Right.MANAGE_MEMBERS)

    @property
    def may_read_audit(self) -> bool:
        """Whether the audit log may be read."""
        return may(self.role, Right.READ_AUDIT)

    def actions(self, vm: VM, running: Operation | None) -> tuple[Action, ...]:
        """What this person may do with the VM now: by the table and by role."""
        open_action = Action(running.action) if running else None
        return tuple(a for a in allowed_actions(vm.lifecycle_state, open_action) if may(self.role, NEEDS[a]))

    def require(self, right: Right) -> None:
        """Raise PermissionDenied (the 403 page) without `right`."""
        if not may(self.role, right):
            raise PermissionDenied(
                _("Your role in this project does not allow this. Ask an owner to do it, or to change your role.")
            )


def place_of(user: User, slug: str) -> Place:
    """The project, if `user` may see it; else 404."""
    project = Project.objects.visible_to(user).filter(slug=slug).first()
    role = project.role_of(user) if project else None
    if project is None or role is None:
        raise Http404(_("There is no such project, or you are not a member of it."))
    return Place(project, role, user)


def vm_in(place: Place, name: str) -> VM:
    """The live VM of that name with all a page shows; else 404."""
    vm = _vms(place).live().filter(name=name).first()
    if vm is None:
        raise Http404(_("There is no such VM in this project."))
    return vm


def buried_vm_in(place: Place, name: str) -> VM:
    """The VM of that name that was deleted last; else 404."""
    vm = _vms(place).filter(name=name, deleted_at__isnull=False).order_by("-deleted_at").first()
    if vm is None:
        raise Http404(_("There is no such VM in this project."))
    return vm


def _vms(place: Place) -> VMQuerySet:
    return (
        VM.objects.visible_to(place.user)
        .filter(project=place.project)
        .select_related("host", "zone", "machine_type", "image", "address", "created_by", "cdrom", "next_cdrom")
    )


def operation_in(place: Place, operation_id: UUID) -> Operation:
    """The operation, if it belongs to the project; else 404."""
    found = (
        Operation.objects.filter(project=place.project, pk=operation_id)
        .select_related("vm", "user", "preempted_by", "cancelled_by")
        .prefetch_related("steps")
        .first()
    )
    if found is None:
        raise Http404(_("There is no such operation in this project."))
    return found
