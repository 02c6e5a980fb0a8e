"""The supervisor: its configuration, written anew at each `up`, and the calls that steer it."""

import http.client
import os
import socket
import subprocess
import time
import xmlrpc.client
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vmportal.launcher.environment import redis_server
from vmportal.launcher.errors import PortalError
from vmportal.launcher.installation import CHECKOUT, Installation, write_private
from vmportal.launcher.libvirtd import with_group
from vmportal.launcher.processes import carries, end

START_SECONDS = 15
STOP_SECONDS = 40
LOG_BYTES = "10MB"
LOG_BACKUPS = 3


@dataclass(frozen=True)
class Listening:
    """Where the web process listens, and with which certificate (paths) when it speaks TLS itself."""

    listen: str
    port: int
    tls_cert: str = ""
    tls_key: str = ""

    @property
    def scheme(self) -> str:
        return "https" if self.tls_cert else "http"


@dataclass(frozen=True)
class Program:
    """One supervised process."""

    name: str
    argv: tuple[str, ...]
    priority: int
    stop_seconds: int = 15
    autostart: bool = False


def programs(
    installation: Installation, listening: Listening, trust_proxy: bool = False, private_redis: bool = True
) -> list[Program]:
    """What an installation runs, in the order of starting."""
    python, binaries = str(installation.python), installation.venv / "bin"
    celery = (str(binaries / "celery"), "-A", "vmportal")
    web = (
        str(binaries / "uvicorn"),
        "vmportal.asgi:application",
        *("--host", listening.listen, "--port", str(listening.port)),
        *("--loop", "uvloop", "--http", "httptools", "--ws", "websockets-sansio", "--lifespan", "off"),
        *("--no-server-header", "--no-access-log", "--ws-max-size", "65536", "--timeout-graceful-shutdown", "5"),
        *(("--ssl-certfile", listening.tls_cert, "--ssl-keyfile", listening.tls_key) if listening.tls_cert else ()),
        # Only a proxy may say from where a request comes: the throttle of the sign-in counts by it.
        "--proxy-headers" if trust_proxy else "--no-proxy-headers",
    )
    gateway = (
        str(binaries / "uvicorn"),
        "vmportal.gateway_asgi:application",
        # For the web process alone: run/ is this user's, and no port is opened.
        *("--uds", str(installation.run / "gateway.sock")),
        *("--loop", "uvloop", "--http", "httptools", "--ws", "websockets-sansio", "--lifespan", "on"),
        *("--no-server-header", "--no-access-log", "--ws-max-size", "65536", "--ws-per-message-deflate", "false"),
        *("--timeout-graceful-shutdown", "3", "--no-proxy-headers"),
    )
    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    threads = os.environ.get("VMPORTAL_WORKER_THREADS", "16")
    worker = (
        *celery,
        *("worker", "--pool", "threads", "-c", threads, "-Q", "operations,reconcile,periodic", "-l", "INFO"),
        *quiet,
    )
    redis = (str(redis_server(installation)), str(installation.run / "redis.conf"))
    return [
        *([Program("redis", redis, 1, autostart=True)] if private_redis else []),
        Program("web", web, 10),
        Program("gateway", gateway, 15),
        Program("worker", worker, 20, stop_seconds=25),
        Program("beat", (*celery, "beat", "--pidfile=", "-l", "INFO"), 30),
        Program("watcher", (python, str(CHECKOUT / "manage.py"), "watch_hosts"), 30),
    ]


def write_configuration(installation: Installation, wanted: list[Program]) -> Path:
    """Write supervisor's and Redis's configuration under run/; the path of supervisor's. Holds no secret."""
    run = installation.run
    sections = [
        _section("unix_http_server", {"file": installation.supervisor_socket, "chmod": "0700"}),
        _section(
            "supervisord",
            {
                "logfile": installation.logs / "supervisor.log",
                "logfile_maxbytes": "5MB",
                "logfile_backups": 1,
                "pidfile": run / "supervisord.pid",
                "childlogdir": installation.logs,
                "directory": CHECKOUT,
                "umask": "077",
                "identifier": f"vmportal-{installation.id()}",
                "minfds": 1024,
            },
        ),
        _section(
            "rpcinterface:supervisor",
            {"supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"},
        ),
        *(_program(installation, program) for program in wanted),
    ]
    write_private(run / "redis.conf", redis_configuration(installation))
    path = run / "supervisord.conf"
    write_private(path, "\n".join(sections))
    return path


