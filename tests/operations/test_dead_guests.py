"""A guest, or its host, that dies in the middle of an operation: the operation ends as the lifecycle says."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from lifecycle.domain.errors import Refused, Transient
from lifecycle.domain.states import Power, State
from lifecycle.domain.transitions import Action
from lifecycle.models import VM, Cleanup, Host, Operation, Repair, Reservation, Transition
from lifecycle.operations import engine
from lifecycle.operations import repair as repair_operation
from lifecycle.repair.reconcile import reconcile
from lifecycle.services import observations, operations, quotas, repairs
from tests.operations.scene import Scene

pytestmark = [pytest.mark.libvirt, pytest.mark.django_db]


def dies(scene: Scene, reason: str = "failed") -> None:
    """Its QEMU dies; the test driver knows of no such death, so that the reason is put into each look."""
    scene.proxy._real.destroy(scene.vm_id)

    def look(vm_id: Any) -> Any:
        view = scene.proxy._real.look(vm_id)
        return replace(view, reason=reason) if view and view.power is Power.OFF else view

    scene.proxy.instead("look", look)


def states(scene: Scene, since: int) -> list[str]:
    """Where its transitions have taken it since there were so many."""
    return [str(t.to_state) for t in Transition.objects.filter(vm=scene.vm_id).order_by("id")[since:]]


def open_operation(scene: Scene) -> Operation:
    """What is under way on it."""
    found = operations.current(scene.vm_id)
    assert found
    return found


# -- suspend and stop ----------------------------------------------------------------------------


def dying_suspend(scene: Scene, reason: str = "failed") -> int:
    """A suspend whose guest dies while its memory is saved; how many transitions there were before."""
    before = Transition.objects.count()
    scene.proxy.at("save_memory", lambda: dies(scene, reason), times=1)
    scene.proxy.fail("save_memory", Refused("the domain is off"), times=1)
    operation = scene.finish(scene.ask(Action.SUSPEND))
    assert operation.error
    return before


def test_a_guest_that_dies_while_it_is_suspended_is_booted_cold(scene: Scene) -> None:
    scene.bring_to(State.RUNNING)
    before = dying_suspend(scene)
    repair = Repair.objects.get()
    assert (repair.cause, repair.prior_state, scene.state) == ("crash", "SUSPENDING", State.REPAIRING)
    scene.finish(open_operation(scene))
    assert states(scene, before) == ["SUSPENDING", "REPAIRING", "RUNNING"]
    scene.assert_at_rest(State.RUNNING)
    assert Repair.objects.get().outcome == "restarted"


def test_without_automatic_restart_it_is_terminated(scene: Scene) -> None:
    scene.bring_to(State.RUNNING)
    VM.objects.update(automatic_restart=False)
    before = dying_suspend(scene)
    assert states(scene, before) == ["SUSPENDING", "REPAIRING", "TERMINATED"]
    scene.assert_at_rest(State.TERMINATED)
    assert Repair.objects.get().outcome == "not_restarted"
    assert scene.vm.state_reason == f"{observations.DIED_SUSPENDING} {observations.NOT_RESTARTED}"


def test_a_guest_that_shuts_itself_down_while_it_is_suspended_is_no_repair(scene: Scene) -> None:
    scene.bring_to(State.RUNNING)
    before = dying_suspend(scene, "shutdown")
    assert states(scene, before) == ["SUSPENDING", "RUNNING"]
    assert not Repair.objects.exists()


def test_a_stop_whose_guest_dies_has_arrived(scene: Scene) -> None:
    scene.bring_to(State.RUNNING)
    scene.proxy.at("ask_shutdown", lambda: dies(scene), times=1)
    scene.finish(scene.ask(Action.STOP))
    scene.assert_at_rest(State.TERMINATED)
    assert not Repair.objects.exists()


# -- repairs -------------------------------------------------------------------------------------


def failed_once(scene: Scene) -> Operation:
    """A repair whose first start the host refused."""
    scene.proxy.fail("start", Refused("no"), times=1)
    operation = scene.ask(Action.REPAIR)
    engine.run(operation.pk)
    operation.refresh_from_db()
    assert operation.data["attempts"] == 1
    return operation


def test_what_is_given_up_is_switched_off_and_says_why(scene: Scene) -> None:
    scene.bring_to(State.RUNNING)
    failed_once(scene)
    scene.proxy._real.start(scene.vm_id)
    scene.finish(repairs.give_up(Repair.objects.get(), scene.owner, "its disk is gone"))
    scene.assert_at_rest(State.TERMINATED)
    assert scene.vm.state_reason == f"Its QEMU died. {repairs.GIVEN_UP}"
    assert Repair.objects.get().outcome == "gave_up"


def test_what_is_given_up_on_a_silent_host_stays_in_repair_until_it_answers(scene: Scene) -> None:
    scene.bring_to(State.RUNNING)
    failed_once(scene)
    scene.proxy.fail("look", Transient("no answer"), times=1)
    operation = repairs.give_up(Repair.objects.get(), scene.owner, "its host is broken")
    engine.run(operation.pk)
    assert scene.state is State.REPAIRING
    scene.finish(operation)
    scene.assert_at_rest(State.TERMINATED)


def test_a_retry_does_not_wait_for_its_turn(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair_operation, "RESTART_PAUSE_SECONDS", (3600.0,))
    scene.bring_to(State.RUNNING)
    operation = scene.ask(Action.REPAIR)
    engine.run(operation.pk)
    assert scene.power is Power.OFF
    repairs.retry(Repair.objects.get(), scene.owner)
    engine.run(operation.pk)
    scene.assert_at_rest(State.RUNNING)


def test_a_guest_that_is_held_again_each_time_is_switched_off_after_the_last_attempt(scene: Scene) -> None:
    scene.bring_to(State.RUNNING)
    scene.proxy.instead("look", lambda vm_id: replace(scene.proxy._real.look(vm_id), power=Power.PAUSED))
    now = timezone.now()
    observations.guest_held(scene.vm_id, reason="Held.", occurred_at=now, seen_at=now, event="PAUSED: ioerror")
    scene.finish(open_operation(scene))
    scene.assert_at_rest(State.TERMINATED)
    repair = Repair.objects.get()
    assert (repair.outcome, repair.attempts) == ("gave_up", repair_operation.ATTEMPTS_MAX)
    assert scene.proxy.calls.count("resume_cpus") == repair_operation.ATTEMPTS_MAX


def test_a_hung_guest_is_switched_off_and_started_again(scene: Scene) -> None:
    """Its watchdog holds it: letting it go on would not help."""
    scene.bring_to(State.RUNNING)
    run = scene.proxy._real.look(scene.vm_id).run_id
    now = timezone.now()
    observations.guest_crashed(
        scene.vm_id, reason="It hung.", occurred_at=now, seen_at=now, power=Power.PAUSED, cause="watchdog", alive=True
    )
    scene.finish(open_operation(scene))
    scene.assert_at_rest(State.RUNNING)
    assert scene.proxy._real.look(scene.vm_id).run_id != run
    assert (Repair.objects.get().cause, Repair.objects.get().outcome) == ("watchdog", "restarted")


# -- delete --------------------------------------------------------------------------------------


def down(scene: Scene, seconds: float) -> None:
    """Those who watch the host have got no answer for so long, and neither does anybody else."""
    last_seen_at = timezone.now() - timedelta(seconds=seconds)
    Host.objects.filter(pk=scene.host.pk).update(health=Host.Health.DOWN, last_seen_at=last_seen_at)
    for verb in ("destroy", "undefine", "remove_volume", "unbind_address"):
        scene.proxy.fail(verb, Transient("no answer"))


@pytest.mark.parametrize("seconds", [1, 1000])
def test_a_delete_on_a_dead_host_ends_at_once_and_leaves_the_rest_to_a_cleanup(scene: Scene, seconds: float) -> None:
    scene.bring_to(State.RUNNING)
    held = Reservation.objects.values_list("vcpus", "memory_mib", "disk_gib").get()
    before = scene.inventory()
    down(scene, seconds)
    operation = scene.ask(Action.DELETE)
    engine.run(operation.pk)
    operation.refresh_from_db()
    assert (operation.is_done, operation.error, scene.state) == (True, None, None)
    assert quotas.usage_of(scene.project).vms == 0
    assert Reservation.objects.values_list("vcpus", "memory_mib", "disk_gib").get() == held
    assert scene.inventory()["volumes"] == before["volumes"]
    assert scene.inventory()["addresses"] == []
    scene.proxy.faults.clear()
    scene.proxy.fail("undefine", Transient("not yet"), times=1)
    result = reconcile(scene.host.pk, scene.proxy)
    assert Cleanup.objects.get().done_at is None
    assert [finding.kind for finding in result.findings if finding.kind == "unknown_volume"] == []
    assert Reservation.objects.exists()
    reconcile(scene.host.pk, scene.proxy)
    assert Cleanup.objects.get().done_at
    scene.assert_at_rest(None)


def test_a_delete_waits_for_a_host_that_fails_once_and_is_up(scene: Scene) -> None:
    scene.bring_to(State.RUNNING)
    scene.proxy.fail("undefine", Transient("no answer"), times=1)
    operation = scene.ask(Action.DELETE)
    engine.run(operation.pk)
    assert scene.state is State.STOPPING
    scene.finish(operation)
    assert not Cleanup.objects.exists()
    scene.assert_at_rest(None)
