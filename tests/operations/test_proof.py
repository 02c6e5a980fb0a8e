"""The proof is proven: with one protection taken away, the checks that hold with it find a violation."""

from contextlib import nullcontext, suppress
from typing import Any

import pytest
from django.db import connection
from pytest_django import Settings

from lifecycle.domain.errors import Broken
from lifecycle.domain.transitions import Action
from lifecycle.models import Operation
from lifecycle.operations import engine, registry
from tests.operations.faults import after_effect, changed, failing
from tests.operations.scene import EMPTY, Scene

pytestmark = [
    pytest.mark.libvirt,
    pytest.mark.django_db,
    pytest.mark.skipif(connection.vendor != "sqlite", reason="about steps and hosts: once is enough"),
]

both = pytest.mark.parametrize("protected", [True, False], ids=["as it is", "without it"])
CREATE = [step.name for step in registry.DEFINITIONS[Action.CREATE].steps]


@both
def test_without_undo_a_failed_create_leaks(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, settings: Settings, protected: bool
) -> None:
    if not protected:
        settings.UNSAFE_TEST_SWITCHES = {"undo"}
    last = len(CREATE) - 1
    broken = changed(Action.CREATE, last, failing(Broken("injected"), after=True))
    monkeypatch.setitem(registry.DEFINITIONS, Action.CREATE, broken)
    scene.finish(scene.ask(Action.CREATE))
    left = scene.inventory()
    assert (left["domains"] == left["volumes"] == []) is protected
    assert (left["bindings"] == {}) is protected


@both
def test_without_fencing_a_worker_that_was_taken_over_goes_on(
    scene: Scene, settings: Settings, protected: bool
) -> None:
    seen: dict[str, Any] = {}

    def delete_it(operation: Operation) -> None:
        """A delete takes the create over and is finished by another worker."""
        engine.after_effect = None
        scene.finish(scene.ask(Action.DELETE))
        seen["calls"], seen["record"] = len(scene.proxy.calls), record(operation)

    if not protected:
        settings.UNSAFE_TEST_SWITCHES = {"fencing"}
    operation = scene.ask(Action.CREATE)
    after_effect(CREATE.index("define_domain"), delete_it)
    with nullcontext() if protected else suppress(Exception):  # whatever it stumbles over
        engine.run(operation.pk)
    untouched = (len(scene.proxy.calls), record(operation)) == (seen["calls"], seen["record"])
    assert untouched is protected
    if protected:
        assert scene.inventory() == EMPTY


@both
def test_without_leases_two_workers_do_the_same_step(scene: Scene, settings: Settings, protected: bool) -> None:
    if not protected:
        settings.UNSAFE_TEST_SWITCHES = {"leases"}
    operation = scene.ask(Action.CREATE)
    scene.proxy.at("define", lambda: engine.run(operation.pk), times=1)
    engine.run(operation.pk)
    assert (scene.proxy.calls.count("define") == 1) is protected


def record(operation: Operation) -> tuple[Any, ...]:
    """What the database says of an operation and its steps."""
    row = Operation.objects.filter(pk=operation.pk).values_list("status", "step_index", "undoing", "error", "data")
    return (*row.get(), *operation.steps.order_by("index").values_list("status", "detail"))
