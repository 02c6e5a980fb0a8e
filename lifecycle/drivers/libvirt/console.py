"""A guest's consoles: its serial port as a libvirt stream, its screen as a socket to QEMU's VNC server.

Each has a connection of its own. A stream that shares one is as slow as its neighbours' calls, and `openGraphicsFD`
on a connection over TCP breaks that connection.

Everything a stream does happens in libvirt's event loop: `write` only queues bytes and asks to be called back.
"""

import logging
import socket
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final
from uuid import UUID

import libvirt

from lifecycle.domain.errors import Busy, Gone, Refused
from lifecycle.drivers.libvirt.errors import code, translate
from lifecycle.drivers.libvirt.lines import is_alive
from lifecycle.drivers.libvirt.opening import KeepAlive, open_connection
from lifecycle.drivers.libvirt.tunnel import Tunnel, is_local, is_ssh
from lifecycle.drivers.libvirt.xml import parse

log = logging.getLogger(__name__)

CHUNK_BYTES: Final = 64 * 1024
#: Chunks that one callback takes before the loop turns to others.
CHUNKS_AT_ONCE: Final = 8
_WOULD_BLOCK: Final = -2
_READ: Final = libvirt.VIR_STREAM_EVENT_READABLE
_WRITE: Final = libvirt.VIR_STREAM_EVENT_WRITABLE
_LOST: Final = libvirt.VIR_STREAM_EVENT_ERROR | libvirt.VIR_STREAM_EVENT_HANGUP


class SerialStream:
    """An open serial console. `heard` and `ended` are called in libvirt's thread and must be quick; `ended` once."""

    def __init__(self, connection: Any, stream: Any, heard: Callable[[bytes], None], ended: Callable[[], None]) -> None:
        self._connection = connection
        self._stream = stream
        self._heard = heard
        self._ended = ended
        self._lock = threading.Lock()
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._over = False
        connection.registerCloseCallback(lambda *_: self._end(), None)
        stream.eventAddCallback(_READ | _LOST, self._event, None)

    @property
    def queued_bytes(self) -> int:
        """What was given to `write` and is not with libvirt yet."""
        return self._queued

    def write(self, data: bytes) -> None:
        """Queue bytes for the guest; nothing once the stream ended."""
        with self._lock:
            if self._over or not data:
                return
            self._queue.append(data)
            self._queued += len(data)
        with suppress(libvirt.libvirtError):
            self._stream.eventUpdateCallback(_READ | _WRITE | _LOST)

    def close(self) -> None:
        """Give the console back. May wait for the host: not for an event loop."""
        self._end(tell=False)
        with suppress(libvirt.libvirtError):
            self._stream.eventRemoveCallback()
        with suppress(libvirt.libvirtError):
            self._stream.abort()
        with suppress(libvirt.libvirtError):
            self._connection.unregisterCloseCallback()
        with suppress(libvirt.libvirtError):
            self._connection.close()

    def _event(self, _stream: Any, events: int, _opaque: Any) -> None:
        try:
            if events & _READ:
                self._receive()
            if events & _WRITE:
                self._send()
            if events & _LOST:
                self._end()
        except libvirt.libvirtError as error:
            log.debug("a serial stream ends: %s", error)
            self._end()

    def _receive(self) -> None:
        for _ in range(CHUNKS_AT_ONCE):
            data = self._stream.recv(CHUNK_BYTES)
            if data == _WOULD_BLOCK:
                return
            if not data:
                self._end()
                return
            self._heard(data)

    def _send(self) -> None:
        while True:
            with self._lock:
                data = self._queue[0] if self._queue else b""
            if not data:
                self._stream.eventUpdateCallback(_READ | _LOST)
                with self._lock:
                    more = bool(self._queue)
                if more:  # written in between
                    self._stream.eventUpdateCallback(_READ | _WRITE | _LOST)
                return
            sent = self._stream.send(data)
            if sent == _WOULD_BLOCK:
                return
            with self._lock:
                self._queued -= sent
                if sent == len(data):
                    self._queue.popleft()
                else:
                    self._queue[0] = data[sent:]

    def _end(self, *, tell: bool = True) -> None:
        with self._lock:
            if self._over:
                return
            self._over = True
            self._queue.clear()
            self._queued = 0
        if tell:
            self._ended()


