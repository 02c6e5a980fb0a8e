"""Charts are told of samples while somebody looks, and nobody is told who may not look."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from websockets.sync.client import connect

from lifecycle.domain.access import Role
from lifecycle.models import VM, Project, User
from lifecycle.realtime import messages, push, recent
from lifecycle.services import projects
from tests import factories
from tests.realtime.servers import RedisServer, Watcher, Web, cookie_of, until

VALUES = (0.5, 64.0, 1.0, 2.0, 3.0, math.nan)


@pytest.fixture
def vm(transactional_db: None, project: Project) -> VM:
    """A VM of the project."""
    return factories.make_vm(project)


@contextmanager
def looking(web: Web, path: str, cookie: str) -> Iterator[Watcher]:
    """A chart's websocket."""
    headers = {"Cookie": cookie, "Origin": web.origin}
    with connect(f"ws://127.0.0.1:{web.port}/ws/usage/{path}/", additional_headers=headers, proxy=None) as socket:
        yield Watcher(socket)


def welcomed(watcher: Watcher) -> None:
    """It was told hello."""
    watcher.wait_for("hello")


def test_a_sample_reaches_who_looks_at_the_vm_and_nobody_else(web: Web, vm: VM, project: Project, cookie: str) -> None:
    other = factories.make_vm(project)
    with looking(web, f"vms/{vm.pk}", cookie) as mine, looking(web, f"vms/{other.pk}", cookie) as theirs:
        welcomed(mine)
        welcomed(theirs)
        assert recent.watched() == {recent.vm_subject(vm.pk), recent.vm_subject(other.pk)}
        push.usage(recent.vm_subject(vm.pk), messages.usage_message(1_800_000_000, 7, VALUES))
        assert mine.wait_for("usage")[0] == {
            "v": 1, "type": "usage", "at": 1_800_000_000, "part": 7, "values": [0.5, 64.0, 1.0, 2.0, 3.0, None],
        }  # fmt: skip
        assert theirs.of("usage") == []


def test_events_of_the_project_are_not_told_to_a_chart(web: Web, vm: VM, project: Project, cookie: str) -> None:
    with looking(web, "projects/lab", cookie) as chart:
        welcomed(chart)
        push.send(project.pk, {"v": 1, "type": "event", "number": 1, "kind": "vm", "payload": {}})
        push.usage(recent.project_subject(project.pk), messages.usage_message(1, 7, VALUES))
        chart.wait_for("usage")
        assert {m["type"] for m in chart.messages} <= {"hello", "usage", "heartbeat"}


def test_only_members_look_at_a_vm_and_only_staff_at_a_host(
    web: Web, vm: VM, viewer: User, stranger: User, superuser: User
) -> None:
    assert vm.host is not None
    host = f"hosts/{vm.host.name}"
    for user, path in ((viewer, f"vms/{vm.pk}"), (viewer, "projects/lab"), (superuser, host)):
        with looking(web, path, cookie_of(user)) as watcher:
            welcomed(watcher)
    refused = [(stranger, f"vms/{vm.pk}"), (stranger, "projects/lab"), (viewer, host), (superuser, "hosts/nowhere")]
    refused.append((superuser, "vms/not-a-uuid"))
    for user, path in refused:
        with looking(web, path, cookie_of(user)) as watcher:
            assert watcher.wait_for_code() == 4404
    with looking(web, f"vms/{vm.pk}", "") as watcher:
        assert watcher.wait_for_code() == 4401


def test_who_is_removed_is_cut_at_once(web: Web, vm: VM, project: Project, owner: User, viewer: User) -> None:
    member = project.memberships.get(user=viewer)
    assert member.role == Role.VIEWER
    with looking(web, f"vms/{vm.pk}", cookie_of(viewer)) as watcher:
        welcomed(watcher)
        projects.remove_member(project, viewer, user=owner)
        assert watcher.wait_for_code() == 4403


def test_what_a_chart_says_is_answered_with_an_error(web: Web, vm: VM, cookie: str) -> None:
    with looking(web, f"vms/{vm.pk}", cookie) as watcher:
        welcomed(watcher)
        watcher.socket.send('{"type": "since", "number": 0}')
        watcher.wait_for("error")


def test_a_chart_says_when_redis_went_away_and_came_back(
    web: Web, vm: VM, cookie: str, redis: RedisServer, quick_heartbeat: None
) -> None:
    with looking(web, f"vms/{vm.pk}", cookie) as watcher:
        welcomed(watcher)
        redis.kill()
        until(lambda: watcher.messages[-1].get("live") is False, "the bad news")
        redis.start()
        until(lambda: watcher.messages[-1].get("live") is True, "the good news")
