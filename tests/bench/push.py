"""From libvirt's event to the browser's message, against the bare callback in the same run."""

import json
import threading
import time
from collections.abc import Callable

import libvirt
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from lifecycle.domain.transitions import Action
from lifecycle.models import Project, User
from tests.bench.figures import Row
from tests.bench.guests import act, create
from tests.stack import HOST_URI, Stack


class Callbacks:
    """Plain libvirt: when did each domain stop?"""

    def __init__(self) -> None:
        self.stopped: dict[str, float] = {}
        self._loop = threading.Thread(target=self._run, daemon=True)
        libvirt.virEventRegisterDefaultImpl()
        self._loop.start()
        self.connection = libvirt.open(HOST_URI)
        self.connection.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._called, None)

    @staticmethod
    def _run() -> None:
        while True:
            libvirt.virEventRunDefaultImpl()

    def _called(
        self, _connection: object, domain: libvirt.virDomain, event: int, _detail: int, _opaque: object
    ) -> None:
        if event == libvirt.VIR_DOMAIN_EVENT_STOPPED:
            self.stopped.setdefault(domain.UUIDString(), time.perf_counter())


def run(stack: Stack, project: Project, user: User, cookie: str, rounds: int, say: Callable[[str], None]) -> list[Row]:
    """One row: `virsh destroy` from outside, then the first message that says the VM left RUNNING."""
    callbacks = Callbacks()
    delays, bare = [], []
    url = f"ws://127.0.0.1:{stack.port}/ws/projects/{project.slug}/"
    vm, _ms = create(project, user, "bench-push")
    with connect(url, additional_headers={"Cookie": cookie}, origin=Origin(stack.url)) as socket:
        for number in range(rounds):
            say(f"push: round {number + 1} of {rounds}")
            callbacks.stopped.clear()
            _drain(socket)
            asked = time.perf_counter()
            callbacks.connection.lookupByUUIDString(str(vm.id)).destroy()
            told = _left_running(socket, str(vm.id))
            bare.append((callbacks.stopped[str(vm.id)] - asked) * 1000)
            delays.append((told - callbacks.stopped[str(vm.id)]) * 1000)
            time.sleep(0.5)
            act(vm, Action.START, user)
            time.sleep(1.0)
    act(vm, Action.DELETE, user)
    return [
        Row(
            "libvirt event → browser message, after the bare callback",
            delays,
            note=f"destroy → bare callback: {sorted(bare)[len(bare) // 2]:.1f} ms in the median",
        )
    ]


def _drain(socket: ClientConnection) -> None:
    while True:
        try:
            socket.recv(timeout=0.3)
        except TimeoutError:
            return


def _left_running(socket: ClientConnection, vm_id: str) -> float:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        message = json.loads(socket.recv(timeout=20))
        payload = message.get("payload", {})
        if payload.get("id") == vm_id and payload.get("state") != "RUNNING":
            return time.perf_counter()
    raise TimeoutError("the browser was never told")
