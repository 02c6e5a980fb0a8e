"""What was missed comes from the Event rows: on request, or because the channel layer dropped it."""

import time
from typing import Any

import pytest
from redis import Redis

from lifecycle.domain.states import State
from lifecycle.models import VM, Event, Project, User
from lifecycle.realtime import consumers, push
from tests import factories
from tests.realtime.servers import RedisServer, Web, cookie_of, until, watching
from tests.realtime.tools import change


@pytest.fixture
def vm(web: Web, project: Project) -> VM:
    """A VM to change."""
    return factories.make_vm(project, "web-1", State.RUNNING)


def test_hello_tells_the_latest_number(web: Web, project: Project, cookie: str, vm: VM) -> None:
    change(vm, 3)
    with watching(web, project, cookie) as watcher:
        assert watcher.wait_for("hello")[0]["number"] == 3
        assert watcher.numbers() == []


def test_two_tabs_are_told_the_same_in_the_same_order(web: Web, project: Project, cookie: str, vm: VM) -> None:
    with watching(web, project, cookie) as one, watching(web, project, cookie) as two:
        one.wait_for("hello"), two.wait_for("hello")
        change(vm, 40)
        assert one.wait_for("event", 40) == two.wait_for("event", 40)
        assert one.numbers() == list(range(1, 41))


def test_a_project_hears_nothing_of_another(web: Web, project: Project, cookie: str, vm: VM, stranger: User) -> None:
    elsewhere = Project.objects.get(slug="elsewhere")
    with watching(web, project, cookie) as ours, watching(web, elsewhere, cookie_of(stranger)) as theirs:
        ours.wait_for("hello"), theirs.wait_for("hello")
        change(vm)
        change(factories.make_vm(elsewhere, "other"))
        assert ours.wait_for("event")[0]["payload"]["name"] == "web-1"
        assert theirs.wait_for("event")[0]["payload"]["name"] == "other"
        assert len(ours.of("event")) == len(theirs.of("event")) == 1


def test_a_push_and_its_replay_are_equal(web: Web, project: Project, cookie: str, vm: VM) -> None:
    with watching(web, project, cookie) as watcher:
        watcher.wait_for("hello")
        change(vm)
        pushed = watcher.wait_for("event")[0]
        watcher.send({"type": "since", "number": 0})
        assert watcher.wait_for("event", 2)[1] == pushed


def test_since_brings_what_is_later_page_by_page(web: Web, project: Project, cookie: str, vm: VM) -> None:
    change(vm, 230)
    with watching(web, project, cookie) as watcher:
        watcher.wait_for("hello")
        watcher.send({"type": "since", "number": 5})
        watcher.wait_for("event", 225)
        assert watcher.numbers() == list(range(6, 231))


def test_since_the_latest_brings_nothing(web: Web, project: Project, cookie: str, vm: VM) -> None:
    change(vm, 2)
    with watching(web, project, cookie) as watcher:
        watcher.wait_for("hello")
        watcher.send({"type": "since", "number": 2})
        watcher.send({"type": "since", "number": 1})
        assert watcher.wait_for("event")[0]["number"] == 2
        assert watcher.numbers() == [2]


def test_too_much_missed_means_a_snapshot(
    web: Web, project: Project, cookie: str, vm: VM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "REPLAY_LIMIT", 5)
    change(vm, 6)
    with watching(web, project, cookie) as watcher:
        watcher.wait_for("hello")
        watcher.send({"type": "since", "number": 0})
        assert watcher.wait_for("resync")[0]["number"] == 6
        watcher.send({"type": "since", "number": 1})
        watcher.wait_for("event", 5)
        assert watcher.numbers() == [2, 3, 4, 5, 6]


def test_a_number_of_the_future_or_rows_that_are_gone_mean_a_snapshot(
    web: Web, project: Project, cookie: str, vm: VM
) -> None:
    change(vm, 6)
    Event.objects.filter(number__lte=3).delete()
    with watching(web, project, cookie) as watcher:
        watcher.wait_for("hello")
        watcher.send({"type": "since", "number": 7})
        watcher.send({"type": "since", "number": 0})
        assert [message["number"] for message in watcher.wait_for("resync", 2)] == [6, 6]
        assert watcher.numbers() == []


