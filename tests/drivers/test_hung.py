"""A libvirtd that hangs or dies: calls fail within a bound, and the connection says so. On a host of the test's own."""

import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lifecycle.domain.errors import Transient
from lifecycle.drivers.base import EventKind, HostEvent
from lifecycle.drivers.libvirt import Hypervisors, connect
from lifecycle.drivers.libvirt.opening import KeepAlive, open_connection
from tests.repair.private_host import PrivateHost

pytestmark = pytest.mark.libvirt

QUICK = KeepAlive(1, 2)
#: A call at a hung host lasts for seconds after the one that others wait for their turn.
LATER = KeepAlive(2, 2)


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateHost]:
    """A libvirtd that may be stopped."""
    found = PrivateHost(Path(tmp_path_factory.mktemp("host")))
    try:
        found.boot()
        yield found
    finally:
        found.remove()


def test_calls_at_a_hung_host_end_and_do_not_pile_up(private: PrivateHost) -> None:
    shared = Hypervisors()
    host = shared.get(private.uri, installation="abcdef", calls_max=2, keepalive=LATER)
    events: queue.SimpleQueue[HostEvent] = queue.SimpleQueue()
    ended: list[tuple[type[BaseException], float]] = []

    at_once = threading.Barrier(4)

    def call() -> None:
        at_once.wait(60)
        begin = time.monotonic()
        try:
            host.inventory()
        except Exception as error:  # its type is what is tested
            ended.append((type(error), time.monotonic() - begin))

    with host.events(events.put):
        private.freeze_daemon()
        try:
            threads = [threading.Thread(target=call) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(90)
            assert [kind.__name__ for kind, _s in ended] == ["Busy", "Busy", "Transient", "Transient"]
            assert all(seconds < 60 for _kind, seconds in ended)
            event = events.get(timeout=60)
            assert (event.kind, event.uuid) == (EventKind.CONNECTION_LOST, None)
            assert not host.alive()
        finally:
            private.thaw_daemon()
    assert shared.get(private.uri, installation="abcdef", keepalive=QUICK).inventory().hostname
    shared.close()


def test_connecting_to_a_hung_host_ends_too(private: PrivateHost) -> None:
    private.freeze_daemon()
    try:
        begin = time.monotonic()
        for _ in range(2):
            with pytest.raises(Transient, match="no answer"):
                open_connection(private.uri, QUICK, seconds=0.5)
        assert time.monotonic() - begin < 9  # not the ten seconds of one that nobody bounds so
        waiting = [thread for thread in threading.enumerate() if thread.name == "libvirt-open"]
        assert len(waiting) == 1
    finally:
        private.thaw_daemon()
    assert open_connection(private.uri, QUICK).isAlive()


def test_a_killed_daemon_is_told_and_found_again(private: PrivateHost) -> None:
    events: queue.SimpleQueue[HostEvent] = queue.SimpleQueue()
    host = connect(private.uri, "abcdef", keepalive=QUICK)
    with host.events(events.put):
        private.kill_daemon()
        assert events.get(timeout=60).kind is EventKind.CONNECTION_LOST
        assert not host.alive()
        with pytest.raises(Transient):
            host.list_domains()
    with host.events(events.put):
        assert events.get(timeout=60).kind is EventKind.CONNECTION_LOST
    host.close()
    private.start_daemon()
    again = connect(private.uri, "abcdef", keepalive=QUICK)
    assert again.list_domains() == []
    again.close()
