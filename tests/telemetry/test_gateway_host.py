"""Consoles of a real machine through web and gateway: its firmware prints, two look, and it goes and comes."""

from collections.abc import Iterator
from contextlib import suppress

import libvirt
import pytest

from lifecycle.domain.states import State
from lifecycle.models import VM, ConsoleSession, Host, Project, User
from lifecycle.services import consoles
from tests import factories
from tests.firmware import BANNER, with_screen
from tests.realtime.servers import cookie_of, until
from tests.stack import HOST_URI
from tests.telemetry.test_gateway import Served, dial, key_of, show, ticket, web

__all__ = ["web"]
pytestmark = pytest.mark.libvirt

STATE = {"type": "state", "state": "connected"}


@pytest.fixture
def vm(transactional_db: None, project: Project, host: Host, catalog: None) -> VM:
    """`web-1`, said to run on this machine."""
    Host.objects.filter(pk=host.pk).update(uri=HOST_URI)
    return factories.make_vm(project, "web-1", State.RUNNING, host=host)


@pytest.fixture
def conn() -> Iterator[libvirt.virConnect]:
    try:
        connection = libvirt.open(HOST_URI)
    except libvirt.libvirtError as error:
        pytest.skip(f"no libvirtd: {error}")
    yield connection
    connection.close()


@pytest.fixture
def machine(conn: libvirt.virConnect, vm: VM) -> Iterator[libvirt.virDomain]:
    """The VM's domain."""
    domain = with_screen(conn, vm.pk)
    yield domain
    with suppress(libvirt.libvirtError):
        domain.destroy()


def test_two_viewers_share_a_machines_serial_console(
    web: Served, vm: VM, machine: libvirt.virDomain, owner: User, operator: User
) -> None:
    mine, theirs = cookie_of(owner), cookie_of(operator)
    first = show(dial(web, vm, mine), ticket(web, vm, owner, mine))
    until(lambda: STATE in first.notes, "the first viewer's console", 60)
    second = show(dial(web, vm, theirs), ticket(web, vm, operator, theirs))
    until(lambda: STATE in second.notes, "the second viewer's console", 60)
    machine.reset()
    until(lambda: BANNER in first.data and BANNER in second.data, "the banner on both", 60)
    first.socket.close()
    before = len(second.data)
    machine.reset()
    until(lambda: BANNER in second.data[before:], "the banner on the one that is left", 60)
    # Who comes later sees what was printed before.
    third = show(dial(web, vm, mine), ticket(web, vm, owner, mine))
    until(lambda: BANNER in third.data, "the banner from before", 60)
    machine.destroy()
    until(lambda: {"type": "state", "state": "off"} in second.notes, "the machine's end", 60)
    assert second.code is third.code is None  # they wait for it to come back


def test_a_screen_comes_through_and_ends_with_the_machine(
    web: Served, vm: VM, machine: libvirt.virDomain, owner: User
) -> None:
    cookie = cookie_of(owner)
    token = consoles.issue_ticket(
        vm, "screen", user=owner, session_key=key_of(cookie), origin=f"http://127.0.0.1:{web.port}", address=None
    )
    opened = show(dial(web, vm, cookie, kind="screen"), token)
    until(lambda: opened.data == b"RFB 003.008\n", "the VNC server's greeting", 60)
    opened.socket.send(b"RFB 003.008\n")
    until(lambda: opened.data.endswith(b"\x01\x01"), "the VNC server's answer", 60)
    machine.destroy()
    assert opened.ended() == consoles.CODES["vm_off"]
    until(lambda: ConsoleSession.objects.filter(ending="vm_off").exists(), "the end, written down")
