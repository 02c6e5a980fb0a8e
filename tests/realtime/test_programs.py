"""Programs on the websocket: by a token, to its projects alone, and from the number at which they stopped."""

import asyncio
import base64
import contextlib
import re
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from lifecycle.domain.states import State
from lifecycle.models import VM, ApiToken, AuditEntry, Project, User
from lifecycle.services import projects, tokens
from tests import factories
from tests.realtime.servers import PATIENCE, Watcher, Web, cookie_of, until
from tests.realtime.tools import change

pytestmark = pytest.mark.usefixtures("no_heartbeat")


class Enough(Exception):
    """The test has seen what it waits for."""


@contextlib.contextmanager
def program(web: Web, project: Project | str, authorization: str, **headers: str) -> Iterator[Watcher]:
    """A websocket as a program opens one: no origin, no cookie, an Authorization header."""
    sent = {"Authorization": authorization, **headers}
    with connect(web.address(project), additional_headers=sent, open_timeout=PATIENCE, proxy=None) as socket:
        watcher = Watcher(socket)
        try:
            yield watcher
        finally:
            watcher.close()


@pytest.fixture
def vm(web: Web, project: Project) -> VM:
    """A VM to change."""
    return factories.make_vm(project, "web-1", State.RUNNING)


@pytest.fixture
def secret(web: Web, viewer: User, project: Project) -> str:
    """A reading token of somebody who only looks."""
    return tokens.create(viewer, "robot", [project], may_write=False)[1]


def test_a_token_that_only_reads_hears_everything(web: Web, project: Project, vm: VM, secret: str) -> None:
    with program(web, project, f"Bearer {secret}") as watcher:
        assert watcher.wait_for("hello")[0]["number"] == 0
        change(vm, 3)
        watcher.wait_for("event", 3)
        assert watcher.numbers() == [1, 2, 3]


def test_a_program_that_was_away_goes_on_from_its_number(web: Web, project: Project, vm: VM, secret: str) -> None:
    with program(web, project, f"Bearer {secret}") as watcher:
        watcher.wait_for("hello")
        change(vm, 2)
        last = watcher.wait_for("event", 2)[-1]["number"]
    change(vm, 150)
    with program(web, project, f"Bearer {secret}") as watcher:
        assert watcher.wait_for("hello")[0]["number"] == 152
        watcher.send({"type": "since", "number": last})
        watcher.wait_for("event", 150)
        change(vm)
        watcher.wait_for("event", 151)
        assert watcher.numbers() == list(range(3, 154))


def test_the_program_of_the_documentation_gets_every_event_once_and_in_order(
    web: Web, project: Project, vm: VM, secret: str
) -> None:
    text = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
    (source,) = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "websockets" in block]
    documented: dict[str, Any] = {}
    exec(source.replace("127.0.0.1:8000", f"127.0.0.1:{web.port}"), documented)  # noqa: S102  # our own
    change(vm, 120)
    got: list[int] = []

    async def follow() -> None:
        with contextlib.suppress(TimeoutError, Enough):
            async with asyncio.timeout(2 * PATIENCE):
                await documented["follow"](project.slug, secret, 20, note)

    def note(event: dict[str, Any]) -> None:
        got.append(event["number"])
        if got[-1] == 130:
            raise Enough

    thread = threading.Thread(target=lambda: asyncio.run(follow()))
    thread.start()
    change(vm, 10)
    thread.join(3 * PATIENCE)
    assert got == list(range(21, 131))


@pytest.mark.parametrize("authorization", ["Bearer vmp_nonsense", "Bearer vmx_nonsense", "bearer a.b.c"])
def test_what_is_no_token_is_told_4401(web: Web, project: Project, authorization: str) -> None:
    with program(web, project, authorization) as watcher:
        assert watcher.wait_for_code() == 4401
        assert watcher.messages == []


