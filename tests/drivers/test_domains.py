"""The life of a real guest through the driver. Every verb is run twice; the tests go on from one another's end."""

from dataclasses import replace
from uuid import uuid4

import libvirt
import pytest

from lifecycle.domain.errors import Busy, Gone, Refused
from lifecycle.domain.states import Power
from lifecycle.drivers.base import DomainSpec, DomainView, EventKind, HostEvent, ImageRef, Pool
from lifecycle.drivers.libvirt import LibvirtHypervisor
from lifecycle.drivers.libvirt.xml import described
from tests.drivers.lab import (
    BOOT_SECONDS,
    Guest,
    domain_spec,
    forget_network,
    network_spec,
    prepare,
    qemu_pid,
    wait_for,
)

pytestmark = [pytest.mark.libvirt, pytest.mark.guest, pytest.mark.timeout(1200)]


def look(driver: LibvirtHypervisor, guest: Guest) -> DomainView:
    """The domain, which is there."""
    view = driver.look(guest.spec.uuid)
    assert view is not None
    return view


def off(driver: LibvirtHypervisor, guest: Guest) -> DomainView | None:
    """The domain, once it is off."""
    view = look(driver, guest)
    return view if view.power is Power.OFF else None


def stops(events: list[HostEvent], guest: Guest) -> list[HostEvent]:
    """The events that tell of the guest's end."""
    return [event for event in events if event.kind is EventKind.STOPPED and event.uuid == guest.spec.uuid]


def test_an_absent_domain(driver: LibvirtHypervisor) -> None:
    uuid = uuid4()
    assert driver.look(uuid) is None
    assert not driver.destroy(uuid)
    assert not driver.undefine(uuid)
    assert not driver.discard_saved_memory(uuid)
    for verb in (driver.start, driver.ask_shutdown, driver.reset, driver.save_memory, driver.resume_cpus):
        with pytest.raises(Gone):
            verb(uuid)


