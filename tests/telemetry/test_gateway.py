"""The gateway behind the web process: what a websocket gets with, without and with a wrong ticket, and until when."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.sessions import SessionMiddlewareStack
from django.contrib.sessions.backends.db import SessionStore
from django.test import Client
from django.urls import path
from pytest_django import Settings
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from lifecycle.domain.states import State
from lifecycle.models import VM, ConsoleSession, Host, Project, User
from lifecycle.realtime.origins import OriginCheck, canonical
from lifecycle.realtime.relay import Relay
from lifecycle.services import consoles, observations, projects
from lifecycle.telemetry.consoles import gateway as gateways
from tests import factories
from tests.realtime.servers import PATIENCE, cookie_of, until
from tests.stack import free_port

RECORDED = "what the guest said before\r\n"


class Served:
    """An ASGI application on a port, in a thread."""

    def __init__(self, application: Any, port: int) -> None:
        self.port = port
        self._server = uvicorn.Server(
            uvicorn.Config(
                application, port=port, log_level="error", lifespan="off", ws="websockets-sansio",
                timeout_graceful_shutdown=1,
            )
        )  # fmt: skip
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self) -> "Served":
        self._thread.start()
        until(lambda: self._server.started, "a server")
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.should_exit = True
        self._thread.join(PATIENCE)


@pytest.fixture
def vm(transactional_db: None, project: Project, host: Host, catalog: None) -> VM:
    """`web-1`, off, with some recorded output."""
    made = factories.make_vm(project, "web-1", State.TERMINATED, host=host)
    observations.append_serial(made.pk, RECORDED, read_from=0, read_to=len(RECORDED))
    return made


@pytest.fixture
def web(transactional_db: None, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """The web process's way to the gateway, and the gateway, on ports of their own."""
    monkeypatch.setattr(gateways, "LOOK_SECONDS", 0.2)
    port, behind = free_port(), free_port()
    own = [f"http://127.0.0.1:{port}"]
    where = "ws/consoles/<uuid:vm_id>/<slug:kind>/"
    inner = URLRouter([path(where, gateways.Gateway())])  # type: ignore[arg-type]
    outer = URLRouter([path(where, Relay(f"127.0.0.1:{behind}"))])  # type: ignore[arg-type]
    gateway = ProtocolTypeRouter({"websocket": OriginCheck(SessionMiddlewareStack(inner), own)})
    front = ProtocolTypeRouter({"websocket": OriginCheck(outer, own)})
    with Served(gateway, behind), Served(front, port) as served:
        yield served


