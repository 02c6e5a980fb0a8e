"""What the engine promises: leases, fences, back-off, deadlines, progress, and what people can read."""

from datetime import timedelta
from uuid import uuid4

import pytest
import time_machine
from django.db.models import F
from django.utils import timezone

from lifecycle.domain.errors import Broken, Busy, Gone, HypervisorError, OutOfSpace, Refused, Transient
from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action
from lifecycle.models import Event, Host, Operation, OperationStep, Transition
from lifecycle.operations import engine, registry
from lifecycle.operations.definition import Definition, Step
from lifecycle.services import leases, operations
from tests.operations.faults import after_effect
from tests.operations.scene import Scene, error_of
from tests.services.tools import no_change

pytestmark = [pytest.mark.bothdb, pytest.mark.libvirt, pytest.mark.django_db]


def statuses(operation: Operation) -> list[str]:
    return list(operation.steps.values_list("status", flat=True))


# -- leases and attempts -------------------------------------------------------------------------


def test_lease_and_attempt_are_written_before_any_work(scene: Scene) -> None:
    operation = scene.ask(Action.CREATE)
    seen: list[Operation] = []
    scene.proxy.at("ensure_network", lambda: seen.append(Operation.objects.get(pk=operation.pk)))
    engine.run(operation.pk)
    assert (seen[0].status, seen[0].attempt, seen[0].lease_token) == ("RUNNING", 1, 1)
    assert seen[0].lease_owner == engine.owner_name()
    assert seen[0].lease_until


def test_an_operation_that_is_worked_on_is_not_taken_again(scene: Scene) -> None:
    operation = scene.ask(Action.CREATE)
    answers: list[bool] = []
    scene.proxy.at("ensure_network", lambda: answers.append(engine.run(operation.pk)), times=1)
    engine.run(operation.pk)
    assert answers == [False]


def test_an_operation_that_is_not_due_is_left_alone(scene: Scene) -> None:
    operation = scene.ask(Action.CREATE)
    Operation.objects.update(due_at=timezone.now() + timedelta(minutes=1))
    with no_change():
        assert not engine.run(operation.pk)


def test_an_operation_that_is_done_is_left_alone(scene: Scene) -> None:
    operation = scene.do(Action.CREATE)
    scene.make_due(operation)
    with no_change():
        assert not engine.run(operation.pk)


def test_an_operation_that_does_not_exist_is_nothing_to_do(scene: Scene) -> None:
    assert not engine.run(uuid4())


def test_a_done_operation_holds_no_lease(scene: Scene) -> None:
    operation = scene.do(Action.CREATE)
    assert (operation.lease_owner, operation.lease_until) == ("", None)


# -- a lost lease --------------------------------------------------------------------------------


def take_lease_away(operation: Operation) -> None:
    """As another worker does that takes over."""
    Operation.objects.filter(pk=operation.pk).update(lease_token=F("lease_token") + 1, lease_owner="another")


@pytest.mark.parametrize("index", range(7))
def test_a_worker_that_lost_its_lease_writes_nothing(scene: Scene, index: int) -> None:
    operation = scene.ask(Action.CREATE)
    left: list[dict[str, object]] = []

    def lose(lost: Operation) -> None:
        take_lease_away(lost)
        left.append(rows(lost))

    after_effect(index, lose)
    engine.run(operation.pk)
    assert rows(operation) == left[0]


def rows(operation: Operation) -> dict[str, object]:
    """All that a worker's record would change."""
    return {
        "operation": Operation.objects.values().get(pk=operation.pk),
        "steps": list(OperationStep.objects.values().order_by("index")),
        "events": Event.objects.count(),
        "transitions": Transition.objects.count(),
    }


def test_a_worker_that_lost_its_lease_makes_no_further_call(scene: Scene) -> None:
    operation = scene.ask(Action.CREATE)
    scene.proxy.at("ensure_network", lambda: take_lease_away(operation))
    engine.run(operation.pk)
    assert scene.proxy.calls == ["ensure_network"]


def test_a_lease_that_ran_out_is_as_lost_as_one_that_was_taken(scene: Scene) -> None:
    operation = scene.ask(Action.CREATE)
    scene.proxy.at("ensure_network", lambda: scene.expire_lease(operation))
    engine.run(operation.pk)
    assert scene.proxy.calls == ["ensure_network"]


# -- repetition ----------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [Transient("no answer"), Busy("locked")])
def test_what_may_pass_by_itself_is_tried_again(scene: Scene, error: Exception) -> None:
    scene.proxy.fail("define", error, times=3)
    operation = scene.finish(scene.ask(Action.CREATE))
    assert operation.error is None
    assert operation.attempt == 4


