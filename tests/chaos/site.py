"""An installation to be broken: its own processes, Redis, database and host, each killed or stopped by its own id."""

import hashlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.operator import Operator
from tests.repair.private_host import PrivateHost
from tests.stack import Stack, wait_until

HOST_NAME = "chaos-host"
PROJECT = "chaos"
IMAGE = "blank"
MACHINE_TYPE = "custom-1-80"
#: The pace of a busy installation in small: what takes half a minute elsewhere takes seconds here.
PACE = {
    "VMPORTAL_OPERATION_LEASE_SECONDS": "6",
    "VMPORTAL_SWEEP_SECONDS": "1",
    "VMPORTAL_RECONCILE_SECONDS": "5",
    "VMPORTAL_HOST_LEASE_SECONDS": "4",
    "VMPORTAL_HOST_CALLS_MAX": "4",
}
WORKERS = ("worker-1", "worker-2", "worker-3")
WATCHERS = ("watcher-1", "watcher-2")
#: A process that died is started again after so many seconds, as a supervisor does.
RESTART_SECONDS = (0.2, 1.5)


@dataclass
class Site(Stack):
    """A stack on a private host. `tend` starts again what has died; guests idle at their firmware."""

    processes: tuple[str, ...] = ("web", "beat", *WATCHERS, *WORKERS)
    host: PrivateHost = field(init=False)
    operator: Operator = field(init=False)
    _tending: threading.Thread | None = None
    _ending: threading.Event = field(default_factory=threading.Event)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _due: dict[str, float] = field(default_factory=dict)
    _frozen: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.host = PrivateHost(self.root / "host")
        self.host_uri = self.host.uri
        self.operator = Operator(self.host.root / "run", self._end_libvirtd, self._guests)
        # Processes start often here: what is compiled once is kept, outside of the checkout.
        compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(self.root / "pycache")}
        self.extra = {**PACE, **compiled, **self.extra}

    # -- the beginning and the end

    def prepare(self) -> None:
        """A host, a database, an image that boots nothing, a host to place on."""
        for name in ("run", "log", "images"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        self.host.boot()
        self.start_redis()
        self.manage("migrate", "--noinput")
        self.manage("createcachetable")
        self.manage("collectstatic", "--noinput")
        self.manage("bootstrap", "--json")
        self.manage("register_host", HOST_NAME, self.host_uri, "--zone", "zone-a")

    def people(self) -> None:
        """Rows for the load; in a process that has set Django up with `environment`."""
        from lifecycle.models import Host, Image, Quota, User
        from lifecycle.services.projects import create_project

        file = self.root / "images" / "blank.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(file), "16M"], check=True)
        Image.objects.create(
            name=IMAGE,
            family=IMAGE,
            file_name=file.name,
            size_bytes=file.stat().st_size,
            virtual_size_bytes=16 * 2**20,
            sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
            status=Image.Status.READY,
        )
        user = User.objects.get(username="admin")
        User.objects.filter(pk=user.pk).update(must_change_password=False)
        project = create_project(PROJECT, owner=user)
        Quota.objects.filter(project=project).update(vms=40, vcpus=40, memory_mib=8192, disk_gib=40)
        Host.objects.update(cpu_overcommit_percent=1600)

    def tend(self) -> None:
        """From now on, what dies is started again."""
        self._tending = threading.Thread(target=self._tend, name="tend", daemon=True)
        self._tending.start()

    def stop(self) -> None:
        """End every process of the installation, and its host with all that is on it."""
        self._ending.set()
        if self._tending is not None:
            self._tending.join(30)
        for name in list(self._frozen):
            self.thaw(name)
        for name in [*reversed([n for n in self.running if n != "redis"]), "redis"]:
            self.end(name)
        self.host.remove()

    # -- processes

    def start(self, *names: str) -> None:
        """Start processes by name."""
        for name in names or self.processes:
            self._spawn(name, self._command(name))

    def _command(self, name: str) -> list[str]:
        celery = ["-m", "celery", "-A", "vmportal"]
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "info"]
        queues = ["-Q", "operations,reconcile,periodic"]
        commands = {
            "web": ["-m", "uvicorn", "vmportal.asgi:application", "--port", str(self.port), "--log-level", "warning"],
            "worker": [*celery, "worker", "--pool", "threads", "-c", "8", "-n", f"{name}@chaos", *quiet, *queues],
            "beat": [*celery, "beat", "-l", "warning", "--pidfile="],
            "watcher": ["manage.py", "watch_hosts"],
        }
        if name == "redis":
            command = ["redis-server", "--port", "0", "--unixsocket", str(self.redis_socket), "--save", ""]
            return [*command, "--dir", str(self.root / "run")]
        return [sys.executable, *commands[name.partition("-")[0]]]

    def owner(self, name: str) -> str:
        """How leases name a process."""
        return f"{socket.gethostname()}:{self.running[name].pid}"

    def is_up(self, name: str) -> bool:
        """Whether a process runs and is not stopped."""
        process = self.running.get(name)
        return process is not None and process.poll() is None and name not in self._frozen

    def signal(self, name: str, number: signal.Signals) -> None:
        """To one process of ours, by its id."""
        with self._lock, suppress(ProcessLookupError):
            if name == "libvirtd":
                self.host.signal_daemon(number)
            else:
                self.running[name].send_signal(number)

    def freeze(self, name: str) -> None:
        """Stop a process where it is."""
        self._frozen.add(name)
        self.signal(name, signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """Let it go on."""
        self.signal(name, signal.SIGCONT)
        self._frozen.discard(name)

    def kill(self, name: str) -> None:
        """Kill a process, frozen or not; `tend` starts it again."""
        with self._lock:
            self.signal(name, signal.SIGKILL)
            self._frozen.discard(name)

    # -- guests

    def qemus(self) -> list[tuple[int, list[bytes]]]:
        """Every QEMU in the host's namespaces: its id and its words."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                words = (path / "cmdline").read_bytes().split(b"\0")
                name = os.path.basename(words[0])
                if name.startswith(b"qemu-system") and os.readlink(path / "ns" / "net") == self.host.namespace:
                    found.append((int(path.name), words))
        return found

    def _guests(self) -> list[tuple[int, str]]:
        return [(pid, guest_of(words)) for pid, words in self.qemus()]

    def _end_libvirtd(self) -> None:
        self._frozen.discard("libvirtd")
        self.host.kill_daemon()

    # -- starting again

    def _tend(self) -> None:
        while not self._ending.wait(0.1):
            with self._lock:
                self.operator.look()
                for name in (*self.processes, "redis", "libvirtd"):
                    self._look_after(name)

    def _look_after(self, name: str) -> None:
        alive = self.host.runs() if name == "libvirtd" else self.running[name].poll() is None
        if alive:
            self._due.pop(name, None)
            return
        low, high = RESTART_SECONDS
        due = self._due.setdefault(name, time.monotonic() + low + (high - low) * secrets.randbelow(100) / 100)
        if time.monotonic() < due:
            return
        del self._due[name]
        if name == "libvirtd":
            self.host.launch_daemon()
        else:
            if name == "redis":
                self.redis_socket.unlink(missing_ok=True)
            self._spawn(name, self._command(name))

    def wait_for_all(self, seconds: float = 300) -> None:
        """Everything runs again and libvirtd answers."""
        names = (*self.processes, "redis")
        wait_until(lambda: all(self.is_up(name) for name in names), seconds, "the processes")
        wait_until(self.host.answers, seconds, "libvirtd")
        wait_until(self.answers, seconds, "the web process")


def guest_of(words: list[bytes]) -> str:
    """The domain's name in a QEMU's words."""
    found = [word for word in words if word.startswith(b"guest=")]
    return found[0].removeprefix(b"guest=").partition(b",")[0].decode() if found else ""
