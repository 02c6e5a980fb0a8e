"""The machine's libvirtd: started where nothing runs it, stopped by the last installation that needs ours.

The record of who uses it is kept in libvirt's own run directory, which a reboot empties as it ends libvirtd.
"""

import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from vmportal.launcher import kvm
from vmportal.launcher.commands import as_root, authorise, run
from vmportal.launcher.errors import PortalError
from vmportal.launcher.installation import Installation
from vmportal.launcher.processes import is_alive, mention, start_time

URI = "qemu:///system"
RUN = Path("/run/libvirt")
SOCKET = RUN / "libvirt-sock"
LOG_SOCKET = RUN / "virtlogd-sock"
RECORDS = RUN / "vmportal"
STARTED = RECORDS / "started"
GROUP = "libvirt"
CONFIGURATION = RECORDS / "libvirtd.conf"
GROUP_ACCESS = f'unix_sock_group = "{GROUP}"\nunix_sock_rw_perms = "0770"\nauth_unix_rw = "none"\n'
START_SECONDS = 20
STOP_SECONDS = 10


def ensure(installation: Installation, say: Callable[[str], None]) -> None:
    """Make libvirtd answer, and note that this installation uses it. Raises PortalError when it does not come up."""
    _join_group()
    if not _has_systemd():
        kvm.let_qemu_reach()
    if answers(SOCKET):
        say("already running.")
    elif _has_systemd():
        authorise("to start libvirtd")
        run(as_root(["systemctl", "start", "virtlogd.socket", "libvirtd.service"]), "libvirtd could not be started")
        _note_started()
        say("started by systemd.")
    else:
        _start_by_hand()
        _note_started()
        say("started.")
    _wait(SOCKET, "libvirtd")
    _note_use(installation)


def release(installation: Installation) -> str:
    """Give up our use; stop libvirtd when an installation started it and none uses it. Says what was done."""
    _as_root_shell(f"rm -f '{_use(installation)}'")
    others = [name for name in _users() if name != installation.id()]
    pid = _started_pid()
    if pid is None:
        return "libvirtd was not ours to stop"
    if others:
        return "libvirtd stays: another installation uses it"
    if _has_systemd():
        # Its sockets stay: they are the system's, and hold nothing.
        run(as_root(["systemctl", "stop", "libvirtd.service"]), "libvirtd could not be stopped")
    else:
        _stop_by_hand(pid)
    _as_root_shell(f"rm -f '{STARTED}' '{CONFIGURATION}'; rmdir '{RECORDS}' 2>/dev/null || true")
    return "libvirtd stopped"


def start_networks(installation: Installation) -> None:
    """Start those of our networks that `stop_networks` stopped; what creates them otherwise is the registration."""
    for name in _networks(installation, "--inactive"):
        virsh("net-start", name)


def stop_networks(installation: Installation) -> str:
    """Stop our networks when none of our VMs runs, so that no bridge and no dnsmasq is left."""
    prefix = f"vmp-{installation.id()}-"
    running = [name for name in virsh("list", "--name").split() if name.startswith(prefix)]
    if running:
        return f"{len(running)} running VM{'s' if len(running) > 1 else ''} left running"
    for name in _networks(installation):
        virsh("net-destroy", name)
    return "no VM was running"


def virsh(*words: str) -> str:
    """What virsh says. Raises PortalError when it fails or takes longer than a hung daemon should."""
    return run(with_group(["timeout", "20", "virsh", "-q", "-c", URI, *words]), f"virsh {words[0]} failed")


def with_group(argv: list[str]) -> list[str]:
    """`argv` with libvirt's group, which a user put into it moments ago has only in new sessions."""
    if os.geteuid() == 0 or os.access(SOCKET, os.W_OK):
        return argv
    return ["sg", GROUP, "-c", "exec " + " ".join(_quote(word) for word in argv)]


def answers(path: Path) -> bool:
    """Whether something listens at the UNIX socket `path` (that we may not speak to it is an answer too)."""
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(2)
            probe.connect(str(path))
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def _networks(installation: Installation, *options: str) -> list[str]:
    found = virsh("net-list", "--name", *options).split()
    return [name for name in found if name.startswith(f"vmp-{installation.id()}-")]


def _has_systemd() -> bool:
    return Path("/run/systemd/system").is_dir()