def redis_configuration(installation: Installation) -> str:
    """A Redis that only this user's processes reach, and that keeps nothing: what it carries are bells and pushes."""
    return "\n".join(
        [
            "port 0",
            f'unixsocket "{installation.redis_socket}"',
            "unixsocketperm 700",
            f'dir "{installation.run}"',
            'save ""',
            "appendonly no",
            "maxmemory 64mb",
            "maxmemory-policy volatile-lru",
            "databases 1",
            "daemonize no",
            # A title of its own would overwrite its environment, by which processes.carries finds it again.
            "set-proc-title no",
            "",
        ]
    )


def _program(installation: Installation, program: Program) -> str:
    return _section(
        f"program:{program.name}",
        {
            "command": " ".join(_word(word) for word in program.argv),
            "directory": CHECKOUT,
            "autostart": str(program.autostart).lower(),
            "autorestart": "true",
            # A process that lives this long counts as started, and its count of failures begins anew.
            "startsecs": 1 if program.name == "redis" else 2,
            "startretries": 1000,
            "priority": program.priority,
            "stopwaitsecs": program.stop_seconds,
            "stopasgroup": "true",
            "killasgroup": "true",
            "redirect_stderr": "true",
            "stdout_logfile": installation.logs / f"{program.name}.log",
            "stdout_logfile_maxbytes": LOG_BYTES,
            "stdout_logfile_backups": LOG_BACKUPS,
        },
    )


def _section(name: str, values: Mapping[str, object]) -> str:
    return f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in values.items())


def _word(word: str) -> str:
    """`word` as supervisor's shell-like splitting reads it back."""
    plain = all(character.isalnum() or character in "-_./:,=+@" for character in word)
    return word if plain else f'"{word}"'


class _Connection(http.client.HTTPConnection):
    """HTTP over a UNIX socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class _Transport(xmlrpc.client.Transport):
    """XML-RPC over a UNIX socket."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        return _Connection(self._path)


class Supervisor:
    """The running supervisor of an installation, if it runs."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation

    def call(self, method: str, *arguments: object) -> Any:
        """One XML-RPC call. Raises OSError when the supervisor does not run, xmlrpc.client.Fault when it refuses."""
        transport = _Transport(self.installation.supervisor_socket)
        with xmlrpc.client.ServerProxy("http://localhost/RPC2", transport=transport) as server:
            return getattr(server.supervisor, method)(*arguments)

    def runs(self) -> bool:
        """Whether it answers."""
        try:
            self.call("getState")
        except (OSError, http.client.HTTPException, xmlrpc.client.Error):
            return False
        return True

    def processes(self) -> list[dict[str, Any]]:
        """What it knows of each process; empty when it does not run."""
        try:
            return list(self.call("getAllProcessInfo"))
        except (OSError, http.client.HTTPException, xmlrpc.client.Error):
            return []

    def launch(self, configuration: Path, environment: dict[str, str]) -> int:
        """Start it, apart from the terminal; its pid. Raises PortalError when it does not answer in time."""
        marker, _, value = self.installation.marker.partition("=")
        log = self.installation.logs / "supervisor.out"
        argv = [str(self.installation.python), "-m", "supervisor.supervisord", "-n", "-c", str(configuration)]
        with log.open("ab") as output:
            process = subprocess.Popen(
                with_group(argv),
                env={**environment, marker: value},
                cwd=self.installation.var,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self.runs():
            if process.poll() is not None or time.monotonic() > deadline:
                raise PortalError("The supervisor did not start.", last_lines(log))
            time.sleep(0.05)
        return process.pid

    def start(self, names: list[str]) -> None:
        """Start the named processes at once, without waiting until each counts as started."""
        for name in names:
            try:
                self.call("startProcess", name, False)
            except xmlrpc.client.Fault as fault:
                if "ALREADY_STARTED" not in fault.faultString:
                    raise PortalError(f"{name} could not be started: {fault.faultString}.") from fault

    def stop(self) -> None:
        """Stop every process and the supervisor itself, and any process that an earlier one left behind."""
        for name in [each["name"] for each in self.processes() if each["name"] != "redis"]:
            # At once: `shutdown` alone would wait for one after the other.
            with suppress(OSError, http.client.HTTPException, xmlrpc.client.Error):
                self.call("stopProcess", name, False)
        try:
            self.call("shutdown")
        except (OSError, http.client.HTTPException, xmlrpc.client.Error):
            pass
        else:
            deadline = time.monotonic() + STOP_SECONDS
            while carries(self.installation.marker) and time.monotonic() < deadline:
                time.sleep(0.05)
        end(carries(self.installation.marker))
        self.installation.supervisor_socket.unlink(missing_ok=True)


def last_lines(path: Path, count: int = 12) -> str:
    """The end of a log."""
    try:
        return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])
    except OSError:
        return ""
