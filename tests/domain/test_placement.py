"""Choosing a host, and saying why not."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.domain.placement import Need, Room, choose, why_not

NEED = Need(vcpus=2, memory_mib=1024, disk_gib=10, architecture="x86_64")
ROOM = Room(
    host_id=1,
    name="host-1",
    schedulable=True,
    healthy=True,
    architecture="x86_64",
    vcpus=8,
    memory_mib=8192,
    disk_gib=100,
)


def test_a_host_with_room_fits() -> None:
    assert why_not(ROOM, NEED) == ""


def test_a_host_with_exactly_enough_fits() -> None:
    assert why_not(replace(ROOM, vcpus=2, memory_mib=1024, disk_gib=10), NEED) == ""


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"healthy": False}, "the host does not answer"),
        ({"schedulable": False}, "the host takes no new VMs"),
        ({"architecture": "aarch64"}, "the host is aarch64, the image needs x86_64"),
        ({"vcpus": 1}, "2 vCPUs wanted, 1 free"),
        ({"memory_mib": 1023}, "1024 MiB of memory wanted, 1023 free"),
        ({"disk_gib": 0}, "10 GiB of disk wanted, 0 free"),
        ({"vcpus": 0, "memory_mib": 0}, "2 vCPUs wanted, 0 free; 1024 MiB of memory wanted, 0 free"),
        ({"vcpus": -3}, "2 vCPUs wanted, 0 free"),
    ],
)
def test_a_host_that_does_not_fit_says_why(changes: dict[str, object], reason: str) -> None:
    assert why_not(replace(ROOM, **changes), NEED) == reason  # type: ignore[arg-type]  # one test for all fields


def test_the_host_with_most_memory_left_is_chosen() -> None:
    small, large = replace(ROOM, memory_mib=2048), replace(ROOM, host_id=2, name="host-2", memory_mib=4096)
    assert choose([small, large], NEED).host_id == 2
    assert choose([large, small], NEED).host_id == 2


def test_among_equal_hosts_the_first_is_chosen() -> None:
    assert choose([replace(ROOM, host_id=2), ROOM], NEED).host_id == 1


def test_when_none_fits_every_host_says_why() -> None:
    hosts = [replace(ROOM, healthy=False), replace(ROOM, host_id=2, name="host-2", vcpus=0)]
    choice = choose(hosts, NEED)
    assert choice.host_id is None
    assert choice.reasons == {"host-1": "the host does not answer", "host-2": "2 vCPUs wanted, 0 free"}


def test_without_hosts_none_is_chosen() -> None:
    assert choose([], NEED).host_id is None


def test_a_vm_with_disks_stays_on_the_host_that_holds_them() -> None:
    roomier = replace(ROOM, host_id=2, name="host-2", memory_mib=99_999)
    assert choose([ROOM, roomier], NEED, pinned_to=1).host_id == 1


def test_a_vm_with_disks_may_go_on_where_no_new_ones_are_taken() -> None:
    assert choose([replace(ROOM, schedulable=False)], NEED, pinned_to=1).host_id == 1


def test_a_vm_with_disks_has_no_other_host_when_its_own_is_full() -> None:
    full, roomy = replace(ROOM, memory_mib=0), replace(ROOM, host_id=2, name="host-2")
    choice = choose([full, roomy], NEED, pinned_to=1)
    assert choice.host_id is None
    assert set(choice.reasons) == {"host-1"}


amounts = st.integers(min_value=-10, max_value=50)
rooms = st.builds(
    replace, st.just(ROOM), vcpus=amounts, memory_mib=amounts, disk_gib=amounts, healthy=st.booleans(),
    schedulable=st.booleans(), host_id=st.integers(1, 9),
)  # fmt: skip
needs = st.builds(Need, st.integers(0, 40), st.integers(0, 40), st.integers(0, 40), st.just("x86_64"))


@given(st.lists(rooms, max_size=9, unique_by=lambda room: room.host_id), needs)
def test_a_chosen_host_has_room_and_a_refusal_names_every_reason(hosts: list[Room], need: Need) -> None:
    hosts = [replace(room, name=f"host-{room.host_id}") for room in hosts]
    choice = choose(hosts, need)
    if choice.host_id is None:
        assert set(choice.reasons) == {room.name for room in hosts}
        assert all(choice.reasons.values())
        return
    (room,) = [room for room in hosts if room.host_id == choice.host_id]
    assert room.healthy
    assert room.schedulable
    assert (room.vcpus, room.memory_mib, room.disk_gib) >= (0, 0, 0)
    assert need.vcpus <= room.vcpus
    assert need.memory_mib <= room.memory_mib
    assert need.disk_gib <= room.disk_gib
