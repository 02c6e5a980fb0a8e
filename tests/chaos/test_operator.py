"""What the operators' guide says of a start that libvirtd was killed in, on a real libvirtd and a real guest."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import libvirt
import pytest

from tests.chaos.operator import Operator
from tests.repair.private_host import PrivateHost
from tests.stack import wait_until

pytestmark = [
    pytest.mark.libvirt,
    pytest.mark.guest,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes a host of its own in namespaces"),
]
NAME = "forgotten"
DOMAIN = f"""
<domain type='qemu'><name>{NAME}</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type></os></domain>
"""
STARTED = re.compile(r"(<domstatus state=')running(' reason=')\w+(' pid=')\d+'")
JOB = "<job type='none' async='start' phase='none' flags='0x0'/>"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[PrivateHost]:
    found = PrivateHost(tmp_path)
    try:
        found.boot()
        yield found
    finally:
        found.remove()


def domain(host: PrivateHost) -> libvirt.virDomain:
    return libvirt.open(host.uri).lookupByName(NAME)


def forget_the_start(host: PrivateHost) -> None:
    """Leave what libvirtd leaves that was killed between a domain's status and the number of its QEMU."""
    domain(host).create()
    status, number = (host.root / "run" / "qemu" / f"{NAME}.{ending}" for ending in ("xml", "pid"))
    host.kill_daemon()
    os.kill(int(number.read_text()), signal.SIGKILL)
    words, found = STARTED.subn(r"\1paused\2starting up\g<3>0'", status.read_text())
    assert found == 1
    status.write_text(words.replace("<monitor ", f"{JOB}<monitor ", 1))
    host.start_daemon()


def test_a_start_that_libvirtd_forgot_is_cleared_as_the_guide_says(host: PrivateHost) -> None:
    libvirt.open(host.uri).defineXML(DOMAIN)
    forget_the_start(host)
    assert domain(host).state()[0] == libvirt.VIR_DOMAIN_PAUSED
    with pytest.raises(libvirt.libvirtError, match="cannot acquire state change lock"):
        domain(host).destroy()
    operator = Operator(host.root / "run", host.kill_daemon, list, patience=0.0)
    wait_until(lambda: bool(operator.forgotten()), 60, "a status without a process")
    operator.look()
    host.start_daemon()
    assert operator.cleared == [NAME]
    assert domain(host).state()[0] == libvirt.VIR_DOMAIN_SHUTOFF
    domain(host).create()
    assert operator.forgotten() == []
