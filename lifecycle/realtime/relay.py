"""Carries consoles' websockets from the web process to the gateway: bytes both ways, nothing read or kept.

The web process never speaks to a hypervisor; the gateway does, and decides who may. It gets the browser's cookie and
origin as they are. A gateway that is away is told by a close code, upon which the page tries again.
"""

import asyncio
import logging
from contextlib import suppress
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect, unix_connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

from lifecycle.realtime.origins import Receive, Scope, Send

log = logging.getLogger(__name__)

TRY_AGAIN_LATER: Final = 1013
CONNECT_SECONDS: Final = 5.0
#: The largest message of the gateway; it sends far smaller ones.
MESSAGE_BYTES: Final = 1024 * 1024
PASSED_ON: Final = ("cookie", "origin")


class Relay:
    """Relays to the gateway at `address`: `unix:/path`, or `host:port`."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        try:
            gateway = await self._connect(scope)
        except InvalidHandshake:
            await send({"type": "websocket.close"})
            return
        except (OSError, TimeoutError, InvalidMessage, ConnectionClosed) as error:
            log.warning("the console gateway does not answer: %r", error)
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": TRY_AGAIN_LATER})
            return
        await send({"type": "websocket.accept"})
        async with gateway:
            await _first_of(_to_gateway(receive, gateway), _to_browser(gateway, send))

    async def _connect(self, scope: Scope) -> ClientConnection:
        headers = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in scope["headers"]
            if name.decode("latin-1") in PASSED_ON
        ]
        options: dict[str, Any] = {
            "additional_headers": headers,
            "compression": None,
            "max_size": MESSAGE_BYTES,
            "max_queue": 8,
            "ping_interval": None,
            "open_timeout": CONNECT_SECONDS,
            "proxy": None,
        }
        kind, _, place = self._address.partition(":")
        if kind == "unix":
            return await unix_connect(place, f"ws://gateway{scope['path']}", **options)
        return await connect(f"ws://{self._address}{scope['path']}", **options)


async def _to_gateway(receive: Receive, gateway: ClientConnection) -> None:
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        data = message.get("bytes")
        await gateway.send(data if data is not None else message.get("text") or "")


async def _to_browser(gateway: ClientConnection, send: Send) -> None:
    """Until the gateway closes; its code goes on to the browser."""
    try:
        async for message in gateway:
            kind = "bytes" if isinstance(message, bytes) else "text"
            await send({"type": "websocket.send", kind: message})
    except ConnectionClosed as closed:
        log.debug("the gateway went away: %s", closed)
    code = gateway.close_code
    with suppress(Exception):  # the browser may be gone already
        await send({"type": "websocket.close", "code": TRY_AGAIN_LATER if code in {None, 1005, 1006, 1012} else code})


async def _first_of(*works: Any) -> None:
    tasks = [asyncio.create_task(work) for work in works]
    done, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    for task in done:
        with suppress(ConnectionClosed):
            task.result()
