"""What nobody was there to see is found by the reconciler, by the next watcher, or by the periodic task."""

import os
import signal
from collections.abc import Callable

import pytest
from django.core.management import call_command

from lifecycle.domain.recovery import Decision
from lifecycle.domain.states import Power, State
from lifecycle.management.hostthreads import HostThread
from lifecycle.models import VM, Host, HostLease, Transition
from lifecycle.operations.hosts import connect
from lifecycle.repair.periodic import reconcile_unwatched
from lifecycle.repair.reconcile import reconcile
from lifecycle.services import observations
from tests.repair.conftest import ENDS_WITHIN, PATIENCE, Make, WatcherProcess, wait_until

pytestmark = [
    pytest.mark.libvirt,
    pytest.mark.guest,
    pytest.mark.timeout(1200),
    pytest.mark.django_db(transaction=True),
]


def test_a_reconcile_of_a_host_in_step_changes_nothing(make_guest: Make) -> None:
    guest = make_guest()
    before = Transition.objects.count()
    result = reconcile(guest.host.pk, connect(guest.host.uri))
    assert result.counts[Decision.IN_STEP] == 1
    assert result.healed == 0
    assert Transition.objects.count() == before
    assert guest.vm.power_seen_at is not None


def test_a_guest_that_ended_unseen_is_found(make_guest: Make) -> None:
    guest = make_guest()
    guest.domain.destroy()
    result = reconcile(guest.host.pk, connect(guest.host.uri))
    assert result.counts[Decision.SWITCHED_OFF] == 1
    assert (guest.state, guest.vm.state_reason) == (State.TERMINATED, observations.SWITCHED_OFF)
    assert reconcile(guest.host.pk, connect(guest.host.uri)).healed == 0


def test_a_guest_that_ended_unseen_ended_at_its_last_proof_of_life(make_guest: Make) -> None:
    guest = make_guest()
    reconcile(guest.host.pk, connect(guest.host.uri))
    alive_at = guest.vm.power_seen_at
    guest.domain.destroy()
    reconcile(guest.host.pk, connect(guest.host.uri))
    assert guest.vm.state_since == alive_at


def test_a_crash_that_nobody_saw_is_repaired(make_guest: Make) -> None:
    guest = make_guest()
    os.kill(guest.qemu_pid, signal.SIGKILL)
    wait_until(lambda: not guest.domain.isActive(), PATIENCE, "libvirt to notice")
    reconcile(guest.host.pk, connect(guest.host.uri))
    guest.becomes(State.RUNNING)


def test_several_changes_are_put_right_in_one_round(make_guest: Make) -> None:
    removed, started = make_guest("removed"), make_guest("started")
    reconcile(removed.host.pk, connect(removed.host.uri))
    removed.domain.destroy()
    removed.domain.undefine()
    started.domain.destroy()
    reconcile(started.host.pk, connect(started.host.uri))
    assert (removed.state, started.state) == (State.TERMINATED, State.TERMINATED)
    started.domain.create()
    result = reconcile(started.host.pk, connect(started.host.uri))
    assert (removed.vm.power, started.state) == (Power.ABSENT, State.RUNNING)
    assert result.counts[Decision.STARTED] == 1


def test_strangers_are_listed_and_left_alone(make_guest: Make) -> None:
    guest = make_guest()
    guest.domain.destroy()
    reconcile(guest.host.pk, connect(guest.host.uri))
    VM.objects.filter(pk=guest.vm_id).update(host=None)  # a domain and volumes of ours that no VM of the host owns
    result = reconcile(guest.host.pk, connect(guest.host.uri))
    kinds = {finding.kind for finding in result.findings}
    assert {"orphaned_domain", "unknown_volume"} <= kinds
    assert guest.vm.disk_volume in {finding.subject for finding in result.findings}
    assert guest.domain.isPersistent()


def test_the_periodic_task_reconciles_what_nobody_watches(make_guest: Make) -> None:
    guest = make_guest()
    guest.domain.destroy()
    assert reconcile_unwatched(guest.host.pk) is not None
    assert guest.state == State.TERMINATED
    assert not HostLease.objects.exists()


def test_the_periodic_task_leaves_a_watched_host_to_its_watcher(real_host: Host, watcher: HostThread) -> None:
    assert reconcile_unwatched(real_host.pk) is None


def test_the_command_says_what_it_found(make_guest: Make, capsys: pytest.CaptureFixture[str]) -> None:
    guest = make_guest()
    guest.domain.destroy()
    call_command("reconcile", guest.host.name)
    assert "switched_off 1" in capsys.readouterr().out


def test_a_killed_watcher_is_replaced_and_what_it_missed_is_found(
    make_guest: Make, watcher_process: Callable[[], WatcherProcess]
) -> None:
    guest = make_guest()
    watcher_process().end(signal.SIGKILL)
    guest.domain.destroy()
    assert guest.state == State.RUNNING
    watcher_process()
    # The dead one's lease is 15 s; a successor looks every 5.
    guest.becomes(State.TERMINATED)
    assert guest.vm.state_reason == observations.SWITCHED_OFF


def test_a_watcher_ends_in_time_and_gives_its_leases_back(
    make_guest: Make, watcher_process: Callable[[], WatcherProcess]
) -> None:
    guest = make_guest()
    process = watcher_process()
    guest.domain.destroy()
    guest.becomes(State.TERMINATED)
    assert process.end(signal.SIGTERM) < ENDS_WITHIN
    assert process.process.returncode == 0
    assert not HostLease.objects.exists()
