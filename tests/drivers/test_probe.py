"""Acceleration is found out by trying."""

import shutil
import signal
import subprocess
import threading
from os import kill
from pathlib import Path

import libvirt
import pytest

from lifecycle.drivers.base import Pool
from lifecycle.drivers.libvirt import LibvirtHypervisor, kvm_probe
from lifecycle.drivers.libvirt.kvm_probe import BOOT_SECTOR, SECONDS, WORD, Probe
from tests.stack import wait_until

pytestmark = pytest.mark.libvirt

#: Interrupts off, and wait for one.
HANG = b"\xfa\xf4\xeb\xfd".ljust(510, b"\0") + b"\x55\xaa"
#: A reset at once: the machine executes, and nothing of what a kernel needs is tried.
RESET = bytes.fromhex("b0fee664f4ebfd").ljust(510, b"\0") + b"\x55\xaa"


def test_the_probe_is_a_boot_sector() -> None:
    assert len(BOOT_SECTOR) == 512
    assert BOOT_SECTOR[510:] == b"\x55\xaa"
    assert WORD in BOOT_SECTOR


@pytest.mark.skipif(not shutil.which("as"), reason="binutils are not installed")
def test_its_bytes_are_its_source_assembled(tmp_path: Path) -> None:
    source = Path(kvm_probe.__file__).with_suffix(".S")
    subprocess.run(["as", "--32", "-o", "o", str(source)], cwd=tmp_path, check=True)
    link = ["ld", "-m", "elf_i386", "-Ttext", "0x7c00", "--oformat", "binary", "-o", "bin", "o"]
    subprocess.run(link, cwd=tmp_path, check=True)
    assert (tmp_path / "bin").read_bytes() == BOOT_SECTOR


@pytest.fixture
def probe(driver: LibvirtHypervisor, own_id: str, monkeypatch: pytest.MonkeyPatch) -> Probe:
    """With patience for a machine that is busy with tests."""
    monkeypatch.setitem(SECONDS, "qemu", 120.0)
    return Probe(driver.conn, own_id, "x86_64")


def test_without_kvm_the_control_still_runs(probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kvm_probe, "_FLUSH_SECONDS", 60.0)
    verdict = probe.verdict(("qemu",))
    assert verdict.domain_type == "qemu"
    assert verdict.reason == "libvirt offers no KVM on this host; the same guest executes under emulation."


def test_a_guest_that_executes_nothing_is_told(probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kvm_probe, "BOOT_SECTOR", HANG)
    monkeypatch.setitem(SECONDS, "qemu", 1.0)
    verdict = probe.verdict(())
    assert "under emulation, too, a probe guest did not get through within 1 seconds" in verdict.reason


def test_a_machine_that_only_resets_proves_nothing(probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kvm_probe, "BOOT_SECTOR", RESET)
    assert "QEMU ended before a probe guest had executed" in probe.verdict(()).reason


@pytest.mark.parametrize(
    ("act", "told"),
    [
        ("kill", "QEMU ended before a probe guest had executed"),
        ("suspend", "QEMU could not carry out what a probe guest executes, and stopped it"),
    ],
)
def test_a_qemu_that_dies_or_stops_its_guest_is_not_taken_for_a_guest_that_executed(
    act: str, told: str, probe: Probe, own_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kvm_probe, "BOOT_SECTOR", HANG)

    def interfere() -> None:
        files = Path("/run/libvirt/qemu")
        wait_until(lambda: list(files.glob(f"vmp-{own_id}-probe-*.pid")), 60, "the probe's QEMU")
        (file,) = files.glob(f"vmp-{own_id}-probe-*.pid")
        domain = probe.conn.lookupByName(file.stem)
        wait_until(lambda: domain.state()[0] == libvirt.VIR_DOMAIN_RUNNING, 60, "the probe guest")
        if act == "kill":
            kill(int(file.read_text()), signal.SIGKILL)
        else:
            domain.suspend()

    meddler = threading.Thread(target=interfere)
    meddler.start()
    failure = probe._try("qemu")
    meddler.join()
    assert failure == told


def test_the_verdict_on_this_host_holds_and_leaves_nothing(driver: LibvirtHypervisor, own_id: str) -> None:
    verdict = driver.probe_acceleration()
    assert verdict.domain_type in {"kvm", "qemu"}
    assert verdict.reason.endswith(".")
    assert "\n" not in verdict.reason
    assert not [view for view in driver.list_domains() if view.name.startswith(f"vmp-{own_id}-probe")]
    assert not [view for view in driver.list_volumes(Pool.DISKS) if view.name.startswith("probe-")]
