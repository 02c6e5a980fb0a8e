"""What libvirt tells by itself, as `HostEvent`s.

Callbacks run in the event loop's thread and must be quick: they build an event and hand it on. All callbacks are
registered when the connection is opened, so that what is remembered about domains is dropped as they change.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import libvirt as lv

from lifecycle.drivers.base import EventKind, HostEvent
from lifecycle.drivers.libvirt.power import words_of

log = logging.getLogger(__name__)

Handler = Callable[[HostEvent], None]

#: libvirt's lifecycle events. SHUTDOWN is left out: STOPPED follows it, with QEMU gone.
_KINDS: Final = {
    lv.VIR_DOMAIN_EVENT_DEFINED: EventKind.DEFINED,
    lv.VIR_DOMAIN_EVENT_UNDEFINED: EventKind.UNDEFINED,
    lv.VIR_DOMAIN_EVENT_STARTED: EventKind.STARTED,
    lv.VIR_DOMAIN_EVENT_SUSPENDED: EventKind.SUSPENDED,
    lv.VIR_DOMAIN_EVENT_RESUMED: EventKind.RESUMED,
    lv.VIR_DOMAIN_EVENT_STOPPED: EventKind.STOPPED,
    lv.VIR_DOMAIN_EVENT_PMSUSPENDED: EventKind.SUSPENDED,
    lv.VIR_DOMAIN_EVENT_CRASHED: EventKind.CRASHED,
}
_DETAILS: Final = {
    lv.VIR_DOMAIN_EVENT_DEFINED: words_of("VIR_DOMAIN_EVENT_DEFINED_"),
    lv.VIR_DOMAIN_EVENT_UNDEFINED: words_of("VIR_DOMAIN_EVENT_UNDEFINED_"),
    lv.VIR_DOMAIN_EVENT_STARTED: words_of("VIR_DOMAIN_EVENT_STARTED_"),
    lv.VIR_DOMAIN_EVENT_SUSPENDED: words_of("VIR_DOMAIN_EVENT_SUSPENDED_"),
    lv.VIR_DOMAIN_EVENT_RESUMED: words_of("VIR_DOMAIN_EVENT_RESUMED_"),
    lv.VIR_DOMAIN_EVENT_STOPPED: words_of("VIR_DOMAIN_EVENT_STOPPED_"),
    lv.VIR_DOMAIN_EVENT_PMSUSPENDED: words_of("VIR_DOMAIN_EVENT_PMSUSPENDED_"),
    lv.VIR_DOMAIN_EVENT_CRASHED: words_of("VIR_DOMAIN_EVENT_CRASHED_"),
}
_CLOSED: Final = {
    lv.VIR_CONNECT_CLOSE_REASON_ERROR: "the connection failed",
    lv.VIR_CONNECT_CLOSE_REASON_EOF: "the host closed the connection",
    lv.VIR_CONNECT_CLOSE_REASON_KEEPALIVE: "the host does not answer keepalive",
    lv.VIR_CONNECT_CLOSE_REASON_CLIENT: "closed by ourselves",
}


class Watch:
    """Listens to one connection for as long as it is open."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._handlers: list[Handler] = []
        self._registered: list[int] = []
        self._closed = False
        #: why the connection is lost, empty while it is not
        self.lost = ""
        #: told the id of every domain that changed in any way, before any handler
        self.on_change: Callable[[UUID], None] = _ignore
        self._register()

    def _register(self) -> None:
        for event, callback in (
            (lv.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._lifecycle),
            (lv.VIR_DOMAIN_EVENT_ID_REBOOT, self._reboot),
            (lv.VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON, self._io_error),
            (lv.VIR_DOMAIN_EVENT_ID_WATCHDOG, self._watchdog),
            (lv.VIR_DOMAIN_EVENT_ID_METADATA_CHANGE, self._metadata),
        ):
            with contextlib.suppress(lv.libvirtError):  # a driver need not know them all
                self._registered.append(self._connection.domainEventRegisterAny(None, event, callback, None))
        with contextlib.suppress(lv.libvirtError):  # a driver inside our own process cannot be lost
            self._connection.registerCloseCallback(self._connection_closed, None)

    @contextlib.contextmanager
    def to(self, handler: Handler) -> Iterator[None]:
        """Events go to `handler` while this is open. A connection that is lost already is told at once."""
        with self._lock:
            self._handlers.append(handler)
            lost = self.lost
        if lost:
            handler(_event(EventKind.CONNECTION_LOST, None, lost))
        try:
            yield
        finally:
            with self._lock, contextlib.suppress(ValueError):
                self._handlers.remove(handler)

    def close(self) -> None:
        """Take the callbacks back and let the connection go: they would hold it open."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._handlers.clear()
        for callback_id in self._registered:
            with contextlib.suppress(lv.libvirtError):
                self._connection.domainEventDeregisterAny(callback_id)
        with contextlib.suppress(lv.libvirtError):
            self._connection.unregisterCloseCallback()
        self.lost = self.lost or "closed by ourselves"
        with contextlib.suppress(lv.libvirtError):
            self._connection.close()

    # -- callbacks, in the event loop's thread

    def _lifecycle(self, _conn: Any, domain: Any, event: int, detail: int, _opaque: Any) -> None:
        self._changed(domain)
        kind = _KINDS.get(event)
        if kind is not None:
            self._tell(kind, domain, _DETAILS[event].get(detail, "unknown"))

    def _reboot(self, _conn: Any, domain: Any, _opaque: Any) -> None:
        self._tell(EventKind.REBOOTED, domain, "")

    def _io_error(self, _conn: Any, domain: Any, path: str, _dev: str, _action: int, reason: str, _op: Any) -> None:
        self._tell(EventKind.IO_ERROR, domain, f"{reason or 'error'} on {path}")

    def _watchdog(self, _conn: Any, domain: Any, _action: int, _opaque: Any) -> None:
        self._tell(EventKind.WATCHDOG, domain, "")

    def _metadata(self, _conn: Any, domain: Any, _kind: int, _uri: str, _opaque: Any) -> None:
        self._changed(domain)

    def _connection_closed(self, _conn: Any, reason: int, _opaque: Any) -> None:
        with self._lock:
            self.lost = _CLOSED.get(reason, "closed")
        self._hand_on(_event(EventKind.CONNECTION_LOST, None, self.lost))

    def _changed(self, domain: Any) -> None:
        self.on_change(UUID(bytes=domain.UUID()))

    def _tell(self, kind: EventKind, domain: Any, detail: str) -> None:
        self._hand_on(_event(kind, domain, detail))

    def _hand_on(self, event: HostEvent) -> None:
        with self._lock:
            handlers = list(self._handlers)
        for handler in handlers:
            try:
                handler(event)
            except Exception:
                log.exception("a handler of %s failed", event.kind)


def _ignore(_uuid: UUID) -> None:
    """Nobody remembers anything yet."""


def _event(kind: EventKind, domain: Any, detail: str) -> HostEvent:
    return HostEvent(
        kind=kind,
        uuid=UUID(bytes=domain.UUID()) if domain is not None else None,
        name=domain.name() if domain is not None else "",
        detail=detail,
        occurred_at=datetime.now(UTC),
        received_monotonic=time.monotonic(),
    )