class Opened:
    """A websocket, and what came through it."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.notes: list[dict[str, Any]] = []
        self.data = b""
        self.code: int | None = None
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            for message in self.socket:
                if isinstance(message, bytes):
                    self.data += message
                else:
                    self.notes.append(json.loads(message))
        except ConnectionClosed:
            pass
        self.code = self.socket.close_code or 1006

    def ended(self) -> int:
        until(lambda: self.code is not None, "the end of the console")
        assert self.code is not None
        return self.code


def dial(web: Served, vm: VM, cookie: str, origin: str | None = None, kind: str = "serial") -> Opened:
    headers = {"Cookie": cookie} if cookie else {}
    wanted: Any = origin or f"http://127.0.0.1:{web.port}"
    where = f"ws://127.0.0.1:{web.port}/ws/consoles/{vm.pk}/{kind}/"
    socket = connect(where, additional_headers=headers, origin=wanted, open_timeout=PATIENCE, proxy=None, legacy=True)
    return Opened(socket)


def key_of(cookie: str) -> str:
    return cookie.partition("=")[2]


def ticket(web: Served, vm: VM, user: User, cookie: str, origin: str = "") -> str:
    return consoles.issue_ticket(
        vm,
        "serial",
        user=user,
        session_key=key_of(cookie),
        origin=canonical(origin or f"http://127.0.0.1:{web.port}"),
        address=None,
    )


def show(opened: Opened, token: object) -> Opened:
    opened.socket.send(json.dumps({"ticket": token}))
    return opened


def test_a_ticket_opens_the_console_with_what_was_recorded(web: Served, vm: VM, owner: User) -> None:
    cookie = cookie_of(owner)
    opened = show(dial(web, vm, cookie), ticket(web, vm, owner, cookie))
    until(lambda: opened.data == RECORDED.encode(), "the recorded output")
    until(lambda: {"type": "state", "state": "off"} in opened.notes, "the console's state")
    assert opened.notes[0] == {"type": "open"}
    opened.socket.close()
    until(lambda: ConsoleSession.objects.filter(ending="left").exists(), "the end, written down")
    assert ConsoleSession.objects.get().bytes_shown == len(RECORDED)


def test_a_used_ticket_gets_nothing(web: Served, vm: VM, owner: User) -> None:
    cookie = cookie_of(owner)
    token = ticket(web, vm, owner, cookie)
    first = show(dial(web, vm, cookie), token)
    until(lambda: first.data, "the first one's output")
    again = show(dial(web, vm, cookie), token)
    assert (again.ended(), again.data, again.notes) == (consoles.BAD_TICKET, b"", [])
    assert first.code is None


def test_a_signed_out_person_gets_nothing(web: Served, vm: VM, owner: User) -> None:
    cookie = cookie_of(owner)
    token = ticket(web, vm, owner, cookie)
    nobody = show(dial(web, vm, ""), token)
    assert (nobody.ended(), nobody.data, nobody.notes) == (4401, b"", [])
    SessionStore(key_of(cookie)).delete()
    left = show(dial(web, vm, cookie), token)
    assert (left.ended(), left.data, left.notes) == (4401, b"", [])


def test_a_stranger_gets_nothing_even_with_a_stolen_ticket(web: Served, vm: VM, owner: User, stranger: User) -> None:
    token = ticket(web, vm, owner, cookie_of(owner))
    thief = show(dial(web, vm, cookie_of(stranger)), token)
    assert (thief.ended(), thief.data, thief.notes) == (consoles.BAD_TICKET, b"", [])
    guesser = show(dial(web, vm, cookie_of(stranger)), "guessed")
    assert (guesser.ended(), guesser.data, guesser.notes) == (consoles.BAD_TICKET, b"", [])


def test_a_ticket_of_another_origin_gets_nothing(web: Served, vm: VM, owner: User) -> None:
    cookie = cookie_of(owner)
    opened = show(dial(web, vm, cookie), ticket(web, vm, owner, cookie, "https://vms.example.org"))
    assert (opened.ended(), opened.data, opened.notes) == (consoles.BAD_TICKET, b"", [])


def test_a_foreign_page_is_refused_at_the_handshake(web: Served, vm: VM, owner: User) -> None:
    with pytest.raises(InvalidStatus) as caught:
        dial(web, vm, cookie_of(owner), origin="https://evil.example")
    assert caught.value.response.status_code == 403


@pytest.mark.parametrize("first", ["", "{", "[]", '{"ticket": 7}', '{"ticket": "' + "x" * 5000 + '"}'])
def test_a_first_message_that_is_no_ticket_ends_it(web: Served, vm: VM, owner: User, first: str) -> None:
    opened = dial(web, vm, cookie_of(owner))
    opened.socket.send(first)
    assert (opened.ended(), opened.data, opened.notes) == (gateways.NO_TICKET, b"", [])


def test_a_withdrawn_membership_cuts_the_console(web: Served, vm: VM, owner: User, operator: User) -> None:
    cookie = cookie_of(operator)
    opened = show(dial(web, vm, cookie), ticket(web, vm, operator, cookie))
    until(lambda: opened.data, "output")
    projects.remove_member(vm.project, operator, user=owner)
    assert opened.ended() == 4403
    until(lambda: ConsoleSession.objects.filter(ending="right_withdrawn").exists(), "the end, written down")


def test_the_end_of_the_session_cuts_the_console(web: Served, vm: VM, owner: User) -> None:
    cookie = cookie_of(owner)
    opened = show(dial(web, vm, cookie), ticket(web, vm, owner, cookie))
    until(lambda: opened.data, "output")
    SessionStore(key_of(cookie)).delete()
    assert opened.ended() == 4401


def test_the_end_of_the_vm_cuts_the_console(web: Served, vm: VM, owner: User) -> None:
    from django.utils import timezone

    cookie = cookie_of(owner)
    opened = show(dial(web, vm, cookie), ticket(web, vm, owner, cookie))
    until(lambda: opened.data, "output")
    VM.objects.filter(pk=vm.pk).update(deleted_at=timezone.now())
    assert opened.ended() == 4404


def test_a_cut_console_ends_and_the_other_viewer_stays(web: Served, vm: VM, owner: User) -> None:
    cookie = cookie_of(owner)
    first = show(dial(web, vm, cookie), ticket(web, vm, owner, cookie))
    until(lambda: first.data, "output")
    mine = ConsoleSession.objects.get()
    second = show(dial(web, vm, cookie), ticket(web, vm, owner, cookie))
    until(lambda: {"type": "viewers", "count": 2} in first.notes, "the second viewer")
    consoles.cut(mine, user=owner)
    assert first.ended() == consoles.CODES["cut"]
    until(lambda: second.notes[-1] == {"type": "viewers", "count": 1}, "the one who stays")
    assert second.code is None


def test_a_screen_of_a_vm_whose_host_is_silent_says_so(web: Served, vm: VM, owner: User) -> None:
    cookie = cookie_of(owner)
    token = consoles.issue_ticket(
        vm, "screen", user=owner, session_key=key_of(cookie), origin=f"http://127.0.0.1:{web.port}", address=None
    )
    opened = show(dial(web, vm, cookie, kind="screen"), token)
    assert opened.ended() == consoles.CODES["host_lost"]
    assert (opened.data, opened.notes) == (b"", [])


def test_without_a_gateway_the_page_is_told_to_try_again(vm: VM, owner: User) -> None:
    port = free_port()
    relay = Relay(f"127.0.0.1:{free_port()}")
    app = URLRouter([path("ws/consoles/<uuid:vm_id>/<slug:kind>/", relay)])  # type: ignore[arg-type]
    with Served(ProtocolTypeRouter({"websocket": app}), port) as served:
        assert dial(served, vm, cookie_of(owner)).ended() == 1013


def test_the_ticket_is_asked_for_by_a_page_with_its_form_token(vm: VM, owner: User) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(owner, backend="django.contrib.auth.backends.ModelBackend")
    assert strict.post("/projects/lab/vms/web-1/console/serial/ticket/").status_code == 403
