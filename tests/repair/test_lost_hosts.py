"""A host whose libvirtd dies, hangs or comes back: its VMs stay as they are until the host answers."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import libvirt
import pytest
from django.conf import settings
from django.utils import timezone

from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action
from lifecycle.management.hostthreads import HostThread, HostThreads
from lifecycle.models import (
    Cleanup,
    Host,
    Image,
    MachineType,
    Operation,
    Project,
    Repair,
    Transition,
    User,
    Zone,
)
from lifecycle.operations.hosts import connect
from lifecycle.repair import hosts
from lifecycle.services.vms import VMRequest, request_create
from tests.factories import make_host
from tests.repair.conftest import ENDS_WITHIN, PATIENCE, Guest, WatcherProcess, Worker, wait_until
from tests.repair.private_host import PrivateHost
from tests.stack import clean_host

pytestmark = [
    pytest.mark.libvirt,
    pytest.mark.guest,
    pytest.mark.timeout(1200),
    pytest.mark.django_db(transaction=True),
]


@pytest.fixture
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateHost]:
    """A libvirtd that may be killed."""
    host = PrivateHost(tmp_path_factory.mktemp("host"))
    try:
        host.boot()
        yield host
    finally:
        host.remove()


@pytest.fixture
def lonely_guest(
    private: PrivateHost,
    installation: str,
    worker: Worker,
    real_image: Image,
    machine_type: MachineType,
    project: Project,
    owner: User,
    zone: Zone,
) -> Iterator[Guest]:
    """A VM that runs on the private host, watched."""
    connect(private.uri).ensure_pools()
    host = make_host("private", zone=zone, uri=private.uri)
    thread = HostThread(host, hosts.PURPOSE, hosts.watch)
    thread.start()
    conn = libvirt.open(private.uri)
    try:
        operation = request_create(project, VMRequest(name="web-1"), user=owner)
        wait_until(lambda: Operation.objects.get(pk=operation.pk).is_done, PATIENCE, "the create")
        assert Operation.objects.get(pk=operation.pk).error is None
        yield Guest(operation.vm_id, owner, host, conn)
    finally:
        thread.stopping.set()
        thread.join(PATIENCE)
        conn.close()


def health(host: Host) -> str:
    """The host's health as recorded now."""
    return str(Host.objects.values_list("health", flat=True).get(pk=host.pk))


def goes_down(host: Host) -> None:
    """Wait until the host is recorded as down."""
    wait_until(lambda: health(host) == Host.Health.DOWN, PATIENCE, "the host to be down")


def comes_up(host: Host) -> None:
    """Wait until the host is recorded as up."""
    wait_until(lambda: health(host) == Host.Health.UP, PATIENCE, "the host to be up")


def test_a_restarted_libvirtd_changes_nothing_for_its_guests(private: PrivateHost, lonely_guest: Guest) -> None:
    before = Transition.objects.count()
    private.kill_daemon()
    goes_down(lonely_guest.host)
    assert Host.objects.get(pk=lonely_guest.host.pk).health_reason
    assert lonely_guest.state == State.RUNNING
    private.start_daemon()
    comes_up(lonely_guest.host)
    assert lonely_guest.state == State.RUNNING
    assert Transition.objects.count() == before


def test_a_guest_that_died_while_libvirtd_was_down_is_repaired(private: PrivateHost, lonely_guest: Guest) -> None:
    pid = lonely_guest.qemu_pid
    private.kill_daemon()
    goes_down(lonely_guest.host)
    os.kill(pid, signal.SIGKILL)
    assert lonely_guest.state == State.RUNNING
    private.start_daemon()
    wait_until(lambda: Operation.objects.filter(vm=lonely_guest.vm_id, action="repair").exists(), PATIENCE, "a repair")
    lonely_guest.becomes(State.RUNNING)
    assert lonely_guest.qemu_pid != pid


def test_a_hanging_host_is_down_after_its_keepalive_and_delays_no_other(
    private: PrivateHost, lonely_guest: Guest, real_host: Host
) -> None:
    thread = HostThread(real_host, hosts.PURPOSE, hosts.watch)
    Host.objects.filter(pk=real_host.pk).update(health=Host.Health.UNKNOWN)
    private.freeze_daemon()
    thread.start()
    comes_up(real_host)
    goes_down(lonely_guest.host)
    assert lonely_guest.state == State.RUNNING
    private.thaw_daemon()
    comes_up(lonely_guest.host)
    thread.stopping.set()
    thread.join(PATIENCE)


