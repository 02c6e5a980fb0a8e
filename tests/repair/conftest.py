"""A real host with real guests, a worker that runs operations and a watcher, all over the test's own database."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import libvirt
import pytest
from django.conf import settings
from django.db import connection
from pytest_django import Settings

from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action
from lifecycle.management.hostthreads import HostThread
from lifecycle.models import VM, Host, Image, MachineType, Operation, Project, Transition, User
from lifecycle.operations import engine
from lifecycle.repair import hosts
from lifecycle.services import bell, operations
from lifecycle.services.vms import VMRequest, request_action, request_create
from tests.factories import reload_vm

CHECKOUT = Path(__file__).resolve().parent.parent.parent

#: Seconds to wait for what is there in a few on an idle machine; a busy or slow one is given more.
PATIENCE = 120.0
#: A watcher that is told to end and does not within this is killed (`vmportal/launcher/supervisor.py`).
ENDS_WITHIN = 15.0


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Real guests run once, on SQLite, but for those marked for both databases: what they do is the host's part."""
    if connection.vendor == "sqlite":
        return
    here = Path(__file__).parent
    once = [i for i in items if here in i.path.parents and i.get_closest_marker("guest") and not _on_both(i)]
    config.hook.pytest_deselected(items=once)
    items[:] = [item for item in items if item not in once]


def _on_both(item: pytest.Item) -> bool:
    return item.get_closest_marker("bothdb") is not None


def wait_until(condition: Callable[[], bool], seconds: float, what: str | Callable[[], str]) -> float:
    """Wait for a condition or fail; how long it took, in seconds."""
    begin = time.monotonic()
    while not condition():
        if time.monotonic() - begin > seconds:
            pytest.fail(f"waited {seconds} s in vain for {what if isinstance(what, str) else what()}")
        time.sleep(0.01)
    return time.monotonic() - begin


class Worker:
    """What a worker process does: runs operations that are due, when the bell rings or after a short while."""

    def __init__(self) -> None:
        self._bell = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="test-worker")
        self._thread.start()

    def ring(self, *_args: Any) -> None:
        """Look now."""
        self._bell.set()

    def _run(self) -> None:
        while not self._stopping:
            self._bell.wait(0.2)
            self._bell.clear()
            for operation_id in operations.due(limit=8):
                engine.run(operation_id)
        connection.close()

    def stop(self) -> None:
        """End after the present operation."""
        self._stopping = True
        self._bell.set()
        self._thread.join(PATIENCE)


@dataclass
class Guest:
    """A VM and its real domain."""

    vm_id: Any
    user: User
    host: Host
    conn: libvirt.virConnect = field(repr=False)
    repairs_seen: int = 0

    @property
    def vm(self) -> VM:
        """The VM as recorded now."""
        return reload_vm(self.vm_id)

    @property
    def state(self) -> str:
        """Its recorded state."""
        return str(VM.objects.values_list("state", flat=True).get(pk=self.vm_id))

    @property
    def domain(self) -> libvirt.virDomain:
        """Its domain, as virsh sees it."""
        return self.conn.lookupByUUIDString(str(self.vm_id))

    @property
    def qemu_pid(self) -> int:
        """The process id of its QEMU, on this machine."""
        name = self.vm.domain_name.encode()
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().split(b"\0")
            except OSError:
                continue
            if words[0].endswith(b"qemu-system-x86_64") and any(w.startswith(b"guest=" + name) for w in words):
                return int(path.parent.name)
        raise LookupError(f"no QEMU of {name.decode()}")

    def becomes(self, state: State, seconds: float = PATIENCE) -> float:
        """Wait for a recorded state in which it stays; how long it took, in seconds."""
        return wait_until(lambda: self.state == state, seconds, lambda: f"{state} (it is {self.state})")

    def goes_into_repair(self, seconds: float = PATIENCE) -> None:
        """Wait until it has gone into REPAIRING once more, however soon it left that again."""
        self.repairs_seen += 1
        entries = Transition.objects.filter(vm=self.vm_id, to_state=State.REPAIRING)
        wait_until(lambda: entries.count() >= self.repairs_seen, seconds, "a repair")

    def boots(self, seconds: float = 2 * PATIENCE) -> None:
        """Wait until the guest says on its serial port that it is up: from then on it hears the power button."""
        log = serial_file(self.vm)
        wait_until(lambda: log.exists() and b"VMPORTAL-READY" in log.read_bytes(), seconds, "the guest's boot")

    def ask(self, action: Action) -> Operation:
        """Its owner asks for an action."""
        return request_action(self.vm, action, user=self.user)


