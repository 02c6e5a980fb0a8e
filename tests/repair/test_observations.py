"""What was observed is written down: states, history, capacity and the operation that tells people of it."""

from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from lifecycle.domain.states import Power, State
from lifecycle.domain.transitions import Action, Asker
from lifecycle.models import VM, Event, Host, Operation, Project, Transition
from lifecycle.services import capacity, observations, operations
from tests.factories import make_operation, make_vm, reload_vm

pytestmark = [pytest.mark.django_db, pytest.mark.bothdb]


def ago(seconds: float) -> datetime:
    """A moment in the past."""
    return timezone.now() - timedelta(seconds=seconds)


@pytest.fixture
def vm(project: Project, host: Host) -> VM:
    """A VM that has been running for a minute."""
    return make_vm(project, "web-1", State.RUNNING, host=host, state_since=ago(60))


def history(vm: VM) -> list[tuple[str, str, str]]:
    """From, to and action of the VM's transitions, oldest first."""
    return list(Transition.objects.filter(vm=vm).order_by("id").values_list("from_state", "to_state", "action"))


def stop(vm: VM, **kwargs: object) -> bool:
    """The guest shut itself down a second ago."""
    values = {
        "reason": observations.GUEST_SHUT_DOWN,
        "occurred_at": ago(1),
        "seen_at": timezone.now(),
        "by": Asker.GUEST,
    }
    return observations.guest_stopped(vm.id, **{**values, **kwargs})  # type: ignore[arg-type]


def crash(vm: VM, **kwargs: object) -> bool:
    """QEMU died a second ago."""
    values = {"reason": "It died.", "occurred_at": ago(1), "seen_at": timezone.now(), "power": Power.OFF}
    return observations.guest_crashed(vm.id, **{**values, **kwargs})  # type: ignore[arg-type]


def repair_again(vm: VM, **kwargs: object) -> bool:
    """It is in REPAIRING, nobody is at work on it, and it is off."""
    values = {"power": Power.OFF, "occurred_at": ago(1), "seen_at": timezone.now()}
    return observations.repair_again(vm.id, **{**values, **kwargs})  # type: ignore[arg-type]


def test_a_guest_that_shut_down_is_terminated_and_gives_its_compute_back(vm: VM, host: Host) -> None:
    moment = ago(1)
    assert stop(vm, occurred_at=moment)
    vm = reload_vm(vm.id)
    assert (vm.state, vm.power, vm.run_id, vm.state_since) == (State.TERMINATED, Power.OFF, None, moment)
    assert vm.state_reason == observations.GUEST_SHUT_DOWN
    host.refresh_from_db()
    assert (host.vcpus_reserved, host.memory_mib_reserved) == (0, 0)
    assert host.disk_gib_reserved == 1


def test_a_guest_shutdown_is_one_finished_operation_with_two_transitions(vm: VM) -> None:
    stop(vm)
    operation = Operation.objects.get(vm=vm)
    assert (operation.action, operation.asked_by) == (Action.GUEST_SHUTDOWN, Asker.GUEST)
    assert operation.is_done
    assert operation.error is None
    assert history(vm) == [
        ("RUNNING", "STOPPING", "guest_shutdown"),
        ("STOPPING", "TERMINATED", "guest_shutdown"),
    ]
    assert set(Transition.objects.filter(vm=vm).values_list("operation", flat=True)) == {operation.id}


def test_the_browsers_are_told_in_order(vm: VM) -> None:
    stop(vm)
    told = [event.payload["state"] for event in Event.objects.filter(project=vm.project).order_by("number")]
    assert told == ["STOPPING", "TERMINATED"]


def test_the_same_observation_again_changes_nothing(vm: VM) -> None:
    assert stop(vm)
    assert not stop(vm)
    assert Operation.objects.filter(vm=vm).count() == 1


def test_a_crash_opens_a_repair(vm: VM) -> None:
    moment = ago(1)
    assert crash(vm, occurred_at=moment)
    vm = reload_vm(vm.id)
    operation = operations.current(vm.id)
    assert operation is not None
    assert (operation.action, operation.asked_by) == (Action.REPAIR, Asker.OBSERVER)
    assert (vm.state, vm.power, vm.state_since, vm.state_reason) == (State.REPAIRING, Power.OFF, moment, "It died.")
    assert vm.reservation.vcpus == vm.vcpus


def test_a_crash_without_automatic_restart_ends_in_terminated(vm: VM) -> None:
    VM.objects.filter(pk=vm.pk).update(automatic_restart=False)
    assert crash(vm)
    vm = reload_vm(vm.id)
    assert vm.state == State.TERMINATED
    assert vm.state_reason == f"It died. {observations.NOT_RESTARTED}"
    assert operations.current(vm.id) is None
    assert vm.reservation.vcpus == 0
    assert history(vm) == [("RUNNING", "REPAIRING", "crash"), ("REPAIRING", "TERMINATED", "crash")]


