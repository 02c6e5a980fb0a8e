"""The two kinds of console between an admitted websocket and a guest: each shows until it ends and says why."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, Protocol
from uuid import UUID

from channels.db import database_sync_to_async

from lifecycle.domain.errors import Busy, Gone, HypervisorError, Refused
from lifecycle.drivers.libvirt.console import open_screen
from lifecycle.drivers.libvirt.tunnel import Tunnel
from lifecycle.models import ConsoleSession
from lifecycle.services import consoles
from lifecycle.telemetry.consoles.calls import HostCalls
from lifecycle.telemetry.consoles.hub import Hub, Hubs
from lifecycle.telemetry.consoles.viewer import Viewer

Ending = ConsoleSession.Ending
READ_BYTES: Final = 64 * 1024

#: A websocket message to the browser: bytes, or a note as JSON.
Tell = Callable[[bytes | dict[str, Any]], Awaitable[None]]


class View(Protocol):
    """A console on its way through the gateway."""

    async def open(self) -> str:
        """Make ready; "" when there is something to show, else why not."""

    async def show(self) -> str:
        """Send to the browser what the guest shows, until it ends; why it did."""

    async def hear(self, message: bytes | str) -> None:
        """One message of the browser."""

    async def close(self) -> None: ...


class SerialView:
    """A viewer of a VM's shared serial console. Browser: bytes are typed; {"drawn": n} says that n bytes were drawn."""

    def __init__(self, vm_id: UUID, tell: Tell, hubs: Hubs) -> None:
        self._vm_id = vm_id
        self._tell = tell
        self._hubs = hubs
        self._viewer = Viewer()
        self._hub: Hub | None = None

    async def open(self) -> str:
        """A serial console always has something to show: what was recorded, at least."""
        self._hub = await self._hubs.join(self._vm_id, self._viewer)
        return ""

    async def show(self) -> str:
        """Until it is cancelled: the hub survives the guest."""
        while True:
            await self._tell(await self._viewer.next())

    async def hear(self, message: bytes | str) -> None:
        """Typed bytes, or how much was drawn."""
        if isinstance(message, bytes):
            if self._hub is not None:
                await self._hub.write(message)
            return
        with suppress(ValueError, TypeError, AttributeError, RecursionError):
            self._viewer.drawn(int(json.loads(message).get("drawn", 0)))

    async def close(self) -> None:
        """Leave the hub."""
        if self._hub is not None:
            self._hubs.leave(self._hub, self._viewer)


class ScreenView:
    """A VM's screen: the bytes of VNC's protocol, both ways."""

    def __init__(self, vm_id: UUID, tell: Tell, calls: HostCalls) -> None:
        self._vm_id = vm_id
        self._tell = tell
        self._calls = calls
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._end_tunnel: Callable[[], None] | None = None

    async def open(self) -> str:
        """Connect to the guest's VNC server."""
        where = await database_sync_to_async(consoles.whereabouts)(self._vm_id)
        if not where.uri:
            return Ending.VM_OFF
        try:
            opening = partial(open_screen, where.uri, self._vm_id)
            sock, tunnel = await self._calls.run(where.uri, opening, _unwanted)
        except HypervisorError as error:
            return _ending_for(error)
        self._end_tunnel = tunnel.close if tunnel is not None else None
        self._reader, self._writer = await asyncio.open_connection(sock=sock, limit=READ_BYTES)
        return ""

    async def show(self) -> str:
        """Until the VNC server closes: the guest is off, or its host lost."""
        if self._reader is None:
            return Ending.VM_OFF
        with suppress(OSError):
            while data := await self._reader.read(READ_BYTES):
                await self._tell(data)
        return Ending.VM_OFF

    async def hear(self, message: bytes | str) -> None:
        """Keys, the pointer, the clipboard: waits while the server does not read."""
        if isinstance(message, bytes) and self._writer is not None:
            with suppress(OSError):
                self._writer.write(message)
                await self._writer.drain()

    async def close(self) -> None:
        """End the connection and its tunnel."""
        if self._writer is not None:
            self._writer.close()
        if self._end_tunnel is not None:
            self._calls.let(self._end_tunnel)


def _unwanted(opened: tuple[socket.socket, Tunnel | None]) -> None:
    """The browser left while its screen was being opened."""
    opened[0].close()
    if opened[1] is not None:
        opened[1].close()


def _ending_for(error: HypervisorError) -> str:
    kinds: tuple[tuple[type[HypervisorError], str], ...] = (
        (Gone, Ending.VM_OFF),
        (Busy, Ending.HOST_LOST),
        (Refused, Ending.NO_DEVICE),
    )
    return next((ending for kind, ending in kinds if isinstance(error, kind)), Ending.HOST_LOST)
