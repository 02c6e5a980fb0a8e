"""Real worker processes that are asked to end, killed, and frozen while an operation is in flight."""

import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.db import connection

from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action
from lifecycle.models import Operation
from lifecycle.services import operations
from tests.operations.private_libvirtd import PrivateLibvirtd
from tests.operations.scene import Scene
from tests.operations.workers import WorkerProcess, wait_until

pytestmark = [
    pytest.mark.libvirt,
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "sqlite", reason="about processes: once is enough"),
]

#: Seconds within which a worker has begun, on a machine that has much else to do.
STARTED = 200

Start = Callable[..., WorkerProcess]


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Start]:
    """Starts worker processes, which end with the test."""
    made: list[WorkerProcess] = []

    def start(name: str, **extra: str) -> WorkerProcess:
        made.append(WorkerProcess(tmp_path / f"{name}.log", **extra))
        return made[-1]

    yield start
    for each in made:
        each.kill()


def row(operation: Operation) -> Operation:
    return Operation.objects.get(pk=operation.pk)


def held_by(operation: Operation, process: WorkerProcess) -> bool:
    return row(operation).lease_owner.endswith(f":{process.process.pid}")


@pytest.fixture
def hanging(scene: Scene, private_libvirtd: PrivateLibvirtd) -> Iterator[PrivateLibvirtd]:
    """The host's libvirtd, hung until it is let go on: a call to it is in flight for as long as the test wants."""
    yield private_libvirtd
    private_libvirtd.thaw()


def asked_while_hung(scene: Scene, hanging: PrivateLibvirtd, worker: WorkerProcess) -> Operation:
    """The host hangs when the operation is asked for: no longer than it must, or connections to it are given up."""
    wait_until(lambda: " ready." in worker.log.read_text(), STARTED, "the worker")
    hanging.freeze()
    return scene.ask(Action.CREATE)


def freeze(worker: WorkerProcess) -> None:
    """Stop it while it writes nothing: on SQLite one that is stopped in a transaction stops everybody."""
    for _ in range(50):
        os.kill(worker.process.pid, signal.SIGSTOP)
        other = sqlite3.connect(str(connection.settings_dict["NAME"]), timeout=0.2, isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
            return
        except sqlite3.OperationalError:
            os.kill(worker.process.pid, signal.SIGCONT)
            time.sleep(0.1)
        finally:
            other.close()
    pytest.fail("the worker is always writing")


def test_a_worker_that_is_told_to_end_ends_its_step_and_another_goes_on(
    scene: Scene, worker: Start, hanging: PrivateLibvirtd
) -> None:
    first = worker("first")
    operation = asked_while_hung(scene, hanging, first)
    wait_until(lambda: row(operation).step_index == 1, STARTED, "a call to the host by the first worker")
    first.process.send_signal(signal.SIGTERM)
    wait_until(lambda: "shutdown" in first.log.read_text().lower(), STARTED, "the signal")
    hanging.thaw()
    assert first.process.wait(120) == 0
    left = row(operation)
    assert (left.status, left.lease_owner, left.lease_until) == ("RUNNING", "", None), "the lease was given back"
    assert left.step_index == 2, "the step under way was ended, and no further one begun"
    worker("second")
    wait_until(lambda: row(operation).is_done, STARTED, "the second worker")
    ended = row(operation)
    assert (ended.error, ended.recovered) == (None, 0), "nothing was lost: nothing had to be recovered"
    scene.assert_at_rest(State.RUNNING)


def test_a_worker_that_is_killed_in_a_call_is_replaced(scene: Scene, worker: Start, hanging: PrivateLibvirtd) -> None:
    first = worker("first", VMPORTAL_OPERATION_LEASE_SECONDS="3")
    operation = asked_while_hung(scene, hanging, first)
    wait_until(lambda: held_by(operation, first), STARTED, "the first worker")
    first.end(signal.SIGKILL)
    hanging.thaw()
    worker("second", VMPORTAL_OPERATION_LEASE_SECONDS="3")
    wait_until(lambda: row(operation).is_done, STARTED, "the second worker")
    assert row(operation).error is None
    assert row(operation).recovered
    scene.assert_at_rest(State.RUNNING)


def test_a_worker_frozen_and_thawed_when_its_vm_is_gone_harms_nothing(
    scene: Scene, worker: Start, hanging: PrivateLibvirtd
) -> None:
    first = worker("first", VMPORTAL_OPERATION_LEASE_SECONDS="3")
    operation = asked_while_hung(scene, hanging, first)
    wait_until(lambda: held_by(operation, first), STARTED, "the first worker")
    freeze(first)
    hanging.thaw()
    wait_until(lambda: operation.pk in operations.due(limit=9), STARTED, "the end of its lease")
    scene.finish(operation)
    scene.do(Action.DELETE)
    os.kill(first.process.pid, signal.SIGCONT)
    assert first.end(signal.SIGTERM) == 0
    ended = row(operation)
    assert ended.error is None
    assert ended.recovered
    scene.assert_at_rest(None)
