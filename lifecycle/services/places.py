"""A project as one person sees it: what every view and every endpoint begins with."""

from dataclasses import dataclass

from django.core.exceptions import PermissionDenied
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

    @property
    def may_manage_webhooks(self) -> bool:
        """Whether webhooks may be looked at and changed; their addresses may be secrets."""
        return may(self.role, Right.MANAGE_WEBHOOKS)

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

    def vms(self) -> VMQuerySet:
        """The project's VMs, tombstones included, with what a page or an answer shows of each."""
        return (
            VM.objects.visible_to(self.user)
            .filter(project=self.project)
            .select_related("host", "zone", "machine_type", "image", "address", "created_by", "cdrom", "next_cdrom")
        )


def find_place(user: User, slug: str) -> Place | None:
    """The project of that name, if `user` may see it."""
    project = Project.objects.visible_to(user).filter(slug=slug).first()
    role = project.role_of(user) if project else None
    return Place(project, role, user) if project and role else None
