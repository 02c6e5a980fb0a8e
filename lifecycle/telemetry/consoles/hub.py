"""One serial console, shared: one stream to the guest, any number of viewers, and the output before they came.

The hub lives while somebody looks. It opens the stream when the VM runs, and again when it was started again.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final
from uuid import UUID

from channels.db import database_sync_to_async
from django.conf import settings
from django.db import DatabaseError

from lifecycle.domain.errors import Busy, Gone, HypervisorError, Refused
from lifecycle.domain.states import State
from lifecycle.drivers.base import Pool
from lifecycle.drivers.libvirt import hypervisors
from lifecycle.drivers.libvirt.console import SerialStream, open_serial
from lifecycle.models import VM, SerialLog
from lifecycle.services import consoles
from lifecycle.telemetry.consoles.calls import HostCalls
from lifecycle.telemetry.consoles.viewer import Viewer

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 1.0
#: How long a hub outlives its last viewer: a page that is loaded again finds the console as it was.
LINGER_SECONDS: Final = 3.0
#: Typed bytes that wait for the guest; more are not taken from the browser until they went.
TYPED_BYTES: Final = 64 * 1024
HISTORY_BYTES: Final = 128 * 1024
#: States in which a domain may run.
_ALIVE: Final = frozenset({State.STAGING, State.RUNNING, State.STOPPING, State.SUSPENDING, State.REPAIRING})


class Hub:
    """A VM's serial console. Used by the event loop's thread alone, but for `_heard` and `_ended`."""

    def __init__(self, vm_id: UUID, calls: HostCalls) -> None:
        self.vm_id = vm_id
        self.viewers: set[Viewer] = set()
        self._calls = calls
        self._loop = asyncio.get_running_loop()
        self._history = bytearray()
        self._stream: SerialStream | None = None
        self._over = asyncio.Event()
        self._early: list[bytes] | None = None
        self._recorded = 0
        self._state = "connecting"
        self._seeded = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    # -- viewers

    async def join(self, viewer: Viewer) -> None:
        """From now on the viewer gets what the guest prints, after what it printed before."""
        await self._seeded.wait()
        viewer.offer(bytes(self._history))
        self.viewers.add(viewer)
        viewer.tell({"type": "state", "state": self._state})
        self._count()

    def leave(self, viewer: Viewer) -> None:
        """The viewer gets nothing more."""
        self.viewers.discard(viewer)
        self._count()

    def _count(self) -> None:
        for each in self.viewers:
            each.tell({"type": "viewers", "count": len(self.viewers)})

    async def write(self, data: bytes) -> None:
        """Type into the guest; waits while it does not read. Nothing while there is no stream."""
        stream = self._stream
        if stream is None:
            return
        stream.write(data)
        while stream.queued_bytes > TYPED_BYTES and stream is self._stream:
            await asyncio.sleep(0.02)

    def close(self) -> None:
        """Nobody looks any more."""
        self._task.cancel()
        self._drop_stream()

    # -- the guest

    async def _run(self) -> None:
        try:
            text, self._recorded = await database_sync_to_async(_recorded)(self.vm_id)
        except DatabaseError:
            text = ""
        self._history += text.encode()[-HISTORY_BYTES:]
        self._seeded.set()
        while True:
            try:
                where = await database_sync_to_async(consoles.whereabouts)(self.vm_id)
                self._become(await self._attend(where))
            except Exception:  # whatever it is, viewers wait here and are to see the next attempt
                log.exception("console of %s: trying again", self.vm_id)
                self._become("lost")
            await asyncio.sleep(RETRY_SECONDS)

    async def _attend(self, where: consoles.Whereabouts) -> str:
        """Hold the stream while it lasts; what the console is afterwards."""
        if not where.uri or where.state not in _ALIVE:
            return "off"
        self._over.clear()
        self._early = []
        try:
            opening = partial(open_serial, where.uri, self.vm_id, self._heard, self._ended)
            stream = await self._calls.run(where.uri, opening, SerialStream.close)
        except HypervisorError as error:
            self._early = None
            return state_for(error)
        self._stream = stream
        await self._catch_up(where.uri)
        self._become("connected")
        try:
            await self._over.wait()
        finally:
            self._drop_stream()
        return "off"

    async def _catch_up(self, uri: str) -> None:
        """The first time, what the guest printed and nobody recorded yet; it may overlap with what came just now."""
        rest = b""
        if self._recorded:
            with suppress(Busy):  # then it is missing here, and in the record soon
                rest = await self._calls.run(uri, partial(_unrecorded, uri, self.vm_id, self._recorded))
            self._recorded = 0
        early, self._early = b"".join(self._early or ()), None
        self._show(rest + without_overlap(rest, early))

    def _drop_stream(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            self._calls.let(stream.close)

    def _heard(self, data: bytes) -> None:
        self._loop.call_soon_threadsafe(self._take, data)

    def _ended(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)

    def _take(self, data: bytes) -> None:
        if self._early is not None:
            self._early.append(data)
        else:
            self._show(data)

    def _show(self, data: bytes) -> None:
        self._history += data
        if len(self._history) > HISTORY_BYTES:
            del self._history[: len(self._history) - HISTORY_BYTES]
        for viewer in self.viewers:
            viewer.offer(data)

    def _become(self, state: str) -> None:
        if state != self._state:
            self._state = state
            for viewer in self.viewers:
                viewer.tell({"type": "state", "state": state})


class Hubs:
    """The hubs of VMs that somebody looks at."""

    def __init__(self, calls: HostCalls) -> None:
        self._calls = calls
        self._hubs: dict[UUID, Hub] = {}

    async def join(self, vm_id: UUID, viewer: Viewer) -> Hub:
        """The VM's hub, with this viewer in it."""
        hub = self._hubs.get(vm_id)
        if hub is None:
            hub = self._hubs[vm_id] = Hub(vm_id, self._calls)
        await hub.join(viewer)
        return hub

    def leave(self, hub: Hub, viewer: Viewer) -> None:
        """Take the viewer out; the hub ends a little after the last one."""
        hub.leave(viewer)
        if not hub.viewers:
            asyncio.get_running_loop().call_later(LINGER_SECONDS, self._end_if_alone, hub)

    def _end_if_alone(self, hub: Hub) -> None:
        if not hub.viewers and self._hubs.get(hub.vm_id) is hub:
            del self._hubs[hub.vm_id]
            hub.close()


def state_for(error: HypervisorError) -> str:
    """What a viewer is told of a console that cannot be had."""
    kinds: tuple[tuple[type[HypervisorError], str], ...] = ((Gone, "off"), (Busy, "taken"), (Refused, "no_device"))
    return next((state for kind, state in kinds if isinstance(error, kind)), "lost")


def without_overlap(before: bytes, after: bytes) -> bytes:
    """`after` without the longest beginning of it with which `before` ends."""
    for size in range(min(len(before), len(after)), 0, -1):
        if before.endswith(after[:size]):
            return after[size:]
    return after


def _recorded(vm_id: UUID) -> tuple[str, int]:
    row = SerialLog.objects.filter(vm=vm_id).values_list("text", "read_bytes").first()
    return (row[0], row[1]) if row else ("", 0)


def _unrecorded(uri: str, vm_id: UUID, start: int) -> bytes:
    """What the host's log holds beyond `start`; nothing when it cannot be read."""
    reader: Callable[..., bytes]
    try:
        reader = hypervisors.get(uri, installation=settings.INSTALLATION_ID).read_volume
        return reader(Pool.SERIAL, VM(pk=vm_id).serial_volume, start, HISTORY_BYTES)
    except HypervisorError:
        return b""
