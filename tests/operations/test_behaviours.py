"""What single operations do beyond their steps: grace periods, missing things, full hosts, frozen workers."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.conf import settings
from django.utils import timezone

from lifecycle.domain.errors import Held, Transient
from lifecycle.domain.states import Power, State
from lifecycle.domain.transitions import Action
from lifecycle.drivers.base import Pool
from lifecycle.models import VM, Address, Disk, Finding, Host, Operation, Reservation, Transition
from lifecycle.operations import engine, registry
from lifecycle.operations.context import Context
from lifecycle.repair import alerts
from lifecycle.repair.reconcile import reconcile
from lifecycle.services import operations
from tests import factories
from tests.operations.scene import Scene, error_of

pytestmark = [pytest.mark.libvirt, pytest.mark.django_db]


def step_now(operation: Operation) -> str:
    operation.refresh_from_db()
    return str(operation.steps.get(index=operation.step_index).name)


def earlier(operation: Operation, seconds: float) -> None:
    """The guest was asked so much earlier."""
    operation.refresh_from_db()
    asked_at = timezone.now() - timedelta(seconds=seconds)
    Operation.objects.filter(pk=operation.pk).update(data={**operation.data, "asked_at": asked_at.isoformat()})


def told_at(operation: Operation, seconds: float) -> list[str]:
    """What operators will be told of the operation in so many seconds."""
    then = timezone.now() + timedelta(seconds=seconds)
    return [c.key for c in alerts.conditions(registry.DEADLINES, then) if c.operation_id == operation.pk]


@pytest.fixture
def deaf(scene: Scene) -> Scene:
    """A running VM whose guest does not hear the power button."""
    scene.bring_to(State.RUNNING)
    scene.proxy.instead("ask_shutdown", lambda _uuid: True)
    scene.proxy.calls.clear()
    return scene


# -- stop ----------------------------------------------------------------------------------------


def test_a_guest_that_shuts_down_is_not_forced(scene: Scene) -> None:
    scene.bring_to(State.RUNNING)
    scene.proxy.calls.clear()
    scene.do(Action.STOP)
    assert "ask_shutdown" in scene.proxy.calls
    assert "destroy" not in scene.proxy.calls


def test_a_worker_never_sleeps_on_a_guest(deaf: Scene) -> None:
    operation = deaf.ask(Action.STOP)
    with time_machine.travel(timezone.now(), tick=False):
        engine.run(operation.pk)
        assert step_now(operation) == "await_shutdown"
        assert operation.lease_until is None
        assert timezone.now() < operation.due_at < timezone.now() + timedelta(seconds=3)


def test_a_guest_is_not_forced_before_its_grace_period_is_over(deaf: Scene) -> None:
    operation = deaf.ask(Action.STOP)
    engine.run(operation.pk)
    with time_machine.travel(timezone.now(), tick=False):
        earlier(operation, 85)
        deaf.make_due(operation)
        engine.run(operation.pk)
    assert deaf.power is Power.ON


def test_a_guest_is_forced_when_its_grace_period_is_over(deaf: Scene) -> None:
    operation = deaf.ask(Action.STOP)
    engine.run(operation.pk)
    earlier(operation, 91)
    deaf.finish(operation)
    deaf.assert_at_rest(State.TERMINATED)
    assert deaf.vm.state_reason == "Forced off after the grace period."


def test_a_grace_period_of_nothing_forces_at_once(deaf: Scene) -> None:
    VM.objects.update(stop_grace_seconds=0)
    operation = deaf.ask(Action.STOP)
    engine.run(operation.pk)
    deaf.assert_at_rest(State.TERMINATED)


def test_a_guest_whose_qemu_hangs_cannot_be_asked_and_is_forced_in_time(deaf: Scene) -> None:
    deaf.proxy.fail("ask_shutdown", Held("cannot acquire state change lock"))
    operation = deaf.ask(Action.STOP)
    engine.run(operation.pk)
    assert step_now(operation) == "await_shutdown"
    earlier(operation, 60)
    deaf.make_due(operation)
    engine.run(operation.pk)
    assert deaf.power is Power.ON
    earlier(operation, 91)
    deaf.finish(operation)
    deaf.assert_at_rest(State.TERMINATED)
    assert deaf.vm.state_reason == "Forced off after the grace period."


def test_a_guest_that_cannot_be_forced_off_is_told_of_in_time(deaf: Scene) -> None:
    deaf.proxy.fail("destroy", Held("cannot acquire state change lock"))
    operation = deaf.ask(Action.STOP)
    engine.run(operation.pk)
    earlier(operation, 91)
    deaf.make_due(operation)
    engine.run(operation.pk)
    assert told_at(operation, seconds=140) == []
    assert told_at(operation, seconds=155) == [f"step_overdue:{operation.pk}:await_shutdown"]
    deaf.make_due(operation)
    engine.run(operation.pk)
    assert told_at(operation, seconds=155), "another try does not begin the time anew"


def _stop_a_resume_that_came_up(scene: Scene, *, hangs_for: int) -> Operation:
    """A resume is stopped right after its guest came up; its QEMU hangs for so many calls, of which one is made."""
    scene.bring_to(State.SUSPENDED)
    scene.ask(Action.RESUME)
    scene.proxy._real.start(scene.vm_id)
    operation = scene.ask(Action.STOP)
    scene.proxy.fail("save_memory", Held("cannot acquire state change lock"), times=hangs_for)
    engine.run(operation.pk)
    return operation


def test_a_stopped_resume_whose_qemu_hangs_is_asked_for_its_memory_for_long(scene: Scene) -> None:
    operation = _stop_a_resume_that_came_up(scene, hangs_for=2)
    scene.age_step(operation, 890)
    scene.make_due(operation)
    engine.run(operation.pk)
    assert scene.power is Power.ON
    scene.finish(operation)
    scene.assert_at_rest(State.SUSPENDED)


def test_a_stopped_resume_whose_qemu_hangs_for_good_is_forced_off_and_says_so(scene: Scene) -> None:
    operation = _stop_a_resume_that_came_up(scene, hangs_for=100)
    scene.age_step(operation, 901)
    scene.finish(operation)
    scene.assert_at_rest(State.TERMINATED)
    assert scene.vm.state_reason == "Forced off: its QEMU hung, so its memory could not be saved again."


def test_a_guest_that_still_boots_is_asked_again(deaf: Scene) -> None:
    operation = deaf.ask(Action.STOP)
    engine.run(operation.pk)
    earlier(operation, 10)
    deaf.make_due(operation)
    engine.run(operation.pk)
    assert deaf.proxy.calls.count("ask_shutdown") == 2


def test_a_guest_that_came_up_after_it_was_found_off_is_asked(deaf: Scene) -> None:
    """The last call of a worker that was taken over starts the guest while the stop already waits."""
    deaf.proxy._real.destroy(deaf.vm_id)
    deaf.proxy.at("look", lambda: deaf.proxy._real.start(deaf.vm_id), after=True, times=1)
    operation = deaf.ask(Action.STOP)
    engine.run(operation.pk)
    assert deaf.proxy.calls.count("ask_shutdown") == 1
    earlier(operation, 91)
    deaf.finish(operation)
    deaf.assert_at_rest(State.TERMINATED)


def test_a_stop_waits_for_a_host_that_does_not_answer(scene: Scene) -> None:
    scene.bring_to(State.RUNNING)
    scene.proxy.fail("look", Transient("no answer"), times=20)
    operation = scene.ask(Action.STOP)
    engine.run(operation.pk)
    assert scene.state is State.STOPPING
    scene.finish(operation)
    scene.assert_at_rest(State.TERMINATED)


# -- reset ---------------------------------------------------------------------------------------


def test_a_machine_is_not_reset_while_its_firmware_starts(scene: Scene) -> None:
    scene.bring_to(State.RUNNING)
    scene.proxy.calls.clear()
    operation = scene.ask(Action.RESET)
    with time_machine.travel(scene.started_at + timedelta(milliseconds=100), tick=False):
        engine.run(operation.pk)
        operation.refresh_from_db()
        assert operation.lease_until is None
        assert operation.due_at == scene.started_at + timedelta(seconds=1)
        assert "reset" not in scene.proxy.calls
    with time_machine.travel(operation.due_at, tick=False):
        engine.run(operation.pk)
        assert scene.proxy.calls.count("reset") == 1
        assert scene.started_at == timezone.now(), "nor is it while the firmware starts after the reset"
    operation.refresh_from_db()
    assert operation.is_done


def test_a_clock_that_is_set_back_holds_up_neither_a_reset_nor_its_end(scene: Scene) -> None:
    scene.bring_to(State.RUNNING)
    operation = scene.ask(Action.RESET)
    with time_machine.travel(scene.started_at - timedelta(minutes=5), tick=False):
        scene.set_due(operation)
        engine.run(operation.pk)
    operation.refresh_from_db()
    assert operation.is_done
    assert operation.end_time == operation.insert_time


# -- clocks that are set back ----------------------------------------------------------------------


def test_an_operation_that_waits_goes_on_at_once_when_the_clock_is_set_back(deaf: Scene) -> None:
    operation = deaf.ask(Action.STOP)
    engine.run(operation.pk)
    operation.refresh_from_db()
    assert operation.pk not in operations.due(10), "it waits"
    with time_machine.travel(operation.due_at - timedelta(hours=1), tick=False):
        assert operations.due(10) == [operation.pk]
        assert operations.queue()["waiting"] == 1
        engine.run(operation.pk)
        operation.refresh_from_db()
        assert timezone.now() < operation.due_at < timezone.now() + timedelta(seconds=3)
        assert operation.pk not in operations.due(10)


def test_a_guest_gets_no_more_than_its_grace_period_once_the_clock_is_set_back(deaf: Scene) -> None:
    operation = deaf.ask(Action.STOP)
    engine.run(operation.pk)
    an_hour_ago = timezone.now() - timedelta(hours=1)
    with time_machine.travel(an_hour_ago, tick=False):
        engine.run(operation.pk)
        assert deaf.power is Power.ON
    with time_machine.travel(an_hour_ago + timedelta(seconds=deaf.vm.stop_grace_seconds), tick=False):
        deaf.finish(operation)
    assert deaf.state is State.TERMINATED


# -- what is missing -----------------------------------------------------------------------------


def test_a_disk_that_is_missing_is_not_made_anew(scene: Scene) -> None:
    scene.bring_to(State.TERMINATED)
    scene.proxy._real.remove_volume(Pool.DISKS, scene.vm.disk_volume)
    operation = scene.finish(scene.ask(Action.START))
    assert operation.error
    assert scene.state is State.TERMINATED
    assert scene.vm.disk_volume not in scene.inventory()["volumes"]


def test_a_definition_that_is_missing_is_made_again_by_a_start(scene: Scene) -> None:
    scene.bring_to(State.TERMINATED)
    scene.proxy._real.undefine(scene.vm_id)
    scene.do(Action.START)
    scene.assert_at_rest(State.RUNNING)


def test_a_resume_without_saved_memory_is_no_cold_boot(scene: Scene) -> None:
    scene.bring_to(State.SUSPENDED)
    scene.proxy._real.discard_saved_memory(scene.vm_id)
    operation = scene.finish(scene.ask(Action.RESUME))
    assert operation.error
    assert scene.state is State.SUSPENDED
    assert scene.power is Power.OFF
    assert scene.vm.state_reason.startswith("The resume failed")


def test_an_image_whose_file_is_missing_fails_the_create(scene: Scene) -> None:
    (settings.IMAGE_STORE / "small.qcow2").unlink()
    operation = scene.finish(scene.ask(Action.CREATE))
    assert error_of(operation)["code"] == "HOST_REFUSED"
    scene.assert_at_rest(None)


def test_an_image_is_brought_to_a_host_once(scene: Scene) -> None:
    scene.do(Action.CREATE)
    scene.do(Action.DELETE)
    scene.do(Action.CREATE)
    assert scene.proxy.calls.count("upload_image") == 1


# -- capacity ------------------------------------------------------------------------------------


def test_a_create_without_room_is_gone_and_says_host_by_host_why(scene: Scene) -> None:
    Host.objects.update(memory_mib_total=1100)
    factories.make_host("other", health=Host.Health.DOWN)
    operation = scene.finish(scene.ask(Action.CREATE))
    assert error_of(operation)["code"] == "ZONE_RESOURCE_POOL_EXHAUSTED"
    assert error_of(operation)["reasons"] == {
        "test-host": "128 MiB of memory wanted, 76 free",
        "other": "the host does not answer",
    }
    assert scene.state is None


def test_a_start_without_room_leaves_the_vm_where_it_was(scene: Scene) -> None:
    scene.bring_to(State.TERMINATED)
    before = scene.inventory()
    Host.objects.update(memory_mib_total=1024)
    operation = scene.finish(scene.ask(Action.START))
    assert error_of(operation)["code"] == "ZONE_RESOURCE_POOL_EXHAUSTED"
    assert scene.state is State.TERMINATED
    assert scene.inventory() == before


def test_a_resume_without_room_keeps_the_memory(scene: Scene) -> None:
    scene.bring_to(State.SUSPENDED)
    Host.objects.update(memory_mib_total=1024)
    operation = scene.finish(scene.ask(Action.RESUME))
    assert error_of(operation)["code"] == "ZONE_RESOURCE_POOL_EXHAUSTED"
    Host.objects.update(memory_mib_total=16 * 1024)
    scene.assert_at_rest(State.SUSPENDED)


def test_a_start_uses_the_host_that_holds_the_disk(scene: Scene) -> None:
    scene.bring_to(State.TERMINATED)
    factories.make_host("roomier", memory_mib_total=10**6)
    scene.do(Action.START)
    assert scene.vm.host == scene.host


def test_a_suspended_vm_holds_its_disk_alone(scene: Scene) -> None:
    scene.bring_to(State.SUSPENDED)
    held = Reservation.objects.get()
    assert (held.vcpus, held.memory_mib, held.disk_gib) == (0, 0, 1)


# -- identity ------------------------------------------------------------------------------------


def test_address_and_mac_are_kept_over_stop_and_start(scene: Scene) -> None:
    scene.bring_to(State.RUNNING)
    before = (scene.vm.mac, Address.objects.get(vm=scene.vm_id).ip)
    scene.do(Action.STOP)
    scene.do(Action.START)
    assert (scene.vm.mac, Address.objects.get(vm=scene.vm_id).ip) == before


def test_a_name_can_be_used_again_after_a_delete(scene: Scene) -> None:
    scene.bring_to(State.RUNNING)
    former = scene.vm_id
    scene.do(Action.DELETE)
    scene.do(Action.CREATE)
    assert scene.vm_id != former
    assert VM.objects.filter(name="web-1").count() == 2
    scene.assert_at_rest(State.RUNNING)


def test_the_history_of_a_deleted_vm_stays(scene: Scene) -> None:
    scene.bring_to(State.RUNNING)
    scene.do(Action.DELETE)
    path = list(Transition.objects.filter(vm=scene.vm_id).order_by("id").values_list("to_state", flat=True))
    assert path == ["PROVISIONING", "STAGING", "RUNNING", "STOPPING", ""]


def test_a_disk_that_is_not_deleted_with_its_vm_stays(scene: Scene) -> None:
    scene.bring_to(State.RUNNING)
    Disk.objects.update(auto_delete=False)
    volume = scene.vm.disk_volume
    scene.do(Action.DELETE)
    assert scene.inventory()["volumes"] == [volume]


def test_the_domain_carries_the_fencing_counter(scene: Scene) -> None:
    VM.objects.update(fence=0)
    operation = scene.ask(Action.CREATE)
    VM.objects.update(fence=7)
    scene.finish(operation)
    view = scene.proxy._real.look(scene.vm_id)
    assert (view.generation, view.installation) == (7, settings.INSTALLATION_ID)


# -- frozen workers ------------------------------------------------------------------------------


def freeze_at(scene: Scene, verb: str, meanwhile: Any) -> None:
    """The worker is frozen just before the one call it has in flight; `meanwhile` happens, then the call goes on."""
    scene.proxy.at(verb, meanwhile, times=1)


def test_a_start_in_flight_when_a_stop_took_over_is_healed_by_reconcile(scene: Scene) -> None:
    scene.bring_to(State.TERMINATED)
    operation = scene.ask(Action.START)
    freeze_at(scene, "start", lambda: scene.do(Action.STOP))
    engine.run(operation.pk)
    assert scene.state is State.TERMINATED
    assert scene.power is Power.ON, "the call in flight came through"
    reconcile(scene.host.pk, scene.proxy)
    scene.assert_at_rest(State.TERMINATED)


def test_a_definition_in_flight_when_a_delete_took_over_is_removed_by_reconcile(scene: Scene) -> None:
    operation = scene.ask(Action.CREATE)
    freeze_at(scene, "define", lambda: scene.do(Action.DELETE))
    engine.run(operation.pk)
    assert scene.state is None
    assert scene.inventory()["domains"], "the call in flight came through"
    assert reconcile(scene.host.pk, scene.proxy).counts["remains"] == 1
    result = reconcile(scene.host.pk, scene.proxy)
    assert result.counts["remains"] == 0
    assert not Finding.objects.exclude(kind="foreign_domain").exists()  # the test driver has one of its own
    scene.assert_at_rest(None)


@pytest.mark.parametrize("verb", ["create_overlay", "write_seed"])
def test_a_volume_in_flight_when_a_delete_took_over_is_removed_by_reconcile(scene: Scene, verb: str) -> None:
    operation = scene.ask(Action.CREATE)
    freeze_at(scene, verb, lambda: scene.do(Action.DELETE))
    engine.run(operation.pk)
    assert scene.inventory()["volumes"], "the call in flight came through"
    assert reconcile(scene.host.pk, scene.proxy).counts["remains"] == 1
    reconcile(scene.host.pk, scene.proxy)
    assert not Finding.objects.exclude(kind="foreign_domain").exists()  # the test driver has one of its own
    scene.assert_at_rest(None)


def test_a_disk_that_somebody_put_back_after_its_vm_was_deleted_is_a_finding(scene: Scene) -> None:
    scene.bring_to(State.RUNNING)
    Disk.objects.update(auto_delete=False)
    scene.do(Action.DELETE)
    result = reconcile(scene.host.pk, scene.proxy)
    assert (result.counts["remains"], result.counts["unknown_volume"]) == (0, 1)


def test_a_definition_that_a_person_made_after_a_delete_is_a_finding(scene: Scene) -> None:
    scene.bring_to(State.RUNNING)
    definition = Context(Operation.objects.get()).domain_spec()
    scene.do(Action.DELETE)
    scene.proxy.define(definition)
    result = reconcile(scene.host.pk, scene.proxy)
    assert (result.counts["remains"], result.counts["orphaned_domain"]) == (0, 1)


def test_a_resume_in_flight_after_the_vm_was_suspended_again_is_healed_by_reconcile(scene: Scene) -> None:
    scene.bring_to(State.SUSPENDED)
    operation = scene.ask(Action.RESUME)

    def meanwhile() -> None:
        scene.expire_lease(operation)
        scene.finish(operation)
        scene.do(Action.SUSPEND)

    freeze_at(scene, "start", meanwhile)
    engine.run(operation.pk)
    assert (scene.state, scene.power) == (State.SUSPENDED, Power.ON), "the call in flight came through"
    assert reconcile(scene.host.pk, scene.proxy).counts["saved_again"] == 1
    scene.assert_at_rest(State.SUSPENDED)


def test_a_binding_in_flight_when_a_delete_took_over_is_removed_by_reconcile(scene: Scene) -> None:
    """The test driver keeps no reservations; the proxy remembers them, and shows them here."""
    scene.proxy.instead("bound", lambda network: frozenset(mac for net, mac in scene.proxy.bindings if net == network))
    operation = scene.ask(Action.CREATE)
    freeze_at(scene, "bind_address", lambda: scene.do(Action.DELETE))
    engine.run(operation.pk)
    assert scene.inventory()["bindings"], "the call in flight came through"
    assert reconcile(scene.host.pk, scene.proxy).counts["remains"] == 1
    reconcile(scene.host.pk, scene.proxy)
    scene.assert_at_rest(None)


def test_a_reservation_of_a_vm_that_lives_is_left_alone(scene: Scene) -> None:
    scene.proxy.instead("bound", lambda _network: frozenset({scene.vm.mac}))
    scene.bring_to(State.RUNNING)
    assert reconcile(scene.host.pk, scene.proxy).counts["remains"] == 0
    scene.do(Action.DELETE)
    assert reconcile(scene.host.pk, scene.proxy).counts["remains"] == 1
