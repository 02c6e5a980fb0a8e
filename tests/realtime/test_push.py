"""The sender: order, bounds, forks, the end of a process."""

import asyncio
import os
import subprocess
import sys
import threading
from typing import Any

import pytest
from channels.layers import get_channel_layer

from lifecycle.realtime import push
from tests.conftest import CHECKOUT
from tests.realtime.servers import RedisServer


async def member(project_id: int) -> str:
    """A channel in the project's group."""
    layer = get_channel_layer()
    channel: str = await layer.new_channel()
    await layer.group_add(push.project_group(project_id), channel)
    return channel


async def received(channel: str, count: int) -> list[dict[str, Any]]:
    """The next messages of a channel."""
    async with asyncio.timeout(60):
        return [(await get_channel_layer().receive(channel))["message"] for _ in range(count)]


async def test_messages_keep_their_order_and_an_event_loop_does_not_disturb(redis: RedisServer) -> None:
    channel = await member(1)
    for number in range(200):
        push.send(1, {"number": number})
    assert [message["number"] for message in await received(channel, 200)] == list(range(200))


def push_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "push"}


async def test_many_threads_share_one_sender(redis: RedisServer) -> None:
    channel = await member(1)
    senders = push_threads()
    threads = [threading.Thread(target=push.send, args=(1, {"number": n})) for n in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(message["number"] for message in await received(channel, 50)) == list(range(50))
    assert len(push_threads() - senders) <= 1


def test_a_full_queue_drops_and_does_not_wait(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    sender = push._Sender()
    sender.waiting.maxsize = 3
    monkeypatch.setattr(push._Sender, "_start", lambda _self: None)
    for _ in range(10):
        sender.post("project_1", {"type": "project.event"})
    assert sender.waiting.qsize() == 3


async def test_a_forked_child_pushes_by_itself(redis: RedisServer) -> None:
    channel = await member(1)
    push.send(1, {"number": 1})
    assert push.flush(60)
    child = os.fork()
    if child == 0:  # pragma: no cover
        push.send(1, {"number": 2})
        os._exit(0 if push.flush(60) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    push.send(1, {"number": 3})
    assert sorted(message["number"] for message in await received(channel, 3)) == [1, 2, 3]


async def test_what_was_pushed_last_goes_out_before_the_process_ends(redis: RedisServer) -> None:
    channel = await member(1)
    program = (
        "import django; django.setup()\n"
        "from lifecycle.realtime import push\n"
        "push.SEND_SECONDS = push.FLUSH_SECONDS = 60.0\n"  # the first imports may take longer than a second
        "for number in range(20): push.send(1, {'number': number})\n"
    )
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "vmportal.settings",
        "REDIS_URL": redis.url,
        "SECRET_KEY": "k" * 8 + "".join(chr(97 + n % 26) for n in range(60)),
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stderr.decode()) == (0, "")
    assert [message["number"] for message in await received(channel, 20)] == list(range(20))


def test_available_asks_redis_once_in_a_while(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push, "PAUSE_SECONDS", 600.0)
    assert push.available()
    redis.kill()
    assert push.available()  # remembered
    push._sender.probed_at = float("-inf")
    assert not push.available()
