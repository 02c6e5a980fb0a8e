"""Redis down, hung, or back: nobody waits, nothing is lost, and the browser is told."""

import time
from collections.abc import Callable

import pytest

from lifecycle.models import VM, Project
from lifecycle.realtime import consumers, push
from tests import factories
from tests.realtime.servers import RedisServer, Web, until, watching
from tests.realtime.tools import change

pytestmark = pytest.mark.usefixtures("quick_heartbeat")


@pytest.fixture
def vm(web: Web, project: Project) -> VM:
    """A VM to change."""
    return factories.make_vm(project, "web-1")


@pytest.fixture(autouse=True)
def _short_pause(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the product has it, but for the pause."""
    monkeypatch.setattr(push, "SEND_SECONDS", 1.0)
    monkeypatch.setattr(consumers, "REDIS_SECONDS", 1.0)
    monkeypatch.setattr(push, "PAUSE_SECONDS", 0.5)


def test_a_page_opened_while_redis_is_down_is_served_from_the_database(
    web: Web, project: Project, cookie: str, vm: VM, redis: RedisServer
) -> None:
    change(vm, 2)
    redis.kill()
    with watching(web, project, cookie) as watcher:
        assert watcher.wait_for("hello")[0] == {"v": 1, "type": "hello", "number": 2, "live": False}
        watcher.send({"type": "since", "number": 0})
        watcher.wait_for("event", 2)
        change(vm)
        watcher.wait_for("event", 3)  # by polling
        assert watcher.wait_for("heartbeat")[-1]["live"] is False

        redis.start()
        until(lambda: any(beat["live"] for beat in watcher.of("heartbeat")[-1:]), "live again")
        until(push.available, "pushes again")
        change(vm)
        watcher.wait_for("event", 4)
        assert watcher.numbers() == [1, 2, 3, 4]


def test_redis_killed_and_restarted_under_open_connections(
    web: Web, project: Project, cookie: str, vm: VM, redis: RedisServer
) -> None:
    with watching(web, project, cookie) as one, watching(web, project, cookie) as two:
        one.wait_for("hello"), two.wait_for("hello")
        change(vm)
        redis.kill()
        until(lambda: all(w.of("heartbeat") and not w.of("heartbeat")[-1]["live"] for w in (one, two)), "off")
        change(vm, 5)
        for watcher in (one, two):
            watcher.wait_for("event", 6)
        redis.start()
        until(lambda: all(w.of("heartbeat")[-1]["live"] for w in (one, two)), "live again")
        change(vm, 3)
        for watcher in (one, two):
            watcher.wait_for("event", 9)
            assert watcher.numbers() == list(range(1, 10))
            assert watcher.code is None


def test_a_hung_redis_is_noticed_and_forgiven(
    web: Web, project: Project, cookie: str, vm: VM, redis: RedisServer
) -> None:
    with watching(web, project, cookie) as watcher:
        watcher.wait_for("hello")
        redis.freeze()
        try:
            change(vm, 2)
            watcher.wait_for("event", 2)
            until(lambda: watcher.of("heartbeat") and not watcher.of("heartbeat")[-1]["live"], "off")
        finally:
            redis.thaw()
        until(lambda: any(beat["live"] for beat in watcher.of("heartbeat")[-1:]), "live again")
        change(vm)
        until(lambda: set(watcher.numbers()) == {1, 2, 3}, "all events")


def test_a_page_opened_while_redis_hangs_is_live_when_it_goes_on(
    web: Web, project: Project, cookie: str, vm: VM, redis: RedisServer
) -> None:
    """The connection to Redis is given up half-way through its greeting."""
    redis.freeze()
    try:
        with watching(web, project, cookie) as watcher:
            assert watcher.wait_for("hello")[0]["live"] is False
            change(vm)
            watcher.wait_for("event", 1)
            redis.thaw()
            until(lambda: any(beat["live"] for beat in watcher.of("heartbeat")[-1:]), "live")
            until(push.available, "pushes again")
            change(vm)
            until(lambda: set(watcher.numbers()) == {1, 2}, "all events")
    finally:
        redis.thaw()


@pytest.mark.parametrize("trouble", [RedisServer.kill, RedisServer.freeze])
def test_nobody_who_pushes_waits_for_redis(
    redis: RedisServer,
    trouble: Callable[[RedisServer], None],
    transactional_db: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(push, "SEND_SECONDS", 5.0)  # who waited for Redis would wait so long, at least
    push.send(1, {"number": 1})
    assert push.flush(60)
    trouble(redis)
    try:
        started = time.monotonic()
        for number in range(1000):
            push.send(1, {"number": number})
        assert time.monotonic() - started < 4  # a thousand of them, on a busy machine
        assert not push.available()
        assert time.monotonic() - started < 20
        assert push.flush(60)
    finally:
        if trouble is RedisServer.freeze:
            redis.thaw()
        else:
            redis.start()
    until(push.available, "pushes again")
