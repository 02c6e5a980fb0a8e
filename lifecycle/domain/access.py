"""Roles of a project and what each may do, as data."""

from enum import StrEnum
from typing import Final

from lifecycle.domain.transitions import USER_ACTIONS, Action


class Role(StrEnum):
    """A member's role in a project."""

    OWNER = "owner"
    OPERATOR = "operator"
    VIEWER = "viewer"


class Right(StrEnum):
    """What a role may do beyond looking."""

    USE_VMS = "use_vms"  # create, start, stop, change
    DELETE_VMS = "delete_vms"
    MANAGE_MEMBERS = "manage_members"
    READ_AUDIT = "read_audit"
    MANAGE_WEBHOOKS = "manage_webhooks"


RIGHTS: Final[dict[Role, frozenset[Right]]] = {
    Role.OWNER: frozenset(Right),
    Role.OPERATOR: frozenset({Right.USE_VMS, Right.DELETE_VMS, Right.MANAGE_WEBHOOKS}),
    Role.VIEWER: frozenset(),
}

#: The right each user action needs.
NEEDS: Final[dict[Action, Right]] = {
    **dict.fromkeys((*USER_ACTIONS, Action.CREATE), Right.USE_VMS),
    Action.DELETE: Right.DELETE_VMS,
}


def roles_with(right: Right) -> list[Role]:
    """The roles that hold `right`."""
    return [role for role, rights in RIGHTS.items() if right in rights]


def may(role: Role | None, right: Right) -> bool:
    """Whether `role` holds `right`; None is a stranger and holds nothing."""
    return role is not None and right in RIGHTS[role]
