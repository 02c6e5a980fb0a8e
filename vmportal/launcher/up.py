"""`./portal up`: from whatever is there to a running installation; seconds when everything is."""

import json
import os
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from vmportal.launcher import browser, environment, libvirtd, packages
from vmportal.launcher.display import Display
from vmportal.launcher.down import stop_everything
from vmportal.launcher.errors import PortalError
from vmportal.launcher.installation import CHECKOUT, Installation
from vmportal.launcher.network import allowed_hosts, machine_addresses, public_url
from vmportal.launcher.processes import carries, end
from vmportal.launcher.supervisor import Listening, Supervisor, last_lines, programs, write_configuration
from vmportal.production import Exposure, unsafe_settings

READY_SECONDS = 180
ATTACHED_POLL_SECONDS = 0.5
#: As in lifecycle/drivers/libvirt/filter_xml.py: what guests may send to, so that they can answer.
CALLER_PORTS = range(32768, 61000)


@dataclass
class Login:
    """What bootstrap told of the first administrator; the password is known only the first time."""

    username: str = ""
    password: str | None = field(default=None, repr=False)


def up(installation: Installation, listening: Listening, detach: bool, display: Display) -> int:
    """Set up what is missing, start everything, and (unless `detach`) stay until Ctrl-C. The exit status."""
    login = Login()
    installation.prepare()
    try:
        with installation.lock():
            if Supervisor(installation).runs():
                return _already_running(installation, listening, display)
            _start_everything(installation, listening, login, display)
    finally:
        # Also when a later step failed: the password is never told a second time.
        _show_login(login, display)
    return 0 if detach else stay(installation, display)


def check_request(environ: dict[str, str], listening: Listening) -> None:
    """Raises PortalError for what can be refused before anything is done: files, the port, unsafe settings."""
    for name, path in (("--tls-cert", listening.tls_cert), ("--tls-key", listening.tls_key)):
        if path and not os.access(path, os.R_OK):
            raise PortalError(f"{name} {path} cannot be read.")
    if bool(listening.tls_cert) != bool(listening.tls_key):
        raise PortalError("--tls-cert and --tls-key belong together: give both.")
    problems = unsafe_settings(
        Exposure(
            secret_key=environ.get("SECRET_KEY") or _secret_key(environ),
            allowed_hosts=environ["ALLOWED_HOSTS"].split(","),
            trusted_origins=[origin for origin in environ.get("CSRF_TRUSTED_ORIGINS", "").split(",") if origin],
            public_url=environ["VMPORTAL_PUBLIC_URL"],
            listen=listening.listen,
            allow_plain_http=_is_true(environ.get("VMPORTAL_ALLOW_HTTP")),
            tls_at_proxy=_is_true(environ.get("VMPORTAL_TLS_PROXY")),
            test_switches=frozenset(filter(None, environ.get("VMPORTAL_UNSAFE_TEST_SWITCHES", "").split(","))),
        )
    )
    if problems and not _is_true(environ.get("DEBUG")):
        raise PortalError("These settings are unsafe:", "\n".join(f"- {problem}" for problem in problems))
    check_guests_are_kept_out(listening)
    check_port(listening)


def check_guests_are_kept_out(listening: Listening) -> None:
    """Raises PortalError for a port that the guests' packet filters leave open for answers to this machine."""
    loopback = listening.listen in {"127.0.0.1", "::1", "localhost"}
    if not loopback and listening.port in CALLER_PORTS:
        raise PortalError(
            f"On {listening.listen}, port {listening.port} would be open to guests: they answer this machine at "
            f"{CALLER_PORTS[0]} to {CALLER_PORTS[-1]}. Choose another with --port."
        )


