"""A guest's serial stream and screen, from a real QEMU that runs nothing but its firmware: it prints on both."""

import secrets
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID, uuid4

import libvirt
import pytest

from lifecycle.domain.errors import Busy, Gone, Refused, Transient
from lifecycle.drivers.libvirt.console import SerialStream, open_screen, open_serial
from lifecycle.drivers.libvirt.tunnel import Tunnel, is_local, is_ssh, ssh_command
from tests.firmware import BANNER, firmware_domain, with_screen
from tests.stack import HOST_URI

pytestmark = pytest.mark.libvirt


class Ear:
    """What a stream told."""

    def __init__(self) -> None:
        self.data = b""
        self.ends = 0

    def heard(self, data: bytes) -> None:
        self.data += data

    def ended(self) -> None:
        self.ends += 1


def until(condition: Callable[[], object], what: str, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def conn() -> Iterator[libvirt.virConnect]:
    try:
        connection = libvirt.open(HOST_URI)
    except libvirt.libvirtError as error:
        pytest.skip(f"no libvirtd: {error}")
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def machine(conn: libvirt.virConnect) -> Iterator[libvirt.virDomain]:
    """One that all tests share but those that end it."""
    domain = with_screen(conn)
    yield domain
    domain.destroy()


def uuid_of(domain: libvirt.virDomain) -> UUID:
    return UUID(bytes=domain.UUID())


@pytest.fixture
def ear() -> Ear:
    return Ear()


@pytest.fixture
def stream(machine: libvirt.virDomain, ear: Ear) -> Iterator[SerialStream]:
    """An open serial console."""
    opened = open_serial(HOST_URI, uuid_of(machine), ear.heard, ear.ended)
    yield opened
    opened.close()


def test_what_the_machine_prints_is_heard(machine: libvirt.virDomain, stream: SerialStream, ear: Ear) -> None:
    machine.reset()
    until(lambda: BANNER in ear.data, "the firmware's banner")
    assert ear.ends == 0


def test_what_is_typed_is_taken(stream: SerialStream, machine: libvirt.virDomain, ear: Ear) -> None:
    machine.reset()
    until(lambda: ear.data, "output")
    stream.write(b"x" * 200)
    until(lambda: stream.queued_bytes == 0, "the machine to take what was typed")


def test_a_second_stream_does_not_throw_out_the_first(machine: libvirt.virDomain, stream: SerialStream) -> None:
    other = Ear()
    with pytest.raises(Busy):
        open_serial(HOST_URI, uuid_of(machine), other.heard, other.ended)
    assert (other.data, other.ends) == (b"", 0)


def test_a_closed_stream_gives_the_console_back(machine: libvirt.virDomain) -> None:
    for _ in range(3):
        ear = Ear()
        open_serial(HOST_URI, uuid_of(machine), ear.heard, ear.ended).close()
        assert ear.ends == 0  # who closes is not told


def test_a_stream_ends_once_with_its_machine_which_is_gone_then(conn: libvirt.virConnect, ear: Ear) -> None:
    machine = with_screen(conn)
    stream = open_serial(HOST_URI, uuid_of(machine), ear.heard, ear.ended)
    machine.destroy()
    until(lambda: ear.ends, "the end of the stream")
    time.sleep(0.3)
    assert ear.ends == 1
    stream.write(b"nobody hears this")
    assert stream.queued_bytes == 0
    stream.close()
    for uuid in (uuid_of(machine), uuid4()):
        with pytest.raises(Gone):
            open_serial(HOST_URI, uuid, ear.heard, ear.ended)
        with pytest.raises(Gone):
            open_screen(HOST_URI, uuid)


def test_a_screen_speaks_vnc_without_a_password_or_a_port(machine: libvirt.virDomain) -> None:
    opened, tunnel = open_screen(HOST_URI, uuid_of(machine))
    with opened:
        assert tunnel is None
        assert opened.family == socket.AF_UNIX
        opened.setblocking(True)
        opened.settimeout(60)
        assert opened.recv(12) == b"RFB 003.008\n"
        opened.sendall(b"RFB 003.008\n")
        assert opened.recv(2) == b"\x01\x01"  # one kind of security: none
    assert "port='-1'" in machine.XMLDesc() or " port=" not in machine.XMLDesc().split("<graphics")[1].split(">")[0]


def test_two_may_look_at_one_screen(machine: libvirt.virDomain) -> None:
    first, _tunnel = open_screen(HOST_URI, uuid_of(machine))
    second, _tunnel = open_screen(HOST_URI, uuid_of(machine))
    with first, second:
        for each in (first, second):
            each.settimeout(60)
            assert each.recv(4) == b"RFB "


def test_a_machine_without_a_screen_says_so(conn: libvirt.virConnect) -> None:
    domain = conn.createXML(firmware_domain(f"vmp-test-{secrets.token_hex(3)}-blind", uuid4()))
    try:
        with pytest.raises(Refused, match="no VNC screen"):
            open_screen(HOST_URI, uuid_of(domain))
    finally:
        domain.destroy()


# -- hosts elsewhere -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "local", "ssh"),
    [
        ("qemu:///system", True, False),
        ("qemu+unix:///system?socket=/run/x", True, False),
        ("qemu+ssh://root@node-2/system", False, True),
        ("qemu+tcp://node-2/system", False, False),
        ("qemu+tls://node-2/system", False, False),
        ("qemu://node-2/system", False, False),
    ],
)
def test_only_a_unix_socket_of_this_machine_is_local(uri: str, local: bool, ssh: bool) -> None:
    assert (is_local(uri), is_ssh(uri)) == (local, ssh)


