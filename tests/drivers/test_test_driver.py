"""libvirt's test driver serves the crash matrix: which verbs work there, as the facade's docstring says."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lifecycle.domain.states import Power
from lifecycle.drivers.base import AddressBinding, EventKind, HostEvent, ImageRef, Pool
from lifecycle.drivers.libvirt import LibvirtHypervisor, connect
from tests.drivers.lab import GIB, domain_spec, forget_network, network_spec, wait_for


@pytest.fixture
def fake() -> Iterator[LibvirtHypervisor]:
    """A hypervisor without guests, inside this process."""
    hypervisor = connect("test:///default", "abcdef")
    yield hypervisor
    hypervisor.close()


def test_the_whole_life_of_a_vm(fake: LibvirtHypervisor, tmp_path: Path) -> None:
    spec = domain_spec("abcdef", network_spec("abcdef"))
    file = tmp_path / "image"
    file.write_bytes(b"x" * 1000)
    image = ImageRef("golden.qcow2", 1000, "any")
    events: list[HostEvent] = []
    fake.ensure_pools()
    with fake.events(events.append):
        for _twice in range(2):
            fake.upload_image(image, file, lambda: None)
            fake.ensure_network(spec.network)
            fake.bind_address(spec.network.name, AddressBinding(spec.mac, spec.ip, "web"))
            fake.create_overlay(spec.disk_volume, image, GIB)
            fake.write_seed(spec.seed_volume, b"seed")
            fake.define(spec)
        assert fake.has_image(image)
        assert fake.start(spec.uuid)
        assert not fake.start(spec.uuid)
        assert fake.save_memory(spec.uuid)
        view = fake.look(spec.uuid)
        assert view is not None
        assert (view.power, view.installation, view.generation) == (Power.SAVED, "abcdef", 1)
        assert [v for v in fake.list_domains() if v.uuid == spec.uuid] == [view]
        assert fake.start(spec.uuid)
        fake.reset(spec.uuid)
        assert fake.ask_shutdown(spec.uuid)
        assert not fake.destroy(spec.uuid)
        assert fake.undefine(spec.uuid)
        assert not fake.undefine(spec.uuid)
        wait_for(lambda: events and events[-1].kind is EventKind.UNDEFINED, 60, "the last event")
    assert [e.detail for e in events if e.kind is EventKind.STOPPED] == ["saved", "shutdown"]
    assert fake.remove_volume(Pool.DISKS, spec.disk_volume)
    fake.unbind_address(spec.network.name, spec.mac)
    forget_network(fake, spec.network.name)


def test_what_it_cannot_is_empty(fake: LibvirtHypervisor) -> None:
    fake.ensure_pools()
    fake.write_seed("seed.iso", b"content")
    assert fake.read_volume(Pool.DISKS, "seed.iso", 0, 10) == b""
    assert fake.leases("default") == []
    assert fake.probe_acceleration().domain_type == "test"
    assert "test" in fake.inventory().domain_types
