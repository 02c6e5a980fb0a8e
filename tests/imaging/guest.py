"""A guest on QEMU alone, without libvirt: its serial output in a file, its ssh on a loopback port, QMP and agent."""

import json
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from lifecycle.domain.guests import seed_files
from lifecycle.operations.seed import build_iso
from tests.stack import free_port

# Boots take about five seconds under emulation on an idle machine; other tests may have it busy.
BOOT_SECONDS = 180.0

T = TypeVar("T")


@dataclass(frozen=True)
class Seed:
    """What the product would know of a VM."""

    instance_id: str = "iid-1"
    hostname: str = "web-1"
    ssh_keys: str = ""
    startup_script: str = ""
    user_data: str = ""

    def write(self, path: Path) -> None:
        """As an ISO, made by the product's own code."""
        files = seed_files(
            instance_id=self.instance_id,
            hostname=self.hostname,
            ssh_keys=self.ssh_keys,
            startup_script=self.startup_script,
            user_data=self.user_data,
        )
        path.write_bytes(build_iso(files))


def wait_for(look: Callable[[], T | None], seconds: float, what: str) -> T:
    """What `look` returns as soon as it is true."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"no {what} within {seconds:.0f} s")
        time.sleep(0.05)
    return found


@dataclass
class Guest:
    """One QEMU at a time on the disk `directory`/disk.qcow2, an overlay of `image`."""

    image: Path
    directory: Path
    key: Path
    memory_mib: int = 96
    disk_gib: int = 2
    user: str = "root"
    events: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.disk, self.seed = self.directory / "disk.qcow2", self.directory / "seed.iso"
        self.serial, self.traffic = self.directory / "serial.log", self.directory / "traffic.pcap"
        create = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(self.image), "-F", "qcow2", str(self.disk)]
        subprocess.run([*create, f"{self.disk_gib}G"], check=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self, seed: Seed) -> Self:
        """Boot with `seed`; the serial log begins anew."""
        seed.write(self.seed)
        self.serial.unlink(missing_ok=True)
        self.port = free_port()
        self.process = subprocess.Popen(self._command(), cwd=self.directory)
        self.qmp = wait_for(lambda: _connected(self.directory / "qmp"), 60, "QMP socket")
        self.qmp_lines = self.qmp.makefile("rw")
        self.qmp_lines.readline()
        self.command("qmp_capabilities")
        return self

    def _command(self) -> list[str]:
        return [
            *("qemu-system-x86_64", "-machine", "q35,hpet=off", "-accel", "tcg,tb-size=64"),
            *("-m", str(self.memory_mib), "-display", "none", "-serial", f"file:{self.serial}"),
            *("-qmp", "unix:qmp,server=on,wait=off", "-device", "pvpanic", "-action", "panic=pause"),
            *("-device", "virtio-rng-pci"),
            *("-drive", f"file={self.disk},if=virtio,format=qcow2,discard=unmap"),
            *("-drive", f"file={self.seed},if=virtio,format=raw,readonly=on"),
            *("-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{self.port}-:22"),
            *("-device", "virtio-net-pci,netdev=net"),
            *("-object", f"filter-dump,id=dump,netdev=net,file={self.traffic}"),
            *("-chardev", "socket,path=agent,server=on,wait=off,id=agent", "-device", "virtio-serial"),
            *("-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"),
        ]

    def command(self, name: str, **arguments: Any) -> Any:
        """One QMP command; events that come meanwhile are kept."""
        self.qmp_lines.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
        self.qmp_lines.flush()
        while True:
            message = json.loads(self.qmp_lines.readline())
            if "event" in message:
                self.events.append(message)
            else:
                assert "return" in message, message
                return message["return"]

    def wait_for_event(self, name: str, seconds: float = 120) -> dict[str, Any]:
        """The next event of that name (or one that came already)."""

        def look() -> dict[str, Any] | None:
            self.command("query-status")
            return next((event for event in self.events if event["event"] == name), None)

        return wait_for(look, seconds, name)

    def agent(self, name: str, **arguments: Any) -> Any:
        """One command of the guest agent."""
        with socket.socket(socket.AF_UNIX) as agent:
            agent.settimeout(120)
            agent.connect(str(self.directory / "agent"))
            agent.sendall(json.dumps({"execute": name, "arguments": arguments}).encode() + b"\n")
            return json.loads(agent.makefile().readline())["return"]

    def output(self) -> str:
        """What the guest has written to its serial port since `start`."""
        return self.serial.read_text(errors="replace").replace("\r", "") if self.serial.exists() else ""

    def wait_for_output(self, text: str, seconds: float = BOOT_SECONDS, times: int = 1) -> str:
        """All output, as soon as `text` was seen `times` times."""
        wait_for(lambda: self.output().count(text) >= times, seconds, f"{text!r} in the serial output")
        return self.output()

    def boot(self, seed: Seed) -> str:
        """Start and wait until the guest says it is ready; its output."""
        self.start(seed)
        return self.wait_for_output("VMPORTAL-READY")

    def ssh(self, command: str, *options: str) -> subprocess.CompletedProcess[str]:
        """`command` in the guest, by the key."""
        unchecked = ("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR")
        target = ("-p", str(self.port), "-i", str(self.key), f"{self.user}@127.0.0.1")
        words = ["ssh", *unchecked, "-o", "BatchMode=yes", *options, *target, command]
        return subprocess.run(words, capture_output=True, text=True, timeout=600, check=False)

    def run(self, command: str) -> str:
        """The output of `command` in the guest, which must succeed."""
        done = self.ssh(command)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def power_off(self) -> float:
        """Press the power button; seconds until QEMU has ended."""
        pressed = time.monotonic()
        self.command("system_powerdown")
        self.process.wait(timeout=240)
        return time.monotonic() - pressed

    def kill(self) -> None:
        """End QEMU, if it runs."""
        if hasattr(self, "process") and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def _connected(path: Path) -> socket.socket | None:
    link = socket.socket(socket.AF_UNIX)
    try:
        link.connect(str(path))
    except OSError:
        link.close()
        return None
    return link
