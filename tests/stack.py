"""The product's real processes, started from this checkout for browser tests and benchmarks.

Each stack is an installation of its own: its directory, Redis, database, port and names in libvirt. The
set-up commands are those of `./portal up`; what the launcher adds (packages, supervisor) has its own tests.
"""

import contextlib
import json
import os
import random
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import libvirt
from redis import Redis, RedisError

CHECKOUT = Path(__file__).resolve().parent.parent
HOST_URI = "qemu:///system"
HOST_NAME = "this-machine"
PASSWORD = "a-long-enough-passphrase"


#: Below those that Linux calls from: between the choice and its use no connection takes one by chance.
PORTS = range(21_000, 32_768)
_given: set[int] = set()


def free_port() -> int:
    """A TCP port nobody listens on now; another each time."""
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in _given:
                _given.add(port)
                return port
    raise AssertionError("no free port")


def redis_answers(path: Path) -> bool:
    """Whether a Redis listens there: its socket is there a moment before."""
    try:
        with Redis(unix_socket_path=str(path)) as connection:
            return bool(connection.ping())
    except RedisError:
        return False


@dataclass
class Stack:
    """One installation's processes; `database_url` empty means SQLite in the directory.

    A name may carry a number ("worker-2"): another process of that kind. `extra` goes over every process's environment.
    """

    root: Path
    database_url: str = ""
    processes: tuple[str, ...] = ("web", "worker", "watcher")
    installation: str = field(default_factory=lambda: secrets.token_hex(3))
    port: int = field(default_factory=free_port)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    admin_password: str = ""
    host_uri: str = HOST_URI
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What every process gets; nothing secret is on a command line."""
        env = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("VMPORTAL_", "DJANGO_", "DATABASE_"))},
            "VMPORTAL_VAR": str(self.root),
            "VMPORTAL_INSTALLATION": self.installation,
            "VMPORTAL_PUBLIC_URL": self.url,
            "VMPORTAL_IMAGE_STORE": str(self.root / "images"),
            "VMPORTAL_NODE_MODULES": os.environ["VMPORTAL_NODE_MODULES"],
            "REDIS_URL": f"unix://{self.redis_socket}",
            "SECRET_KEY": secrets_of(self.root),
            "DEBUG": "false",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
        }
        if self.database_url:
            env["DATABASE_URL"] = self.database_url
        return {**env, **self.extra}

    @property
    def redis_socket(self) -> Path:
        return self.root / "run" / "redis.sock"

    def manage(self, *args: str, timeout: float = 900) -> str:
        """Run a management command to its end; its output."""
        done = subprocess.run(
            [sys.executable, "manage.py", *args],
            cwd=CHECKOUT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"manage.py {' '.join(args)} failed:\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def prepare(self) -> None:
        """Database, static files, image, first rows, this machine as a host."""
        for name in ("run", "log", "images"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        share_image(self.root / "images")
        self.start_redis()
        self.manage("migrate", "--noinput")
        self.manage("createcachetable")
        self.manage("compilemessages", "--ignore=var", "--verbosity=0")
        self.manage("collectstatic", "--noinput")
        made = json.loads(self.manage("bootstrap", "--json"))
        self.admin_password = made["password"]
        self.manage("build_image", "tiny")
        self.manage("register_host", HOST_NAME, self.host_uri, "--zone", made["zone"])

    def start_redis(self) -> None:
        command = ["redis-server", "--port", "0", "--unixsocket", str(self.redis_socket), "--save", ""]
        self._spawn("redis", [*command, "--dir", str(self.root / "run")])
        wait_until(lambda: redis_answers(self.redis_socket), 60, "Redis")

    def start(self, *names: str) -> None:
        """Start processes by name; waits until the web answers."""
        commands = {
            "web": ["-m", "uvicorn", "vmportal.asgi:application", "--port", str(self.port), "--log-level", "warning"],
            "gateway": [
                "-m", "uvicorn", "vmportal.gateway_asgi:application", "--uds", str(self.root / "run" / "gateway.sock"),
                "--ws", "websockets-sansio", "--ws-max-size", "65536", "--ws-per-message-deflate", "false",
                "--lifespan", "on", "--log-level", "warning",
            ],
            "worker": [
                "-m", "celery", "-A", "vmportal", "worker", "--pool", "threads", "-c", "16",
                "-Q", "operations,reconcile,periodic", "--without-gossip", "--without-mingle", "-l", "warning",
            ],
            "beat": ["-m", "celery", "-A", "vmportal", "beat", "-l", "warning", "-s", str(self.root / "run" / "beat")],
            "watcher": ["manage.py", "watch_hosts"],
        }  # fmt: skip
        for name in names or self.processes:
            self._spawn(name, [sys.executable, *commands[name.partition("-")[0]]])
        if "web" in self.running:
            wait_until(self.answers, 600, "the web process")

    def answers(self) -> bool:
        """Whether the site's health page says yes."""
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=10) as answer:  # noqa: S310  # our own http address
                return bool(answer.status == 200)
        except OSError:
            return False

    def end(self, name: str, *, kill: bool = False) -> None:
        """Stop one process, by its id."""
        process = self.running.pop(name, None)
        if process is None:
            return
        process.kill() if kill else process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(60)
        if process.poll() is None:
            process.kill()
            process.wait()

    def stop(self) -> None:
        """Stop all processes and remove all the installation has in libvirt."""
        for name in [*reversed([n for n in self.running if n != "redis"]), "redis"]:
            self.end(name)
        clean_host(self.installation, self.host_uri)

    def log(self, name: str) -> str:
        """What a process printed."""
        return (self.root / "log" / f"{name}.log").read_text(errors="replace")

    def _spawn(self, name: str, command: list[str]) -> None:
        with (self.root / "log" / f"{name}.log").open("ab") as out:
            self.running[name] = subprocess.Popen(
                command, cwd=CHECKOUT, env=self.environment, stdout=out, stderr=out, stdin=subprocess.DEVNULL
            )


