"""Who may watch, and until when."""

import json

import pytest
from django.contrib.auth import update_session_auth_hash
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest
from django.test import Client
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from lifecycle.domain.access import Role
from lifecycle.models import Project, User
from lifecycle.services import projects
from tests import factories
from tests.realtime.servers import Watcher, Web, cookie_of, watching

pytestmark = pytest.mark.usefixtures("no_heartbeat")


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:1", "https://127.0.0.1:8000", "http://a:b", "", None]
)
def test_a_foreign_origin_is_refused_at_the_handshake(web: Web, project: Project, cookie: str, origin: str) -> None:
    headers = {"Cookie": cookie} if origin is None else {"Cookie": cookie, "Origin": origin}
    with pytest.raises(InvalidStatus) as caught:
        connect(web.address(project), additional_headers=headers, proxy=None)
    assert caught.value.response.status_code == 403


def test_an_unknown_address_is_refused_at_the_handshake(web: Web, cookie: str) -> None:
    for address in ("/ws/", "/ws/projects/lab/vms/", "/ws/projects/a%20b/", "/projects/lab/vms/"):
        with pytest.raises(InvalidStatus) as caught:
            connect(
                f"ws://127.0.0.1:{web.port}{address}",
                additional_headers={"Cookie": cookie, "Origin": web.origin},
                proxy=None,
            )
        assert caught.value.response.status_code == 403


@pytest.mark.parametrize("cookie", ["", "vmportal_000000_session=", "vmportal_000000_session=../../etc/passwd"])
def test_without_a_session_the_code_is_4401(web: Web, project: Project, cookie: str) -> None:
    with watching(web, project, cookie) as watcher:
        assert watcher.wait_for_code() == 4401
        assert watcher.messages == []


def test_a_stranger_is_told_that_there_is_no_such_project(web: Web, project: Project, stranger: User) -> None:
    with watching(web, project, cookie_of(stranger)) as theirs, watching(web, "nowhere", cookie_of(stranger)) as none:
        assert theirs.wait_for_code() == none.wait_for_code() == 4404
        assert theirs.messages == none.messages == []


@pytest.mark.parametrize("role", ["owner", "operator", "viewer", "superuser"])
def test_every_member_and_a_superuser_may_watch(
    web: Web, project: Project, role: str, request: pytest.FixtureRequest
) -> None:
    with watching(web, project, cookie_of(request.getfixturevalue(role))) as watcher:
        assert watcher.wait_for("hello") == [{"v": 1, "type": "hello", "number": 0, "live": True}]


def test_a_member_who_is_removed_is_cut_at_once_and_others_stay(
    web: Web, project: Project, cookie: str, owner: User, viewer: User
) -> None:
    with watching(web, project, cookie_of(viewer)) as theirs, watching(web, project, cookie) as ours:
        _welcome(theirs, ours)
        projects.remove_member(project, viewer, user=owner)
        assert theirs.wait_for_code() == 4403
        factories.make_vm(project, "secret")
        assert ours.code is None


def test_a_changed_role_makes_the_page_fetch_itself_again(
    web: Web, project: Project, owner: User, viewer: User
) -> None:
    with watching(web, project, cookie_of(viewer)) as watcher:
        _welcome(watcher)
        projects.set_role(project, viewer, Role.OPERATOR, user=owner)
        assert watcher.wait_for("resync")[0]["number"] == 0
        assert watcher.code is None


def test_signing_out_cuts_the_session_and_no_other(web: Web, project: Project, owner: User) -> None:
    client = Client()
    client.force_login(owner, backend="django.contrib.auth.backends.ModelBackend")
    here = "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())
    with (
        watching(web, project, here) as tab,
        watching(web, project, here) as other_tab,
        watching(web, project, cookie_of(owner)) as elsewhere,
    ):
        _welcome(tab, other_tab, elsewhere)
        client.logout()
        assert tab.wait_for_code() == other_tab.wait_for_code() == 4401
        assert elsewhere.code is None


def test_a_new_password_cuts_every_session_made_under_the_old_one(web: Web, project: Project, owner: User) -> None:
    with watching(web, project, cookie_of(owner)) as watcher:
        _welcome(watcher)
        owner.set_password("another long passphrase")
        owner.save()
        assert watcher.wait_for_code() == 4401


def test_the_session_in_which_the_password_is_changed_connects_again_with_its_new_cookie(
    web: Web, project: Project, owner: User
) -> None:
    cookie = cookie_of(owner)
    request = HttpRequest()
    request.session = SessionStore(cookie.split("=")[1])
    request.user = owner
    with watching(web, project, cookie) as watcher:
        _welcome(watcher)
        owner.set_password("another long passphrase")
        owner.save()
        update_session_auth_hash(request, owner)
        request.session.save()
        assert watcher.wait_for_code() == 4401
    with watching(web, project, f"{cookie.split('=')[0]}={request.session.session_key}") as again:
        _welcome(again)


def test_a_deactivated_person_is_cut_at_once(web: Web, project: Project, viewer: User) -> None:
    with watching(web, project, cookie_of(viewer)) as watcher:
        _welcome(watcher)
        viewer.is_active = False
        viewer.save(update_fields=["is_active"])
        assert watcher.wait_for_code() == 4401


def test_a_one_time_password_opens_nothing_but_the_password_form(web: Web, project: Project, owner: User) -> None:
    owner.must_change_password = True
    owner.save()
    with watching(web, project, cookie_of(owner)) as watcher:
        assert watcher.wait_for_code() == 4401


@pytest.mark.usefixtures("quick_heartbeat")
def test_what_nobody_told_of_is_found_by_the_heartbeat(
    web: Web, project: Project, owner: User, viewer: User, operator: User
) -> None:
    """Rows changed past the services, as a colleague with a database shell would."""
    with watching(web, project, cookie_of(viewer)) as right, watching(web, project, cookie_of(operator)) as session:
        _welcome(right, session)
        project.memberships.filter(user=viewer).delete()
        User.objects.filter(pk=operator.pk).update(is_active=False)
        assert right.wait_for_code() == 4403
        assert session.wait_for_code() == 4401


def test_bad_messages_are_answered_and_the_connection_lives(web: Web, project: Project, cookie: str) -> None:
    with watching(web, project, cookie) as watcher:
        _welcome(watcher)
        for text in ("{", "[]", json.dumps({"type": "since", "number": -1}), "x" * 5000):
            watcher.socket.send(text)
        watcher.socket.send(b"\x00\xff")
        codes = [message["code"] for message in watcher.wait_for("error", 5)]
        assert codes == ["not_json", "unknown_type", "bad_number", "too_long", "binary"]
        assert watcher.code is None


def test_a_flood_is_answered_for_a_while_and_then_ended(web: Web, project: Project, cookie: str) -> None:
    with watching(web, project, cookie) as watcher:
        _welcome(watcher)
        for _ in range(120):
            watcher.send({"type": "since", "number": 0})
        assert watcher.wait_for_code() == 4429
        assert {message["code"] for message in watcher.of("error")} == {"too_fast"}


def _welcome(*watchers: Watcher) -> None:
    for watcher in watchers:
        watcher.wait_for("hello")
