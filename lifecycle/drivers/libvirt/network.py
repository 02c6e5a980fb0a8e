"""Projects' networks: defined, started, bindings in and out, leases."""

from datetime import UTC, datetime
from ipaddress import IPv4Address
from typing import Any, Final

import libvirt

from lifecycle.domain.errors import Refused
from lifecycle.drivers.base import AddressBinding, Lease, NetworkSpec
from lifecycle.drivers.libvirt.errors import absent_is_fine, code
from lifecycle.drivers.libvirt.network_xml import binding_xml, network_xml
from lifecycle.drivers.libvirt.session import Session, verb
from lifecycle.drivers.libvirt.xml import Element, described, parse, to_text

_ADD: Final = libvirt.VIR_NETWORK_UPDATE_COMMAND_ADD_LAST
_DELETE: Final = libvirt.VIR_NETWORK_UPDATE_COMMAND_DELETE
_HOSTS: Final = libvirt.VIR_NETWORK_SECTION_IP_DHCP_HOST
_LIVE: Final = libvirt.VIR_NETWORK_UPDATE_AFFECT_LIVE
_CONFIG: Final = libvirt.VIR_NETWORK_UPDATE_AFFECT_CONFIG


class NetworkVerbs(Session):
    """The verbs about networks."""

    @verb
    def ensure_network(self, spec: NetworkSpec) -> None:
        """Define, start and autostart the network. `Refused` when one of that name has another range or bridge."""
        with absent_is_fine():
            self._ensure_started(self._found(spec))
            return
        try:
            network = self.conn.networkDefineXML(network_xml(spec))
        except libvirt.libvirtError as error:
            with absent_is_fine():
                self._ensure_started(self._found(spec))  # another worker was faster
                return
            raise error from None
        self._ensure_started(network)

    def _found(self, spec: NetworkSpec) -> Any:
        network = self.conn.networkLookupByName(spec.name)
        tree = _tree(network)
        bridge, ip = tree.find("bridge"), tree.find("ip")
        if bridge is None or ip is None or (bridge.get("name"), ip.get("address")) != (spec.bridge, str(spec.gateway)):
            raise Refused(f"network {spec.name} is there with another bridge or address range")
        return network

    def _ensure_started(self, network: Any) -> None:
        if not network.isActive():
            try:
                network.create()
            except libvirt.libvirtError:
                if not network.isActive():
                    raise
        if not network.autostart():
            network.setAutostart(True)

    @verb
    def bind_address(self, network: str, binding: AddressBinding) -> None:
        """Reserve the address, live and persistent; what else claims its MAC, address or name gives way.

        The test driver keeps no reservations: there nothing is done.
        """
        if self.is_test:
            return
        found = self.conn.networkLookupByName(network)
        for flag, tree in _descriptions(found):
            claims = [host for host in tree.iterfind("ip/dhcp/host") if _claims(host, binding)]
            if [_binding(host) for host in claims] == [_wanted(binding)]:
                continue
            for host in claims:
                _update(found, _DELETE, host, flag)
            _update(found, _ADD, parse(binding_xml(binding)), flag)

    @verb
    def unbind_address(self, network: str, mac: str) -> None:
        """Forget the reservation of the MAC; a network that is gone has none."""
        if self.is_test:
            return
        with absent_is_fine():
            found = self.conn.networkLookupByName(network)
            for flag, tree in _descriptions(found):
                for host in tree.iterfind("ip/dhcp/host"):
                    if host.get("mac", "").lower() == mac.lower():
                        _update(found, _DELETE, host, flag)

    @verb
    def bound(self, network: str) -> frozenset[str]:
        """The MACs that have an address reserved, live or persistent."""
        if self.is_test:
            return frozenset()
        with absent_is_fine():
            found = self.conn.networkLookupByName(network)
            hosts = [host for _flag, tree in _descriptions(found) for host in tree.iterfind("ip/dhcp/host")]
            return frozenset(host.get("mac", "").lower() for host in hosts)
        return frozenset()

    @verb
    def leases(self, network: str) -> list[Lease]:
        """The addresses that guests hold now; none when the network is stopped or absent."""
        if self.is_test:
            return []
        with absent_is_fine():
            found = self.conn.networkLookupByName(network)
            return [
                _lease(network, lease) for lease in found.DHCPLeases() if lease["type"] == libvirt.VIR_IP_ADDR_TYPE_IPV4
            ]
        return []


def _tree(network: Any, flags: int = 0) -> Element:
    return described(network, flags)


def _descriptions(network: Any) -> list[tuple[int, Element]]:
    """The running and the persistent description, with the flag that changes each."""
    persistent = (_CONFIG, _tree(network, libvirt.VIR_NETWORK_XML_INACTIVE))
    return [(_LIVE, _tree(network)), persistent] if network.isActive() else [persistent]


def _claims(host: Element, binding: AddressBinding) -> bool:
    mac, ip, name = _binding(host)
    return mac == binding.mac.lower() or ip == str(binding.ip) or name == binding.hostname


def _binding(host: Element) -> tuple[str, str, str]:
    return host.get("mac", "").lower(), host.get("ip", ""), host.get("name", "")


def _wanted(binding: AddressBinding) -> tuple[str, str, str]:
    return binding.mac.lower(), str(binding.ip), binding.hostname


def _update(network: Any, command: int, host: Element, flag: int) -> None:
    """Adding what is there and deleting what is not are successes: another worker was faster."""
    xml = to_text(host)
    try:
        network.update(command, _HOSTS, -1, xml, flag)
    except libvirt.libvirtError as error:
        if code(error) != libvirt.VIR_ERR_OPERATION_INVALID or not _is_done(network, command, host, flag):
            raise


def _is_done(network: Any, command: int, host: Element, flag: int) -> bool:
    tree = dict(_descriptions(network)).get(flag)
    there = tree is not None and any(_binding(other) == _binding(host) for other in tree.iterfind("ip/dhcp/host"))
    return there is (command == _ADD)


def _lease(network: str, lease: dict[str, Any]) -> Lease:
    return Lease(
        network=network,
        mac=lease["mac"].lower(),
        ip=IPv4Address(lease["ipaddr"]),
        hostname=lease["hostname"] or "",
        expires_at=datetime.fromtimestamp(lease["expirytime"], UTC),
    )