def past_repairs(vm: VM, count: int, seconds: float = 100) -> None:
    """Repairs that were worked on and ended well."""
    for _number in range(count):
        make_operation(
            vm, Action.REPAIR, asked_by=Asker.OBSERVER, status=Operation.Status.DONE, lease_token=1,
            insert_time=ago(seconds), start_time=ago(seconds), end_time=ago(seconds - 1),
        )  # fmt: skip


def test_a_vm_that_keeps_crashing_is_given_up(vm: VM) -> None:
    past_repairs(vm, observations.RESTARTS_MAX)
    assert crash(vm)
    vm = reload_vm(vm.id)
    assert (vm.state, vm.state_reason) == (State.TERMINATED, f"It died. {observations.RESTARTED_TOO_OFTEN}")


def test_crashes_of_long_ago_do_not_count(vm: VM) -> None:
    past_repairs(vm, observations.RESTARTS_MAX, seconds=3600)
    assert crash(vm)
    assert reload_vm(vm.id).state == State.REPAIRING


def test_crashes_before_the_last_start_do_not_count(vm: VM) -> None:
    past_repairs(vm, observations.RESTARTS_MAX)
    make_operation(
        vm, Action.START, status=Operation.Status.DONE, insert_time=ago(60), start_time=ago(60), end_time=ago(59)
    )
    assert crash(vm)
    assert reload_vm(vm.id).state == State.REPAIRING


def test_the_repair_knows_how_often_it_was_restarted_lately(vm: VM) -> None:
    past_repairs(vm, 2)
    crash(vm)
    operation = operations.current(vm.id)
    assert operation is not None
    assert operation.data["earlier"] == 2


def test_a_start_outside_is_running_and_holds_its_compute(project: Project, host: Host) -> None:
    vm = make_vm(project, state=State.TERMINATED, host=host, state_since=ago(60))
    now = timezone.now()
    assert observations.observed_start(vm.id, power=Power.ON, run_id=7, occurred_at=ago(1), seen_at=now)
    vm = reload_vm(vm.id)
    assert (vm.state, vm.run_id, vm.state_reason) == (State.RUNNING, 7, observations.STARTED_OUTSIDE)
    assert vm.reservation.vcpus == vm.vcpus
    assert history(vm) == [("TERMINATED", "RUNNING", "observed_start")]


def test_a_start_outside_on_a_full_host_is_told_as_it_is(project: Project, host: Host) -> None:
    vm = make_vm(project, state=State.TERMINATED, host=host, state_since=ago(60))
    Host.objects.filter(pk=host.pk).update(memory_mib_total=1024)
    seen_at = timezone.now()
    assert observations.observed_start(vm.id, power=Power.ON, run_id=7, occurred_at=seen_at, seen_at=seen_at)
    vm = reload_vm(vm.id)
    assert (vm.state, vm.state_reason) == (State.RUNNING, observations.STARTED_WITHOUT_ROOM)
    assert vm.reservation.memory_mib == 0
    capacity.release_compute(vm)


def test_a_save_outside_is_suspended_and_gives_its_compute_back(vm: VM) -> None:
    assert observations.observed_save(vm.id, occurred_at=ago(1), seen_at=timezone.now())
    vm = reload_vm(vm.id)
    assert (vm.state, vm.power) == (State.SUSPENDED, Power.SAVED)
    assert vm.reservation.vcpus == 0


def test_a_domain_that_is_missing_is_terminated_and_says_why(vm: VM) -> None:
    assert observations.domain_missing(vm.id, occurred_at=ago(1), seen_at=timezone.now())
    vm = reload_vm(vm.id)
    assert (vm.state, vm.power, vm.state_reason) == (State.TERMINATED, Power.ABSENT, observations.DOMAIN_MISSING)


def test_an_open_operation_keeps_observers_out(vm: VM) -> None:
    make_operation(vm, Action.RESET)
    assert not stop(vm)
    assert not crash(vm)
    assert reload_vm(vm.id).state == State.RUNNING


def test_an_observation_from_before_the_last_change_is_not_believed(vm: VM) -> None:
    before = vm.state_since - timedelta(seconds=1)
    assert not stop(vm, seen_at=before)
    assert not crash(vm, seen_at=before)
    assert reload_vm(vm.id).state == State.RUNNING


def test_an_observation_from_before_the_last_operations_end_is_not_believed(vm: VM) -> None:
    end = ago(5)
    make_operation(vm, Action.RESET, status=Operation.Status.DONE, insert_time=ago(9), start_time=ago(9), end_time=end)
    assert not stop(vm, seen_at=end - timedelta(seconds=1))
    assert stop(vm, seen_at=end + timedelta(seconds=1))