def test_a_token_of_another_project_or_of_a_stranger_finds_nothing(
    web: Web, project: Project, viewer: User, stranger: User
) -> None:
    other = factories.make_project("other", owner=viewer)
    narrow = tokens.create(viewer, "robot", [other], may_write=True)[1]
    theirs = tokens.create(stranger, "robot", [Project.objects.get(slug="elsewhere")], may_write=True)[1]
    for secret in (narrow, theirs):
        with program(web, project, f"Bearer {secret}") as watcher:
            assert watcher.wait_for_code() == 4404
            assert watcher.messages == []
    with program(web, "nowhere", f"Bearer {narrow}") as watcher:
        assert watcher.wait_for_code() == 4404


def test_beside_a_token_a_cookie_does_not_count(web: Web, project: Project, cookie: str, stranger: User) -> None:
    theirs = tokens.create(stranger, "robot", [Project.objects.get(slug="elsewhere")], may_write=True)[1]
    with program(web, project, f"Bearer {theirs}", Cookie=cookie, Origin=web.origin) as watcher:
        assert watcher.wait_for_code() == 4404


def test_another_scheme_is_a_browsers_and_needs_its_origin(web: Web, project: Project, owner: User) -> None:
    basic = "Basic " + base64.b64encode(b"a:b").decode()
    for headers in ({"Cookie": cookie_of(owner)}, {"Cookie": cookie_of(owner), "Origin": "https://evil.example"}):
        with pytest.raises(InvalidStatus) as caught, program(web, project, basic, **headers):
            pass
        assert caught.value.response.status_code == 403


@pytest.mark.parametrize("path", ["/ws/usage/projects/lab/", "/ws/projects/lab/vms/", "/ws/"])
def test_charts_and_other_addresses_are_not_for_programs(web: Web, secret: str, path: str) -> None:
    with pytest.raises(InvalidStatus) as caught:
        connect(
            f"ws://127.0.0.1:{web.port}{path}", additional_headers={"Authorization": f"Bearer {secret}"}, proxy=None
        )
    assert caught.value.response.status_code == 403


def test_a_revoked_token_is_cut_at_once(web: Web, project: Project, viewer: User, secret: str) -> None:
    kept = tokens.create(viewer, "other robot", [project], may_write=False)[1]
    with program(web, project, f"Bearer {secret}") as watcher, program(web, project, f"Bearer {kept}") as other:
        watcher.wait_for("hello"), other.wait_for("hello")
        tokens.revoke(viewer, ApiToken.objects.get(name="robot").pk)
        assert watcher.wait_for_code() == 4401
        assert other.code is None


def test_a_member_who_is_removed_is_cut_at_once(
    web: Web, project: Project, owner: User, viewer: User, secret: str
) -> None:
    with program(web, project, f"Bearer {secret}") as watcher:
        watcher.wait_for("hello")
        projects.remove_member(project, viewer, user=owner)
        assert watcher.wait_for_code() == 4403


@pytest.mark.usefixtures("quick_heartbeat")
def test_a_token_that_expires_is_cut_at_the_next_heartbeat(web: Web, project: Project, secret: str) -> None:
    with program(web, project, f"Bearer {secret}") as watcher:
        watcher.wait_for("hello")
        ApiToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        assert watcher.wait_for_code() == 4401


@pytest.mark.usefixtures("quick_heartbeat")
def test_a_connection_is_one_call_counted_and_audited_once(
    web: Web, project: Project, viewer: User, secret: str, settings: Settings
) -> None:
    settings.API_CALLS_PER_MINUTE = 0
    with program(web, project, f"Bearer {secret}") as watcher:
        assert watcher.wait_for_code() == 4429
    settings.API_CALLS_PER_MINUTE = 100
    with program(web, project, f"Bearer {secret}") as watcher:
        watcher.wait_for("heartbeat", 2)
    until(lambda: ApiToken.objects.get().last_used_at is not None, "the use")
    entry = AuditEntry.objects.get(action="api.call")
    assert (entry.project, entry.user, entry.target) == (project, viewer, "websocket")
    assert entry.details == {"path": "ws/projects/lab/", "status": 101, "token": secret[:8]}
