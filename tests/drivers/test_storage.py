"""Pools, golden images, overlays, seeds and logs on a real host. Every verb is run twice."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from lifecycle.domain.errors import Broken, Gone, Refused
from lifecycle.drivers.base import ImageRef, Pool
from lifecycle.drivers.libvirt import LibvirtHypervisor
from lifecycle.drivers.libvirt.names import pool_name, pool_path
from tests.drivers.lab import GIB

pytestmark = pytest.mark.libvirt


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """An image file of some megabytes that are no image."""
    path = tmp_path / "image.raw"
    path.write_bytes(bytes(range(256)) * 4096 * 5 + b"end")
    return path


def ref(file: Path, name: str) -> ImageRef:
    content = file.read_bytes()
    return ImageRef(name, len(content), hashlib.sha256(content).hexdigest(), "raw")


def nothing() -> None:
    """The lease holds."""


def test_pools_are_laid_out_once(driver: LibvirtHypervisor, own_id: str) -> None:
    driver.ensure_pools()
    driver.ensure_pools()
    for pool in Pool:
        found = driver.conn.storagePoolLookupByName(pool_name(own_id, pool))
        assert found.isActive()
        assert found.autostart()


def test_a_pool_that_somebody_stopped_is_started_when_needed(driver: LibvirtHypervisor, own_id: str) -> None:
    driver.conn.storagePoolLookupByName(pool_name(own_id, Pool.SERIAL)).destroy()
    driver.list_volumes(Pool.SERIAL)
    assert driver.conn.storagePoolLookupByName(pool_name(own_id, Pool.SERIAL)).isActive()


def test_an_image_arrives_whole_and_read_only(driver: LibvirtHypervisor, file: Path, own_id: str) -> None:
    image = ref(file, "whole.raw")
    assert not driver.has_image(image)
    driver.upload_image(image, file, nothing)
    driver.upload_image(image, file, nothing)
    assert driver.has_image(image)
    assert driver.image_sha256(image, nothing) == image.sha256
    volume = driver.conn.storagePoolLookupByName(pool_name(own_id, Pool.IMAGES)).storageVolLookupByName("whole.raw")
    assert "<mode>0444</mode>" in volume.XMLDesc()
    assert driver.remove_volume(Pool.IMAGES, "whole.raw")
    assert not driver.remove_volume(Pool.IMAGES, "whole.raw")


def test_an_upload_that_was_abandoned_never_looks_complete(driver: LibvirtHypervisor, file: Path) -> None:
    image, calls = ref(file, "abandoned.raw"), []

    def lose_the_lease() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        driver.upload_image(image, file, lose_the_lease)
    assert not driver.has_image(image)
    driver.upload_image(image, file, nothing)
    assert driver.has_image(image)
    assert driver.image_sha256(image, nothing) == image.sha256
    driver.remove_volume(Pool.IMAGES, image.volume)


def test_a_damaged_file_never_becomes_an_image(driver: LibvirtHypervisor, file: Path) -> None:
    image = ref(file, "damaged.raw")
    file.write_bytes(b"x" + file.read_bytes()[1:])
    with pytest.raises(Refused, match="checksum"):
        driver.upload_image(image, file, nothing)
    assert not driver.has_image(image)
    with pytest.raises(Refused, match="bytes"):
        driver.upload_image(replace(image, size_bytes=7), file, nothing)
    driver.remove_volume(Pool.IMAGES, image.volume)


def test_the_checksum_of_an_absent_image_is_gone(driver: LibvirtHypervisor, file: Path) -> None:
    with pytest.raises(Gone):
        driver.image_sha256(ref(file, "absent.raw"), nothing)


def test_an_overlay_is_made_once_and_names_its_base(driver: LibvirtHypervisor, golden: ImageRef) -> None:
    assert driver.create_overlay("one.qcow2", golden, GIB)
    assert not driver.create_overlay("one.qcow2", golden, GIB)
    (view,) = [v for v in driver.list_volumes(Pool.DISKS) if v.name == "one.qcow2"]
    assert view.capacity_bytes == GIB
    assert view.allocation_bytes < 2**20
    assert driver.base_of(Pool.DISKS, "one.qcow2") == golden.volume
    driver.write_seed("alone.iso", b"alone")
    assert driver.base_of(Pool.DISKS, "alone.iso") == ""
    assert driver.remove_volume(Pool.DISKS, "alone.iso")
    assert driver.remove_volume(Pool.DISKS, "one.qcow2")
    assert driver.base_of(Pool.DISKS, "one.qcow2") == ""
    assert not driver.remove_volume(Pool.DISKS, "one.qcow2")


def test_an_overlay_needs_its_image_and_is_no_smaller(driver: LibvirtHypervisor, golden: ImageRef) -> None:
    with pytest.raises(Gone):
        driver.create_overlay("two.qcow2", replace(golden, volume="absent.qcow2"), GIB)
    with pytest.raises(Refused, match="smaller"):
        driver.create_overlay("two.qcow2", golden, 2**20)
    assert "two.qcow2" not in [view.name for view in driver.list_volumes(Pool.DISKS)]


def test_a_volume_of_another_kind_is_not_taken_for_an_overlay(driver: LibvirtHypervisor, golden: ImageRef) -> None:
    driver.write_seed("three.qcow2", b"no overlay")
    with pytest.raises(Broken):
        driver.create_overlay("three.qcow2", golden, GIB)
    driver.remove_volume(Pool.DISKS, "three.qcow2")


def test_a_seed_is_written_anew(driver: LibvirtHypervisor) -> None:
    for content in (b"a" * 700_000, b"b" * 10, b"b" * 10):
        driver.write_seed("seed.iso", content)
        assert driver.read_volume(Pool.DISKS, "seed.iso", 0, 10**6) == content
    driver.remove_volume(Pool.DISKS, "seed.iso")


def test_reading_knows_its_bounds(driver: LibvirtHypervisor) -> None:
    driver.write_seed("text.iso", b"0123456789")
    assert driver.read_volume(Pool.DISKS, "text.iso", 3, 4) == b"3456"
    assert driver.read_volume(Pool.DISKS, "text.iso", 8, 100) == b"89"
    assert driver.read_volume(Pool.DISKS, "text.iso", 10, 5) == b""
    assert driver.read_volume(Pool.DISKS, "text.iso", 5000, 5) == b""
    assert driver.read_volume(Pool.DISKS, "none.iso", 0, 5) == b""
    driver.remove_volume(Pool.DISKS, "text.iso")


def test_a_name_cannot_leave_its_pool(driver: LibvirtHypervisor) -> None:
    with pytest.raises(Refused):
        driver.write_seed("../images/evil.iso", b"x")


@pytest.mark.skipif(os.geteuid() != 0, reason="removes a host's file by hand, which takes root")
def test_files_removed_by_hand_are_missed_and_made_anew(
    driver: LibvirtHypervisor, file: Path, golden: ImageRef, own_id: str
) -> None:
    image = ref(file, "byhand.raw")
    driver.upload_image(image, file, nothing)
    driver.create_overlay("byhand.qcow2", golden, GIB)
    for pool, name in ((Pool.IMAGES, image.volume), (Pool.DISKS, "byhand.qcow2")):
        Path(pool_path(own_id, pool), name).unlink()
    assert not driver.has_image(image)
    assert "byhand.qcow2" not in [view.name for view in driver.list_volumes(Pool.DISKS)]
    assert driver.create_overlay("byhand.qcow2", golden, GIB)
    driver.upload_image(image, file, nothing)
    assert driver.has_image(image)
    assert driver.remove_volume(Pool.IMAGES, image.volume)
    assert driver.remove_volume(Pool.DISKS, "byhand.qcow2")