def _join_group() -> None:
    """Put the user into libvirt's group, where libvirtd is reached by its members."""
    if os.geteuid() == 0:
        return
    name = pwd.getpwuid(os.geteuid()).pw_name
    members = subprocess.run(["id", "-nG", name], capture_output=True, text=True, check=False).stdout.split()
    if GROUP not in members:
        authorise(f"to let {name} use libvirt")
        run(as_root(["usermod", "-aG", GROUP, name]), f"{name} could not be put into the group {GROUP}")


def _start_by_hand() -> None:
    authorise("to start libvirtd")
    if not Path("/dev/net/tun").exists():
        # A guest's network card is a tap device; containers often lack the node.
        _as_root_shell("mkdir -p /dev/net && mknod -m 666 /dev/net/tun c 10 200 || true")
    if not answers(LOG_SOCKET):
        run(as_root(["virtlogd", "-d"]), "virtlogd could not be started")
        _wait(LOG_SOCKET, "virtlogd")
    argv = ["setsid", "libvirtd", "-d"]  # setsid: it must not end with the terminal that started it
    if os.geteuid():
        # libvirtd asks polkit by default, which needs a running system bus; without one, its group alone decides.
        _as_root_shell(f"mkdir -p -m 755 '{RECORDS}' && printf '%s' {_quote(GROUP_ACCESS)} > '{CONFIGURATION}'")
        argv += ["--config", str(CONFIGURATION)]
    run(as_root(argv), "libvirtd could not be started")


def _wait(path: Path, name: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not answers(path):
        if time.monotonic() > deadline:
            raise PortalError(f"{name} was started but does not answer at {path} after {START_SECONDS} s.")
        time.sleep(0.05)


def _note_started() -> None:
    _wait(SOCKET, "libvirtd")
    pid = daemon_pid("libvirtd")
    if pid is not None:
        _as_root_shell(f"mkdir -p -m 755 '{RECORDS}' && echo '{pid} {start_time(pid)}' > '{STARTED}'")


def _note_use(installation: Installation) -> None:
    path = _use(installation)
    if not path.exists() or path.read_text(encoding="utf-8").strip() != str(installation.var):
        authorise("to note that libvirtd is in use")
        _as_root_shell(f"mkdir -p -m 755 '{RECORDS}' && printf '%s\\n' {_quote(str(installation.var))} > '{path}'")


def _use(installation: Installation) -> Path:
    return RECORDS / f"use-{installation.id()}"


def _users() -> list[str]:
    """The installations that use libvirtd; one whose processes are all gone uses nothing any more."""
    found = []
    for path in RECORDS.glob("use-*") if RECORDS.is_dir() else ():
        var = path.read_text(encoding="utf-8").strip()
        if mention(Installation(Path(var)).run):
            found.append(path.name.removeprefix("use-"))
    return found


def _started_pid() -> int | None:
    """The pid of the libvirtd that an installation started; None when none did, or another has come since."""
    try:
        pid, started = STARTED.read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        return None
    return int(pid) if start_time(int(pid)) == started else None


def _stop_by_hand(pid: int) -> None:
    _terminate(pid, "libvirtd")
    logger = daemon_pid("virtlogd")
    # A guest that runs on writes its serial log through virtlogd.
    if logger is not None and not _guests_running():
        _terminate(logger, "virtlogd")


def _terminate(pid: int, name: str) -> None:
    run(as_root(["kill", str(pid)]), f"{name} could not be stopped")
    deadline = time.monotonic() + STOP_SECONDS
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)


def _guests_running() -> bool:
    return any(
        is_alive(int(pid)) for path in (RUN / "qemu").glob("*.pid") if (pid := path.read_text().strip()).isdigit()
    )


def daemon_pid(name: str) -> int | None:
    """The pid of the machine's daemon `name`, from its pid file."""
    for path in (Path("/run") / f"{name}.pid", RUN / f"{name}.pid"):
        try:
            pid = int(path.read_text(encoding="utf-8").strip())
        except (OSError, ValueError):
            continue
        if is_alive(pid):
            return pid
    return None


def _as_root_shell(script: str) -> None:
    run(as_root(["sh", "-c", script]), "libvirt's run directory could not be written")


def _quote(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


def is_installed() -> bool:
    """Whether the programs are there at all."""
    return shutil.which("libvirtd", path="/usr/sbin:/sbin:/usr/bin") is not None
