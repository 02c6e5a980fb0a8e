"""Consoles through web and gateway, against the raw socket and the raw stream, in turns of one run."""

import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Protocol

from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from lifecycle.domain.transitions import Action
from lifecycle.drivers.libvirt.console import open_screen, open_serial
from lifecycle.models import VM, Project, User
from lifecycle.realtime.origins import canonical
from lifecycle.services import consoles
from tests.bench.figures import Row, median, timed
from tests.bench.guests import act, create
from tests.stack import HOST_URI, Stack

#: VNC's messages: shared session; raw pixels alone; a request for a rectangle as it is now.
CLIENT_INIT = b"\x01"
RAW_ENCODING = struct.pack(">BxHi", 2, 1, 0)
RECTANGLE_BYTES = 12
UPDATE_BYTES = 4


class Link(Protocol):
    """Bytes both ways."""

    def send(self, data: bytes) -> None: ...

    def read(self, count: int) -> bytes:
        """Exactly so many bytes."""


class RawSocket:
    """The VNC server's own socket."""

    def __init__(self, vm: VM) -> None:
        self._socket: socket.socket = open_screen(HOST_URI, vm.pk)[0]
        self._socket.setblocking(True)

    def send(self, data: bytes) -> None:
        """To the server."""
        self._socket.sendall(data)

    def read(self, count: int) -> bytes:
        """From it."""
        parts, left = [], count
        while left:
            part = self._socket.recv(min(left, 65536))
            parts.append(part)
            left -= len(part)
        return b"".join(parts)


class Websocket:
    """A console as a page has it: ticket, websocket, relay, gateway."""

    def __init__(self, stack: Stack, vm: VM, user: User, cookie: str, kind: str) -> None:
        key = cookie.partition("=")[2]
        token = consoles.issue_ticket(vm, kind, user=user, session_key=key, origin=canonical(stack.url), address=None)
        url = f"ws://127.0.0.1:{stack.port}/ws/consoles/{vm.pk}/{kind}/"
        self._socket: ClientConnection = connect(
            url, additional_headers={"Cookie": cookie}, origin=Origin(stack.url), legacy=True
        )
        self._socket.send(json.dumps({"ticket": token}))
        self._rest = b""

    def send(self, data: bytes) -> None:
        """To the guest."""
        self._socket.send(data)

    def read(self, count: int) -> bytes:
        """From the guest."""
        parts, have = [self._rest], len(self._rest)
        while have < count:
            message = self._socket.recv(timeout=30)
            if isinstance(message, bytes):
                parts.append(message)
                have += len(message)
        whole = b"".join(parts)
        self._rest = whole[count:]
        return whole[:count]

    def quiet(self) -> None:
        """Forget what came until now."""
        self._rest = b""
        while True:
            try:
                self._socket.recv(timeout=0.5)
            except TimeoutError:
                return

    def close(self) -> None:
        """Leave."""
        self._socket.close()


class Picture:
    """A VNC session with raw pixels."""

    def __init__(self, link: Link) -> None:
        self._link = link
        link.send(link.read(12))
        link.read(link.read(1)[0])
        link.send(b"\x01")
        link.read(4)
        link.send(CLIENT_INIT)
        self.width, self.height = struct.unpack(">HH", link.read(4))
        self._pixel = link.read(16)[0] // 8
        link.read(struct.unpack(">I", link.read(4))[0])
        link.send(RAW_ENCODING)

    def fetch(self, width: int, height: int) -> None:
        """The rectangle at the top left, whole."""
        self._link.send(struct.pack(">BBHHHH", 3, 0, 0, 0, width, height))
        _kind, count = struct.unpack(">BxH", self._link.read(UPDATE_BYTES))
        for _ in range(count):
            _x, _y, w, h, _encoding = struct.unpack(">HHHHi", self._link.read(RECTANGLE_BYTES))
            self._link.read(w * h * self._pixel)

    @property
    def frame_bytes(self) -> int:
        """What a whole picture weighs."""
        size: int = self.width * self.height * self._pixel
        return size


def run(stack: Stack, project: Project, user: User, cookie: str, rounds: int, say: Callable[[str], None]) -> list[Row]:
    """Screen: a whole picture and one pixel. Serial: from a key to its echo."""
    vm, _ms = create(project, user, "bench-console")
    time.sleep(20)  # the guest boots: its pictures and its port come to rest
    rows = [*_screen(stack, vm, user, cookie, rounds * 10, say), _serial(stack, vm, user, cookie, rounds * 10, say)]
    act(vm, Action.DELETE, user)
    return rows


def _screen(stack: Stack, vm: VM, user: User, cookie: str, rounds: int, say: Callable[[str], None]) -> list[Row]:
    raw, ours = Picture(RawSocket(vm)), Picture(Websocket(stack, vm, user, cookie, "screen"))
    frames: tuple[list[float], list[float]] = ([], [])
    pixels: tuple[list[float], list[float]] = ([], [])
    say(f"screen: {rounds} pictures")
    for _ in range(rounds):
        for place, picture in enumerate((ours, raw)):
            frames[place].append(timed(lambda picture=picture: picture.fetch(picture.width, picture.height)))  # type: ignore[misc]
            pixels[place].append(timed(lambda picture=picture: picture.fetch(1, 1)))  # type: ignore[misc]
    speed = [ours.frame_bytes / median(samples) / 1000 for samples in frames]
    note = f"{ours.frame_bytes / 1e6:.1f} MB a picture: {speed[0]:.0f} MB/s, raw {speed[1]:.0f} MB/s"
    return [
        Row("screen: a whole picture", frames[0], frames[1], "the VNC server's socket", note),
        Row("screen: one pixel (latency)", pixels[0], pixels[1], "the VNC server's socket"),
    ]


def _serial(stack: Stack, vm: VM, user: User, cookie: str, rounds: int, say: Callable[[str], None]) -> Row:
    """One after the other: a console is open once on its host."""
    say(f"serial: {rounds} keys")
    heard = threading.Event()
    stream = open_serial(HOST_URI, vm.pk, lambda _data: heard.set(), lambda: None)

    def raw_key() -> None:
        heard.clear()
        stream.write(b"x")
        heard.wait(10)

    floor = [timed(raw_key) for _ in range(rounds)]
    stream.close()
    ours = Websocket(stack, vm, user, cookie, "serial")
    ours.quiet()

    def our_key() -> None:
        ours.send(b"x")
        ours.read(1)

    samples = [timed(our_key) for _ in range(rounds)]
    ours.close()
    return Row("serial: from a key to its echo", samples, floor, "a libvirt stream")