def serial_file(vm: VM) -> Path:
    """The serial log's file on this machine; only tests look there."""
    return Path(f"/var/lib/libvirt/vmportal/{settings.INSTALLATION_ID}/serial") / vm.serial_volume


@pytest.fixture
def worker(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    """A worker; the bell rings in this process instead of through Redis."""
    worker = Worker()
    monkeypatch.setattr(bell, "_send", worker.ring)
    yield worker
    worker.stop()


@pytest.fixture
def conn() -> Iterator[libvirt.virConnect]:
    """A connection like virsh's."""
    conn = libvirt.open("qemu:///system")
    yield conn
    conn.close()


Make = Callable[..., Guest]


@pytest.fixture
def make_guest(
    real_host: Host,
    worker: Worker,  # after the host: it has stopped when the host is cleaned up
    real_image: Image,
    machine_type: MachineType,
    project: Project,
    owner: User,
    conn: libvirt.virConnect,
) -> Make:
    """Creates VMs by request, as the portal does; they run when it returns."""

    def make(name: str = "web-1", **request: Any) -> Guest:
        operation = request_create(project, VMRequest(name=name, **request), user=owner)
        guest = Guest(operation.vm_id, owner, real_host, conn)
        wait_until(lambda: Operation.objects.get(pk=operation.pk).is_done, PATIENCE, "the create")
        operation.refresh_from_db()
        assert operation.error is None, operation.error
        return guest

    return make


@pytest.fixture
def by_events_alone(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A watcher that begins after this does no reconcile but its first: what it learns, it learns by events."""
    settings.RECONCILE_SECONDS = 3600
    monkeypatch.setattr(hosts, "EARLY_SECONDS", ())


@pytest.fixture
def watcher(real_host: Host, transactional_db: None) -> Iterator[HostThread]:
    """A watcher's thread for the host, listening when the test begins."""
    thread = HostThread(real_host, hosts.PURPOSE, hosts.watch)
    thread.start()
    wait_until(lambda: thread.host_id in _listening(), PATIENCE, "the watcher")
    yield thread
    thread.stopping.set()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def _listening() -> set[int]:
    """Hosts that a watcher has reached since the test began."""
    from lifecycle.models import HostLease

    leased = HostLease.objects.filter(purpose=hosts.PURPOSE, host__libvirt_version__gt="")
    return set(leased.values_list("host", flat=True))


@pytest.fixture
def guest(make_guest: Make, watcher: HostThread) -> Guest:
    """A watched VM that runs."""
    return make_guest()


def database_url() -> str:
    """The test's database, for another process."""
    values = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{values['NAME']}"
    return f"postgres://{values['USER']}@/{values['NAME']}?host={values['HOST']}"


class WatcherProcess:
    """`manage.py watch_hosts` as a process of its own over the test's database."""

    def __init__(self, log: Path) -> None:
        env = {
            **os.environ,
            "DATABASE_URL": database_url(),
            "VMPORTAL_INSTALLATION": settings.INSTALLATION_ID,
            "SECRET_KEY": settings.SECRET_KEY,
        }
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "watch_hosts"], cwd=CHECKOUT, env=env, stdout=out, stderr=out
            )

    def end(self, number: signal.Signals) -> float:
        """Send a signal and wait; how long it took, in seconds."""
        begin = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(PATIENCE)
        return time.monotonic() - begin


@pytest.fixture
def watcher_process(real_host: Host, transactional_db: None, tmp_path: Path) -> Iterator[Callable[[], WatcherProcess]]:
    """Starts watcher processes, listening when it returns; all are ended with the test."""
    made: list[WatcherProcess] = []

    def start() -> WatcherProcess:
        Host.objects.update(libvirt_version="")
        made.append(WatcherProcess(tmp_path / "watcher.log"))
        wait_until(lambda: real_host.pk in _listening(), PATIENCE, f"the watcher's process, see {tmp_path}/watcher.log")
        return made[-1]

    yield start
    for each in made:
        if each.process.poll() is None:
            each.process.kill()
            each.process.wait()