def test_ssh_is_called_as_libvirt_would_reach_the_host() -> None:
    uri = "qemu+ssh://vmportal@node-2:2222/system?keyfile=/k/id&known_hosts=/k/known"
    words = ssh_command(uri, "/here", "/var/lib/there")
    assert words[-4:] == ["-L", "/here:/var/lib/there", "--", "node-2"]
    text = " ".join(words)
    for part in ("-p 2222", "-l vmportal", "-i /k/id", "UserKnownHostsFile=/k/known", "BatchMode=yes"):
        assert part in text


FORWARDER = """\
#!{python}
import socket, sys, threading
here, there = sys.argv[sys.argv.index("-L") + 1].split(":")
door = socket.socket(socket.AF_UNIX); door.bind(here); door.listen()
def pump(a, b):
    while data := a.recv(4096):
        b.sendall(data)
    b.shutdown(socket.SHUT_WR)
while True:
    a, _ = door.accept()
    b = socket.socket(socket.AF_UNIX); b.connect(there)
    for pair in ((a, b), (b, a)):
        threading.Thread(target=pump, args=pair, daemon=True).start()
"""


@pytest.fixture
def program_named_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in the place of ssh: it forwards as `-L` says, on this machine."""
    path = tmp_path / "bin" / "ssh"
    path.parent.mkdir()
    path.write_text(FORWARDER.format(python=sys.executable))
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")
    return path


def test_a_remote_screen_comes_through_a_forwarded_socket(program_named_ssh: Path, machine: libvirt.virDomain) -> None:
    there = machine.XMLDesc().split("socket='")[1].split("'")[0]
    tunnel = Tunnel("qemu+ssh://node-2/system", there)
    with tunnel.connect() as through:
        through.settimeout(60)
        assert through.recv(4) == b"RFB "
    tunnel.close()
    assert not Path(tunnel.path).exists()


@pytest.mark.skipif(not shutil.which("ssh"), reason="no ssh")
def test_a_host_that_ssh_cannot_reach_is_named() -> None:
    tunnel = Tunnel("qemu+ssh://nowhere.invalid/system", "/run/there")
    with pytest.raises(Transient, match=r"ssh did not forward the screen: .+"):
        tunnel.connect()
    assert not Path(tunnel.path).exists()


def test_a_screen_without_a_socket_is_not_forwarded() -> None:
    with pytest.raises(Refused):
        Tunnel("qemu+ssh://node-2/system", "")