@pytest.mark.parametrize("error", [Refused("no"), OutOfSpace("full"), Broken("what?"), Gone("where?")])
def test_what_will_not_pass_fails_at_once(scene: Scene, error: HypervisorError) -> None:
    scene.proxy.fail("define", error, times=1)
    operation = scene.ask(Action.CREATE)
    engine.run(operation.pk)
    operation.refresh_from_db()
    assert operation.is_done
    assert error_of(operation)["code"] == type(error).code
    assert error_of(operation)["message"] == type(error).user_text


def test_an_unknown_error_is_tried_three_times(scene: Scene) -> None:
    scene.proxy.fail("define", ZeroDivisionError("a defect"))
    operation = scene.finish(scene.ask(Action.CREATE))
    assert scene.proxy.calls.count("define") == engine.UNKNOWN_ERRORS_MAX
    assert error_of(operation)["message"] == "An internal error occurred."


def test_the_operators_words_are_not_shown_to_the_user(scene: Scene) -> None:
    scene.proxy.fail("define", Broken("/var/lib/libvirt/secret: permission denied"))
    operation = scene.finish(scene.ask(Action.CREATE))
    shown = f"{operation.error}{list(operation.steps.values_list('detail', flat=True))}{scene.vm.state_reason}"
    assert "secret" not in shown


def test_between_tries_the_lease_is_given_back_and_the_detail_says_why(scene: Scene) -> None:
    scene.proxy.fail("define", Transient("no answer"))
    operation = scene.ask(Action.CREATE)
    with time_machine.travel(timezone.now(), tick=False):
        engine.run(operation.pk)
        operation.refresh_from_db()
        assert (operation.lease_until, operation.lease_owner, operation.step_failures) == (None, "", 1)
        assert operation.due_at > timezone.now()
    assert operation.steps.get(status="running").detail == Transient.user_text


def test_the_pauses_grow_and_have_an_end(scene: Scene) -> None:
    scene.proxy.fail("define", Transient("no answer"))
    operation = scene.ask(Action.CREATE)
    pauses = []
    with time_machine.travel(timezone.now(), tick=False):
        for _ in range(8):
            scene.make_due(operation)
            engine.run(operation.pk)
            operation.refresh_from_db()
            pauses.append((operation.due_at - timezone.now()).total_seconds())
    assert pauses[0] < 1
    assert pauses[0] < pauses[2] < pauses[4]
    assert max(pauses) <= engine.BACKOFF_SECONDS[1] * 1.2


def test_a_step_that_succeeded_at_last_begins_the_next_one_afresh(scene: Scene) -> None:
    scene.proxy.fail("ensure_network", Transient("no answer"), times=2)
    scene.proxy.fail("define", Transient("no answer"), times=1)
    operation = scene.ask(Action.CREATE)
    for _ in range(3):
        scene.make_due(operation)
        engine.run(operation.pk)
    operation.refresh_from_db()
    assert (operation.steps.get(index=operation.step_index).name, operation.step_failures) == ("define_domain", 1)


# -- deadlines -----------------------------------------------------------------------------------


def test_a_step_that_is_tried_for_too_long_fails(scene: Scene) -> None:
    scene.proxy.fail("define", Transient("no answer"))
    operation = scene.ask(Action.CREATE)
    engine.run(operation.pk)
    scene.age_step(operation, 121)
    scene.finish(operation)
    assert error_of(operation)["code"] == "HOST_UNAVAILABLE"
    scene.assert_at_rest(None)


def test_a_wait_that_takes_too_long_fails(scene: Scene, host: Host) -> None:
    leases.take(scene.host.pk, f"image-{scene.vm_image_id()}", "somebody else", 3600)
    operation = scene.ask(Action.CREATE)
    engine.run(operation.pk)
    operation.refresh_from_db()
    assert operation.steps.get(status="running").name == "prepare_image"
    scene.age_step(operation, 1801)
    scene.finish(operation)
    assert error_of(operation)["code"] == "DEADLINE_EXCEEDED"
    scene.assert_at_rest(None)


def test_a_wait_is_no_failure(scene: Scene) -> None:
    leases.take(scene.host.pk, f"image-{scene.vm_image_id()}", "somebody else", 3600)
    operation = scene.ask(Action.CREATE)
    engine.run(operation.pk)
    operation.refresh_from_db()
    assert operation.step_failures == 0
    assert "brings the image" in operation.steps.get(status="running").detail


