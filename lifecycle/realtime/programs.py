"""Programs on the websocket: an access token in the handshake instead of a session and an origin.

A browser cannot give a websocket an Authorization header, so that no page of somebody else can send a token of ours.
Cookies do not count beside a token: a request is either a browser's or a program's.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from lifecycle.models import ApiToken
from lifecycle.realtime.origins import Application, Receive, Scope, Send

#: The addresses that are for programs, too; charts and consoles are for browsers alone.
PREFIX = "/ws/projects/"


class Admit(Protocol):
    """Finds the token behind a secret for a project. `opening`: the connection is made now, not looked at again."""

    def __call__(self, secret: str, slug: str, *, opening: bool) -> ApiToken | None: ...


@dataclass(frozen=True, slots=True)
class Bearer:
    """What a program proved itself with, and who judges it."""

    secret: str = field(repr=False)
    admit: Admit


class TokenDoor:
    """Leads handshakes with a token to `programs`, all others to `browsers`."""

    def __init__(self, browsers: Application, programs: Application, admit: Admit) -> None:
        self.browsers = browsers
        self.programs = programs
        self.admit = admit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        secret = _secret(scope["headers"]) if scope["path"].startswith(PREFIX) else ""
        if not secret:
            await self.browsers(scope, receive, send)
            return
        headers = [(name, value) for name, value in scope["headers"] if name != b"cookie"]
        await self.programs({**scope, "headers": headers, "bearer": Bearer(secret, self.admit)}, receive, send)


def _secret(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """What stands behind `Authorization: Bearer`; empty for another scheme, none, or two."""
    found = [value.decode("latin-1") for name, value in headers if name == b"authorization"]
    kind, _, secret = found[0].partition(" ") if len(found) == 1 else ("", "", "")
    return secret.strip() if kind.lower() == "bearer" else ""