def check_port(listening: Listening) -> None:
    """Raises PortalError when we could not listen there."""
    address = f"{listening.listen}:{listening.port}"
    try:
        family, kind, protocol, _name, where = socket.getaddrinfo(
            listening.listen, listening.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
    except socket.gaierror as error:
        raise PortalError(f"--listen {listening.listen} is no address of this machine.") from error
    except OSError as error:
        reason = {98: "is taken by another program", 99: "is no address of this machine", 13: "needs root"}
        why = reason.get(error.errno or 0, error.strerror or "cannot be listened on")
        raise PortalError(f"{address} {why}; choose another with --port or --listen.") from error


def process_environment(installation: Installation, listening: Listening) -> dict[str, str]:
    """The environment of the installation's processes, with what follows from where it listens."""
    own = installation.environment()
    url = own.get("VMPORTAL_PUBLIC_URL") or public_url(listening)
    return {
        **own,
        "VMPORTAL_LISTEN": listening.listen,
        "VMPORTAL_PUBLIC_URL": url,
        "ALLOWED_HOSTS": own.get("ALLOWED_HOSTS") or ",".join(allowed_hosts(listening, url)),
        "VMPORTAL_PROTECTED_ADDRESSES": own.get("VMPORTAL_PROTECTED_ADDRESSES") or ",".join(machine_addresses()),
    }


def prepare_system(
    installation: Installation, wanted: set[str], lock: str, display: Display, libvirt_user: Installation
) -> None:
    """Debian's packages, the locked packages, and libvirtd for `libvirt_user`: what both `up` and `test` need."""
    if names := packages.missing(wanted | browser.packages_for_npm()):
        with display.step(f"Installing {len(names)} Debian packages") as say:
            packages.install(names, say)
    if not environment.is_current(installation, lock):
        with display.step("Making the Python environment") as say:
            environment.install(installation, lock, say)
    if not browser.is_current(installation, lock):
        with display.step("Installing the pages' libraries") as say:
            browser.install(installation, lock, say)
    with display.step("libvirtd") as say:
        libvirtd.ensure(libvirt_user, say)


def run_setup(environ: dict[str, str], installation: Installation, login: Login, display: Display) -> None:
    """Run vmportal.setup, showing its steps and filling `login`. Raises PortalError with its last lines."""
    log = installation.logs / "setup.log"
    argv = libvirtd.with_group([str(installation.python), "-m", "vmportal.setup", "--launcher"])
    with log.open("a", encoding="utf-8") as errors:
        process = subprocess.Popen(argv, env=environ, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            _follow(process, login, display)
        except PortalError as error:
            raise PortalError(error.message, last_lines(log)) from error
        finally:
            process.terminate()
            process.wait()


def _follow(process: "subprocess.Popen[str]", login: Login, display: Display) -> None:
    """Show each of the set-up's steps until the next, and take what bootstrap told as it comes."""
    messages = _messages(process, login)
    title = next(messages, None)
    while title is not None:
        with display.step(title):
            title = next(messages, None)
            if title is None:
                _check_end(process)
    _check_end(process)


def _check_end(process: "subprocess.Popen[str]") -> None:
    if status := process.wait():
        raise PortalError(f"The set-up failed (status {status}).")


def _messages(process: "subprocess.Popen[str]", login: Login) -> Iterator[str]:
    """The titles of the set-up's steps; everything else that it tells goes where it belongs."""
    for line in process.stdout or ():
        message: dict[str, Any] = json.loads(line) if line.startswith("{") else {}
        if first := message.get("bootstrap"):
            login.username, login.password = first["username"], first.get("password")
        elif "step" in message:
            yield message["step"]


def _start_everything(installation: Installation, listening: Listening, login: Login, display: Display) -> None:
    environ = process_environment(installation, listening)
    if left := carries(installation.marker):
        # First of all: they hold the port.
        with display.step("Ending what an interrupted run left behind"):
            end(left)
    check_request(environ, listening)
    prepare_system(installation, {*packages.RUNTIME, *packages.IMAGE}, "runtime", display, installation)
    trust_proxy = _is_true(environ.get("VMPORTAL_TLS_PROXY"))
    wanted = programs(installation, listening, trust_proxy, private_redis=not environ.get("REDIS_URL"))
    supervisor = Supervisor(installation)
    try:
        with display.step("Redis and the supervisor"):
            supervisor.launch(write_configuration(installation, wanted), environ)
        run_setup(environ, installation, login, display)
        libvirtd.start_networks(installation)
        with display.step("Starting web, gateway, worker, beat and watcher"):
            supervisor.start([program.name for program in wanted if not program.autostart])
            url = f"{listening.scheme}://{local_name(listening.listen)}:{listening.port}"
            installation.remember("address", {"url": environ["VMPORTAL_PUBLIC_URL"], "local": url, **_passed(environ)})
            wait_until_ready(installation)
    except BaseException:
        stop_everything(installation, Display(quiet=True))
        raise
    display.say()
    display.box(["vmportal is running.", f"Address: {environ['VMPORTAL_PUBLIC_URL']}"])


def _passed(environ: dict[str, str]) -> dict[str, str]:
    """The settings that follow from the options of `up`, for `./portal manage` to see the same."""
    names = ("VMPORTAL_LISTEN", "VMPORTAL_PUBLIC_URL", "ALLOWED_HOSTS", "VMPORTAL_PROTECTED_ADDRESSES")
    return {name: environ[name] for name in names}


def local_name(listen: str) -> str:
    """Under what name this machine itself reaches what listens at `listen`."""
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listen, listen)  # noqa: S104
    return f"[{name}]" if ":" in name else name


def health(url: str, public: str, timeout_seconds: float = 5) -> tuple[int, float]:
    """The HTTP status of /healthz at `url`, asked for by the name in `public` (0: none), and its seconds."""
    started = time.monotonic()
    # Whether we answer is the question; the certificate is for another name.
    context = ssl._create_unverified_context()  # noqa: S323, SLF001
    request = urllib.request.Request(f"{url}/healthz", headers={"Host": urlsplit(public or url).netloc})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=timeout_seconds, context=context) as answer:  # noqa: S310
            status = int(answer.status)
    except urllib.error.HTTPError as error:
        status = error.code
    except OSError:
        status = 0
    return status, time.monotonic() - started