def test_a_moment_before_the_last_change_is_recorded_as_that_change(vm: VM) -> None:
    assert stop(vm, occurred_at=ago(3600))
    assert reload_vm(vm.id).state_since == vm.state_since


def test_nothing_is_observed_of_a_tombstone(vm: VM) -> None:
    VM.objects.filter(pk=vm.pk).update(deleted_at=timezone.now())
    assert not stop(vm)
    assert not observations.append_serial(vm.id, "text", read_from=0, read_to=4)


def test_a_repairing_vm_without_operation_that_runs_is_running_untouched(project: Project, host: Host) -> None:
    vm = make_vm(project, state=State.REPAIRING, host=host, state_since=ago(60))
    assert observations.repaired(vm.id, run_id=3, occurred_at=ago(1), seen_at=timezone.now())
    assert (reload_vm(vm.id).state, reload_vm(vm.id).run_id) == (State.RUNNING, 3)


def test_a_repairing_vm_without_operation_gets_one(project: Project, host: Host) -> None:
    vm = make_vm(project, state=State.REPAIRING, host=host, state_since=ago(60))
    assert repair_again(vm)
    assert not repair_again(vm)
    operation = operations.current(vm.id)
    assert operation is not None
    assert operation.action == Action.REPAIR


def test_a_repairing_vm_that_is_not_to_be_restarted_is_terminated(project: Project, host: Host) -> None:
    vm = make_vm(project, state=State.REPAIRING, host=host, state_since=ago(60), automatic_restart=False)
    assert repair_again(vm)
    assert (reload_vm(vm.id).state, operations.current(vm.id)) == (State.TERMINATED, None)


def test_a_stopping_vm_without_operation_that_is_off_has_arrived(project: Project, host: Host) -> None:
    vm = make_vm(project, state=State.STOPPING, host=host, state_since=ago(60))
    assert observations.stop_ended(vm.id, power=Power.OFF, occurred_at=ago(1), seen_at=timezone.now())
    assert reload_vm(vm.id).state == State.TERMINATED


def test_power_is_told_when_it_changes_and_only_then(vm: VM) -> None:
    assert observations.record_power(vm.id, Power.PAUSED, run_id=1, seen_at=ago(2))
    assert not observations.record_power(vm.id, Power.PAUSED, run_id=2, seen_at=ago(1))
    assert Event.objects.filter(project=vm.project).count() == 1
    assert (reload_vm(vm.id).power, reload_vm(vm.id).run_id) == (Power.PAUSED, 2)


def test_an_older_sight_of_the_power_does_not_overwrite_a_newer_one(vm: VM) -> None:
    seen_at = ago(1)
    observations.record_power(vm.id, Power.PAUSED, run_id=1, seen_at=seen_at)
    assert not observations.record_power(vm.id, Power.ON, run_id=1, seen_at=seen_at - timedelta(seconds=1))
    assert reload_vm(vm.id).power == Power.PAUSED


def test_an_address_in_use_is_marked(vm: VM) -> None:
    now = timezone.now()
    assert observations.record_addresses(vm.host_id or 0, {vm.mac: vm.address.ip, "52:54:00:00:00:01": "1.2.3.4"}, now)
    assert reload_vm(vm.id).address_seen_at == now
    assert not observations.record_addresses(vm.host_id or 0, {vm.mac: vm.address.ip}, now + timedelta(seconds=5))


def test_another_address_than_its_own_is_not_marked(vm: VM) -> None:
    assert not observations.record_addresses(vm.host_id or 0, {vm.mac: "10.255.255.254"}, timezone.now())


def test_a_serial_log_keeps_its_end(vm: VM) -> None:
    assert observations.append_serial(vm.id, "a" * 60000, read_from=0, read_to=60000)
    assert observations.append_serial(vm.id, "b" * 6000 + "\x1b[0m\0", read_from=60000, read_to=66005)
    log = reload_vm(vm.id).serial_log
    assert (len(log.text), log.read_bytes) == (log.KEPT_CHARACTERS, 66005)
    assert log.text.endswith("b\x1b[0m\ufffd")


def test_two_recorders_do_not_write_the_same_twice(vm: VM) -> None:
    assert observations.append_serial(vm.id, "once\n", read_from=0, read_to=5)
    assert not observations.append_serial(vm.id, "once\n", read_from=0, read_to=5)
    assert reload_vm(vm.id).serial_log.text == "once\n"


def test_the_recorded_output_of_a_vm_that_is_gone_is_dropped(vm: VM) -> None:
    observations.append_serial(vm.id, "x", read_from=0, read_to=1)
    assert not observations.forget_serial([vm.id])
    VM.objects.filter(pk=vm.pk).update(deleted_at=timezone.now())
    assert observations.forget_serial([vm.id])
