"""The live connection of one browser page, or one program, to one project.

Three sources feed it, one message at a time: the browser, the channel layer, and its own heartbeat. The channel
layer is only fast: it may drop messages, forget the group or be away. The heartbeat renews the membership, looks
again at session and rights, and reads from the Event rows whatever was not sent.
"""

import asyncio
import contextlib
import json
import logging
import random
from typing import Any

from channels.consumer import AsyncConsumer
from channels.db import database_sync_to_async
from channels.exceptions import StopConsumer
from channels.layers import get_channel_layer
from channels.utils import await_many_dispatch
from django.db import DatabaseError

from lifecycle.realtime import messages, push, reads
from lifecycle.realtime.cursor import Cursor
from lifecycle.realtime.inbox import PATIENCE, Allowance, Malformed, since_number
from lifecycle.realtime.origins import Receive, Scope, Send

log = logging.getLogger(__name__)

#: A browser further behind than this fetches a snapshot instead.
REPLAY_LIMIT = 500
PAGE = 100
TOO_FAST = 4429
TRY_AGAIN_LATER = 1013
#: The longest that joining or leaving a group may take.
REDIS_SECONDS = 1.0
#: Pause after the layer failed to receive; it retries by itself before it fails.
RECEIVE_PAUSE_SECONDS = 1.0

_look = database_sync_to_async(reads.look)
_look_by_token = database_sync_to_async(reads.look_by_token)
_latest_number = database_sync_to_async(reads.latest_number)
_events = database_sync_to_async(reads.events)