def wait_until_ready(installation: Installation) -> None:
    """Return when the web answers and every process counts as started. Raises PortalError with the culprit's log."""
    supervisor, deadline = Supervisor(installation), time.monotonic() + READY_SECONDS
    address = installation.recall("address")
    while True:
        found = supervisor.processes()
        down = [each["name"] for each in found if each["statename"] != "RUNNING"]
        if found and not down and health(address.get("local", ""), address.get("url", ""))[0] == 200:
            return
        failed = [each["name"] for each in found if each["statename"] in {"BACKOFF", "FATAL"}]
        if time.monotonic() > deadline or failed:
            name = (failed or down or ["web"])[0]
            raise PortalError(f"{name} does not come up.", last_lines(installation.logs / f"{name}.log"))
        time.sleep(0.1)


def _already_running(installation: Installation, listening: Listening, display: Display) -> int:
    address = installation.recall("address")
    stopped = [each["name"] for each in Supervisor(installation).processes() if each["statename"] != "RUNNING"]
    if stopped:
        with display.step(f"Starting {', '.join(stopped)}"):
            Supervisor(installation).start(stopped)
            wait_until_ready(installation)
    display.box(["vmportal is already running.", f"Address: {address.get('url', 'unknown')}"])
    if address and not address.get("local", "").endswith(f":{listening.port}"):
        display.say("To change where it listens: ./portal down, then up again.")
    return 0


def _show_login(login: Login, display: Display) -> None:
    if not login.username:
        return
    if login.password:
        display.box(
            [
                f"Sign in as {login.username}",
                f"One-time password: {login.password}",
                "It is shown only now, and you choose your own when you first sign in.",
            ]
        )
    else:
        display.say(f"Sign in as {login.username}. Password forgotten: ./portal manage changepassword {login.username}")


def stay(installation: Installation, display: Display) -> int:
    """Remain until Ctrl-C (or a closed terminal), then stop everything; 1 when the supervisor ended by itself."""
    stop = False

    def ask(_number: int, _frame: object) -> None:
        nonlocal stop
        stop = True

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, ask)
    display.say("Ctrl-C stops it; ./portal logs -f shows what it does.")
    supervisor = Supervisor(installation)
    while not stop:
        time.sleep(ATTACHED_POLL_SECONDS)
        if not supervisor.runs():
            display.say("It was stopped from elsewhere.")
            return 0
    display.say()
    with installation.lock():
        stop_everything(installation, display)
    return 0


def _secret_key(environ: dict[str, str]) -> str:
    path = Path(environ["VMPORTAL_VAR"]) / "secrets" / "secret_key"
    return path.read_text(encoding="utf-8").strip() if path.exists() else ""


def _is_true(value: str | None) -> bool:
    return (value or "").strip().lower() in {"1", "true", "yes", "on", "y", "ok"}
