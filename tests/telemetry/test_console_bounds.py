"""What bounds a console: threads a host, what a slow browser may keep waiting, and what was heard twice."""

import asyncio
import threading

import pytest

from lifecycle.domain.errors import Busy
from lifecycle.telemetry.consoles import calls, viewer
from lifecycle.telemetry.consoles.calls import HostCalls
from lifecycle.telemetry.consoles.hub import without_overlap
from lifecycle.telemetry.consoles.viewer import BUFFER_BYTES, PIECE_BYTES, WINDOW_BYTES, Viewer


async def test_a_hung_host_takes_its_threads_and_no_other_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "WAIT_SECONDS", 0.05)
    hosts, goes_on = HostCalls(), threading.Event()
    hung = [asyncio.create_task(hosts.run("hung", goes_on.wait)) for _ in range(calls.CALLS_A_HOST)]
    await asyncio.sleep(0.05)
    with pytest.raises(Busy):
        await hosts.run("hung", lambda: 1)
    assert await hosts.run("well", lambda: 2) == 2
    goes_on.set()
    await asyncio.gather(*hung)
    assert await hosts.run("hung", lambda: 3) == 3


async def test_an_error_of_a_call_is_raised_where_it_is_waited_for() -> None:
    def fail() -> None:
        raise Busy("taken")

    with pytest.raises(Busy, match="taken"):
        await HostCalls().run("host", fail)


async def test_what_comes_when_nobody_waits_is_given_back() -> None:
    hosts, goes_on, given_back = HostCalls(), threading.Event(), threading.Event()

    def open_late() -> str:
        goes_on.wait()
        return "a stream"

    def give_back(opened: str) -> None:
        assert opened == "a stream"
        given_back.set()

    task = asyncio.create_task(hosts.run("host", open_late, give_back))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    goes_on.set()
    assert await asyncio.to_thread(given_back.wait, 60)


async def test_small_pieces_go_together_and_in_order() -> None:
    one = Viewer()
    for number in range(100):
        one.offer(f"{number},".encode())
    assert await one.next() == "".join(f"{number}," for number in range(100)).encode()


async def test_a_browser_gets_no_further_ahead_than_its_window() -> None:
    one = Viewer()
    one.offer(b"x" * (WINDOW_BYTES + PIECE_BYTES))
    sent = 0
    while sent < WINDOW_BYTES:
        piece = await one.next()
        assert isinstance(piece, bytes)
        sent += len(piece)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await one.next()
    one.drawn(WINDOW_BYTES)
    assert await one.next() == b"x" * PIECE_BYTES


async def test_a_browser_that_stays_behind_loses_the_oldest_and_is_told() -> None:
    one = Viewer()
    whole = b"".join(bytes([number % 256]) * PIECE_BYTES for number in range(2 * BUFFER_BYTES // PIECE_BYTES))
    one.offer(whole)
    assert await one.next() == {"type": "skipped", "bytes": len(whole) - BUFFER_BYTES}
    got = b""
    while len(got) < BUFFER_BYTES:
        piece = await one.next()
        assert isinstance(piece, bytes)
        got += piece
        one.drawn(len(piece))
    assert got == whole[-BUFFER_BYTES:]


async def test_notes_overtake_output() -> None:
    one = Viewer()
    one.offer(b"output")
    one.tell({"type": "state", "state": "off"})
    assert await one.next() == {"type": "state", "state": "off"}
    assert await one.next() == b"output"


def test_one_piece_fits_the_window_and_the_buffer_holds_more() -> None:
    assert viewer.PIECE_BYTES < viewer.WINDOW_BYTES < viewer.BUFFER_BYTES


@pytest.mark.parametrize(
    ("before", "after", "new"),
    [
        (b"", b"abc", b"abc"),
        (b"abc", b"", b""),
        (b"one two", b"two three", b" three"),
        (b"one two", b"three", b"three"),
        (b"aaa", b"aa", b""),
        (b"ab", b"abab", b"ab"),
    ],
)
def test_what_the_record_and_the_stream_both_have_is_shown_once(before: bytes, after: bytes, new: bytes) -> None:
    assert without_overlap(before, after) == new
