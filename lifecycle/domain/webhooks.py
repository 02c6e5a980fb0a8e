"""Webhooks of projects: of what programs are told, and to which addresses. Pure."""

import ipaddress
from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from lifecycle.domain.errors import InvalidInput
from lifecycle.domain.imports import Network, check_url, may_connect


class Kind(StrEnum):
    """The `type` of a message."""

    OPERATION_ENDED = "operation.ended"
    STATE_CHANGED = "vm.state_changed"
    REPAIR_OPENED = "repair.opened"
    TEST = "webhook.test"


#: What a webhook can be for; a test is sent by hand.
CHOICES: Final = (Kind.OPERATION_ENDED, Kind.STATE_CHANGED, Kind.REPAIR_OPENED)
WEBHOOKS_MAX: Final = 10


def check_kinds(kinds: Iterable[str]) -> list[str]:
    """The chosen kinds in their own order. Raises InvalidInput for none, or one that cannot be chosen."""
    wanted = set(kinds)
    if not wanted or wanted - set(CHOICES):
        raise InvalidInput("Choose at least one event.", field="kinds")
    return [kind.value for kind in CHOICES if kind in wanted]


def check_address(text: str, allowed: Iterable[Network]) -> str:
    """An address that messages can be sent to. Names are judged again, by their addresses, at each message.

    Raises:
        InvalidInput: it is none, or it is a private IP address that is not `allowed`.
    """
    text = text.strip()
    try:
        url = check_url(text)
    except InvalidInput:
        raise InvalidInput(
            "Give an address that begins with https:// or http://, without a user name and a password.", field="url"
        ) from None
    try:
        literal = str(ipaddress.ip_address((url.hostname or "").partition("%")[0]))
    except ValueError:
        return text
    if not may_connect(literal, allowed):
        raise InvalidInput(
            "%(address)s is a private address. Messages are not sent there, unless the operators of this site "
            "allow it.",
            field="url",
            address=literal,
        )
    return text
