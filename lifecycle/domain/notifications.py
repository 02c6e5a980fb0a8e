"""What people can be told of, and by which ways unless they choose otherwise."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final


class Way(StrEnum):
    """How somebody is told."""

    PORTAL = "portal"
    MAIL = "mail"


class Kind(StrEnum):
    """What somebody is told of."""

    OPERATION_FAILED = "operation_failed"
    REPAIR_OPENED = "repair_opened"
    REPAIR_CLOSED = "repair_closed"
    SUSPENSION_ENDING = "suspension_ending"
    INVITED = "invited"
    MEMBERSHIP = "membership"
    BUDGET = "budget"
    SCHEDULE = "schedule"
    MAINTENANCE = "maintenance"


_BOTH: Final = frozenset(Way)
_HERE: Final = frozenset({Way.PORTAL})

#: What is not chosen. A mail is for what waits for the person: something was lost, or will be.
DEFAULTS: Final[dict[Kind, frozenset[Way]]] = {
    Kind.OPERATION_FAILED: _BOTH,
    Kind.REPAIR_OPENED: _BOTH,
    Kind.REPAIR_CLOSED: _HERE,
    Kind.SUSPENSION_ENDING: _BOTH,
    Kind.INVITED: _HERE,  # the invitation itself is a mail
    Kind.MEMBERSHIP: _HERE,
    Kind.BUDGET: _BOTH,
    Kind.SCHEDULE: _BOTH,
    Kind.MAINTENANCE: _BOTH,
}


def ways_of(choices: Mapping[str, Sequence[str]], kind: Kind) -> frozenset[Way]:
    """The ways by which a person who chose `choices` is told of `kind`."""
    if kind not in choices:
        return DEFAULTS[kind]
    return frozenset(way for way in Way if way in choices[kind])
