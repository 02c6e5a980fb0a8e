"""`wait` of an operation: the answer comes when the operation is DONE, or after some seconds.

Around Django, because a view below its middleware would hold a thread meanwhile. Django answers the call as any other;
while its answer is an open operation, the push of its end is waited for, and then Django is asked once more. Without
Redis the first answer is sent, a second later: clients ask again as they do for any `wait`.
"""

import asyncio
import contextlib
import json
import logging
import re
from collections.abc import Iterable
from typing import Any, Final

from channels.layers import get_channel_layer
from django.http import HttpRequest

from lifecycle.realtime import push
from lifecycle.realtime.origins import Application, Receive, Scope, Send

log = logging.getLogger(__name__)

#: Shorter than what a web process that is told to end leaves its calls: a deploy breaks none off.
WAIT_SECONDS: Final = 4.0
#: The longest that a word with Redis may take.
REDIS_SECONDS: Final = 1.0
#: In the scope of what is asked again: it is the same call, counted and audited once. No client can set it.
ASKED: Final = "vmportal.asked_before"
_PATH: Final = re.compile(r"/compute/v1/projects/[^/]+/zones/[^/]+/operations/[^/]+/wait")
_BODY_MAX: Final = 65536

Message = dict[str, Any]


def asked_before(request: HttpRequest) -> bool:
    """Whether the call was counted and audited already, and is only asked again."""
    return bool(getattr(request, "scope", {}).get(ASKED))


class Waiting:
    """Lets every request through to `inner`, and holds the answers to `wait` back."""

    def __init__(self, inner: Application) -> None:
        self.inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST" or not _PATH.fullmatch(scope["path"]):
            await self.inner(scope, receive, send)
            return
        body = await _read(receive)
        if body is None:
            return
        for message in await self._answer(scope, receive, body):
            await send(message)

    async def _answer(self, scope: Scope, receive: Receive, body: bytes) -> list[Message]:
        found = await self._ask(scope, body)
        name = _open_operation(found)
        if not name:
            return found
        try:
            async with asyncio.timeout(WAIT_SECONDS), _Ear(name) as ear:
                again = {**scope, ASKED: True}
                found = await self._ask(again, body)  # it may have ended before anybody listened
                if _open_operation(found) and await ear.hears(receive):
                    found = await self._ask(again, body)
        except TimeoutError:
            pass
        except Exception as error:  # whatever the layer raises: what is known is the answer, but not at once
            log.debug("nobody tells of the end of %s: %r", name, error)
            await asyncio.sleep(REDIS_SECONDS)
        return found

    async def _ask(self, scope: Scope, body: bytes) -> list[Message]:
        """What Django answers."""
        waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        found: list[Message] = []

        async def receive() -> Message:
            if waiting:
                return waiting.pop()
            await asyncio.Event().wait()  # nobody goes away: Django stops listening when it has answered
            raise AssertionError("unreachable")

        async def send(message: Any) -> None:
            found.append(dict(message))

        await self.inner(scope, receive, send)
        return found


async def _read(receive: Receive) -> bytes | None:
    """The request's body; None when the client is gone. One far too large is cut: it is no JSON then, and refused."""
    body, more = b"", True
    while more and len(body) <= _BODY_MAX:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def _goes_away(receive: Receive) -> None:
    """Returns when the client does; servers may tell of the end of the body more than once before."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _open_operation(answer: Iterable[Message]) -> str:
    """The name of the operation that is answered, while it is not DONE; else empty."""
    start, *rest = answer
    if start.get("status") != 200:
        return ""
    with contextlib.suppress(ValueError):
        found = json.loads(b"".join(message.get("body", b"") for message in rest))
        if found.get("status") in {"PENDING", "RUNNING"}:
            return str(found.get("name", ""))
    return ""


class _Ear:
    """Hears of the end of one operation, as long as the block lasts."""

    def __init__(self, name: str) -> None:
        self.group = push.operation_group(name.removeprefix("operation-"))
        self.layer = get_channel_layer()

    async def __aenter__(self) -> "_Ear":
        async with asyncio.timeout(REDIS_SECONDS):
            self.channel = await self.layer.new_channel()
            await self.layer.group_add(self.group, self.channel)
        return self

    async def __aexit__(self, *_error: object) -> None:
        with contextlib.suppress(Exception):  # a member that is gone is forgotten anyway
            async with asyncio.timeout(REDIS_SECONDS):
                await self.layer.group_discard(self.group, self.channel)

    async def hears(self, receive: Receive) -> bool:
        """Wait until the operation has ended; False when the client goes away first."""
        told = asyncio.ensure_future(self.layer.receive(self.channel))
        gone = asyncio.ensure_future(_goes_away(receive))
        try:
            await asyncio.wait({told, gone}, return_when=asyncio.FIRST_COMPLETED)
            return told.done() and told.exception() is None
        finally:
            told.cancel()
            gone.cancel()
