"""Real servers for these tests: a Redis of their own, the web process in a thread, a browser's websocket."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import uvicorn
from django.conf import settings
from redis import Redis
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from lifecycle.models import Project, User
from tests.stack import free_port, redis_answers

Message = dict[str, Any]
#: What must happen is waited for this long, in seconds: also where a machine is slow and busy.
PATIENCE = 60.0


class RedisServer:
    """A redis-server process on a UNIX socket that can be killed, frozen and started again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.socket = directory / "redis.sock"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def start(self) -> None:
        self.socket.unlink(missing_ok=True)
        command = [redis_binary(self.directory), "--port", "0", "--unixsocket", str(self.socket), "--save", ""]
        self.process = subprocess.Popen(
            [*command, "--dir", str(self.directory)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until(lambda: redis_answers(self.socket), "Redis")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def empty(self) -> None:
        """Forget everything, as a restart does."""
        with Redis(unix_socket_path=str(self.socket)) as connection:
            connection.flushall()

    def freeze(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGCONT)


def redis_binary(directory: Path) -> str:
    """redis-server, or Debian's redis-check-rdb, which is the same binary and a server under that name."""
    beside = Path(sys.executable).parent / "redis-server"
    if found := shutil.which("redis-server") or (beside.exists() and str(beside)):
        return found
    link = directory / "redis-server"
    if not link.exists():
        link.symlink_to(shutil.which("redis-check-rdb") or "/usr/bin/redis-check-rdb")
    return str(link)


class Web:
    """uvicorn with the product's own ASGI application, in a thread of this process: one test database for both."""

    def __init__(self, application: Any, port: int) -> None:
        self.application = application
        self.port = port

    def start(self) -> None:
        """Listen; after `stop` again, on the same port."""
        self._server = uvicorn.Server(
            uvicorn.Config(
                self.application,
                port=self.port,
                log_level="error",
                lifespan="off",
                ws="websockets-sansio",  # as ./portal starts it
                timeout_graceful_shutdown=1,
            )
        )
        self._thread = threading.Thread(target=self._server.run, name="web", daemon=True)
        self._thread.start()
        until(lambda: self._server.started, "the web process")

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the web process does not end"

    @contextlib.contextmanager
    def stalled(self) -> Iterator[None]:
        """Keep the event loop busy for the time of the block: nothing is received or sent."""
        begun, over = threading.Event(), threading.Event()

        def work() -> None:
            begun.set()
            over.wait(2 * PATIENCE)

        self._server.servers[0].get_loop().call_soon_threadsafe(work)
        assert begun.wait(PATIENCE)
        try:
            yield
        finally:
            over.set()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def address(self, project: Project | str) -> str:
        slug = project if isinstance(project, str) else project.slug
        return f"ws://127.0.0.1:{self.port}/ws/projects/{slug}/"


class Watcher:
    """What a page does, without the page: one websocket whose messages are read in a thread as they come."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.messages: list[Message] = []
        self.arrived: list[float] = []  # perf_counter() of each message
        self.code: int | None = None
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            while True:
                message = json.loads(self.socket.recv())
                self.arrived.append(time.perf_counter())
                self.messages.append(message)
        except ConnectionClosed as closed:
            self.code = closed.rcvd.code if closed.rcvd else 1006

    def send(self, message: object) -> None:
        self.socket.send(json.dumps(message))

    def of(self, kind: str) -> list[Message]:
        return [message for message in list(self.messages) if message["type"] == kind]

    def numbers(self) -> list[int]:
        """Numbers of the events, in the order in which they came."""
        return [message["number"] for message in self.of("event")]

    def wait_for(self, kind: str, count: int = 1, seconds: float = PATIENCE) -> list[Message]:
        """Wait until at least `count` messages of a kind came."""
        until(lambda: len(self.of(kind)) >= count, f"{count} × {kind}", seconds)
        return self.of(kind)

    def wait_for_code(self, seconds: float = PATIENCE) -> int:
        """Wait until the server closed; its code."""
        until(lambda: self.code is not None, "the end of the connection", seconds)
        assert self.code is not None
        return self.code

    def close(self) -> None:
        self.socket.close()
        self._thread.join(5)


def cookie_of(user: User) -> str:
    """A Cookie header of a new session of the user."""
    from django.test import Client

    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}"


@contextlib.contextmanager
def watching(web: Web, project: Project | str, cookie: str = "", origin: str | None = "") -> Iterator[Watcher]:
    """A websocket with a cookie and an origin (the web's own unless given; None for no such header)."""
    headers = {"Cookie": cookie} if cookie else {}
    wanted: Any = web.origin if origin == "" else origin
    with connect(
        web.address(project), additional_headers=headers, origin=wanted, open_timeout=PATIENCE, proxy=None
    ) as socket:
        watcher = Watcher(socket)
        try:
            yield watcher
        finally:
            watcher.close()


def until(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Wait for a condition, or fail by its name."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s in vain for {what}")
        time.sleep(0.005)


__all__ = ["RedisServer", "Watcher", "Web", "cookie_of", "free_port", "until", "watching"]
