"""Debian's packages: which are missing, and their installation without starting a service."""

import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

from vmportal.launcher.commands import as_root, authorise, run
from vmportal.launcher.errors import PortalError

# Pango, HarfBuzz and a font are what WeasyPrint makes PDFs of invoices with.
# redis-tools: its one binary is the server too, and unlike redis-server it brings no system service.
RUNTIME = (
    "ca-certificates",
    "dnsmasq-base",
    "ebtables",
    "fonts-dejavu-core",
    "gcc",
    "gettext",
    "iproute2",
    "iptables",
    "libharfbuzz-subset0",
    "libpango-1.0-0",
    "libpangoft2-1.0-0",
    "libc6-dev",
    "libvirt-clients",
    "libvirt-daemon-system",
    "libvirt-dev",
    "openssh-client",
    "ovmf",
    "pkg-config",
    "procps",
    "python3-dev",
    "python3-venv",
    "qemu-system-x86",
    "qemu-utils",
    "redis-tools",
)
# What guest images are made with.
IMAGE = (
    "binutils",
    "cpio",
    "debian-archive-keyring",
    "dosfstools",
    "e2fsprogs",
    "fakeroot",
    "fdisk",
    "kmod",
    "mmdebstrap",
    "mtools",
    "syslinux",
    "syslinux-common",
    "uidmap",
)
TESTS = ("chromium", "git", "memtest86+", "netcat-openbsd", "postgresql", "postgresql-contrib")
SUPPORTED = {"debian": ("12",)}
POLICY = Path("/usr/sbin/policy-rc.d")
# Held by us for the time of an installation only: services of our packages are started by us, or never.
POLICY_TEXT = "#!/bin/sh\n# Written by vmportal while it installs packages.\nexit 101\n"


def missing(wanted: Iterable[str]) -> list[str]:
    """Those of `wanted` that are not installed. Raises PortalError on a system without dpkg."""
    names = sorted(set(wanted))
    try:
        found = subprocess.run(
            ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *names],
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise PortalError(
            "This system has no dpkg: ./portal sets up Debian 12; elsewhere use docker-compose.yml."
        ) from error
    installed = {line.split()[0] for line in found.stdout.splitlines() if line.endswith(" installed")}
    return [name for name in names if name not in installed]


def check_distribution(os_release: Path = Path("/etc/os-release")) -> None:
    """Raises PortalError unless the package names above are this distribution's."""
    values = {}
    if os_release.exists():
        for line in os_release.read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition("=")
            values[key] = value.strip('"')
    if values.get("VERSION_ID") not in SUPPORTED.get(values.get("ID", ""), ()):
        raise PortalError(
            f"This is {values.get('PRETTY_NAME', 'an unknown system')}; ./portal installs its packages "
            "on Debian 12 only. Elsewhere use docker-compose.yml."
        )


def install(names: list[str], say: Callable[[str], None]) -> None:
    """Install `names` by apt. Raises PortalError with apt's last lines when that fails."""
    check_distribution()
    authorise(f"to install {len(names)} Debian packages ({', '.join(names[:4])} …)")
    ours = not POLICY.exists()
    if ours:
        run(
            as_root(["sh", "-c", f"printf '%s' \"$0\" > {POLICY} && chmod 755 {POLICY}", POLICY_TEXT]),
            "apt cannot be prepared",
        )
    try:
        say("reading the package lists")
        run(as_root(["apt-get", "-o", "DPkg::Lock::Timeout=300", "update", "-q"]), "apt-get update failed")
        options = [
            "-y",
            "-q",
            "--no-install-recommends",
            "-o",
            "Dpkg::Options::=--force-confold",
            "-o",
            "DPkg::Lock::Timeout=600",
        ]
        run(
            as_root(["apt-get", *options, "install", *names]),
            "apt-get could not install: " + " ".join(names),
            each_line=lambda line: say(_progress(line)),
        )
    finally:
        if ours:
            run(as_root(["rm", "-f", str(POLICY)]), f"{POLICY} could not be removed; please remove it")


def _progress(line: str) -> str:
    """apt's line without the full stops, which would make it the step's result."""
    return line[:70].rstrip(". ")
