"""The live connection of a chart to its subject: samples as they are taken, and nothing that needs an order.

A sample that is lost is a point that the chart fetches with its next page; there are no numbers and no replay.
"""

from typing import Any

from channels.db import database_sync_to_async

from lifecycle.realtime import push, reads, recent
from lifecycle.realtime.consumers import TOO_FAST, ProjectConsumer
from lifecycle.realtime.inbox import PATIENCE

_look = database_sync_to_async(reads.look_at_usage)
_watch = database_sync_to_async(recent.watch)


class UsageConsumer(ProjectConsumer):
    """Tells a browser hello, samples and heartbeats. Rights are looked at again at each heartbeat, and when told to."""

    look: reads.UsageLook

    @property
    def _groups(self) -> tuple[str, ...]:
        mine = (push.usage_group(self.look.subject), push.user_group(self.look.user_id))
        return mine if not self.look.project_id else (*mine, push.project_group(self.look.project_id))

    async def websocket_connect(self, _message: dict[str, Any]) -> None:
        """Accept first: a browser is told the close code of an open connection only."""
        await self.send({"type": "websocket.accept"})
        self.open = True
        try:
            self.look = await self._look()
        except reads.Refused as refused:
            await self._close(refused.code)
            return
        await self._join()
        await self._mark()
        await self._tell("hello", number=0, live=self.live)
        self._welcomed.set()

    async def websocket_receive(self, _message: dict[str, Any]) -> None:
        """There is nothing that a chart has to say."""
        if self._allowance.take() < -PATIENCE:
            await self._close(TOO_FAST)
        else:
            await self._tell("error", code="unknown_type")

    async def project_event(self, _message: dict[str, Any]) -> None:
        """Not for a chart; it is in the project's group to hear of rights."""

    async def usage_sample(self, message: dict[str, Any]) -> None:
        """A sample, passed on."""
        await self._send(message["message"])

    async def beat(self, _message: dict[str, Any]) -> None:
        """Renew what we are members of, look again, tell whether samples come."""
        await self._join()
        if await self._look_again():
            await self._mark()
            await self._tell("heartbeat", number=0, live=self.live)

    async def _look(self, *, opening: bool = False) -> reads.UsageLook:
        found: reads.UsageLook = await _look(self.scope["session"].session_key, **self.scope["url_route"]["kwargs"])
        return found

    async def _look_again(self) -> bool:
        try:
            self.look = await self._look()
        except reads.Refused as refused:
            await self._close(reads.RIGHT_WITHDRAWN if refused.code == reads.NO_PROJECT else refused.code)
            return False
        return self.open

    async def _mark(self) -> None:
        """Say that somebody looks, so that the subject's samples are pushed."""
        try:
            await _watch(self.look.subject)
        except recent.Unavailable:
            self._away()
