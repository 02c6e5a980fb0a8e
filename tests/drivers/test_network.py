"""Projects' networks on a real host."""

from collections.abc import Iterator
from dataclasses import replace

import libvirt
import pytest

from lifecycle.domain.errors import Gone, Refused
from lifecycle.drivers.base import AddressBinding, NetworkSpec
from lifecycle.drivers.libvirt import LibvirtHypervisor
from lifecycle.drivers.libvirt.xml import described
from tests.drivers.lab import forget_network, network_spec

pytestmark = pytest.mark.libvirt

MAC = "52:54:00:00:00:0a"


@pytest.fixture(scope="module")
def network(driver: LibvirtHypervisor, own_id: str) -> Iterator[NetworkSpec]:
    """A network that is up."""
    spec = network_spec(own_id, "n")
    driver.ensure_network(spec)
    yield spec
    forget_network(driver, spec.name)


def bindings(driver: LibvirtHypervisor, name: str) -> list[list[tuple[str | None, ...]]]:
    """(mac, ip, name) of the running and of the persistent description."""
    found = driver.conn.networkLookupByName(name)
    trees = (described(found), described(found, libvirt.VIR_NETWORK_XML_INACTIVE))
    return [[(h.get("mac"), h.get("ip"), h.get("name")) for h in tree.iterfind("ip/dhcp/host")] for tree in trees]


def test_a_network_is_made_once_and_started_again(driver: LibvirtHypervisor, network: NetworkSpec) -> None:
    driver.ensure_network(network)
    found = driver.conn.networkLookupByName(network.name)
    assert found.isActive()
    assert found.autostart()
    found.destroy()
    driver.ensure_network(network)
    assert found.isActive()


def test_another_range_under_the_same_name_is_refused(
    driver: LibvirtHypervisor, network: NetworkSpec, own_id: str
) -> None:
    with pytest.raises(Refused, match="another"):
        driver.ensure_network(replace(network, cidr=network_spec(own_id).cidr))


def test_a_binding_is_live_and_persistent_and_replaced(driver: LibvirtHypervisor, network: NetworkSpec) -> None:
    cidr = network.cidr
    for binding in (
        AddressBinding(MAC, cidr[5], "web"),
        AddressBinding(MAC, cidr[5], "web"),
        AddressBinding(MAC.upper(), cidr[6], "web"),  # another address for the MAC
        AddressBinding("52:54:00:00:00:0b", cidr[6], "db"),  # the address of a VM that went without a word
    ):
        driver.bind_address(network.name, binding)
        wanted = [(binding.mac.lower(), str(binding.ip), binding.hostname)]
        assert bindings(driver, network.name) == [wanted, wanted]
        assert driver.bound(network.name) == {binding.mac.lower()}
    driver.unbind_address(network.name, "52:54:00:00:00:0B")
    driver.unbind_address(network.name, "52:54:00:00:00:0b")
    assert bindings(driver, network.name) == [[], []]
    assert driver.bound(network.name) == driver.bound("vmp-no-such-network") == frozenset()


def test_bindings_live_side_by_side(driver: LibvirtHypervisor, network: NetworkSpec) -> None:
    cidr = network.cidr
    driver.bind_address(network.name, AddressBinding(MAC, cidr[7], "one"))
    driver.bind_address(network.name, AddressBinding("52:54:00:00:00:0c", cidr[8], "two"))
    driver.unbind_address(network.name, MAC)
    assert bindings(driver, network.name)[0] == [("52:54:00:00:00:0c", str(cidr[8]), "two")]
    driver.unbind_address(network.name, "52:54:00:00:00:0c")


def test_a_stopped_network_keeps_and_takes_bindings(driver: LibvirtHypervisor, network: NetworkSpec) -> None:
    driver.conn.networkLookupByName(network.name).destroy()
    driver.bind_address(network.name, AddressBinding(MAC, network.cidr[9], "off"))
    driver.ensure_network(network)
    wanted = [(MAC, str(network.cidr[9]), "off")]
    assert bindings(driver, network.name) == [wanted, wanted]
    driver.unbind_address(network.name, MAC)


def test_what_is_absent(driver: LibvirtHypervisor, own_id: str) -> None:
    name = f"vmp-{own_id}-absent"
    assert driver.leases(name) == []
    driver.unbind_address(name, MAC)
    with pytest.raises(Gone):
        driver.bind_address(name, AddressBinding(MAC, network_spec(own_id).cidr[5], "web"))
