"""The connection to the database is lost while an operation is worked on: the worker goes on with a new one."""

import pytest
from django.db import connection

from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action
from lifecycle.operations import registry
from tests.operations.faults import after_effect, changed, failing
from tests.operations.scene import Scene

pytestmark = [
    pytest.mark.bothdb,
    pytest.mark.libvirt,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite's file cannot hang up"),
]

STEPS = [step.name for step in registry.DEFINITIONS["create"].steps]


def hang_up(*_args: object) -> None:
    """The server ends our session, as at its restart."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        [ours] = cursor.fetchone()
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [ours])
    other.close()


@pytest.mark.parametrize("index", range(len(STEPS)), ids=STEPS)
def test_lost_between_a_steps_effect_and_its_record(scene: Scene, index: int) -> None:
    operation = scene.ask(Action.CREATE)
    after_effect(index, hang_up)
    scene.finish(operation)
    assert operation.error is None
    assert operation.attempt > 1
    scene.assert_at_rest(State.RUNNING)


def test_lost_in_a_call_to_the_host(scene: Scene) -> None:
    operation = scene.ask(Action.CREATE)
    scene.proxy.at("define", hang_up, times=1)
    scene.finish(operation)
    assert operation.error is None
    scene.assert_at_rest(State.RUNNING)


def test_lost_while_it_is_undone(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    last = len(STEPS) - 1
    broken = changed("create", last, failing(ValueError("injected"), after=True))
    monkeypatch.setitem(registry.DEFINITIONS, "create", broken)
    operation = scene.ask(Action.CREATE)
    after_effect(STEPS.index("define_domain"), hang_up, undoing=True)
    scene.finish(operation)
    assert operation.error
    scene.assert_at_rest(None)
