"""From inside guests: what they may reach, and whom they may not pretend to be."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest

from lifecycle.drivers.libvirt import LibvirtHypervisor
from tests.drivers.conftest import Guests
from tests.drivers.lab import Guest, domain_spec, forget_network, network_spec, own_addresses

pytestmark = [pytest.mark.libvirt, pytest.mark.guest, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def trio(driver: LibvirtHypervisor, guests: Guests, own_id: str) -> Iterator[tuple[Guest, Guest, Guest]]:
    """Two guests of one network, and one of another."""
    # No lease is renewed meanwhile: a guest that renews its own sets its addresses anew.
    one, two = (replace(network_spec(own_id, letter), lease_minutes=120) for letter in "ij")
    made = (
        Guest(domain_spec(own_id, one, "alice", host=5), guests.key),
        Guest(domain_spec(own_id, one, "bob", host=6), guests.key),
        Guest(domain_spec(own_id, two, "carol", host=5), guests.key),
    )
    guests.start(*made)
    yield made
    for guest in made:
        driver.destroy(guest.spec.uuid)
        driver.undefine(guest.spec.uuid)
    for network in (one, two):
        forget_network(driver, network.name)


@pytest.fixture
def alice(trio: tuple[Guest, Guest, Guest]) -> Guest:
    return trio[0]


@pytest.fixture
def bob(trio: tuple[Guest, Guest, Guest]) -> Guest:
    return trio[1]


@pytest.fixture
def carol(trio: tuple[Guest, Guest, Guest]) -> Guest:
    return trio[2]


@contextmanager
def listening() -> Iterator[int]:
    """A port on all addresses of this host, below those that Linux calls from; who connects is greeted."""
    with socket.socket() as listener:
        for port in range(18080, 18180):
            try:
                listener.bind(("0.0.0.0", port))  # noqa: S104  # the very thing a guest must not reach
            except OSError:
                continue
            listener.listen(16)
            threading.Thread(target=_greet, args=(listener,), daemon=True).start()
            yield port
            listener.shutdown(socket.SHUT_RDWR)
            return
    raise AssertionError("no free port")


def _greet(listener: socket.socket) -> None:
    with suppress(OSError):
        while True:
            connection, _address = listener.accept()
            connection.close()


def test_the_host_reaches_the_guest(alice: Guest) -> None:
    assert alice.says("hostname") == "alice"


def test_names_are_resolved_by_the_gateway(alice: Guest, bob: Guest) -> None:
    answer = alice.says(f"nslookup bob.i.internal {alice.spec.network.gateway}")
    assert str(bob.spec.ip) in answer


def test_the_lease_is_renewed_at_the_gateway(alice: Guest) -> None:
    alice.says("udhcpc -i eth0 -n -q -f -t 3 -T 3 -s /bin/true")


def test_guests_of_a_project_reach_each_other(alice: Guest, bob: Guest) -> None:
    assert alice.connects(str(bob.spec.ip), 22)


def test_no_address_of_the_host_is_reached(alice: Guest, carol: Guest) -> None:
    with listening() as port:
        for address in (str(alice.spec.network.gateway), str(carol.spec.network.gateway), *own_addresses()):
            assert alice.is_kept_from(address, port), address


def test_what_answers_the_host_opens_no_way_to_its_services(alice: Guest) -> None:
    with listening() as port:
        for own in (53, 68):
            assert alice.is_kept_from(str(alice.spec.network.gateway), port, f"-p {own}")
    assert alice.connects(str(alice.spec.network.gateway), 53)


def test_another_projects_guest_is_not_reached_in_either_direction(alice: Guest, carol: Guest) -> None:
    assert alice.is_kept_from(str(carol.spec.ip), 22)
    assert carol.is_kept_from(str(alice.spec.ip), 22)


def test_networks_are_kept_apart_by_libvirts_rules_alone(driver: LibvirtHypervisor, alice: Guest, carol: Guest) -> None:
    """Without protected ranges the other network's gateway, an address of the host, is open: its guests are not."""
    for guest in (alice, carol):
        driver.define(replace(guest.spec, protected_addresses=()))
    try:
        with listening() as port:
            assert alice.connects(str(carol.spec.network.gateway), port)
        assert alice.is_kept_from(str(carol.spec.ip), 22)
        assert carol.is_kept_from(str(alice.spec.ip), 22)
    finally:
        for guest in (alice, carol):
            driver.define(guest.spec)


def reaches_bob(alice: Guest, bob: Guest, change: str, back: str, seconds: int = 20) -> bool:
    """Whether bob's port answers alice between `change` and `back`, all run in one go: ssh may not survive it."""
    script = f"{change}; nc -w {seconds} {bob.spec.ip} 22 </dev/null >/dev/null 2>&1; echo $? > /tmp/code; {back}"
    alice.run(f"rm -f /tmp/code; ({script}) >/dev/null 2>&1 & wait")
    return alice.says("cat /tmp/code") == "0"


def test_a_foreign_address_is_not_believed(alice: Guest, bob: Guest) -> None:
    own, foreign = str(alice.spec.ip), str(alice.spec.network.cidr[77])
    route = f"ip addr add {foreign}/32 dev eth0; ip route add {bob.spec.ip}/32 dev eth0 src {{}}"
    back = f"ip route del {bob.spec.ip}/32 dev eth0; ip addr del {foreign}/32 dev eth0"
    assert reaches_bob(alice, bob, route.format(own), back)
    assert not reaches_bob(alice, bob, route.format(foreign), back, 5)


def test_a_foreign_mac_is_not_believed(alice: Guest, bob: Guest) -> None:
    set_mac = "ip link set eth0 down; ip link set eth0 address {}; ip link set eth0 up; sleep 1"
    own, foreign = set_mac.format(alice.spec.mac), set_mac.format("52:54:00:12:34:56")
    assert reaches_bob(alice, bob, own, own)
    assert not reaches_bob(alice, bob, foreign, own, 5)


def test_a_false_answer_to_arp_reaches_nobody(alice: Guest, bob: Guest) -> None:
    gateway = alice.spec.network.gateway
    known = f"ping -c 1 -W 5 {gateway} >/dev/null; ip neigh show {gateway}"
    before = bob.says(known).split()
    assert "lladdr" in before
    alice.run(f"arping -U -c 3 -I eth0 -s {gateway} {bob.spec.ip}")
    after = bob.says(f"ip neigh show {gateway}").split()
    assert after[: before.index("lladdr") + 2] == before[: before.index("lladdr") + 2]


def test_ipv6_goes_nowhere(alice: Guest, bob: Guest) -> None:
    """In one go, and again when the guest's DHCP client took the addresses away in the middle of it."""
    ready = "for i in 1 2 3 4 5; do ping -6 -c 1 -W 2 {0} >/dev/null && break; sleep 1; done"
    add = "ip -6 addr add {0}/64 dev eth0; " + ready
    there = "ip addr show dev eth0 | grep -q {}"
    for _attempt in range(3):
        bob.says(add.format("fd99::2"))
        alice.says(f"({add.format('fd99::1')}; ping -6 -c 2 -W 3 fd99::2; echo $? > /tmp/code) >/dev/null 2>&1")
        if alice.run(there.format("fd99::1")).returncode == 0 == bob.run(there.format("fd99::2")).returncode:
            assert alice.says("cat /tmp/code") != "0"
            return
    raise AssertionError("the guests do not keep IPv6 addresses")
