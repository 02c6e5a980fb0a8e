"""Refuses websockets that a page of somebody else opened: browsers send our cookies with them."""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[Any]]

_DEFAULT_PORTS = {"http": 80, "https": 443}


def normal(origin: str) -> tuple[str, str, int] | None:
    """Scheme, host and port of an origin; None for what is none ("null", a bad port, a path alone)."""
    try:
        parts = urlsplit(origin.strip())
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return None
    return (parts.scheme, parts.hostname, port) if parts.hostname and port else None


def canonical(origin: str) -> str:
    """An origin in one spelling, its port always named; "" for what is none."""
    found = normal(origin)
    return f"{found[0]}://{found[1]}:{found[2]}" if found else ""


class OriginCheck:
    """Lets through websockets of `allowed` origins; answers every other handshake, or one that names none, with 403.

    Scheme, host and port must be equal: another service on this machine has our host name.
    """

    def __init__(self, application: Application, allowed: Iterable[str]) -> None:
        self.application = application
        self.allowed = {normal(origin) for origin in allowed} - {None}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        named = [value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"]
        if len(named) == 1 and normal(named[0]) in self.allowed:
            await self.application(scope, receive, send)
        else:
            await refuse(receive, send)


async def refuse(receive: Receive, send: Send) -> None:
    """Answer a handshake with 403."""
    await receive()
    await send({"type": "websocket.close"})
