"""A VM's packet filter: who it may claim to be, and whom of the host it may reach.

The rules look at each Ethernet frame that the guest sends, at its own port. They are few on purpose (libvirt runs a
program for each, at every start), and none needs connection tracking: libvirt's stateful rules would accept
forwarded packets before the rules that keep networks apart. The first that matches decides:

    frames with another MAC                             dropped
    ARP in the VM's own name                            allowed
    IPv6, and all else that is not IPv4                 dropped
    DHCP requests                                       allowed
    other source addresses                              dropped
    DNS to the gateway, DHCP renewal at the gateway     allowed
    answers to the host: TCP to the ports it calls
    from, and ping                                      allowed
    everything else to the gateway, broadcasts          dropped
    the project's own network                           allowed
    loopback, link-local, multicast; protected
    addresses and networks                              dropped
    everything else                                     allowed

The host itself reaches the guest (by ssh, for one) from the gateway's address. To a rule without memory an answer is
any packet to a port that the host may have called from, so a guest can send such ones unasked: see `_CALLER_PORTS`.
"""

from collections.abc import Iterator
from ipaddress import IPv4Network, ip_network
from typing import Final

from lifecycle.drivers.base import DomainSpec
from lifecycle.drivers.libvirt.names import filter_name, stable_uuid
from lifecycle.drivers.libvirt.xml import E, Element, to_text

#: Loopback (some hosts route it); link-local, where clouds give their machines' credentials; multicast and broadcast.
_NEVER: Final = (IPv4Network("127.0.0.0/8"), IPv4Network("169.254.0.0/16"), IPv4Network("224.0.0.0/3"))

#: The ports Linux calls from (net.ipv4.ip_local_port_range). What guests must not reach may not listen there on the
#: gateway's address, nor on all addresses.
_CALLER_PORTS: Final = {"dstportstart": "32768", "dstportend": "60999"}


def filter_xml(spec: DomainSpec) -> str:
    """The filter of one VM. Its id follows from its name, so that it can be defined again."""
    name = filter_name(spec.installation, spec.uuid)
    rules = [_rule(priority, *rule) for priority, rule in enumerate(_rules(spec), start=1)]
    return to_text(E.filter(E.uuid(str(stable_uuid(name))), *rules, name=name, chain="root"))


_Rule = tuple[str, Element]


def _rule(priority: int, action: str, match: Element) -> Element:
    return E.rule(match, action=action, direction="out", priority=str(priority))


def _rules(spec: DomainSpec) -> Iterator[_Rule]:
    cidr = spec.network.cidr
    yield "drop", E.mac(match="no", srcmacaddr=spec.mac)
    yield "accept", E.arp(arpsrcmacaddr=spec.mac, arpsrcipaddr=str(spec.ip))
    yield "drop", E.mac(match="no", protocolid="ipv4")
    yield "accept", E.ip(protocol="udp", dstipaddr="255.255.255.255", srcportstart="68", dstportstart="67")
    yield "drop", E.ip(match="no", srcipaddr=str(spec.ip))
    yield from _gateway(str(spec.network.gateway))
    yield "drop", _to(IPv4Network(cidr.broadcast_address))
    yield "accept", _to(cidr)
    yield from (("drop", _to(network)) for network in _unreachable(spec))


def _gateway(address: str) -> Iterator[_Rule]:
    yield "accept", E.ip(dstipaddr=address, protocol="tcp", dstportstart="53")
    yield "accept", E.ip(dstipaddr=address, protocol="udp", dstportstart="53")
    yield "accept", E.ip(dstipaddr=address, protocol="udp", srcportstart="68", dstportstart="67")
    yield "accept", E.ip(dstipaddr=address, protocol="tcp", **_CALLER_PORTS)
    yield "accept", E.ip(dstipaddr=address, protocol="icmp")
    yield "drop", E.ip(dstipaddr=address)


def _unreachable(spec: DomainSpec) -> Iterator[IPv4Network]:
    """What no guest may reach, and the protected addresses; IPv6 ones need no rule, all of it is dropped."""
    yield from _NEVER
    for text in dict.fromkeys(spec.protected_addresses):
        network = ip_network(text, strict=False)
        if isinstance(network, IPv4Network):
            yield network


def _to(network: IPv4Network) -> Element:
    return E.ip(dstipaddr=str(network.network_address), dstipmask=str(network.prefixlen))
