"""A libvirt host of the test's own, to be killed, stopped and started: never the machine's.

It lives in its own mount, network, UTS and IPC namespaces; libvirt's directories there are the test's, and its
socket is reachable from outside. Its guests are real.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from contextlib import suppress
from pathlib import Path

DIRECTORIES = {
    "run": "/run/libvirt",
    "lib": "/var/lib/libvirt",
    "etc": "/etc/libvirt",
    "log": "/var/log/libvirt",
    "cache": "/var/cache/libvirt",
}
_INSIDE = """
set -e
root=$1
mount --make-rprivate /
mkdir -p "$root/cgroup"
mount --rbind /sys/fs/cgroup "$root/cgroup"
mount -t sysfs sysfs /sys  # of this network namespace
mount --rbind "$root/cgroup" /sys/fs/cgroup
for pair in run:/run/libvirt lib:/var/lib/libvirt etc:/etc/libvirt log:/var/log/libvirt cache:/var/cache/libvirt; do
    mount --bind "$root/${pair%%:*}" "${pair#*:}"
done
ip link set lo up
hostname private-host
touch "$root/ready"
exec sleep infinity
"""
_CONF = """
host_uuid = "{uuid}"
auth_unix_rw = "none"
auth_unix_ro = "none"
unix_sock_rw_perms = "0700"
"""
_QEMU_CONF = """
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
namespaces = []
stdio_handler = "file"
"""


class PrivateHost:
    """One host; `boot`, then kill, stop, let go on or start its libvirtd; `remove` at the end."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._holder: subprocess.Popen[bytes] | None = None
        self._daemon: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        """Where its libvirtd listens."""
        return self.root / "run" / "libvirt-sock"

    @property
    def uri(self) -> str:
        """How to connect to it."""
        return f"qemu+unix:///system?socket={self.socket}"

    def boot(self) -> None:
        """Namespaces and libvirtd; returns when it answers."""
        for name in DIRECTORIES:
            (self.root / name).mkdir(parents=True, exist_ok=True)
        (self.root / "etc" / "libvirtd.conf").write_text(_CONF.format(uuid=uuid.uuid4()))
        (self.root / "etc" / "qemu.conf").write_text(_QEMU_CONF)
        shutil.copytree("/etc/libvirt/nwfilter", self.root / "etc" / "nwfilter", dirs_exist_ok=True)
        known = Path("/var/cache/libvirt/qemu/capabilities")  # asking QEMU what it can do is the slow part of a start
        if known.is_dir():
            shutil.copytree(known, self.root / "cache" / "qemu" / "capabilities", dirs_exist_ok=True)
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "--net", "--uts", "--ipc", "sh", "-c", _INSIDE, "host", str(self.root)]
        )
        _wait(lambda: (self.root / "ready").exists(), "the namespaces")
        self.start_daemon()

    def start_daemon(self) -> None:
        """Start libvirtd (again); returns when it answers."""
        self.launch_daemon()
        _wait(self.answers, "the private libvirtd")

    def launch_daemon(self) -> None:
        """Start libvirtd (again) and do not wait for it."""
        assert self._holder is not None
        with (self.root / "daemon.log").open("ab") as log:
            self._daemon = subprocess.Popen(
                [
                    "nsenter",
                    "-t",
                    str(self._holder.pid),
                    "-m",
                    "-n",
                    "-u",
                    "-i",
                    "libvirtd",
                    "-p",
                    "/run/libvirt/own.pid",
                ],
                stdout=log,
                stderr=log,
            )

    def answers(self) -> bool:
        """Whether its socket accepts connections."""
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1)
            try:
                probe.connect(str(self.socket))
            except OSError:
                return False
        return True

    @property
    def namespace(self) -> str:
        """The name of its network namespace, which all its processes share."""
        assert self._holder is not None
        return os.readlink(f"/proc/{self._holder.pid}/ns/net")

    def runs(self) -> bool:
        """Whether libvirtd's process is there, frozen or not."""
        return self._daemon is not None and self._daemon.poll() is None

    def signal_daemon(self, number: signal.Signals) -> None:
        """To libvirtd alone."""
        assert self._daemon is not None
        self._daemon.send_signal(number)

    def kill_daemon(self) -> None:
        """Kill libvirtd; its guests go on."""
        assert self._daemon is not None
        self._daemon.kill()
        self._daemon.wait()

    def freeze_daemon(self) -> None:
        """libvirtd hangs: it accepts nothing and answers nothing."""
        assert self._daemon is not None
        self._daemon.send_signal(signal.SIGSTOP)

    def thaw_daemon(self) -> None:
        """It goes on."""
        assert self._daemon is not None
        self._daemon.send_signal(signal.SIGCONT)

    def remove(self) -> None:
        """End every process in its namespaces, by its id."""
        if self._daemon is not None:
            with suppress(ProcessLookupError):
                self._daemon.send_signal(signal.SIGCONT)
            self._daemon.kill()
            self._daemon.wait()
        if self._holder is None:
            return
        mine = os.readlink(f"/proc/{self._holder.pid}/ns/mnt")
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if os.readlink(path / "ns" / "mnt") == mine:
                    os.kill(int(path.name), signal.SIGKILL)
        self._holder.wait()


def _wait(condition: object, what: str, seconds: float = 120.0) -> None:
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds} s in vain for {what}")
        time.sleep(0.02)
