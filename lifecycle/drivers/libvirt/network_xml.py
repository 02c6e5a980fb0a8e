"""A project's NAT network as libvirt reads it."""

from typing import Final

from lifecycle.drivers.base import AddressBinding, NetworkSpec
from lifecycle.drivers.libvirt.names import stable_uuid
from lifecycle.drivers.libvirt.xml import E, Maker, to_text

_DNSMASQ: Final = Maker("http://libvirt.org/schemas/network/dnsmasq/1.0", "dnsmasq")


def network_xml(spec: NetworkSpec) -> str:
    """NAT, DHCP and DNS; no IPv6. dnsmasq does not ping an address before it gives it: that costs a guest 2.7 s."""
    hosts = spec.cidr.num_addresses
    network = E.network(
        E.name(spec.name),
        E.uuid(str(stable_uuid(spec.name))),
        E.forward(mode="nat"),
        E.bridge(name=spec.bridge, stp="on", delay="0"),
        E.domain(name=spec.domain, localOnly="yes"),
        E.ip(
            E.dhcp(
                E.range(
                    E.lease(expiry=str(spec.lease_minutes), unit="minutes"),
                    start=str(spec.cidr[2]),
                    end=str(spec.cidr[hosts - 2]),
                )
            ),
            address=str(spec.gateway),
            prefix=str(spec.cidr.prefixlen),
        ),
        _DNSMASQ.options(_DNSMASQ.option(value="no-ping")),
    )
    return to_text(network)


def binding_xml(binding: AddressBinding) -> str:
    """A reservation, as `virNetworkUpdate` takes it."""
    return to_text(E.host(mac=binding.mac.lower(), ip=str(binding.ip), name=binding.hostname))
