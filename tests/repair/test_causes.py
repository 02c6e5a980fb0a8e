"""Why a real guest went into repair, and what is kept as evidence."""

import os
import signal

import pytest

from lifecycle.domain.states import State
from lifecycle.models import Repair, User
from lifecycle.services import repairs
from tests.repair.conftest import PATIENCE, Guest, Make, wait_until

pytestmark = [
    pytest.mark.libvirt,
    pytest.mark.guest,
    pytest.mark.timeout(1200),
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("by_events_alone", "watcher"),
]


def test_a_killed_qemu_is_told_from_a_panic_and_leaves_its_log(guest: Guest) -> None:
    os.kill(guest.qemu_pid, signal.SIGKILL)
    wait_until(lambda: Repair.objects.filter(outcome="restarted").exists(), PATIENCE, "the repair")
    repair = Repair.objects.get()
    assert (repair.cause, repair.attempts, repair.prior_state) == ("crash", 1, "RUNNING")
    assert repair.event == "stopped: failed; CRASHED: crashed"
    assert "shutting down, reason=crashed" in repair.qemu_log
    assert [entry.kind for entry in repair.entries.all()] == ["opened", "attempt", "closed"]


def test_a_panic_is_told_and_a_vm_that_is_not_restarted_is_terminated(make_guest: Make) -> None:
    script = "#!/bin/sh\nsleep 1\necho c > /proc/sysrq-trigger\n"
    guest = make_guest(startup_script=script, automatic_restart=False)
    guest.becomes(State.TERMINATED)
    repair = Repair.objects.get()
    assert (repair.cause, repair.outcome) == ("panic", "not_restarted")
    assert repair.outcome_text.startswith("The guest's kernel panicked.")


def test_a_vm_that_is_reported_faulty_is_switched_off_and_started_again(guest: Guest, superuser: User) -> None:
    pid = guest.qemu_pid
    repairs.report_faulty(guest.vm, superuser, "its clock stands still")
    wait_until(lambda: Repair.objects.filter(outcome="restarted").exists(), PATIENCE, "the repair")
    assert guest.state == State.RUNNING
    assert guest.qemu_pid != pid


def test_a_guest_that_a_person_holds_is_no_repair(guest: Guest) -> None:
    guest.domain.suspend()
    wait_until(lambda: guest.vm.power == "PAUSED", PATIENCE, "the pause to be seen")
    assert guest.state == State.RUNNING
    assert not Repair.objects.exists()
    guest.domain.resume()
    wait_until(lambda: guest.vm.power == "ON", PATIENCE, "the guest to go on")
