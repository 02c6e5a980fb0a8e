"""The crash matrix, generated from the registry: every step of every operation repeated, failed, died in, taken over.

It is about steps and hosts: it runs once, on SQLite. What the engine asks of a database is tested on both.
"""

from typing import Any

import pytest
from django.db import connection

from lifecycle.domain.errors import Broken
from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action, may_preempt
from lifecycle.models import Operation
from lifecycle.operations import engine, registry
from tests.operations.faults import after_effect, changed, die, done_twice, failing, run_and_die, undone_twice
from tests.operations.scene import BEGINS_IN, ENDS_IN, FAILS_TO, Scene, error_of

pytestmark = [
    pytest.mark.libvirt,
    pytest.mark.django_db,
    pytest.mark.skipif(connection.vendor != "sqlite", reason="the matrix is about steps and hosts: once is enough"),
]

STEPS = [
    (Action(name), index, step.name)
    for name, definition in registry.DEFINITIONS.items()
    for index, step in enumerate(definition.steps)
]


def each(chosen: list[tuple[Action, int, str]]) -> Any:
    """One test for each of the steps."""
    ids = [f"{action}-{index}-{name}" for action, index, name in chosen]
    return pytest.mark.parametrize(("action", "index"), [(a, i) for a, i, _name in chosen], ids=ids)


def definition(action: Action) -> Any:
    return registry.DEFINITIONS[action]


FINAL = [case for case in STEPS if not definition(case[0]).retried]
RETRIED = [case for case in STEPS if definition(case[0]).retried]
UNDONE = [case for case in FINAL if definition(case[0]).steps[case[1]].undo]

#: The operation's own next phase decides in which state it may be taken over.
STOPPED = [case for case in STEPS if may_preempt(Action.STOP, case[0])]
DELETED = [case for case in STEPS if may_preempt(Action.DELETE, case[0])]


# -- repeated ------------------------------------------------------------------------------------


@each(STEPS)
def test_a_step_done_twice_leads_to_the_same_end(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, action: Action, index: int
) -> None:
    scene.bring_to(BEGINS_IN[action])
    monkeypatch.setitem(registry.DEFINITIONS, action, changed(action, index, done_twice))
    operation = scene.finish(scene.ask(action))
    assert operation.error is None
    scene.assert_at_rest(ENDS_IN[action])


@each(UNDONE)
def test_a_step_undone_twice_leads_to_the_same_end(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, action: Action, index: int
) -> None:
    scene.bring_to(BEGINS_IN[action])
    monkeypatch.setitem(registry.DEFINITIONS, action, changed(action, index, undone_twice))
    last = len(definition(action).steps) - 1
    monkeypatch.setitem(registry.DEFINITIONS, action, changed(action, last, failing(Broken("injected"), after=True)))
    operation = scene.finish(scene.ask(action))
    assert operation.error
    assert scene.state == FAILS_TO[action]


# -- failed --------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [False, True], ids=["before its effect", "after its effect"])
@each(FINAL)
def test_a_failure_undoes_everything(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, action: Action, index: int, after: bool
) -> None:
    scene.bring_to(BEGINS_IN[action])
    before = scene.inventory()
    operation = scene.ask(action)
    monkeypatch.setitem(registry.DEFINITIONS, action, changed(action, index, failing(Broken("injected"), after=after)))
    scene.finish(operation)
    assert operation.error
    assert error_of(operation)["code"] == "HOST_INTERNAL_ERROR"
    assert error_of(operation)["message"] == "The host had an internal error."
    assert scene.state == FAILS_TO[action]
    if action is Action.REPAIR:
        scene.assert_at_rest(State.TERMINATED)
    else:
        assert scene.inventory() == before


