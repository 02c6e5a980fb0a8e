"""Definitions on a real libvirt: read back as they were meant, changed by others, marked without a restart."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import libvirt
import pytest

from lifecycle.domain.definitions import as_json, differences
from lifecycle.domain.errors import Gone, Refused
from lifecycle.domain.states import Power
from lifecycle.drivers.base import DomainSpec, ImageRef, Pool
from lifecycle.drivers.libvirt import LibvirtHypervisor, domains
from tests.drivers.lab import domain_spec, forget_network, network_spec, prepare, qemu_pid, wait_for

pytestmark = pytest.mark.libvirt

#: A guest without disks: its firmware runs, and that is enough.
FOREIGN = """
<domain type='qemu'><name>{name}</name><uuid>{uuid}</uuid><memory unit='GiB'>1</memory>
  <currentMemory unit='MiB'>96</currentMemory><vcpu current='1'>2</vcpu>
  <os><type arch='x86_64'>hvm</type><boot dev='network'/><boot dev='hd'/></os>
  <devices><disk type='file' device='cdrom'><target dev='hdc'/></disk></devices>
</domain>"""


@pytest.fixture
def spec(driver: LibvirtHypervisor, golden: ImageRef, own_id: str) -> Iterator[DomainSpec]:
    """A VM as the product defines it."""
    made = replace(domain_spec(own_id, network_spec(own_id, "d"), "defined"), cpu_quota_percent=25)
    prepare(driver, made, golden)
    yield made
    driver.destroy(made.uuid)
    driver.undefine(made.uuid)
    for volume in (made.disk_volume, made.seed_volume):
        driver.remove_volume(Pool.DISKS, volume)
    forget_network(driver, made.network.name)


@pytest.fixture
def foreign(driver: LibvirtHypervisor, own_id: str) -> Iterator[DomainSpec]:
    """A domain that others made; only its name lets this run remove it."""
    made = domain_spec(own_id, network_spec(own_id, "f"), "theirs")
    driver.conn.defineXML(FOREIGN.format(name=made.name, uuid=made.uuid))
    yield made
    driver.destroy(made.uuid)
    driver.undefine(made.uuid)


def test_what_libvirt_makes_of_a_definition_is_no_difference(driver: LibvirtHypervisor, spec: DomainSpec) -> None:
    found = driver.definitions([spec.uuid], 5)[spec.uuid]
    assert differences(driver.wanted(spec), found) == ()
    assert found.disks == (("vda", spec.disk_volume), ("vdb", spec.seed_volume))
    assert found.interfaces == ((spec.mac, spec.network.name, f"vmp-{spec.installation}-{spec.uuid}"),)
    assert (found.vcpus, found.memory_mib, found.cpu_quota_percent, found.boot) == (1, 96, 25, ("hd",))


def test_a_definition_is_read_again_only_when_it_changed_is_named_or_is_old(
    driver: LibvirtHypervisor, spec: DomainSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    uuid = spec.uuid
    assert driver.definitions([uuid], 0) == {}
    assert set(driver.definitions([uuid], 5)) == {uuid}
    wait_for(lambda: driver.definitions([uuid], 5) == {}, 60, "the last event of its making")
    assert set(driver.definitions([uuid], 5, again=[uuid])) == {uuid}
    domain = driver.conn.lookupByUUID(uuid.bytes)
    driver.conn.defineXML(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE).replace("<vcpu ", "<vcpu current='1' "))
    wait_for(lambda: driver.definitions([uuid], 5), 60, "the event that it was defined")
    monkeypatch.setattr(domains, "DEFINITION_SECONDS", -1.0)
    assert set(driver.definitions([uuid], 5)) == {uuid}


def test_what_virsh_changes_is_found(driver: LibvirtHypervisor, spec: DomainSpec) -> None:
    domain = driver.conn.lookupByUUID(spec.uuid.bytes)
    config = libvirt.VIR_DOMAIN_AFFECT_CONFIG
    domain.setVcpusFlags(3, config | libvirt.VIR_DOMAIN_VCPU_MAXIMUM)
    domain.setVcpusFlags(2, config)
    domain.setMemoryFlags(128 * 1024, config | libvirt.VIR_DOMAIN_MEM_MAXIMUM)
    domain.attachDeviceFlags("<interface type='network'><source network='default'/></interface>", config)
    found = driver.definitions([spec.uuid], 5, again=[spec.uuid])[spec.uuid]
    changes = {d.part: d for d in differences(driver.wanted(spec), found)}
    assert set(changes) == {"vcpus", "memory_mib", "interfaces"}
    assert (changes["vcpus"].found, changes["memory_mib"].found) == (2, 128)


def test_a_foreign_domain_is_taken_apart(driver: LibvirtHypervisor, foreign: DomainSpec) -> None:
    body = driver.dissect(foreign.uuid)
    assert body is not None
    assert (body.name, body.architecture, body.persistent, body.disk_bytes) == (foreign.name, "x86_64", True, {})
    assert as_json(body.definition) == {
        "vcpus": 1,
        "memory_mib": 1024,
        "cpu_quota_percent": None,
        "disks": [["hdc", ""]],
        "interfaces": [],
        "boot": ["network", "hd"],
    }


def test_a_domains_own_disks_have_their_sizes(driver: LibvirtHypervisor, spec: DomainSpec) -> None:
    body = driver.dissect(spec.uuid)
    assert body is not None
    assert body.disk_bytes == {"vda": 2**30}


@pytest.mark.guest
def test_a_mark_restarts_nothing(driver: LibvirtHypervisor, foreign: DomainSpec) -> None:
    driver.start(foreign.uuid)
    pid = qemu_pid(foreign)
    assert driver.look(foreign.uuid).installation is None  # type: ignore[union-attr]
    for _twice in range(2):
        driver.mark(foreign.uuid, project="lab", vm_name="found", generation=3)
    view = driver.look(foreign.uuid)
    assert view is not None
    assert (view.power, view.installation, view.generation) == (Power.ON, foreign.installation, 3)
    assert qemu_pid(foreign) == pid
    assert foreign.name in driver.qemu_log_tail(foreign.uuid, "another-name")
    driver.destroy(foreign.uuid)
    assert view.generation == driver.look(foreign.uuid).generation  # type: ignore[union-attr]


def test_what_stands_on_a_volume_is_told(driver: LibvirtHypervisor, spec: DomainSpec, golden: ImageRef) -> None:
    assert driver.users_of(Pool.DISKS, spec.disk_volume) == [spec.name]
    assert driver.users_of(Pool.DISKS, spec.seed_volume) == [spec.name]
    assert driver.users_of(Pool.SERIAL, spec.serial_volume) == [spec.name]
    assert spec.disk_volume in driver.users_of(Pool.IMAGES, golden.volume)
    assert driver.users_of(Pool.DISKS, "nobodys.qcow2") == []


def test_a_volume_that_others_put_there_is_seen_afresh(driver: LibvirtHypervisor, tmp_path: Path) -> None:
    path = Path(driver._our_disks()) / "put-there.img"
    path.write_bytes(b"x")
    assert "put-there.img" in [view.name for view in driver.list_volumes(Pool.DISKS, afresh=True)]
    assert driver.remove_volume(Pool.DISKS, "put-there.img", exactly=True)


def test_a_damaged_image_is_uploaded_again(
    driver: LibvirtHypervisor, golden: ImageRef, tiny_image_file: Path, tmp_path: Path
) -> None:
    path = Path(driver._path(Pool.IMAGES, golden.volume))
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"damage")
    assert driver.has_image(golden)
    assert driver.image_sha256(golden, lambda: None) != golden.sha256
    wrong = tmp_path / "wrong"
    wrong.write_bytes(b"\0" * golden.size_bytes)
    with pytest.raises(Refused):
        driver.replace_image(golden, wrong, lambda: None)
    assert driver.has_image(golden)
    driver.replace_image(golden, tiny_image_file, lambda: None)
    assert driver.image_sha256(golden, lambda: None) == golden.sha256


def test_a_domain_that_is_gone_cannot_be_marked(driver: LibvirtHypervisor, own_id: str) -> None:
    absent = domain_spec(own_id, network_spec(own_id, "x"), "absent")
    assert driver.dissect(absent.uuid) is None
    assert driver.definitions([absent.uuid], 5) == {}
    with pytest.raises(Gone):
        driver.mark(absent.uuid, project="lab", vm_name="absent", generation=1)
