"""Calls to hosts from the gateway's event loop: in threads of their own, a few a host and no more for a hung one."""

import asyncio
import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Final, TypeVar

from lifecycle.domain.errors import Busy

R = TypeVar("R")

CALLS_A_HOST: Final = 4
WAIT_SECONDS: Final = 5.0


class HostCalls:
    """Threads by host. One whose call does not come back stays with it; the host's next callers are told `Busy`."""

    def __init__(self) -> None:
        self._slots: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(CALLS_A_HOST))

    async def run(self, uri: str, call: Callable[[], R], unwanted: Callable[[R], object] | None = None) -> R:
        """What `call` returns or raises; `Busy` when the host has all its threads at work.

        `unwanted` gets, in a thread, what comes when nobody waits any more: a console left open would stay taken.
        """
        slots = self._slots[uri]
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await slots.acquire()
        except TimeoutError:
            raise Busy("the host has too many calls under way") from None
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[R] = loop.create_future()

        def work() -> None:
            try:
                result = call()
            except BaseException as error:
                _to(loop, _settle, answer, None, error, slots)
            else:
                _to(loop, _settle, answer, result, None, slots)

        threading.Thread(target=work, name="console-call", daemon=True).start()
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            answer.add_done_callback(lambda done: self._give_up(done, unwanted))
            raise

    def _give_up(self, done: "asyncio.Future[R]", unwanted: Callable[[R], object] | None) -> None:
        if done.exception() is None and unwanted is not None:
            result = done.result()
            self.let(lambda: unwanted(result))

    def let(self, call: Callable[[], object]) -> None:
        """Run what nobody waits for, such as closing a connection."""
        threading.Thread(target=call, name="console-end", daemon=True).start()


def _to(loop: asyncio.AbstractEventLoop, *call: Any) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(*call)


def _settle(answer: "asyncio.Future[Any]", result: Any, error: BaseException | None, slots: asyncio.Semaphore) -> None:
    slots.release()
    if answer.cancelled():
        return
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(result)