def test_libvirt_takes_the_whole_definition_as_valid(driver: LibvirtHypervisor, golden: ImageRef, own_id: str) -> None:
    spec = replace(domain_spec(own_id, network_spec(own_id, "s"), "shape"), cpu_quota_percent=50, vcpus=2)
    prepare(driver, spec, golden)
    xml = driver.conn.lookupByUUID(spec.uuid.bytes).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    driver.conn.defineXMLFlags(xml, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
    driver.define(replace(spec, generation=9, memory_mib=128))
    view = driver.look(spec.uuid)
    assert view is not None
    assert (view.generation, view.installation, view.persistent) == (9, own_id, True)
    assert [listed for listed in driver.list_domains() if listed.uuid == spec.uuid] == [view]
    assert driver.undefine(spec.uuid)
    assert not driver.undefine(spec.uuid)
    assert f"vmp-{own_id}-{spec.uuid}" not in driver.conn.listNWFilters()
    forget_network(driver, spec.network.name)


def test_a_running_guest(driver: LibvirtHypervisor, guest: Guest, own_id: str) -> None:
    view = look(driver, guest)
    assert (view.power, view.reason, view.installation) == (Power.ON, "booted", own_id)
    assert view.run_id is not None
    assert view in driver.list_domains()
    assert not driver.start(guest.spec.uuid)
    driver.resume_cpus(guest.spec.uuid)
    with pytest.raises(Busy):
        driver.undefine(guest.spec.uuid)


def test_it_has_its_address_and_is_heard_on_its_serial_port(driver: LibvirtHypervisor, guest: Guest) -> None:
    (lease,) = driver.leases(guest.spec.network.name)
    assert (lease.mac, lease.ip, lease.hostname) == (guest.spec.mac, guest.spec.ip, guest.spec.vm_name)
    (log,) = [v for v in driver.list_volumes(Pool.SERIAL) if v.name == guest.spec.serial_volume]

    def heard() -> bool:
        return guest.spec.vm_name.encode() in driver.read_volume(Pool.SERIAL, log.name, 0, 2**20)

    wait_for(heard, BOOT_SECONDS, "the guest's name on its serial port")
    assert "qemu-system-x86_64" in driver.qemu_log_tail(guest.spec.uuid, guest.spec.name)
    assert driver.qemu_log_tail(uuid4(), "no-such-domain") == ""


def test_its_golden_image_is_not_qemus_to_change(driver: LibvirtHypervisor, guest: Guest, golden: ImageRef) -> None:
    found = driver.conn.storagePoolLookupByName(f"vmp-{driver.installation}-images")
    found.refresh(0)
    tree = described(found.storageVolLookupByName(golden.volume))
    assert (tree.findtext("target/permissions/mode"), tree.findtext("target/permissions/owner")) == ("0444", "0")
    assert driver.image_sha256(golden, lambda: None) == golden.sha256


def test_a_reset_boots_anew_in_the_same_process(driver: LibvirtHypervisor, guest: Guest) -> None:
    guest.says("touch /run/before")
    pid = qemu_pid(guest.spec)
    driver.reset(guest.spec.uuid)
    wait_for(lambda: guest.run("test ! -e /run/before", 20).returncode == 0, BOOT_SECONDS, "second boot")
    assert qemu_pid(guest.spec) == pid


def test_memory_is_saved_and_restored(driver: LibvirtHypervisor, guest: Guest) -> None:
    guest.says("echo kept > /run/mark")
    uuid, run = guest.spec.uuid, look(driver, guest).run_id
    assert driver.save_memory(uuid)
    assert not driver.save_memory(uuid)
    view = look(driver, guest)
    assert (view.power, view.reason, view.run_id) == (Power.SAVED, "saved", None)
    assert view in driver.list_domains()
    assert not driver.destroy(uuid)
    assert driver.start(uuid)
    assert look(driver, guest).run_id != run
    wait_for(guest.answers, BOOT_SECONDS, "answer after the restore")
    assert guest.says("cat /run/mark") == "kept"


def test_a_paused_guest_is_restored_running(driver: LibvirtHypervisor, guest: Guest) -> None:
    domain = driver.conn.lookupByUUID(guest.spec.uuid.bytes)
    domain.suspend()
    assert (look(driver, guest).power, look(driver, guest).reason) == (Power.PAUSED, "user")
    driver.resume_cpus(guest.spec.uuid)
    driver.resume_cpus(guest.spec.uuid)
    assert look(driver, guest).power is Power.ON
    domain.suspend()
    driver.save_memory(guest.spec.uuid)
    driver.start(guest.spec.uuid)
    assert look(driver, guest).power is Power.ON


def test_the_power_button_ends_it(driver: LibvirtHypervisor, guest: Guest) -> None:
    events: list[HostEvent] = []
    wait_for(guest.answers, BOOT_SECONDS, "answer after the restore")
    with driver.events(events.append):
        assert driver.ask_shutdown(guest.spec.uuid)
        wait_for(lambda: stops(events, guest), BOOT_SECONDS, "event")
    assert stops(events, guest)[0].detail == "shutdown"
    view = wait_for(lambda: off(driver, guest), BOOT_SECONDS, "end")
    assert view.reason == "shutdown"
    assert not driver.ask_shutdown(guest.spec.uuid)


def test_saved_memory_is_discarded(driver: LibvirtHypervisor, guest: Guest) -> None:
    uuid = guest.spec.uuid
    driver.start(uuid)
    assert not driver.discard_saved_memory(uuid)
    driver.save_memory(uuid)
    assert driver.discard_saved_memory(uuid)
    assert not driver.discard_saved_memory(uuid)
    view = look(driver, guest)
    assert view.power is Power.OFF
    assert view in driver.list_domains()
    with pytest.raises(Refused):
        driver.save_memory(uuid)
    with pytest.raises(Refused):
        driver.reset(uuid)
    with pytest.raises(Refused):
        driver.resume_cpus(uuid)
    assert not driver.ask_shutdown(uuid)


def test_it_is_forced_off(driver: LibvirtHypervisor, guest: Guest) -> None:
    driver.start(guest.spec.uuid)
    assert driver.destroy(guest.spec.uuid)
    assert not driver.destroy(guest.spec.uuid)
    assert look(driver, guest).reason == "destroyed"


def test_undefining_takes_saved_memory_and_filter_along(driver: LibvirtHypervisor, guest: Guest, own_id: str) -> None:
    spec: DomainSpec = guest.spec
    driver.start(spec.uuid)
    driver.save_memory(spec.uuid)
    assert driver.undefine(spec.uuid)
    assert driver.look(spec.uuid) is None
    assert f"vmp-{own_id}-{spec.uuid}" not in driver.conn.listNWFilters()
    driver.define(spec)
    assert look(driver, guest).power is Power.OFF
    assert driver.remove_volume(Pool.SERIAL, spec.serial_volume)
    assert not driver.remove_volume(Pool.SERIAL, spec.serial_volume)
