"""What happens to real guests outside of the portal is seen, and the record follows."""

import contextlib
import os
import signal
from datetime import timedelta

import libvirt
import pytest
from django.utils import timezone

from lifecycle.domain.states import Power, State
from lifecycle.domain.transitions import Action, Asker
from lifecycle.management.hostthreads import HostThread
from lifecycle.models import VM, LibvirtEvent, Operation, Transition
from lifecycle.services import observations, operations
from tests.repair.conftest import PATIENCE, Guest, Make, wait_until

pytestmark = [
    pytest.mark.libvirt,
    pytest.mark.guest,
    pytest.mark.timeout(1200),
    pytest.mark.django_db(transaction=True),
]


def test_virsh_destroy_is_terminated_and_says_by_whom(guest: Guest) -> None:
    guest.domain.destroy()
    guest.becomes(State.TERMINATED)
    vm = guest.vm
    assert (vm.state_reason, vm.power) == (observations.SWITCHED_OFF, Power.OFF)
    last = Operation.objects.filter(vm=vm).order_by("-insert_time").first()
    assert last is not None
    assert (last.action, last.asked_by) == (Action.GUEST_SHUTDOWN, Asker.OBSERVER)
    # Written after it was acted upon: the flight recorder keeps libvirt's own words.
    told = LibvirtEvent.objects.filter(vm=vm, host=guest.host, kind="stopped", detail="destroyed")
    wait_until(told.exists, PATIENCE, "the record of the event")


def test_virsh_shutdown_is_the_guests_own_end(guest: Guest) -> None:
    guest.boots()
    guest.domain.shutdown()
    guest.becomes(State.TERMINATED)
    assert guest.vm.state_reason == observations.GUEST_SHUT_DOWN


def test_power_off_inside_the_guest_is_terminated(make_guest: Make, watcher: HostThread) -> None:
    guest = make_guest(startup_script="#!/bin/sh\npoweroff\n")
    guest.becomes(State.TERMINATED)
    assert guest.vm.state_reason == observations.GUEST_SHUT_DOWN
    assert operations.current(guest.vm_id) is None


@pytest.mark.bothdb
def test_a_killed_qemu_is_repaired_and_runs_again(guest: Guest) -> None:
    before = guest.domain.ID()
    os.kill(guest.qemu_pid, signal.SIGKILL)
    guest.goes_into_repair()
    guest.becomes(State.RUNNING)
    vm = guest.vm
    assert guest.domain.ID() != before
    assert vm.run_id == guest.domain.ID()
    assert guest.vm.reservation.vcpus == vm.vcpus
    moves = Transition.objects.filter(vm=vm).order_by("-id").values_list("from_state", "to_state", "action")[:2]
    assert list(moves) == [("REPAIRING", "RUNNING", "repair"), ("RUNNING", "REPAIRING", "crash")]


def test_a_killed_qemu_without_automatic_restart_is_terminated(make_guest: Make, watcher: HostThread) -> None:
    guest = make_guest(automatic_restart=False)
    os.kill(guest.qemu_pid, signal.SIGKILL)
    guest.becomes(State.TERMINATED)
    assert observations.NOT_RESTARTED in guest.vm.state_reason
    assert not guest.domain.isActive()


def test_a_domain_removed_by_hand_is_terminated_and_can_be_started_again(guest: Guest) -> None:
    guest.domain.undefine()
    guest.domain.destroy()
    guest.becomes(State.TERMINATED)
    assert guest.vm.power == Power.ABSENT
    guest.ask(Action.START)
    guest.becomes(State.RUNNING)
    assert guest.domain.isPersistent()


def test_virsh_start_and_virsh_managedsave_are_followed(guest: Guest) -> None:
    guest.domain.destroy()
    guest.becomes(State.TERMINATED)
    guest.domain.create()
    guest.becomes(State.RUNNING)
    assert guest.vm.run_id == guest.domain.ID()
    guest.domain.managedSave()
    guest.becomes(State.SUSPENDED)
    guest.ask(Action.RESUME)
    guest.becomes(State.RUNNING)


def test_a_pause_by_hand_is_power_and_not_a_state(guest: Guest) -> None:
    guest.domain.suspend()
    wait_until(lambda: guest.vm.power == Power.PAUSED, PATIENCE, "the pause")
    assert guest.state == State.RUNNING
    guest.domain.resume()
    wait_until(lambda: guest.vm.power == Power.ON, PATIENCE, "the guest to go on")


