"""The API: how many calls a second of get and list it answers, against a bare view with the same bytes.

Both are asked in turns by the same client over kept connections; the bare view is Django without middleware, session,
database or rights, in a process of its own under the same server.
"""

import contextlib
import http.client
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lifecycle.models import Project, User
from lifecycle.services import tokens
from tests.bench.figures import Row, timed
from tests.bench.pages import fill
from tests.stack import CHECKOUT, Stack, free_port, wait_until

#: VMs of the project; a list answers with all of them, as Google's does.
VMS = 500
CONNECTIONS = 4
TURNS = 5


class Caller:
    """One kept connection to one port, opened again when the server closed it for being idle."""

    def __init__(self, port: int, secret: str = "") -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.headers = {"Authorization": f"Bearer {secret}"} if secret else {}

    def get(self, path: str) -> bytes:
        """The answer's bytes; anything but 200 is an error."""
        try:
            status, body = self._ask(path)
        except http.client.RemoteDisconnected:
            self.connection.close()
            status, body = self._ask(path)
        if status != 200:
            raise RuntimeError(f"{path}: {status} {body[:200]!r}")
        return body

    def _ask(self, path: str) -> tuple[int, bytes]:
        self.connection.request("GET", path, headers=self.headers)
        answer = self.connection.getresponse()
        return answer.status, answer.read()


def run(stack: Stack, user: User, calls: int, say: Callable[[str], None]) -> list[Row]:
    """A row for get and one for list. `calls`: of get in a turn; of list a tenth."""
    project: Project = fill(user, VMS)
    _token, secret = tokens.create(user, "bench", [project], may_write=False)
    base = f"/compute/v1/projects/{project.slug}/zones/{project.vms.all()[0].zone.name}/instances"
    paths = {"get": f"{base}/vm-00000", "list": base}
    folder = stack.root / "bare"
    folder.mkdir()
    for name, path in paths.items():
        (folder / name).write_bytes(Caller(stack.port, secret).get(path))
    with _bare(folder) as port:
        return [_row(stack, secret, name, path, port, calls if name == "get" else calls // 10, say)
                for name, path in paths.items()]  # fmt: skip


def _row(stack: Stack, secret: str, name: str, path: str, port: int, calls: int, say: Callable[[str], None]) -> Row:
    ours, floor, rates = [], [], ([], [])  # type: tuple[list[float], list[float], tuple[list[float], list[float]]]
    product, bare = Caller(stack.port, secret), Caller(port)
    if product.get(path) != bare.get(f"/{name}"):
        raise RuntimeError(f"{name}: not the same bytes")
    for turn in range(TURNS):
        say(f"api: {name}, turn {turn + 1} of {TURNS}")
        for _call in range(calls // CONNECTIONS):
            ours.append(timed(lambda: product.get(path)))
            floor.append(timed(lambda: bare.get(f"/{name}")))
        rates[0].append(_rate(lambda: Caller(stack.port, secret), path, calls))
        rates[1].append(_rate(lambda: Caller(port), f"/{name}", calls))
    best = [sorted(each)[TURNS // 2] for each in rates]
    size = (stack.root / "bare" / name).stat().st_size / 1024
    note = f"{size:.0f} KiB; {CONNECTIONS} connections: {best[0]:.0f} requests/s against {best[1]:.0f}"
    what = "API instances.get" if name == "get" else f"API instances.list, {VMS} VMs"
    return Row(what, ours, floor, "bare Django view, same bytes", note)


def _rate(caller: Callable[[], Caller], path: str, calls: int) -> float:
    """Requests a second by CONNECTIONS callers at once."""

    def work(_number: int) -> None:
        one = caller()
        for _ in range(calls // CONNECTIONS):
            one.get(path)

    started = time.perf_counter()
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(work, range(CONNECTIONS)))
    return (calls // CONNECTIONS) * CONNECTIONS / (time.perf_counter() - started)


@contextlib.contextmanager
def _bare(folder: Path) -> Iterator[int]:
    """The bare view's port, while it runs."""
    port = free_port()
    argv = [sys.executable, "-m", "uvicorn", "tests.bench.bare:application", "--port", str(port)]
    environment = {**os.environ, "BARE_FOLDER": str(folder)}
    process = subprocess.Popen([*argv, "--log-level", "warning"], cwd=CHECKOUT, env=environment)
    try:
        wait_until(lambda: _answers(port), 30, "the bare view")
        yield port
    finally:
        process.terminate()
        process.wait()


def _answers(port: int) -> bool:
    try:
        return bool(Caller(port).get("/get"))
    except OSError:
        return False
