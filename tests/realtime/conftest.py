"""A Redis of this folder alone, the web process, and people with sessions."""

from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django import Settings

from lifecycle.models import Project, User
from lifecycle.realtime import consumers, push
from tests.realtime.servers import RedisServer, Web, cookie_of, free_port


@pytest.fixture
def redis(redis_layer: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisServer]:
    """That Redis, and a sender of pushes that knows no other; up before and after each test.

    A machine that is busy for a second does not count as a Redis that is away.
    """
    monkeypatch.setattr(push, "_sender", push._Sender())
    monkeypatch.setattr(push, "SEND_SECONDS", 30.0)
    monkeypatch.setattr(consumers, "REDIS_SECONDS", 30.0)
    yield redis_layer
    push._sender.stop()


@pytest.fixture
def no_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    """What happens within a test happens because of a message."""
    monkeypatch.setattr(consumers.ProjectConsumer, "heartbeat_seconds", 3600.0)


@pytest.fixture
def quick_heartbeat(no_heartbeat: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Heartbeats twice a second, so that what they heal is healed within a test."""
    monkeypatch.setattr(consumers.ProjectConsumer, "heartbeat_seconds", 0.5)
    monkeypatch.setattr(consumers.ProjectConsumer, "poll_seconds", 0.3)


@pytest.fixture
def web(transactional_db: None, redis: RedisServer, settings: Settings) -> Iterator[Web]:
    """The product's ASGI application, served for real; static files come from their sources."""
    from channels.routing import ProtocolTypeRouter
    from django.core.asgi import get_asgi_application

    from lifecycle.api.live import admit
    from lifecycle.api.waiting import Waiting
    from lifecycle.realtime.origins import OriginCheck
    from lifecycle.realtime.programs import TokenDoor
    from vmportal.asgi import routes
    from vmportal.origins import allowed_origins

    settings.WHITENOISE_USE_FINDERS = settings.WHITENOISE_AUTOREFRESH = True
    port = free_port()
    own = allowed_origins(f"http://127.0.0.1:{port}", [], "127.0.0.1")
    # The product's stack; only its port is this test's.
    websocket = TokenDoor(OriginCheck(routes, own), routes, admit)
    http: Any = Waiting(get_asgi_application())  # type: ignore[arg-type]  # it says dict for any mapping
    server = Web(ProtocolTypeRouter({"http": http, "websocket": websocket}), port)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def cookie(owner: User, project: Project) -> str:
    """A session of the project's owner."""
    return cookie_of(owner)