def test_a_stop_ends_when_its_guest_does_and_not_at_the_next_poll(by_events_alone: None, guest: Guest) -> None:
    VM.objects.filter(pk=guest.vm_id).update(stop_grace_seconds=3600)
    stop = guest.ask(Action.STOP)
    wait_until(lambda: operations.current(guest.vm_id).step_index == 1, PATIENCE, "the stop to wait")  # type: ignore[union-attr]
    # Nobody works on it, and its next poll is far away.
    waiting = Operation.objects.filter(pk=stop.pk, step_index=1, lease_until__isnull=True)
    later = timezone.now() + timedelta(hours=1)
    wait_until(lambda: waiting.update(due_at=later) == 1, PATIENCE, "the worker to let go of it")
    guest.domain.destroy()
    guest.becomes(State.TERMINATED)
    assert Operation.objects.filter(vm=guest.vm_id).count() == 2  # the create and the stop: nothing of the observer's


def test_a_start_by_a_worker_that_had_lost_its_lease_is_taken_back(guest: Guest) -> None:
    """The stop took over a start whose worker was frozen just before its call to the host, and thaws now."""
    guest.domain.destroy()
    guest.becomes(State.TERMINATED)
    VM.objects.filter(pk=guest.vm_id).update(fence=guest.vm.fence + 1)
    with contextlib.suppress(libvirt.libvirtError):  # it may be taken back before the call is over
        guest.domain.create()
    wait_until(lambda: not guest.domain.isActive(), PATIENCE, "the domain to be off again")
    assert guest.state == State.TERMINATED


def test_the_record_follows_an_event_within_milliseconds(by_events_alone: None, guest: Guest) -> None:
    """From virsh destroy's return to the committed state; the bound is for a machine that is busy with tests."""
    took = []
    for _round in range(3):
        guest.domain.destroy()
        took.append(guest.becomes(State.TERMINATED))
        guest.domain.create()
        guest.becomes(State.RUNNING)
    print(f"destroy -> TERMINATED committed: {sorted(round(t * 1000) for t in took)} ms")  # noqa: T201  # a figure to read
    assert min(took) < 1.0


def test_a_guest_that_cannot_be_started_again_is_terminated_with_the_reason(
    guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lifecycle.operations import repair

    monkeypatch.setattr(repair, "ATTEMPT_PAUSE_SECONDS", (0.1, 0.1))
    pool = guest.conn.storagePoolLookupByName(f"vmp-{guest.domain.name().split('-')[1]}-disks")
    pool.storageVolLookupByName(guest.vm.disk_volume).delete()
    os.kill(guest.qemu_pid, signal.SIGKILL)
    guest.goes_into_repair()
    guest.becomes(State.TERMINATED)
    vm = guest.vm
    assert "could not be started again" in vm.state_reason
    operation = Operation.objects.get(vm=vm, action=Action.REPAIR)
    assert operation.data["attempts"] == repair.ATTEMPTS_MAX
    assert vm.reservation.vcpus == 0


def test_a_guest_that_keeps_dying_is_given_up(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    from lifecycle.operations import repair

    monkeypatch.setattr(repair, "RESTART_PAUSE_SECONDS", (0.0, 0.0, 0.0))
    for _round in range(observations.RESTARTS_MAX):
        os.kill(guest.qemu_pid, signal.SIGKILL)
        guest.goes_into_repair()
        guest.becomes(State.RUNNING)
    os.kill(guest.qemu_pid, signal.SIGKILL)
    guest.becomes(State.TERMINATED)
    assert observations.RESTARTED_TOO_OFTEN in guest.vm.state_reason


def test_a_stop_during_repair_ends_the_repair(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    from lifecycle.operations import repair

    monkeypatch.setattr(repair, "RESTART_PAUSE_SECONDS", (3600.0,))
    os.kill(guest.qemu_pid, signal.SIGKILL)
    guest.becomes(State.REPAIRING)
    guest.ask(Action.STOP)
    guest.becomes(State.TERMINATED)
    with pytest.raises(libvirt.libvirtError):
        guest.domain.reset()
    error = Operation.objects.get(vm=guest.vm_id, action=Action.REPAIR).error
    assert error is not None
    assert error["code"] == "OPERATION_PREEMPTED"
