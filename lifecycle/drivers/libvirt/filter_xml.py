"""A VM's packet filter: who it may claim to be, and whom of the host it may reach.

All rules work on Ethernet frames at the guest's own port, so that they need no connection tracking. "out" is from
the guest. Priorities order the rules; the first that matches decides, and what matches none is dropped:

    frames with another MAC                             dropped
    ARP in the VM's own name (or a probe from 0.0.0.0)  allowed
    RARP that QEMU sends after a restore                allowed
    DHCP requests                                       allowed
    IPv4 with another source address                    dropped
    DNS to the gateway, DHCP renewal at the gateway     allowed
    answers to the host: TCP and UDP to the ports it
    calls from, and ping                                allowed
    everything else to the gateway, broadcasts          dropped
    the project's own network                           allowed
    loopback, link-local, multicast; protected
    addresses and networks                              dropped
    all other IPv4, in and out                          allowed
    IPv6 and every other protocol                       dropped
"""

from collections.abc import Iterator
from ipaddress import IPv4Network, ip_network
from typing import Final

from lifecycle.drivers.base import DomainSpec
from lifecycle.drivers.libvirt.names import filter_name, stable_uuid
from lifecycle.drivers.libvirt.xml import E, Element, to_text

_BROADCAST_MAC: Final = "ff:ff:ff:ff:ff:ff"
_EVERYBODY: Final = "255.255.255.255"
_NOBODY: Final = "0.0.0.0"  # noqa: S104  # the source of who has no address yet

#: Loopback (some hosts route it); link-local, where clouds give their machines' credentials; multicast and broadcast.
_NEVER: Final = (IPv4Network("127.0.0.0/8"), IPv4Network("169.254.0.0/16"), IPv4Network("224.0.0.0/3"))

#: The ports Linux calls from (net.ipv4.ip_local_port_range). Without connection tracking an answer to the host's ssh
#: is told by them alone; so nothing that guests must not reach may listen there on the gateway's address.
_CALLER_PORTS: Final = {"dstportstart": "32768", "dstportend": "60999"}


def filter_xml(spec: DomainSpec) -> str:
    """The filter of one VM. Its id follows from its name, so that it can be defined again."""
    name = filter_name(spec.installation, spec.uuid)
    rules = [_rule(priority, *rule) for priority, rule in enumerate(_rules(spec), start=1)]
    return to_text(E.filter(E.uuid(str(stable_uuid(name))), *rules, name=name, chain="root"))


_Rule = tuple[str, str, Element]


def _rule(priority: int, action: str, direction: str, match: Element) -> Element:
    return E.rule(match, action=action, direction=direction, priority=str(priority))


def _rules(spec: DomainSpec) -> Iterator[_Rule]:
    cidr = spec.network.cidr
    yield "drop", "out", E.mac(match="no", srcmacaddr=spec.mac)
    yield from _address_resolution(spec)
    yield "accept", "out", E.ip(protocol="udp", dstipaddr=_EVERYBODY, srcportstart="68", dstportstart="67")
    yield "drop", "out", E.ip(match="no", srcipaddr=str(spec.ip))
    yield from _gateway(spec)
    yield "drop", "out", _to(IPv4Network(cidr.broadcast_address))
    yield "accept", "out", _to(cidr)
    yield from (("drop", "out", _to(network)) for network in _unreachable(spec))
    yield "accept", "inout", E.ip()
    yield "drop", "inout", E.mac()


def _address_resolution(spec: DomainSpec) -> Iterator[_Rule]:
    yield "accept", "out", E.arp(arpsrcmacaddr=spec.mac, arpsrcipaddr=str(spec.ip))
    yield "accept", "out", E.arp(arpsrcmacaddr=spec.mac, arpsrcipaddr=_NOBODY)
    yield "accept", "in", E.arp()
    yield "accept", "out", E.rarp(dstmacaddr=_BROADCAST_MAC, opcode="Request_Reverse", arpsrcmacaddr=spec.mac)


def _gateway(spec: DomainSpec) -> Iterator[_Rule]:
    gateway = str(spec.network.gateway)
    for protocol, port in (("udp", "53"), ("tcp", "53"), ("udp", "67")):
        yield "accept", "out", E.ip(dstipaddr=gateway, protocol=protocol, dstportstart=port)
    for protocol in ("tcp", "udp"):
        yield "accept", "out", E.ip(dstipaddr=gateway, protocol=protocol, **_CALLER_PORTS)
    yield "accept", "out", E.ip(dstipaddr=gateway, protocol="icmp")
    yield "drop", "out", E.ip(dstipaddr=gateway)


def _unreachable(spec: DomainSpec) -> Iterator[IPv4Network]:
    """What no guest may reach, and the protected addresses; IPv6 ones need no rule, all of it is dropped."""
    yield from _NEVER
    for text in dict.fromkeys(spec.protected_addresses):
        network = ip_network(text, strict=False)
        if isinstance(network, IPv4Network):
            yield network


def _to(network: IPv4Network) -> Element:
    return E.ip(dstipaddr=str(network.network_address), dstipmask=str(network.prefixlen))
