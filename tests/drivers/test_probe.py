"""Acceleration is found out by trying."""

import pytest

from lifecycle.drivers.base import Pool
from lifecycle.drivers.libvirt import LibvirtHypervisor
from lifecycle.drivers.libvirt.kvm_probe import BOOT_SECTOR, SECONDS, Probe

pytestmark = pytest.mark.libvirt


def test_the_probe_is_a_boot_sector() -> None:
    assert len(BOOT_SECTOR) == 512
    assert BOOT_SECTOR[510:] == b"\x55\xaa"


@pytest.fixture
def probe(driver: LibvirtHypervisor, own_id: str) -> Probe:
    return Probe(driver.conn, own_id, "x86_64")


def test_without_kvm_the_control_still_runs(probe: Probe) -> None:
    verdict = probe.verdict(("qemu",))
    assert verdict.domain_type == "qemu"
    assert verdict.reason == "libvirt offers no KVM on this host; the same guest executes under emulation."


def test_a_guest_that_executes_nothing_is_told(probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    hang = b"\xf4\xeb\xfd".ljust(510, b"\0") + b"\x55\xaa"
    monkeypatch.setattr("lifecycle.drivers.libvirt.kvm_probe.BOOT_SECTOR", hang)
    monkeypatch.setitem(SECONDS, "qemu", 1.0)
    verdict = probe.verdict(())
    assert "under emulation, too, a probe guest executed nothing within 1 seconds" in verdict.reason


def test_the_verdict_on_this_host_holds_and_leaves_nothing(driver: LibvirtHypervisor, own_id: str) -> None:
    verdict = driver.probe_acceleration()
    assert verdict.domain_type in {"kvm", "qemu"}
    assert verdict.reason.endswith(".")
    assert "\n" not in verdict.reason
    assert not [view for view in driver.list_domains() if view.name.startswith(f"vmp-{own_id}-probe")]
    assert not [view for view in driver.list_volumes(Pool.DISKS) if view.name.startswith("probe-")]
