"""Cancelling: an open operation is turned round between two steps, and what it did is undone."""

from dataclasses import replace

import pytest
from django.db import OperationalError, connection

from lifecycle.domain.errors import ActionNotAllowed, DomainError, Forbidden, NotFound, Transient
from lifecycle.domain.states import State
from lifecycle.domain.transitions import CANCELLABLE, Action, may_cancel
from lifecycle.models import Operation, User
from lifecycle.operations import engine, registry
from lifecycle.services import operations
from tests import factories
from tests.operations.faults import after_effect, changed, failing
from tests.operations.scene import BEGINS_IN, FAILS_TO, Scene, error_of
from tests.services.tools import no_change

pytestmark = [pytest.mark.libvirt, pytest.mark.django_db]

once = pytest.mark.skipif(connection.vendor != "sqlite", reason="about steps and hosts: once is enough")
STEPS = [
    pytest.param(action, index, id=f"{action}-{step.name}")
    for action in sorted(CANCELLABLE)
    for index, step in enumerate(registry.DEFINITIONS[action].steps)
]


@once
@pytest.mark.parametrize(("action", "index"), STEPS)
def test_cancelled_during_any_step_all_is_undone(scene: Scene, action: Action, index: int) -> None:
    scene.bring_to(BEGINS_IN[action])
    before = scene.inventory()
    operation = scene.ask(action)
    after_effect(index, lambda found: operations.cancel(found, scene.owner))
    scene.finish(operation)
    assert error_of(operation)["code"] == "OPERATION_CANCELLED"
    assert scene.state == FAILS_TO[action]
    assert scene.inventory() == before
    scene.assert_at_rest(FAILS_TO[action])


def test_cancelled_before_anybody_began_nothing_is_done(scene: Scene) -> None:
    operation = scene.ask(Action.CREATE)
    operations.cancel(operation, scene.owner)
    scene.finish(operation)
    assert scene.proxy.calls == []
    assert error_of(operation)["message"] == "It was cancelled by olivia."
    scene.assert_at_rest(None)


def test_cancelled_while_it_waits_it_is_turned_round_at_once(scene: Scene) -> None:
    scene.proxy.fail("define", Transient("no answer"))
    operation = scene.ask(Action.CREATE)
    engine.run(operation.pk)
    operations.cancel(operation, scene.owner)
    assert operation.pk in operations.due(limit=10)
    engine.run(operation.pk)
    operation.refresh_from_db()
    assert error_of(operation)["code"] == "OPERATION_CANCELLED"
    scene.assert_at_rest(None)


def test_the_vm_says_who_cancelled_it(scene: Scene) -> None:
    scene.bring_to(State.TERMINATED)
    operation = scene.ask(Action.START)
    operations.cancel(operation, scene.owner)
    scene.finish(operation)
    assert scene.vm.state_reason == "It was cancelled by olivia."


def test_cancelled_twice_is_cancelled_once(scene: Scene, operator: User) -> None:
    operation = scene.ask(Action.CREATE)
    first = operations.cancel(operation, scene.owner)
    with no_change():
        again = operations.cancel(operation, operator)
    assert (again.cancel_time, again.cancelled_by) == (first.cancel_time, scene.owner)


def test_a_stop_may_still_take_over_what_is_being_cancelled(scene: Scene) -> None:
    scene.bring_to(State.TERMINATED)
    operation = scene.ask(Action.START)
    operations.cancel(operation, scene.owner)
    scene.do(Action.STOP)
    operation.refresh_from_db()
    assert error_of(operation)["code"] == "OPERATION_PREEMPTED"
    assert scene.state is State.TERMINATED


@pytest.mark.parametrize("action", [a for a in BEGINS_IN if not may_cancel(a)])
def test_what_cannot_be_taken_back_cannot_be_cancelled(scene: Scene, action: Action) -> None:
    operation = scene.begin(action)
    with no_change(), pytest.raises(ActionNotAllowed, match="cannot be taken back"):
        operations.cancel(operation, scene.owner)


def test_what_is_over_cannot_be_cancelled(scene: Scene) -> None:
    operation = scene.do(Action.CREATE)
    with no_change(), pytest.raises(ActionNotAllowed, match="is over"):
        operations.cancel(operation, scene.owner)


@once
def test_what_is_being_undone_cannot_be_cancelled(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    operation = scene.ask(Action.CREATE)
    step = replace(registry.DEFINITIONS["create"].steps[0], undo=failing_undo)
    monkeypatch.setitem(registry.DEFINITIONS, "create", changed("create", 0, lambda _step: step))
    broken = changed("create", 1, failing(NotFound("injected"), after=False))
    monkeypatch.setitem(registry.DEFINITIONS, "create", broken)
    engine.run(operation.pk)
    with pytest.raises(ActionNotAllowed, match="being undone already"):
        operations.cancel(operation, scene.owner)


def failing_undo(_context: object) -> None:
    raise Transient("no answer")


def test_who_may_cancel(scene: Scene, operator: User, viewer: User, stranger: User) -> None:
    operation = scene.ask(Action.CREATE)
    refused: list[tuple[User, type[DomainError]]] = [(viewer, Forbidden), (stranger, NotFound)]
    for user, error in refused:
        with no_change(), pytest.raises(error):
            operations.cancel(operation, user)
    assert operations.cancel(operation, operator).cancelled_by == operator


def test_an_operator_of_the_site_cancels_anybodys(scene: Scene) -> None:
    operation = scene.ask(Action.CREATE)
    staff = factories.make_user("stella", is_staff=True)
    assert operations.cancel(operation, staff, as_operator=True).cancelled_by == staff


# -- a record that fails -------------------------------------------------------------------------


@once
@pytest.mark.parametrize("index", [0, len(registry.DEFINITIONS["create"].steps) - 1], ids=["first", "last"])
def test_a_record_that_the_database_refuses_is_written_later(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, index: int
) -> None:
    """The connection is lost between a step's effect and its record: the step is repeated, and nothing is undone."""
    operation = scene.ask(Action.CREATE)
    end_step = operations.end_step
    failures: list[int] = []

    def lost(found: Operation, at: int, status: str, detail: str = "") -> None:
        if at == index and len(failures) < 5:
            failures.append(at)
            raise OperationalError("the connection was lost")
        end_step(found, at, status, detail)

    monkeypatch.setattr(operations, "end_step", lost)
    scene.finish(operation)
    assert len(failures) == 5
    assert operation.error is None
    scene.assert_at_rest(State.RUNNING)
