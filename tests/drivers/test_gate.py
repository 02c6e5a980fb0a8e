"""A host's calls are bounded, and a host that fails is not asked again at once."""

import socket
import threading
import time
from pathlib import Path

import pytest

from lifecycle.domain.errors import Busy, Transient
from lifecycle.drivers.libvirt import Hypervisors, pool
from lifecycle.drivers.libvirt.gate import Gate
from lifecycle.drivers.libvirt.lines import Lines


def test_one_more_call_than_the_limit_is_busy() -> None:
    gate = Gate(calls_max=2, wait_seconds=0.05)
    leave, inside = threading.Event(), threading.Barrier(3)

    def call() -> None:
        with gate.slot():
            inside.wait()
            leave.wait(60)

    threads = [threading.Thread(target=call) for _ in range(2)]
    for thread in threads:
        thread.start()
    inside.wait()
    with pytest.raises(Busy), gate.slot():
        pass
    leave.set()
    for thread in threads:
        thread.join()
    with gate.slot():
        pass


def test_a_verb_within_a_verb_goes_on_with_the_same_connection() -> None:
    gate = Gate(calls_max=1, wait_seconds=0.05)
    opened: list[str] = []

    def open_another() -> str:
        opened.append("another")
        return "another"

    lines = Lines("first", open_another, gate)
    with lines.line(), lines.line():
        assert lines.current == "first"
    with gate.slot():
        pass
    assert opened == []


def test_each_call_under_way_has_a_connection_of_its_own() -> None:
    lines = Lines("first", lambda: "another", Gate(calls_max=2))
    seen: list[str] = []

    def call() -> None:
        with lines.line():
            seen.append(lines.current)

    with lines.line():
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
        seen.append(lines.current)
    assert seen == ["another", "first"]


def test_a_failure_gives_its_slot_back() -> None:
    gate = Gate(calls_max=1, wait_seconds=0.05)
    with pytest.raises(ZeroDivisionError), gate.slot():
        raise ZeroDivisionError
    with gate.slot():
        pass


def failed_host(path: Path) -> tuple[Hypervisors, str]:
    """Connections, and the address of a host at `path` that was asked for once and is not there."""
    shared, uri = Hypervisors(), f"qemu+unix:///system?socket={path}"
    with pytest.raises(Transient):
        shared.get(uri, installation="abcdef")
    return shared, uri


def test_a_host_that_is_not_there_is_not_asked_a_second_time_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "FAILED_SECONDS", 3600.0)
    path = tmp_path / "none"
    shared, uri = failed_host(path)
    with socket.socket(socket.AF_UNIX) as asked:
        asked.bind(str(path))
        asked.listen()
        with pytest.raises(Transient, match="a moment ago"):
            shared.get(uri, installation="abcdef")
        asked.setblocking(False)
        with pytest.raises(BlockingIOError):
            asked.accept()


def test_while_one_thread_tries_a_failed_host_again_others_are_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "FAILED_SECONDS", 0.0)
    path = tmp_path / "silent"
    shared, uri = failed_host(path)
    errors: list[Exception] = []

    def try_again() -> None:
        try:
            shared.get(uri, installation="abcdef")
        except Transient as error:
            errors.append(error)

    with socket.socket(socket.AF_UNIX) as silent:  # a daemon that hangs: it takes connections and says nothing
        silent.bind(str(path))
        silent.listen()
        prober = threading.Thread(target=try_again)
        prober.start()
        caller, _address = silent.accept()
        begin = time.monotonic()
        for _ in range(20):
            with pytest.raises(Busy):
                shared.get(uri, installation="abcdef")
        assert time.monotonic() - begin < 5  # twenty that waited for the one that tries would take its ten, or more
        assert prober.is_alive()
        caller.close()
    prober.join(60)
    assert len(errors) == 1


def test_a_connection_is_shared_and_opened_again_when_dead() -> None:
    shared = Hypervisors()
    first = shared.get("test:///default", installation="abcdef")
    assert shared.get("test:///default", installation="abcdef") is first
    first.close()
    second = shared.get("test:///default", installation="abcdef")
    assert second is not first
    assert second.inventory().hostname
    with pytest.raises(Transient):
        first.inventory()
    shared.close()
    assert not second.alive()