class ProjectConsumer(AsyncConsumer):
    """Tells a browser hello, events, heartbeats and resync; hears `since` from it."""

    heartbeat_seconds = 10.0
    #: Instead of the heartbeat while the channel layer is away: then the database is asked, this often.
    poll_seconds = 2.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.base_send = send
        self.channel_layer = get_channel_layer(self.channel_layer_alias)
        self.channel_name = await self.channel_layer.new_channel()
        self.live = False  # whether pushes reach us
        self.open = False
        self._welcomed = asyncio.Event()
        self._joined = asyncio.Event()
        self._hurry = asyncio.Event()
        self._allowance = Allowance()
        with contextlib.suppress(StopConsumer):
            await await_many_dispatch([receive, self._pushed, self._next_beat], self.dispatch)

    async def dispatch(self, message: dict[str, Any]) -> None:
        """One message of any source. Without a database nothing can be known: the browser tries again later."""
        try:
            await super().dispatch(message)
        except DatabaseError as error:
            log.warning("a live connection ends: %r", error)
            await self._close(TRY_AGAIN_LATER)

    # -- the sources beside the browser ----------------------------------------------------------

    async def _pushed(self) -> dict[str, Any]:
        """The next message of the channel layer; while that is away, there is none."""
        while True:
            await self._joined.wait()
            try:
                return dict(await self.channel_layer.receive(self.channel_name))
            except Exception as error:  # whatever the layer raises: the heartbeat polls, and joins again
                log.info("the channel layer is away: %r", error)
                self._away()
                await asyncio.sleep(RECEIVE_PAUSE_SECONDS)

    async def _next_beat(self) -> dict[str, Any]:
        await self._welcomed.wait()
        pause = self.heartbeat_seconds if self.live else self.poll_seconds
        with contextlib.suppress(TimeoutError):
            # Not all connections of a process at the same moment.
            async with asyncio.timeout(pause * random.uniform(0.9, 1.0)):  # noqa: S311  # jitter, not a secret
                await self._hurry.wait()
        self._hurry.clear()
        return {"type": "beat"}

    async def _join(self) -> None:
        """Enter the groups, or renew: channels-redis forgets members after a day, a restarted Redis at once."""
        try:
            async with asyncio.timeout(REDIS_SECONDS):
                for group in self._groups:
                    await self.channel_layer.group_add(group, self.channel_name)
        except Exception as error:  # as above
            log.debug("could not join: %r", error)
            self._away()
        else:
            self.live = True
            self._joined.set()

    def _away(self) -> None:
        if self.live:
            self._hurry.set()  # tell the browser now, not at the next beat
        self.live = False
        self._joined.clear()

    @property
    def _groups(self) -> tuple[str, ...]:
        return push.project_group(self.look.project_id), push.user_group(self.look.user_id)

    # -- the browser -----------------------------------------------------------------------------

    async def websocket_connect(self, _message: dict[str, Any]) -> None:
        """Accept first: a browser is told the close code of an open connection only."""
        await self.send({"type": "websocket.accept"})
        self.open = True
        try:
            self.look = await self._look(opening=True)
        except reads.Refused as refused:
            await self._close(refused.code)
            return
        await self._join()
        # Read after joining: what is committed later is pushed, what was committed before is asked for by number.
        self.cursor = Cursor(await _latest_number(self.look.project_id))
        await self._tell("hello", number=self.cursor.number, live=self.live)
        self._welcomed.set()

    async def websocket_receive(self, message: dict[str, Any]) -> None:
        """A `since`; everything else is answered with an error."""
        if not self._welcomed.is_set():
            return
        left = self._allowance.take()
        if left < -PATIENCE:
            await self._close(TOO_FAST)
        elif left < 0:
            await self._tell("error", code="too_fast")
        else:
            try:
                number = since_number(message.get("text"))
            except Malformed as malformed:
                await self._tell("error", code=malformed.code)
            else:
                await self._replay(number)

    async def websocket_disconnect(self, _message: dict[str, Any]) -> None:
        """The browser went away, or we closed."""
        self.open = False
        if self.live:
            with contextlib.suppress(Exception):  # a member that is gone is forgotten anyway
                async with asyncio.timeout(REDIS_SECONDS):
                    for group in self._groups:
                        await self.channel_layer.group_discard(group, self.channel_name)
        raise StopConsumer

    # -- pushed ----------------------------------------------------------------------------------

    async def project_event(self, message: dict[str, Any]) -> None:
        """An event, passed on as it comes: the browser puts them in order."""
        event = message["message"]
        if not self.cursor.has(event["number"]):
            await self._send(event)
            self.cursor.add(event["number"])

    async def project_note(self, message: dict[str, Any]) -> None:
        """Something changed that the browser fetches itself; a lost one costs a few seconds."""
        await self._tell("note", subject=message["subject"])

    async def project_rights(self, _message: dict[str, Any]) -> None:
        """Somebody's right in the project changed: ours?"""
        await self._look_again()

    async def session_ended(self, _message: dict[str, Any]) -> None:
        """A session of our user ended: ours?"""
        await self._look_again()

    async def beat(self, _message: dict[str, Any]) -> None:
        """Renew the membership, look again, send what was missed, tell the latest number."""
        await self._join()
        if await self._look_again():
            await self._catch_up(self.look.number)
            await self._tell("heartbeat", number=self.look.number, live=self.live)

    # -- what they share -------------------------------------------------------------------------

    async def _look(self, *, opening: bool = False) -> reads.Look:
        slug = self.scope["url_route"]["kwargs"]["slug"]
        found: reads.Look
        if bearer := self.scope.get("bearer"):
            found = await _look_by_token(bearer, slug, opening=opening)
        else:
            found = await _look(self.scope["session"].session_key, slug)
        return found

    async def _look_again(self) -> bool:
        """Whether the connection may stay; closes it when not."""
        before = self.look
        try:
            self.look = await self._look()
        except reads.Refused as refused:
            await self._close(reads.RIGHT_WITHDRAWN if refused.code == reads.NO_PROJECT else refused.code)
            return False
        if self.look.role != before.role:
            await self._resync(self.look.number)  # other buttons on every part of the page
        return self.open

    async def _catch_up(self, number: int) -> None:
        """Send what was committed up to `number` and never reached the browser: the layer dropped it."""
        if number - self.cursor.number > REPLAY_LIMIT:
            await self._resync(number)
        else:
            await self._send_events(self.cursor.number, number, again=False)

    async def _replay(self, after: int) -> None:
        """Send the events after a number that the browser named, even if they were sent before."""
        number = await _latest_number(self.look.project_id)
        if after > number or number - after > REPLAY_LIMIT:
            await self._resync(number)
        else:
            await self._send_events(after, number, again=True)

    async def _send_events(self, after: int, upto: int, *, again: bool) -> None:
        while after < upto and self.open:
            page = await _events(self.look.project_id, after, upto, PAGE)
            if not page or page[0]["number"] != after + 1:  # rows are not kept for ever
                await self._resync(upto)
                return
            for event in page:
                if again or not self.cursor.has(event["number"]):
                    await self._send(event)
            after = page[-1]["number"]
            if after - len(page) <= self.cursor.number:
                self.cursor.skip_to(after)

    async def _resync(self, number: int) -> None:
        await self._tell("resync", number=number)
        self.cursor.skip_to(number)

    async def _tell(self, kind: str, **fields: Any) -> None:
        await self._send({"v": messages.VERSION, "type": kind, **fields})

    async def _send(self, message: dict[str, Any]) -> None:
        if self.open:
            await self.send({"type": "websocket.send", "text": json.dumps(message, separators=(",", ":"))})

    async def _close(self, code: int) -> None:
        if self.open:
            self.open = False
            self._welcomed.clear()
            await self.send({"type": "websocket.close", "code": code})
