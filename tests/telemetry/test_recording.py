"""Serial output and addresses are collected from a real host."""

from pathlib import Path

import pytest
from django.utils import timezone

from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action
from lifecycle.drivers.base import Hypervisor
from lifecycle.management.hostthreads import HostThread
from lifecycle.models import VM, Host, Project, SerialLog
from lifecycle.operations.hosts import connect
from lifecycle.telemetry import collect
from lifecycle.telemetry.addresses import collect_addresses
from lifecycle.telemetry.serial import READ_MAX, Recorder
from tests.factories import make_vm
from tests.repair.conftest import Make, serial_file, wait_until

pytestmark = [pytest.mark.libvirt, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def hypervisor(real_host: Host) -> Hypervisor:
    """The real host."""
    return connect(real_host.uri)


@pytest.fixture
def vm(real_host: Host, project: Project) -> VM:
    """A VM that is said to run; its log is written by the test, into the host's real pool."""
    return make_vm(project, host=real_host, state=State.RUNNING)


@pytest.fixture
def log(vm: VM) -> Path:
    """The VM's serial log on the host."""
    return serial_file(vm)


@pytest.fixture
def recorder(vm: VM, hypervisor: Hypervisor, real_host: Host) -> Recorder:
    """A recorder of the host."""
    return Recorder(real_host.pk, hypervisor)


def recorded(vm: VM) -> str:
    """What the database has of the VM's output."""
    return str(SerialLog.objects.values_list("text", flat=True).get(vm=vm))


def append(log: Path, raw: bytes) -> None:
    """What QEMU does."""
    with log.open("ab") as file:
        file.write(raw)


def test_what_is_new_is_appended(recorder: Recorder, vm: VM, log: Path) -> None:
    append(log, b"booting\r\n")
    assert recorder.record() == 1
    assert recorder.record() == 0
    append(log, b"login: ")
    assert recorder.record() == 1
    assert recorded(vm) == "booting\r\nlogin: "


def test_another_recorder_goes_on_where_the_last_one_ended(
    recorder: Recorder, vm: VM, log: Path, hypervisor: Hypervisor
) -> None:
    append(log, b"one ")
    recorder.record()
    append(log, b"two")
    Recorder(recorder.host_id, hypervisor).record()
    assert recorded(vm) == "one two"


def test_a_character_that_is_cut_in_two_arrives_whole(recorder: Recorder, vm: VM, log: Path) -> None:
    raw = "é".encode()
    append(log, b"caf" + raw[:1])
    recorder.record()
    assert recorded(vm) == "caf"
    append(log, raw[1:])
    recorder.record()
    assert recorded(vm) == "café"


def test_bytes_that_are_no_text_do_no_harm(recorder: Recorder, vm: VM, log: Path) -> None:
    append(log, b"\x1b[2J\x00\xff\xfe ok\n")
    recorder.record()
    assert recorded(vm) == "\x1b[2J\ufffd\ufffd\ufffd ok\n"


def test_a_log_that_was_rolled_over_loses_nothing(recorder: Recorder, vm: VM, log: Path) -> None:
    append(log, b"first part, ")
    recorder.record()
    append(log, b"its end, ")
    log.rename(log.with_name(log.name + ".0"))
    append(log, b"new")
    recorder.record()
    assert recorded(vm) == "first part, its end, new"
    append(log, b"er")
    recorder.record()
    assert recorded(vm) == "first part, its end, newer"


def test_a_log_that_was_emptied_goes_on_from_its_beginning(recorder: Recorder, vm: VM, log: Path) -> None:
    append(log, b"a long line\n")
    recorder.record()
    log.write_bytes(b"b\n")
    recorder.record()
    assert recorded(vm) == "a long line\nb\n"


def test_of_a_flood_the_end_is_kept(recorder: Recorder, vm: VM, log: Path) -> None:
    append(log, b"x" * (READ_MAX * 2) + b"the end")
    recorder.record()
    text = recorded(vm)
    assert text.endswith("xthe end")
    assert len(text) == SerialLog.KEPT_CHARACTERS
    assert SerialLog.objects.get(vm=vm).read_bytes == READ_MAX * 2 + 7


def test_a_vm_without_a_log_is_no_news(recorder: Recorder) -> None:
    assert recorder.record() == 0
    assert not SerialLog.objects.exists()


@pytest.mark.guest
def test_a_guest_is_heard_its_address_is_seen_and_both_go_with_it(make_guest: Make, hypervisor: Hypervisor) -> None:
    began = timezone.now()
    guest = make_guest()
    thread = HostThread(guest.host, collect.PURPOSE, collect.collect)
    thread.start()
    wait_until(lambda: "VMPORTAL-READY" in "".join(SerialLog.objects.values_list("text", flat=True)), 240, "its words")
    thread.stopping.set()
    thread.join(60)
    assert not thread.is_alive()
    wait_until(lambda: bool(collect_addresses(guest.host.pk, hypervisor) or guest.vm.address_seen_at), 90, "a lease")
    seen_at = guest.vm.address_seen_at
    assert seen_at is not None
    assert began < seen_at <= timezone.now()
    guest.ask(Action.DELETE)
    wait_until(lambda: guest.vm.deleted_at is not None, 120, "the delete")
    assert not SerialLog.objects.exists()
    assert not serial_file(guest.vm).exists()