def secrets_of(root: Path) -> str:
    """The stack's own secret key, made once."""
    path = root / "secret_key"
    if not path.exists():
        root.mkdir(parents=True, exist_ok=True)
        path.write_text(secrets.token_urlsafe(64))
    return path.read_text()


def share_image(store: Path) -> None:
    """Link the guest image that is built already into a stack's store, so that it is not built again."""
    for built in (CHECKOUT / "var" / "images").glob("tiny-*.qcow2"):
        target = store / built.name
        if not target.exists():
            os.link(built, target)


def wait_until(condition: object, seconds: float, what: str, every: float = 0.1) -> None:
    """Wait for a condition or fail with its name."""
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds} s in vain for {what}")
        time.sleep(every)


def clean_host(installation: str, uri: str = HOST_URI) -> None:
    """Remove every domain, filter, network and pool of an installation from a libvirt, this machine's by default."""
    connection = libvirt.open(uri)
    mine = f"vmp-{installation}"
    quiet = contextlib.suppress(libvirt.libvirtError)
    for domain in connection.listAllDomains():
        if domain.name().startswith(mine):
            with quiet:
                domain.destroy()
            with quiet:
                domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM)
    for filter_ in connection.listAllNWFilters():
        if filter_.name().startswith(mine):
            with quiet:
                filter_.undefine()
    for network in connection.listAllNetworks():
        if network.name().startswith(mine):
            with quiet:
                network.destroy()
            with quiet:
                network.undefine()
    for pool in connection.listAllStoragePools():
        if pool.name().startswith(mine):
            with quiet:
                pool.refresh()  # virtlogd's files are unknown to libvirt until it looks
            for volume in pool.listAllVolumes() if pool.isActive() else ():
                with quiet:
                    volume.delete()
            with quiet:
                pool.destroy()
            with quiet:
                pool.delete()
            with quiet:
                pool.undefine()
    connection.close()
    with contextlib.suppress(OSError):
        (Path("/var/lib/libvirt/vmportal") / installation).rmdir()


@contextlib.contextmanager
def running_stack(root: Path, **options: object) -> Iterator[Stack]:
    """A prepared and started stack, cleaned up at the end."""
    stack = Stack(root, **options)  # type: ignore[arg-type]
    try:
        stack.prepare()
        stack.start()
        yield stack
    finally:
        stack.stop()