def test_what_is_never_final_has_no_last_try(scene: Scene) -> None:
    scene.bring_to(State.RUNNING)
    scene.proxy.fail("look", Broken("what?"), times=30)
    operation = scene.ask(Action.STOP)
    engine.run(operation.pk)
    scene.age_step(operation, 10_000)
    scene.finish(operation)
    assert operation.error is None


# -- the way back --------------------------------------------------------------------------------


def test_an_undo_that_fails_is_repeated_until_it_succeeds(scene: Scene) -> None:
    scene.proxy.fail("start", Refused("no"))
    scene.proxy.fail("undefine", Broken("not now"), times=4)
    operation = scene.finish(scene.ask(Action.CREATE))
    assert error_of(operation)["code"] == "HOST_REFUSED"
    scene.assert_at_rest(None)


def test_already_gone_is_what_an_undo_wants(scene: Scene) -> None:
    scene.proxy.fail("start", Refused("no"))
    scene.proxy.fail("remove_volume", Gone("no such volume"), after=True)
    operation = scene.ask(Action.CREATE)
    engine.run(operation.pk)
    scene.assert_at_rest(None)


def test_a_failure_is_told_step_by_step(scene: Scene) -> None:
    scene.proxy.fail("define", Refused("no"))
    operation = scene.finish(scene.ask(Action.CREATE))
    names = [step.name for step in registry.DEFINITIONS["create"].steps]
    found = dict(zip(names, statuses(operation), strict=True))
    assert found["define_domain"] == "failed"
    assert found["prepare_disk"] == "undone"
    assert found["start_domain"] == "waiting"


# -- progress ------------------------------------------------------------------------------------


def test_a_success_ends_at_a_hundred_with_all_steps_done(scene: Scene) -> None:
    operation = scene.do(Action.CREATE)
    assert operation.progress == 100
    assert set(statuses(operation)) == {"done"}
    assert operation.start_time
    assert operation.end_time


def test_progress_never_falls(scene: Scene) -> None:
    scene.proxy.fail("start", Refused("no"))
    operation = scene.finish(scene.ask(Action.CREATE))
    told = [
        event.payload["operation"]["progress"]
        for event in Event.objects.order_by("number")
        if event.payload.get("operation")
    ]
    assert told == sorted(told)
    assert 0 < operation.progress < 100


def test_each_step_is_told_to_the_browsers(scene: Scene) -> None:
    scene.do(Action.CREATE)
    under_way = [
        step["name"]
        for event in Event.objects.order_by("number")
        if event.payload["operation"]
        for step in event.payload["operation"]["steps"]
        if step["status"] == "running"
    ]
    assert set(under_way) == {step.name for step in registry.DEFINITIONS["create"].steps}


def test_the_last_event_says_running_and_no_operation(scene: Scene) -> None:
    scene.do(Action.CREATE)
    last = Event.objects.latest("number").payload
    assert (last["state"], last["operation"], last["power"]) == ("RUNNING", None, "ON")


def test_a_create_that_failed_tells_the_browsers_why(scene: Scene) -> None:
    scene.proxy.fail("define", Refused("no"))
    scene.finish(scene.ask(Action.CREATE))
    last = Event.objects.latest("number")
    assert last.kind == "vm.gone"
    assert last.payload["operation"]["error"]["code"] == "HOST_REFUSED"


# -- definitions ---------------------------------------------------------------------------------


def test_a_step_needs_an_undo_or_a_line_that_says_why_not() -> None:
    with pytest.raises(ValueError, match="needs an undo"):
        Step("lazy", lambda _context: None)


def test_an_operation_is_retried_or_says_where_a_failure_leads() -> None:
    with pytest.raises(ValueError, match="either retried"):
        Definition(Action.START, (), complete=lambda _context: None)


@pytest.mark.parametrize("name", registry.DEFINITIONS)
def test_the_names_of_an_operations_steps_are_unique(name: str) -> None:
    names = [step.name for step in registry.DEFINITIONS[name].steps]
    assert len(set(names)) == len(names)


def test_waking_makes_a_waiting_operation_due_now(scene: Scene) -> None:
    scene.proxy.fail("define", Transient("no answer"))
    operation = scene.ask(Action.CREATE)
    with time_machine.travel(timezone.now(), tick=False):
        engine.run(operation.pk)
        assert operation.pk not in operations.due(limit=10)
        operations.wake(scene.vm_id)
        assert operation.pk in operations.due(limit=10)
