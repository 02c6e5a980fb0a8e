"""What tests of the driver build with: specifications of VMs, and real guests that answer ssh."""

import re
import secrets
import shlex
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Network
from itertools import count
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import libvirt

from lifecycle.domain.guests import seed_files
from lifecycle.drivers.base import AddressBinding, DomainSpec, ImageRef, NetworkSpec
from lifecycle.drivers.libvirt import LibvirtHypervisor
from lifecycle.operations.seed import build_iso

T = TypeVar("T")

GIB = 2**30
#: A boot takes some five seconds under emulation on an idle machine; other tests may keep it busy.
BOOT_SECONDS = 240.0
#: All networks of these tests lie here, outside the range that the product uses.
RANGE = IPv4Network("10.64.0.0/12")
#: Each network of a run gets a range of its own, from a random one on.
_numbers = count(secrets.randbelow(2**12))


def wait_for(look: Callable[[], T | None], seconds: float, what: str, every: float = 0.02) -> T:
    """What `look` returns as soon as it is true."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"no {what} within {seconds:.0f} s")
        time.sleep(every)
    return found


def network_spec(installation: str, letter: str = "a") -> NetworkSpec:
    """A network of the installation, in a range of its own."""
    number = next(_numbers) % 2**12
    cidr = IPv4Network((int(RANGE.network_address) + number * 256, 24))
    return NetworkSpec(f"vmp-{installation}-{letter}", f"v{installation}{letter}", cidr, f"{letter}.internal")


def domain_spec(
    installation: str, network: NetworkSpec, name: str = "web", *, host: int = 5, generation: int = 1
) -> DomainSpec:
    """A small VM with the `host`th address of the network. All of the tests' range is protected from it."""
    uuid = uuid4()
    return DomainSpec(
        uuid=uuid,
        name=f"vmp-{installation}-{name}-{str(uuid)[:8]}",
        title=f"lab/{name}",
        installation=installation,
        project="lab",
        vm_name=name,
        generation=generation,
        domain_type="qemu",
        architecture="x86_64",
        vcpus=1,
        memory_mib=96,
        cpu_quota_percent=None,
        disk_volume=f"{uuid}-boot.qcow2",
        seed_volume=f"{uuid}-seed.iso",
        serial_volume=f"{uuid}.log",
        network=network,
        mac="52:54:00:" + ":".join(f"{byte:02x}" for byte in secrets.token_bytes(3)),
        ip=network.cidr[host],
        protected_addresses=(str(RANGE), *own_addresses()),
    )


def own_addresses() -> list[str]:
    """This machine's IPv4 addresses, those of other networks' gateways excepted."""
    shown = subprocess.run(["ip", "-4", "-o", "address"], capture_output=True, text=True, check=True).stdout
    found = re.findall(r"^\d+: (\S+) +inet ([\d.]+)", shown, re.MULTILINE)
    return [address for link, address in found if link != "lo" and not link.startswith("v")]


def forget_network(host: LibvirtHypervisor, name: str) -> None:
    """Stop the network and remove it, when it is there."""
    with suppress(libvirt.libvirtError):
        network = host.conn.networkLookupByName(name)
        if network.isActive():
            network.destroy()
        network.undefine()


def prepare(host: LibvirtHypervisor, spec: DomainSpec, image: ImageRef, public_key: str = "") -> None:
    """All that a VM needs on a host before its first start."""
    host.ensure_network(spec.network)
    host.bind_address(spec.network.name, AddressBinding(spec.mac, spec.ip, spec.vm_name))
    host.create_overlay(spec.disk_volume, image, GIB)
    files = seed_files(
        instance_id=f"iid-{spec.uuid}", hostname=spec.vm_name, ssh_keys=public_key, startup_script="", user_data=""
    )
    host.write_seed(spec.seed_volume, build_iso(files))
    host.define(spec)


@dataclass(frozen=True)
class Guest:
    """A running VM that answers ssh with `key`."""

    spec: DomainSpec
    key: Path

    def run(self, command: str, seconds: float = 60.0) -> subprocess.CompletedProcess[str]:
        """A shell command as root, inside."""
        return self._ssh([command], seconds)

    def says(self, command: str) -> str:
        """What a command that succeeds prints."""
        done = self.run(command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def connects(self, address: str, port: int, options: str = "", seconds: int = 20) -> bool:
        """Whether a TCP connection from inside is taken; who takes it must say something or hang up."""
        return self.run(f"nc -w {seconds} {options} {shlex.quote(address)} {port} </dev/null").returncode == 0

    def is_kept_from(self, address: str, port: int, options: str = "") -> bool:
        """Whether no TCP connection from inside is taken in the time in which one that is let through is there."""
        return not self.connects(address, port, options, seconds=3)

    def answers(self) -> bool:
        """Whether ssh works."""
        return self._ssh(["true"], 20.0).returncode == 0

    def _ssh(self, words: list[str], seconds: float) -> subprocess.CompletedProcess[str]:
        options = {
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
            "LogLevel": "ERROR",
            "ConnectTimeout": "5",
            "BatchMode": "yes",
        }
        argv = ["ssh", "-i", str(self.key), *(f"-o{name}={value}" for name, value in options.items())]
        try:
            return subprocess.run(
                [*argv, f"root@{self.spec.ip}", *words],
                capture_output=True,
                text=True,
                errors="replace",  # another server's greeting is no text
                timeout=seconds,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(argv, 255, "", "timed out")


def qemu_pid(spec: DomainSpec) -> int:
    """The process of the VM's QEMU."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if f"guest={spec.name},debug-threads=on".encode() in words:
            return int(path.parent.name)
    raise AssertionError(f"no QEMU runs {spec.name}")