def open_serial(
    uri: str,
    uuid: UUID,
    heard: Callable[[bytes], None],
    ended: Callable[[], None],
    *,
    keepalive: KeepAlive | None = None,
) -> SerialStream:
    """The serial console of a running guest. Whoever else holds it (a `virsh console`) keeps it.

    Raises:
        HypervisorError: `Transient` when the host does not answer, `Gone` when the guest is not there or off,
            `Busy` when another program has the console, `Refused` when there is none.
    """
    connection = open_connection(uri, keepalive or KeepAlive())
    try:
        domain = _running(connection, uuid)
        stream = connection.newStream(libvirt.VIR_STREAM_NONBLOCK)
        try:
            domain.openConsole(None, stream, libvirt.VIR_DOMAIN_CONSOLE_SAFE)
        except libvirt.libvirtError as error:
            raise _why_no_console(error, connection) from error
        return SerialStream(connection, stream, heard, ended)
    except BaseException:
        with suppress(libvirt.libvirtError):
            connection.close()
        raise


def open_screen(uri: str, uuid: UUID, *, keepalive: KeepAlive | None = None) -> tuple[socket.socket, Tunnel | None]:
    """A connected, non-blocking socket to the guest's VNC server, and the tunnel to end with it, if there is one.

    On a local libvirt the daemon hands over the socket; elsewhere the VNC server's UNIX socket is forwarded by SSH.

    Raises:
        HypervisorError: as `open_serial`; `Refused` when the guest has no such screen, or there is no safe way to it.
    """
    connection = open_connection(uri, keepalive or KeepAlive())
    try:
        domain = _running(connection, uuid)
        place = _vnc_socket(domain)
        if is_local(uri):
            return _socket_of(domain.openGraphicsFD(0, libvirt.VIR_DOMAIN_OPEN_GRAPHICS_SKIPAUTH)), None
        if is_ssh(uri):
            tunnel = Tunnel(uri, place)
            return tunnel.connect(), tunnel
    except libvirt.libvirtError as error:
        raise translate(error, "open_screen", alive=is_alive(connection)) from error
    finally:
        with suppress(libvirt.libvirtError):
            connection.close()
    raise Refused(f"open_screen: no safe way to a screen by {uri.split(':')[0]}")


def _socket_of(descriptor: int) -> socket.socket:
    made = socket.socket(fileno=descriptor)
    made.setblocking(False)
    return made


def _running(connection: Any, uuid: UUID) -> Any:
    try:
        domain = connection.lookupByUUID(uuid.bytes)
        active = domain.isActive()
    except libvirt.libvirtError as error:
        raise translate(error, "console", alive=is_alive(connection)) from error
    if not active:
        raise Gone("console: the domain is off")
    return domain


def _vnc_socket(domain: Any) -> str:
    """The path of the VNC server's UNIX socket on its host. Raises `Refused` for a guest without such a screen."""
    device = parse(domain.XMLDesc(0)).find("devices/graphics[@type='vnc']")
    if device is None:
        raise Refused("open_screen: the domain has no VNC screen")
    listen = device.find("listen[@type='socket']")
    return str(listen.get("socket", "") if listen is not None else device.get("socket", ""))


def _why_no_console(error: libvirt.libvirtError, connection: Any) -> Exception:
    """libvirt says "in use" and "no console" by codes that mean much else too."""
    if code(error) == libvirt.VIR_ERR_OPERATION_FAILED:
        return Busy(f"open_serial: {error.get_error_message()}")
    if code(error) == libvirt.VIR_ERR_INTERNAL_ERROR:
        return Refused(f"open_serial: {error.get_error_message()}")
    return translate(error, "open_serial", alive=is_alive(connection))
