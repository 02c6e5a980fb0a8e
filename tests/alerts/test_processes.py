"""Real processes: alerts are raised, told and closed while Redis is dead and beat does not run."""

import base64
import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.alerts.receivers import Webhook, webhook
from tests.stack import Stack, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

SECRET = "whsec_" + base64.b64encode(os.urandom(32)).decode()
#: Seconds: a process begins in some, and another takes a dead one's turn over after a minute; a busy machine is slower.
PATIENCE = 300
KEPT_OUT = "UPDATE lifecycle_host SET kept_out_until = datetime('now', ?)"


@pytest.fixture
def receiver() -> Iterator[Webhook]:
    with webhook() as found:
        yield found


@pytest.fixture
def stack(tmp_path: Path, receiver: Webhook, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """An installation without Redis and beat, and with a host at whose address nobody answers."""
    monkeypatch.setenv("ALERT_WEBHOOK_URL", receiver.url)
    monkeypatch.setenv("ALERT_WEBHOOK_SECRET", SECRET)
    made = Stack(tmp_path, processes=(), extra={"VMPORTAL_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8"})
    for name in ("run", "log", "images"):
        (tmp_path / name).mkdir()
    made.manage("migrate", "--noinput")
    made.manage("bootstrap")
    write(
        made,
        "INSERT INTO lifecycle_host (name, uri, zone_id, schedulable, health, health_reason, architecture, vcpus_total,"
        " memory_mib_total, disk_gib_total, memory_mib_kept, cpu_overcommit_percent, memory_overcommit_percent,"
        " disk_overcommit_percent, vcpus_reserved, memory_mib_reserved, disk_gib_reserved, domain_type,"
        " domain_type_reason, libvirt_version, hypervisor_version, created_at) SELECT 'host-1',"
        " 'qemu+unix:///system?socket=/nowhere.sock', id, 1, 'unknown', '', 'x86_64', 0, 0, 0, 0, 100, 100, 100,"
        " 0, 0, 0, 'qemu', '', '', '', datetime('now') FROM lifecycle_zone",
    )
    try:
        yield made
    finally:
        for name in list(made.running):
            made.end(name, kill=True)


def write(stack: Stack, statement: str, *values: str) -> None:
    with sqlite3.connect(stack.root / "db.sqlite3", timeout=20) as database:
        database.execute(statement, values)
    database.close()


def read(stack: Stack, statement: str) -> list[tuple[object, ...]]:
    database = sqlite3.connect(stack.root / "db.sqlite3", timeout=20)
    try:
        return database.execute(statement).fetchall()
    finally:
        database.close()


def told(receiver: Webhook) -> list[tuple[str, str]]:
    """(type, kind) of each message about the host's flapping."""
    messages = [json.loads(body) for _path, _headers, body in receiver.received]
    return [(m["type"], m["data"]["kind"]) for m in messages if m["data"].get("kind") == "host_flapping"]


def hook_told(receiver: Webhook) -> list[int]:
    """The messages of the project's webhook."""
    messages = [json.loads(body) for _path, _headers, body in receiver.received]
    return [m["data"]["number"] for m in messages if m["type"] == "webhook.test"]


def write_message(stack: Stack, number: int) -> None:
    """What a service writes with what it tells of."""
    body = json.dumps({"type": "webhook.test", "timestamp": "", "data": {"number": number}})
    write(
        stack,
        "INSERT INTO lifecycle_webhookdelivery (webhook_id, message, kind, body, created_at, due_at, attempts, problem)"
        " SELECT id, ?, 'webhook.test', ?, datetime('now'), datetime('now'), 0, '' FROM lifecycle_webhook",
        uuid4().hex,
        body,
    )


def test_alerts_need_neither_redis_nor_beat_and_outlive_a_worker(stack: Stack, receiver: Webhook) -> None:
    write(stack, KEPT_OUT, "+1 hour")
    write(
        stack,
        "INSERT INTO lifecycle_webhook (project_id, url, kinds, salt, is_active, created_at)"
        " SELECT id, ?, '[]', 'salt', 1, datetime('now') FROM lifecycle_project",
        receiver.url,
    )
    write_message(stack, 1)
    write(stack, "DELETE FROM django_celery_beat_periodictask WHERE name = 'lifecycle.reconcile_hosts'")
    stack.start("worker")
    wait_until(lambda: told(receiver) == [("alert.opened", "host_flapping")], PATIENCE, "the worker's message")
    named = "SELECT 1 FROM django_celery_beat_periodictask WHERE name = 'lifecycle.reconcile_hosts'"
    wait_until(lambda: read(stack, named), PATIENCE, "the task that was deleted")
    wait_until(lambda: hook_told(receiver) == [1], PATIENCE, "the worker's message to the project's webhook")
    stack.end("worker", kill=True)
    write_message(stack, 2)
    write(stack, KEPT_OUT, "-1 hour")
    stack.start("watcher")
    wait_until(lambda: told(receiver)[1:] == [("alert.resolved", "host_flapping")], PATIENCE, "the watcher's message")
    wait_until(lambda: hook_told(receiver) == [1, 2], PATIENCE, "the watcher's message to the project's webhook")
    for name in ("worker", "watcher"):
        assert SECRET[6:] not in stack.log(name)
        assert receiver.url not in stack.log(name)
