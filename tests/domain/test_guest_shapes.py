"""Sizes of VMs: vCPUs, memory, disks, grace periods."""

import pytest

from lifecycle.domain.errors import InvalidInput
from lifecycle.domain.guests import check_disk, check_grace, check_shape, parse_custom_machine_type

TWO_TIB = 2 * 1024 * 1024  # in MiB


@pytest.mark.parametrize(("vcpus", "memory_mib"), [(1, 80), (1, 128), (64, 1024 * 1024), (2, 4096)])
def test_a_possible_shape_is_taken(vcpus: int, memory_mib: int) -> None:
    assert check_shape(vcpus, memory_mib) == (vcpus, memory_mib)


@pytest.mark.parametrize("vcpus", [0, -1, -64, 65, 10**9])
def test_impossible_vcpus_are_refused_by_their_field(vcpus: int) -> None:
    with pytest.raises(InvalidInput, match=f"^{vcpus} vCPUs are not possible: choose 1 to 64") as refused:
        check_shape(vcpus, 1024)
    assert refused.value.field == "vcpus"


@pytest.mark.parametrize("memory_mib", [0, -1, 79, TWO_TIB, 10**12])
def test_impossible_memory_is_refused_by_its_field(memory_mib: int) -> None:
    with pytest.raises(InvalidInput, match=f"^{memory_mib} MiB of memory are not possible") as refused:
        check_shape(1, memory_mib)
    assert refused.value.field == "memory_mib"


def test_a_custom_machine_type_is_read() -> None:
    assert parse_custom_machine_type("custom-2-4096") == (2, 4096)


@pytest.mark.parametrize(("name", "shape"), [("custom-0-512", (0, 512)), ("custom--1-512", (-1, 512))])
def test_a_custom_machine_type_with_absurd_numbers_is_read_so_that_it_can_be_refused(
    name: str, shape: tuple[int, int]
) -> None:
    assert parse_custom_machine_type(name) == shape


@pytest.mark.parametrize(
    "name",
    ["", "custom", "custom-2", "custom-2-", "custom-a-b", "custom-2-4096-8", "Custom-2-4096", "custom-2-4096\n",
     "custom-٢-٤٠٩٦", "custom-9999999999999-1", "tiny-1"],
)  # fmt: skip
def test_what_is_no_custom_machine_type_is_not_taken_for_one(name: str) -> None:
    assert parse_custom_machine_type(name) is None


@pytest.mark.parametrize("size_gib", [1, 10, 65_536])
def test_a_possible_disk_is_taken(size_gib: int) -> None:
    assert check_disk(size_gib, 1) == size_gib


@pytest.mark.parametrize("size_gib", [0, -1, 65_537, 10**12])
def test_an_impossible_disk_is_refused(size_gib: int) -> None:
    with pytest.raises(InvalidInput, match=f"^{size_gib} GiB of disk are not possible") as refused:
        check_disk(size_gib, 1)
    assert refused.value.field == "disk_gib"


def test_a_disk_smaller_than_its_image_is_refused_with_both_sizes() -> None:
    with pytest.raises(InvalidInput, match="at least 10 GiB; 9 GiB are too small"):
        check_disk(9, 10)


def test_a_disk_as_large_as_its_image_is_taken() -> None:
    assert check_disk(10, 10) == 10


@pytest.mark.parametrize("seconds", [0, 90, 3600])
def test_a_possible_grace_period_is_taken(seconds: int) -> None:
    assert check_grace(seconds) == seconds


@pytest.mark.parametrize("seconds", [-1, 3601, 10**9])
def test_an_impossible_grace_period_is_refused(seconds: int) -> None:
    with pytest.raises(InvalidInput, match="0 to 3600 seconds") as refused:
        check_grace(seconds)
    assert refused.value.field == "stop_grace_seconds"
