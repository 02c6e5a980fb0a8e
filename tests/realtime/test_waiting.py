"""`wait` of an operation in a real web process: answered at its end, or after some seconds; and what it costs."""

import http.client
import json
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from django.db import transaction

from lifecycle.api import waiting
from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action
from lifecycle.models import AuditEntry, Operation, Project, User
from lifecycle.services import operations, tokens
from tests import factories
from tests.realtime.servers import RedisServer, Web, until

#: Long, so that a slow machine's "at once" is still well before the end of a wait.
WAIT_SECONDS = 90.0
AT_ONCE = 45.0

Answer = tuple[int, dict[str, Any], float]


@pytest.fixture(autouse=True)
def _long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "WAIT_SECONDS", WAIT_SECONDS)


@pytest.fixture
def operation(web: Web, project: Project) -> Operation:
    """One under way."""
    return factories.make_operation(factories.make_vm(project, "web-1", State.RUNNING), Action.STOP)


@pytest.fixture
def secret(web: Web, viewer: User, project: Project) -> str:
    """A reading token of somebody who only looks."""
    return tokens.create(viewer, "robot", [project], may_write=False)[1]


def wait(web: Web, operation: Operation, secret: str, body: bytes = b"") -> Answer:
    """Status, JSON, and how long it took."""
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=150)
    path = f"/compute/v1/projects/lab/zones/zone-a/operations/operation-{operation.pk}/wait"
    headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
    begun = time.monotonic()
    connection.request("POST", path, body, headers)
    answer = connection.getresponse()
    found = json.loads(answer.read())
    connection.close()
    return answer.status, found, time.monotonic() - begun


def waiting_for(web: Web, operation: Operation, secret: str) -> "Future[Answer]":
    """A wait in a thread that has begun a moment ago."""
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(wait, web, operation, secret)
        time.sleep(1)
        assert not found.done()
        end(operation)
    return found


def end(operation: Operation) -> None:
    """As a worker closes it."""
    with transaction.atomic():
        operations.close(operation.pk)


def test_the_application_that_is_served_waits() -> None:
    from vmportal.asgi import application

    assert isinstance(application.application_mapping["http"], waiting.Waiting)


def test_it_is_answered_when_the_operation_ends(web: Web, operation: Operation, secret: str) -> None:
    status, found, seconds = waiting_for(web, operation, secret).result()
    assert (status, found["status"], found["progress"]) == (200, "DONE", 100)
    assert seconds < AT_ONCE


def test_an_operation_that_is_over_is_answered_at_once(web: Web, operation: Operation, secret: str) -> None:
    end(operation)
    status, found, seconds = wait(web, operation, secret, b'""')
    assert (status, found["status"]) == (200, "DONE")
    assert seconds < AT_ONCE


def test_after_some_seconds_it_is_answered_as_it_is(
    web: Web, operation: Operation, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "WAIT_SECONDS", 1.5)
    status, found, seconds = wait(web, operation, secret)
    assert (status, found["status"]) == (200, "PENDING")
    assert 1.5 < seconds < AT_ONCE


def test_one_call_is_counted_and_audited_once(web: Web, operation: Operation, secret: str) -> None:
    waiting_for(web, operation, secret)
    assert list(AuditEntry.objects.filter(action="api.call").values_list("target", flat=True)) == [
        "zoneOperations.wait"
    ]


def test_what_is_refused_is_refused_at_once(web: Web, operation: Operation, stranger: User) -> None:
    elsewhere = stranger.memberships.get().project
    for secret, code in (("", 401), (tokens.create(stranger, "s", [elsewhere], may_write=True)[1], 404)):
        status, found, seconds = wait(web, operation, secret)
        assert (status, found["error"]["code"]) == (code, code)
        assert seconds < AT_ONCE


def test_a_body_that_no_client_sends_is_refused(web: Web, operation: Operation, secret: str) -> None:
    for body in (b"[" + b"1," * 100_000 + b"1]", b"{", b'{"a": ' + b"9" * 200_000 + b"}"):
        assert wait(web, operation, secret, body)[0] == 400


def test_without_redis_it_is_answered_soon(web: Web, redis: RedisServer, operation: Operation, secret: str) -> None:
    redis.kill()
    status, found, seconds = wait(web, operation, secret)
    assert (status, found["status"]) == (200, "PENDING")
    assert seconds < AT_ONCE


def test_many_that_wait_hold_up_nobody(web: Web, operation: Operation, secret: str) -> None:
    """No thread and no connection to the database is held: others are answered meanwhile."""
    before = threading.active_count()
    with ThreadPoolExecutor(40) as pool:
        waits = [pool.submit(wait, web, operation, secret) for _ in range(40)]
        until(lambda: AuditEntry.objects.filter(action="api.call").count() == 40, "40 calls")
        until(lambda: threading.active_count() < before + 40 + 10, "the end of the threads that answered them")
        assert not any(each.done() for each in waits)
        connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=60)
        begun = time.monotonic()
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200
        assert time.monotonic() - begun < AT_ONCE
        end(operation)
        assert {each.result()[1]["status"] for each in waits} == {"DONE"}
