"""Who may ask for what."""

from lifecycle.domain.access import NEEDS, Right, may
from lifecycle.domain.errors import Forbidden, NotFound
from lifecycle.domain.transitions import Action
from lifecycle.models import Project, User


def authorise(project: Project, user: User | None, action: Action) -> None:
    """Refuse what the user's role does not allow. `user` None is the product itself.

    Raises:
        NotFound: the user is a stranger to the project.
        Forbidden: the user's role is too small.
    """
    if user is None:
        return
    require(project, user, NEEDS.get(action, Right.USE_VMS))


def require(project: Project, user: User, right: Right) -> None:
    """Refuse a user whose role in the project does not have the right. Raises as `authorise`."""
    role = project.role_of(user)
    if role is None:
        raise NotFound("There is no such project.")
    if not may(role, right):
        raise Forbidden("Your role in this project (%(role)s) does not allow this. Ask an owner.", role=role)