def test_events_during_a_replay_are_neither_lost_nor_late(web: Web, project: Project, cookie: str, vm: VM) -> None:
    change(vm, 150)
    with watching(web, project, cookie) as watcher:
        watcher.wait_for("hello")
        watcher.send({"type": "since", "number": 0})
        change(vm, 50)
        until(lambda: set(watcher.numbers()) == set(range(1, 201)), "all events")


@pytest.mark.usefixtures("quick_heartbeat")
def test_heartbeats_tell_the_latest_number(web: Web, project: Project, cookie: str, vm: VM) -> None:
    with watching(web, project, cookie) as watcher:
        watcher.wait_for("hello")
        change(vm, 2)
        watcher.wait_for("event", 2)
        before = len(watcher.of("heartbeat"))
        assert watcher.wait_for("heartbeat", before + 2)[-1] == {"v": 1, "type": "heartbeat", "number": 2, "live": True}


@pytest.mark.usefixtures("quick_heartbeat")
def test_a_message_that_never_arrived_is_sent_by_the_heartbeat(
    web: Web, project: Project, cookie: str, vm: VM, monkeypatch: pytest.MonkeyPatch
) -> None:
    with watching(web, project, cookie) as watcher:
        watcher.wait_for("hello")
        change(vm)
        with monkeypatch.context() as lost:
            lost.setattr(push, "send", lambda *_: None)
            change(vm, 3)
        change(vm)
        until(lambda: sorted(watcher.numbers()) == [1, 2, 3, 4, 5], "the lost events, once")
        assert watcher.wait_for("heartbeat", len(watcher.of("heartbeat")) + 1)[-1]["number"] == 5
        assert sorted(watcher.numbers()) == [1, 2, 3, 4, 5]


@pytest.mark.usefixtures("quick_heartbeat")
def test_a_full_channel_drops_and_the_heartbeat_heals(
    web: Web, project: Project, cookie: str, vm: VM, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from channels.layers import get_channel_layer

    monkeypatch.setattr(get_channel_layer(), "capacity", 5)
    with watching(web, project, cookie) as watcher:
        watcher.wait_for("hello")
        with web.stalled():  # a web process that is busy: nobody takes messages from the channel
            change(vm, 30)
            assert push.flush(60)
            assert 0 < queued(redis) < 10
        until(lambda: set(watcher.numbers()) == set(range(1, 31)), "all events")


def queued(redis: RedisServer) -> int:
    """Messages that wait in Redis for a web process."""
    connection: Any = Redis(unix_socket_path=str(redis.socket))
    return sum(int(connection.zcard(key)) for key in connection.keys("*specific*"))


@pytest.mark.usefixtures("quick_heartbeat")
def test_a_group_that_forgot_its_members_learns_them_again(
    web: Web, project: Project, cookie: str, vm: VM, redis: RedisServer
) -> None:
    with watching(web, project, cookie) as watcher:
        watcher.wait_for("hello")
        redis.empty()
        change(vm)
        watcher.wait_for("event", 1)  # by the heartbeat
        watcher.wait_for("heartbeat", len(watcher.of("heartbeat")) + 1)
        change(vm)
        watcher.wait_for("event", 2)
        assert watcher.numbers() == [1, 2]


@pytest.mark.usefixtures("quick_heartbeat")
def test_far_too_many_dropped_messages_mean_a_snapshot(
    web: Web, project: Project, cookie: str, vm: VM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "REPLAY_LIMIT", 5)
    with watching(web, project, cookie) as watcher:
        watcher.wait_for("hello")
        with monkeypatch.context() as lost:
            lost.setattr(push, "send", lambda *_: None)
            project.refresh_from_db()
            Project.objects.filter(pk=project.pk).update(last_event_number=20)
        assert watcher.wait_for("resync")[0]["number"] == 20
        change(vm)
        assert watcher.wait_for("event")[0]["number"] == 21


def test_an_event_reaches_the_browser_within_milliseconds(web: Web, project: Project, cookie: str, vm: VM) -> None:
    """Commit to message in the client, everything in this one process: generous, because the machine is shared."""
    with watching(web, project, cookie) as watcher:
        watcher.wait_for("hello")
        delays: list[float] = []
        for _ in range(20):
            change(vm)
            committed = time.perf_counter()
            watcher.wait_for("event", len(delays) + 1)
            delays.append(watcher.arrived[-1] - committed)
            time.sleep(0.01)
        assert min(delays) < 0.05
        assert sorted(delays)[10] < 0.5