def test_hosts_that_come_and_go_are_followed(private: PrivateHost, installation: str, zone: Zone) -> None:
    stopping = threading.Event()
    threads = HostThreads({hosts.PURPOSE: hosts.watch})
    runner = threading.Thread(target=threads.run, args=(stopping,))
    runner.start()
    try:
        connect(private.uri).ensure_pools()
        host = make_host("late", zone=zone, uri=private.uri, health=Host.Health.UNKNOWN)
        comes_up(host)
        Host.objects.filter(pk=host.pk).delete()
        wait_until(lambda: not threads.names(), PATIENCE, "the thread of the removed host to end")
    finally:
        stopping.set()
        runner.join(PATIENCE)
    assert not runner.is_alive()


def test_a_watcher_waits_for_a_host_that_is_not_there_yet(
    private: PrivateHost, installation: str, zone: Zone, watcher_process: Callable[[], WatcherProcess], tmp_path: Path
) -> None:
    host = make_host("asleep", zone=zone, uri=private.uri)
    private.kill_daemon()
    process = WatcherProcess(tmp_path / "alone.log")
    try:
        goes_down(host)
        private.start_daemon()
        comes_up(host)
    finally:
        assert process.end(signal.SIGTERM) < ENDS_WITHIN
    clean_host(settings.INSTALLATION_ID)


# -- silent for longer than the VM's host error timeout ------------------------------------------


def falls_silent(private: PrivateHost, host: Host) -> None:
    """Its libvirtd dies, and that was a while ago."""
    private.kill_daemon()
    goes_down(host)
    then = timezone.now() - timedelta(seconds=100)
    Host.objects.filter(pk=host.pk).update(last_seen_at=then, down_since=then)


def test_a_host_error_leaves_a_guest_that_still_runs_untouched(private: PrivateHost, lonely_guest: Guest) -> None:
    pid = lonely_guest.qemu_pid
    falls_silent(private, lonely_guest.host)
    lonely_guest.becomes(State.REPAIRING)
    repair = Repair.objects.get()
    assert (repair.cause, repair.attempts, repair.is_open) == ("host_error", 0, True)
    private.start_daemon()
    lonely_guest.becomes(State.RUNNING)
    repair.refresh_from_db()
    assert (repair.outcome, repair.attempts, lonely_guest.qemu_pid) == ("untouched", 0, pid)


def test_a_guest_that_died_with_its_host_is_started_again(private: PrivateHost, lonely_guest: Guest) -> None:
    pid = lonely_guest.qemu_pid
    falls_silent(private, lonely_guest.host)
    lonely_guest.becomes(State.REPAIRING)
    os.kill(pid, signal.SIGKILL)
    private.start_daemon()
    lonely_guest.becomes(State.RUNNING)
    repair = Repair.objects.get()
    assert (repair.outcome, repair.attempts) == ("restarted", 1)
    assert lonely_guest.qemu_pid != pid
    assert "qemu" in repair.qemu_log


def test_a_delete_does_not_wait_for_a_dead_host_and_leaves_nothing_on_it(
    private: PrivateHost, lonely_guest: Guest
) -> None:
    falls_silent(private, lonely_guest.host)
    operation = lonely_guest.ask(Action.DELETE)
    wait_until(lambda: Operation.objects.get(pk=operation.pk).is_done, PATIENCE, "the delete")
    assert lonely_guest.vm.deleted_at is not None
    assert Cleanup.objects.get().done_at is None
    private.start_daemon()
    wait_until(lambda: Cleanup.objects.filter(done_at__isnull=False).exists(), PATIENCE, "the cleanup")
    conn = libvirt.open(private.uri)
    try:
        assert conn.listAllDomains() == []
        assert not [name for name in conn.listNWFilters() if str(lonely_guest.vm_id) in name]
        volumes = [name for pool in conn.listAllStoragePools() for name in pool.listVolumes()]
        assert not [name for name in volumes if name.startswith(str(lonely_guest.vm_id))]
    finally:
        conn.close()