@each(RETRIED)
def test_what_is_never_final_is_repeated_until_it_succeeds(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, action: Action, index: int
) -> None:
    operation = scene.begin(action)
    with monkeypatch.context() as patch:
        patch.setitem(registry.DEFINITIONS, action, changed(action, index, failing(Broken("injected"), after=True)))
        for _ in range(index + 5):
            scene.make_due(operation)
            engine.run(operation.pk)
    operation.refresh_from_db()
    assert (operation.status, operation.step_index, operation.error) == ("RUNNING", index, None)
    scene.finish(operation)
    assert operation.error is None
    scene.assert_at_rest(ENDS_IN[action])


# -- the worker dies -----------------------------------------------------------------------------


@each(STEPS)
def test_a_worker_that_dies_after_a_steps_effect_is_replaced_by_another(
    scene: Scene, action: Action, index: int
) -> None:
    operation = scene.begin(action)
    after_effect(index, die)
    assert run_and_die(operation)
    operation.refresh_from_db()
    assert operation.step_index == index
    assert not engine.run(operation.pk), "the dead worker's lease still holds"
    scene.expire_lease(operation)
    scene.finish(operation)
    assert operation.error is None
    assert operation.recovered == 1
    scene.assert_at_rest(ENDS_IN[action])


@each(UNDONE)
def test_a_worker_that_dies_while_it_undoes_is_replaced_by_another(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, action: Action, index: int
) -> None:
    scene.bring_to(BEGINS_IN[action])
    before = scene.inventory()
    operation = scene.ask(action)
    last = len(definition(action).steps) - 1
    monkeypatch.setitem(registry.DEFINITIONS, action, changed(action, last, failing(Broken("injected"), after=True)))
    after_effect(index, die, undoing=True)
    died = False
    for _ in range(10):
        scene.make_due(operation)
        if died := run_and_die(operation):
            break
    assert died
    scene.expire_lease(operation)
    scene.finish(operation)
    assert operation.error
    assert scene.state == FAILS_TO[action]
    if action is not Action.REPAIR:
        assert scene.inventory() == before


# -- taken over ----------------------------------------------------------------------------------


def taken_over(scene: Scene, action: Action, index: int, by: Action) -> Operation:
    """Run `action`; after the effect of its step at `index`, `by` is asked for and takes over."""
    operation = scene.begin(action)
    successors: list[Operation] = []
    after_effect(index, lambda _operation: successors.append(scene.ask(by)))
    for _ in range(10):
        scene.make_due(operation)
        engine.run(operation.pk)
        if successors:
            break
    operation.refresh_from_db()
    assert error_of(operation)["code"] == "OPERATION_PREEMPTED"
    assert operation.step_index == index, "the worker that was taken over recorded nothing more"
    return successors[0]


@each(STOPPED)
def test_a_stop_takes_over_after_any_step(scene: Scene, action: Action, index: int) -> None:
    stop = scene.finish(taken_over(scene, action, index, Action.STOP))
    assert stop.error is None
    if action is Action.CREATE or scene.vm.host is None:
        assert scene.state is State.TERMINATED
    else:
        scene.assert_at_rest(State.SUSPENDED if action is Action.RESUME else State.TERMINATED)


@each(STOPPED)
def test_what_was_stopped_on_its_way_can_be_started_or_resumed(scene: Scene, action: Action, index: int) -> None:
    scene.finish(taken_over(scene, action, index, Action.STOP))
    scene.do(Action.RESUME if action is Action.RESUME else Action.START)
    scene.assert_at_rest(State.RUNNING)


@each(DELETED)
def test_a_delete_takes_over_after_any_step_and_leaves_nothing(scene: Scene, action: Action, index: int) -> None:
    delete = taken_over(scene, action, index, Action.DELETE)
    scene.finish(delete)
    assert delete.error is None
    scene.assert_at_rest(None)


@pytest.mark.parametrize("state", [State.RUNNING, State.TERMINATED, State.SUSPENDED])
def test_a_delete_leaves_nothing_on_the_host(scene: Scene, state: State) -> None:
    scene.bring_to(state)
    scene.do(Action.DELETE)
    scene.assert_at_rest(None)
