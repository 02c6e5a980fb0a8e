"""The gateway's ASGI application: admits websockets by ticket, and looks again at their rights while they are open.

A websocket's first message is its ticket; nothing is told before. The origin was checked by whoever wraps this.
"""

import asyncio
import json
import logging
from contextlib import suppress
from typing import Any, Final

from channels.db import database_sync_to_async
from django.db import DatabaseError

from lifecycle.models import ConsoleKind, ConsoleSession
from lifecycle.realtime import reads
from lifecycle.realtime.origins import Receive, Scope, Send, canonical
from lifecycle.services import consoles
from lifecycle.telemetry.consoles.calls import HostCalls
from lifecycle.telemetry.consoles.hub import Hubs
from lifecycle.telemetry.consoles.views import ScreenView, SerialView, View

log = logging.getLogger(__name__)

Ending = ConsoleSession.Ending

TICKET_SECONDS: Final = 10.0
LOOK_SECONDS: Final = 2.0
#: Of how many looks one writes down that the session goes on.
LOOKS_A_NOTE: Final = 5
STALE_SECONDS: Final = 20.0
TRY_AGAIN_LATER: Final = 1013
NO_TICKET: Final = 4400
TICKET_CHARACTERS: Final = 200


class Gateway:
    """Serves `ws/consoles/<vm>/<kind>/`. One a process: it holds the hubs."""

    def __init__(self) -> None:
        self.calls = HostCalls()
        self._hubs = Hubs(self.calls)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        await send({"type": "websocket.accept"})
        try:
            await Conversation(scope, receive, send, self).run()
        except DatabaseError as error:
            log.warning("a console ends: %r", error)
            await _close(send, TRY_AGAIN_LATER)

    def view(self, admission: consoles.Admission, conversation: "Conversation") -> View:
        """The view of the kind that was admitted."""
        if admission.kind == ConsoleKind.SERIAL:
            return SerialView(admission.vm_id, conversation.tell, self._hubs)
        return ScreenView(admission.vm_id, conversation.tell, self.calls)


class Conversation:
    """One websocket, from its ticket to its end."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, gateway: Gateway) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._gateway = gateway
        self._key: str | None = scope["session"].session_key
        self._shown = self._typed = 0

    async def run(self) -> None:
        """Admit, serve, write down the end."""
        try:
            admission = await self._admit()
        except reads.Refused as refused:
            await _close(self._send, refused.code)
        except consoles.BadTicket:
            await _close(self._send, consoles.BAD_TICKET)
        except (TimeoutError, ValueError):
            await _close(self._send, NO_TICKET)
        else:
            await self._attend(admission)

    async def _admit(self) -> consoles.Admission:
        async with asyncio.timeout(TICKET_SECONDS):
            message = await self._receive()
        text = message.get("text") or ""
        found = json.loads(text) if len(text) <= 2 * TICKET_CHARACTERS else None
        token = found.get("ticket") if isinstance(found, dict) else None
        if not isinstance(token, str) or len(token) > TICKET_CHARACTERS:
            raise ValueError("no ticket")
        place = self._scope["url_route"]["kwargs"]
        origins = [value.decode("latin-1") for name, value in self._scope["headers"] if name == b"origin"]
        admission: consoles.Admission = await database_sync_to_async(consoles.redeem)(
            token,
            session_key=self._key,
            origin=canonical(origins[0]) if len(origins) == 1 else "",
            vm_id=place["vm_id"],
            kind=place["kind"],
        )
        return admission

    async def _attend(self, admission: consoles.Admission) -> None:
        view = self._gateway.view(admission, self)
        ending: str = Ending.GATEWAY
        try:
            ending = await view.open()
            if not ending:
                await self.tell({"type": "open"})
                ending = await self._first_end(view, admission.session_id)
        finally:
            await view.close()
            await database_sync_to_async(consoles.close)(
                admission.session_id, ending, shown=self._shown, typed=self._typed
            )
            if ending != Ending.LEFT:
                await _close(self._send, consoles.CODES[ending])

    async def _first_end(self, view: View, session_id: int) -> str:
        """Show, listen and look again, until one of the three ends."""
        tasks = [
            asyncio.create_task(view.show()),
            asyncio.create_task(self._listen(view)),
            asyncio.create_task(self._look_again(session_id)),
        ]
        done, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        return next(iter(done)).result()

    async def _listen(self, view: View) -> str:
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                return Ending.LEFT
            data = message.get("bytes")
            if data is not None:
                self._typed += len(data)
            await view.hear(data if data is not None else message.get("text") or "")

    async def _look_again(self, session_id: int) -> str:
        looks = 0
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            looks += 1
            ending: str = await database_sync_to_async(consoles.ending_of)(session_id, self._key)
            if ending:
                return ending
            if looks % LOOKS_A_NOTE == 0:
                await database_sync_to_async(consoles.seen)({session_id: (self._shown, self._typed)})

    async def tell(self, message: bytes | dict[str, Any]) -> None:
        """Send to the browser; waits while it does not read."""
        if isinstance(message, bytes):
            self._shown += len(message)
            await self._send({"type": "websocket.send", "bytes": message})
        else:
            await self._send({"type": "websocket.send", "text": json.dumps(message, separators=(",", ":"))})


async def _close(send: Send, code: int) -> None:
    with suppress(Exception):  # the browser may be gone already
        await send({"type": "websocket.close", "code": code})


class Beside:
    """What is no websocket: the health check, and the life of the process, in which silent sessions are closed."""

    async def http(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """200 for /healthz, 404 for everything else."""
        status = 200 if scope["path"] == "/healthz" else 404
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"ok\n" if status == 200 else b"not found\n"})

    async def lifespan(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Close sessions whose gateway ended without a word, for as long as this one lives."""
        await receive()
        sweep = asyncio.create_task(_sweep())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        sweep.cancel()
        await send({"type": "lifespan.shutdown.complete"})


async def _sweep() -> None:
    while True:
        try:
            await database_sync_to_async(consoles.close_stale)()
        except DatabaseError:
            log.exception("silent sessions could not be closed; trying again")
        await asyncio.sleep(STALE_SECONDS)
