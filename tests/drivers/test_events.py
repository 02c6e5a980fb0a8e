"""What happens to a guest outside of us is told at once, by the right name."""

import os
import queue
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest

from lifecycle.domain.states import Power
from lifecycle.drivers.base import EventKind, HostEvent
from lifecycle.drivers.libvirt import LibvirtHypervisor, connect
from tests.drivers.lab import BOOT_SECONDS, Guest, qemu_pid, wait_for
from tests.stack import HOST_URI

pytestmark = [pytest.mark.libvirt, pytest.mark.guest, pytest.mark.timeout(1200)]

#: libvirt tells within milliseconds to a third of a second; a busy machine is given more.
SOON = 60.0


class Heard:
    """Events of one guest, in order."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self._events: queue.SimpleQueue[HostEvent] = queue.SimpleQueue()

    def put(self, event: HostEvent) -> None:
        if event.uuid == self._guest.spec.uuid:
            self._events.put(event)

    def next(self, kind: EventKind, seconds: float = SOON) -> HostEvent:
        """The next event of a kind; what comes before it is passed over."""
        deadline = time.monotonic() + seconds
        with suppress(queue.Empty):
            while (left := deadline - time.monotonic()) > 0:
                event = self._events.get(timeout=left)
                if event.kind is kind:
                    return event
        raise AssertionError(f"no {kind} within {seconds} s")


@pytest.fixture
def heard(driver: LibvirtHypervisor, guest: Guest) -> Iterator[Heard]:
    """What is told of a guest that runs, on a connection of its own."""
    driver.start(guest.spec.uuid)
    listener = connect(HOST_URI, driver.installation)
    found = Heard(guest)
    with listener.events(found.put):
        yield found
    listener.close()


def test_a_reboot_and_a_panic_in_the_guest_are_told(driver: LibvirtHypervisor, guest: Guest, heard: Heard) -> None:
    guest.run("(sleep 1; reboot -f) >/dev/null 2>&1 &")
    heard.next(EventKind.REBOOTED)
    wait_for(guest.answers, BOOT_SECONDS, "answer after the reboot", every=0.5)
    guest.run("echo 1 > /proc/sys/kernel/sysrq; (sleep 1; echo c > /proc/sysrq-trigger) >/dev/null 2>&1 &")
    assert heard.next(EventKind.CRASHED).detail == "panicked"
    assert heard.next(EventKind.STOPPED).detail == "crashed"
    view = driver.look(guest.spec.uuid)
    assert view is not None
    assert (view.power, view.reason) == (Power.CRASHED, "crashed")


def test_a_killed_qemu_is_a_crash(driver: LibvirtHypervisor, guest: Guest, heard: Heard) -> None:
    os.kill(qemu_pid(guest.spec), signal.SIGKILL)
    event = heard.next(EventKind.STOPPED)
    assert (event.detail, event.name) == ("failed", guest.spec.name)
    assert time.monotonic() - event.received_monotonic < SOON
    view = driver.look(guest.spec.uuid)
    assert view is not None
    assert (view.power, view.reason) == (Power.CRASHED, "crashed")


def test_virsh_destroy_is_told(guest: Guest, heard: Heard) -> None:
    subprocess.run(["virsh", "-q", "-c", HOST_URI, "destroy", guest.spec.name], check=True, timeout=SOON)
    assert heard.next(EventKind.STOPPED).detail == "destroyed"


def test_save_restore_and_definitions_are_told(driver: LibvirtHypervisor, guest: Guest, heard: Heard) -> None:
    driver.save_memory(guest.spec.uuid)
    assert heard.next(EventKind.STOPPED).detail == "saved"
    driver.start(guest.spec.uuid)
    assert heard.next(EventKind.STARTED).detail == "restored"
    driver.destroy(guest.spec.uuid)
    driver.define(guest.spec)
    assert heard.next(EventKind.DEFINED).detail == "updated"
    driver.undefine(guest.spec.uuid)
    assert heard.next(EventKind.UNDEFINED).detail == "removed"


def test_the_mark_of_a_domain_is_read_again_when_another_defines_it(driver: LibvirtHypervisor, guest: Guest) -> None:
    def marks() -> list[int | None]:
        return [view.generation for view in driver.list_domains() if view.uuid == guest.spec.uuid]

    driver.define(guest.spec)
    other = connect(HOST_URI, driver.installation)
    for generation in (5, 6, 7):
        other.define(replace(guest.spec, generation=generation))
        deadline = time.monotonic() + SOON
        while marks() != [generation]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    other.close()
