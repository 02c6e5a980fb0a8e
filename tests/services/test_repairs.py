"""Repair records: one open while the VM is in REPAIRING, with what happened, what was tried and how it ended."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from lifecycle.domain.errors import ActionNotAllowed, InvalidInput
from lifecycle.domain.states import Power, State
from lifecycle.domain.transitions import Action, Asker
from lifecycle.models import VM, Host, Operation, Project, Repair, SerialLog, User
from lifecycle.repair import silence
from lifecycle.services import capacity, cleanups, hosts, observations, operations, repair_records, repairs
from lifecycle.services.transitions import move
from lifecycle.services.vms import VMRequest, request_action, request_create
from tests.factories import make_vm, reload_vm

pytestmark = [pytest.mark.bothdb, pytest.mark.django_db]


@pytest.fixture
def vm(project: Project, host: Host) -> VM:
    """A VM that has been running for an hour and said something."""
    made = make_vm(project, "web-1", host=host, state_since=timezone.now() - timedelta(hours=1))
    SerialLog.objects.create(vm=made, text="x" * 5000 + "kernel: the end")
    return made


def crash(vm: VM, **more: Any) -> None:
    """Its QEMU dies."""
    now = timezone.now()
    assert observations.guest_crashed(
        vm.pk, reason="Its QEMU process died.", occurred_at=now - timedelta(seconds=5), seen_at=now,
        power=Power.OFF, cause=Repair.Cause.CRASH, event="OFF: failed", **more,
    )  # fmt: skip


def back(vm: VM, **fields: Any) -> None:
    """Out of REPAIRING, to RUNNING."""
    Operation.objects.filter(vm=vm).update(status="DONE", end_time=timezone.now())
    move(vm.pk, Action.REPAIR, State.REPAIRING, State.RUNNING, asked_by=Asker.OBSERVER, **fields)


def in_step() -> bool:
    """REPAIRING if and only if there is an open record."""
    repairing = set(VM.objects.live().filter(state=State.REPAIRING).values_list("pk", flat=True))
    return repairing == set(Repair.objects.filter(closed_at__isnull=True).values_list("vm", flat=True))


def test_a_crash_opens_a_record_with_its_evidence(vm: VM) -> None:
    crash(vm)
    found = Repair.objects.get()
    assert (found.cause, found.prior_state, found.host, found.event) == ("crash", "RUNNING", vm.host, "OFF: failed")
    assert found.summary == "Its QEMU process died."
    assert found.serial_tail.endswith("kernel: the end")
    assert len(found.serial_tail) == repair_records.SERIAL_CHARACTERS
    assert found.opened_at == reload_vm(vm.pk).state_since < timezone.now() - timedelta(seconds=4)
    assert found.operation == operations.current(vm.pk)
    assert [entry.kind for entry in found.entries.all()] == ["opened"]
    assert in_step()


@pytest.mark.parametrize(("fields", "outcome"), [({"last_started_at": timezone.now()}, "restarted"), ({}, "untouched")])
def test_a_vm_that_runs_again_closes_it(vm: VM, fields: dict[str, Any], outcome: str) -> None:
    crash(vm)
    back(vm, **fields)
    found = Repair.objects.get()
    assert (found.outcome, found.closed_at) == (outcome, reload_vm(vm.pk).state_since)
    assert in_step()


def test_one_that_is_not_restarted_is_over_at_once(vm: VM) -> None:
    VM.objects.filter(pk=vm.pk).update(automatic_restart=False)
    crash(vm)
    found = Repair.objects.get()
    assert (found.outcome, reload_vm(vm.pk).state) == ("not_restarted", State.TERMINATED)
    assert "automatic restart is off" in found.outcome_text
    assert in_step()


@pytest.mark.parametrize(("action", "outcome"), [(Action.STOP, "stopped"), (Action.DELETE, "deleted")])
def test_its_user_ends_it(vm: VM, owner: User, action: Action, outcome: str) -> None:
    crash(vm)
    request_action(vm, action, user=owner)
    assert Repair.objects.get().outcome == outcome
    assert in_step()


def test_attempts_are_counted_and_told(vm: VM) -> None:
    crash(vm)
    repair_records.count_attempt(vm.pk, 1)
    repair_records.count_attempt(vm.pk, 1, "The host refused the request.")
    repair_records.count_attempt(vm.pk, 2)
    found = Repair.objects.get()
    assert found.attempts == 2
    assert [e.kind for e in found.entries.all()] == ["opened", "attempt", "failed", "attempt"]


def test_one_that_crashes_too_often_is_given_up_though_it_may_be_restarted(
    vm: VM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observations, "RESTARTS_MAX", 0)
    crash(vm)
    assert (Repair.objects.get().outcome, reload_vm(vm.pk).state) == ("gave_up", State.TERMINATED)


@pytest.mark.parametrize("automatic_restart", [True, False])
def test_a_guest_whose_qemu_is_still_there_is_switched_off_before_it_is_terminated(
    vm: VM, automatic_restart: bool
) -> None:
    """A hung guest that its watchdog holds, or a panic that its definition preserves."""
    VM.objects.filter(pk=vm.pk).update(automatic_restart=automatic_restart)
    crash(vm, alive=True)
    operation = operations.current(vm.pk)
    assert operation
    assert (operation.data["end"], operation.data["restart"]) == (not automatic_restart, True)
    assert reload_vm(vm.pk).state == State.REPAIRING
    assert in_step()


def held(vm: VM) -> Operation:
    """A disk error holds it; the operation that follows."""
    now = timezone.now()
    assert observations.guest_held(vm.pk, reason="Held.", occurred_at=now, seen_at=now, event="PAUSED: ioerror")
    operation = operations.current(vm.pk)
    assert operation
    return operation


def test_a_guest_that_is_held_is_let_go_on_even_without_automatic_restart(vm: VM) -> None:
    VM.objects.filter(pk=vm.pk).update(automatic_restart=False)
    assert not held(vm).data.get("end")
    found = Repair.objects.get()
    assert (found.cause, found.prior_state, found.event) == ("io_error", "RUNNING", "PAUSED: ioerror")
    assert in_step()


def test_a_guest_that_is_held_too_often_is_given_up(vm: VM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observations, "RESTARTS_MAX", 0)
    operation = held(vm)
    assert operation.data["end"]
    assert operation.data["cause"] == f"Held. {observations.HELD_TOO_OFTEN}"


def test_evidence_is_kept_once_and_nothing_twice(vm: VM) -> None:
    crash(vm)
    recorded = SerialLog.objects.get(vm=vm)
    position = repair_records.recorded_bytes(vm.pk)
    repair_records.keep_evidence(vm.pk, qemu_log="a" * 5000 + "\0end", said="Oops\0", read_from=position)
    found = Repair.objects.get()
    assert (len(found.qemu_log), found.qemu_log[-4:]) == (repair_records.QEMU_LOG_CHARACTERS, "\ufffdend")
    assert found.serial_tail.endswith("kernel: the endOops\ufffd")
    repair_records.keep_evidence(vm.pk, qemu_log="other", said="", read_from=position)
    assert Repair.objects.get().qemu_log.endswith("end")
    Repair.objects.update(qemu_log="")
    SerialLog.objects.filter(pk=recorded.pk).update(text="kernel: the endOops", read_bytes=position + 4)
    repair_records.keep_evidence(vm.pk, qemu_log="log", said="Oops", read_from=position)
    assert Repair.objects.get().serial_tail == "kernel: the endOops"


# -- operators -----------------------------------------------------------------------------------


def test_an_operator_reports_a_vm_faulty(vm: VM, superuser: User) -> None:
    operation = repairs.report_faulty(vm, superuser, "its clock stands still")
    found = Repair.objects.get()
    assert (found.cause, found.user, found.operation) == ("reported", superuser, operation)
    assert [(e.kind, e.user) for e in found.entries.all()] == [("opened", superuser), ("note", superuser)]
    assert operation.data["restart"]
    with pytest.raises(ActionNotAllowed):
        repairs.report_faulty(vm, superuser, "again")


def test_a_note_needs_a_text(vm: VM, superuser: User) -> None:
    crash(vm)
    repairs.add_note(Repair.objects.get(), superuser, " disk replaced ")
    assert Repair.objects.get().entries.last().text == "disk replaced"  # type: ignore[union-attr]
    with pytest.raises(InvalidInput):
        repairs.add_note(Repair.objects.get(), superuser, "  ")


def test_a_retry_makes_what_waits_due_or_opens_a_repair(vm: VM, superuser: User) -> None:
    crash(vm)
    Operation.objects.filter(vm=vm).update(due_at=timezone.now() + timedelta(hours=1))
    repairs.retry(Repair.objects.get(), superuser)
    assert Operation.objects.get(vm=vm).due_at <= timezone.now()
    Operation.objects.filter(vm=vm).update(status="DONE", end_time=timezone.now())
    opened = repairs.retry(Repair.objects.get(), superuser)
    assert (operations.current(vm.pk), Repair.objects.get().operation) == (opened, opened)
    back(vm)
    with pytest.raises(ActionNotAllowed):
        repairs.retry(Repair.objects.get(), superuser)


def test_giving_up_switches_it_off(vm: VM, superuser: User) -> None:
    crash(vm)
    before = operations.current(vm.pk)
    assert before
    operation = repairs.give_up(Repair.objects.get(), superuser, "the disk is gone")
    before.refresh_from_db()
    assert (before.preempted_by, before.is_done, operations.current(vm.pk)) == (operation, True, operation)
    assert reload_vm(vm.pk).fence == vm.fence + 1
    assert repairs.give_up(Repair.objects.get(), superuser, "once more") == operation
    with pytest.raises(ActionNotAllowed, match="is given up"):
        repairs.retry(Repair.objects.get(), superuser)
    assert [(e.kind, e.text) for e in Repair.objects.get().entries.all()][1:] == [("give_up", "the disk is gone")]
    assert in_step()


@pytest.mark.parametrize(
    ("power", "state"), [(Power.ON, State.RUNNING), (Power.PAUSED, State.RUNNING), (Power.OFF, State.TERMINATED)]
)
def test_closing_records_the_vm_as_its_host_shows_it(vm: VM, superuser: User, power: Power, state: State) -> None:
    crash(vm)
    repair = Repair.objects.get()
    with pytest.raises(ActionNotAllowed, match="under way"):
        repairs.close(repair, superuser, "looked at it")
    Operation.objects.filter(vm=vm).update(status="DONE", end_time=timezone.now())
    VM.objects.filter(pk=vm.pk).update(power=power, power_seen_at=repair.opened_at)
    with pytest.raises(ActionNotAllowed, match="not been seen"):
        repairs.close(repair, superuser, "looked at it")
    VM.objects.filter(pk=vm.pk).update(power_seen_at=timezone.now())
    repairs.close(repair, superuser, "looked at it")
    repair.refresh_from_db()
    found = reload_vm(vm.pk)
    assert (repair.outcome, found.state, found.state_reason) == ("closed", state, repairs.CLOSED)
    assert found.reservation.vcpus == (found.vcpus if state is State.RUNNING else 0)
    assert [(e.kind, e.user, e.text) for e in repair.entries.all()][1:] == [("closed", superuser, "looked at it")]
    assert in_step()


# -- silent hosts --------------------------------------------------------------------------------


def silent(host: Host, seconds: float) -> None:
    """The host was tried and does not answer for so long."""
    at = timezone.now() - timedelta(seconds=seconds)
    Host.objects.filter(pk=host.pk).update(health=Host.Health.DOWN, last_seen_at=at)


def test_a_host_silent_for_longer_than_the_timeout_puts_its_vms_into_repair(project: Project, host: Host) -> None:
    an_hour_ago = timezone.now() - timedelta(hours=1)
    patient = make_vm(project, host=host, state_since=an_hour_ago, host_error_timeout_seconds=330)
    vm = make_vm(project, host=host, state_since=an_hour_ago)
    off = make_vm(project, state=State.TERMINATED, host=host, state_since=an_hour_ago)
    silent(host, 80)
    assert silence.check() == 0
    silent(host, 100)
    assert silence.check() == 1
    assert silence.check() == 0
    found = Repair.objects.get()
    host.refresh_from_db()
    assert (found.vm, found.cause, found.opened_at, found.attempts) == (vm, "host_error", host.last_seen_at, 0)
    assert operations.current(vm.pk) is None
    assert [reload_vm(each.pk).state for each in (patient, off)] == [State.RUNNING, State.TERMINATED]
    silent(host, 340)
    assert silence.check(host.pk) == 1


def test_a_host_that_nobody_tried_is_not_silent(vm: VM, host: Host) -> None:
    Host.objects.filter(pk=host.pk).update(last_seen_at=timezone.now() - timedelta(days=1))
    assert silence.check() == 0
    assert reload_vm(vm.pk).state == State.RUNNING


def test_after_the_portal_was_away_a_host_is_silent_from_the_first_attempt_in_vain(vm: VM, host: Host) -> None:
    """Neither a restart of the portal nor an old backup that was restored makes hours of silence."""
    hours_ago = timezone.now() - timedelta(hours=5)
    VM.objects.filter(pk=vm.pk).update(state_since=hours_ago)
    Host.objects.filter(pk=host.pk).update(last_seen_at=hours_ago)
    hosts.mark_down(host.pk, "no answer")
    assert silence.check() == 0
    with time_machine.travel(timezone.now() + timedelta(seconds=80)):
        hosts.mark_down(host.pk, "still no answer")
        assert silence.check() == 0
    with time_machine.travel(timezone.now() + timedelta(seconds=95)):
        assert silence.check() == 1
    assert Repair.objects.get().opened_at == hours_ago


def test_a_host_that_answered_between_is_silent_anew(vm: VM, host: Host) -> None:
    hosts.mark_down(host.pk, "no answer")
    with time_machine.travel(timezone.now() + timedelta(seconds=60)):
        hosts.mark_up(host.pk)
    host.refresh_from_db()
    assert host.down_since is None
    with time_machine.travel(timezone.now() + timedelta(seconds=100)):
        hosts.mark_down(host.pk, "no answer")
        assert silence.check() == 0


def test_what_is_under_way_is_no_host_error(vm: VM, owner: User, host: Host) -> None:
    request_action(vm, Action.RESET, user=owner)
    silent(host, 1000)
    assert silence.check() == 0


def test_a_guest_that_still_runs_is_running_untouched(vm: VM, host: Host) -> None:
    silent(host, 100)
    silence.check()
    now = timezone.now()
    assert observations.repaired(vm.pk, run_id=1, occurred_at=now, seen_at=now)
    assert (reload_vm(vm.pk).state, Repair.objects.get().outcome) == (State.RUNNING, "untouched")


# -- placement and cleanups ----------------------------------------------------------------------


def test_a_host_on_which_several_vms_went_into_repair_gets_no_new_ones(
    project: Project, owner: User, host: Host
) -> None:
    vms = [make_vm(project, host=host, state_since=timezone.now() - timedelta(hours=1)) for _ in range(3)]
    for each in vms:
        crash(each)
    host.refresh_from_db()
    assert host.kept_out_until
    (room,) = capacity.rooms_of([host])
    assert room.kept_out
    Host.objects.filter(pk=host.pk).update(kept_out_until=timezone.now())
    host.refresh_from_db()
    assert not capacity.rooms_of([host])[0].kept_out


def test_a_cleanup_waits_for_its_host_once(vm: VM, host: Host) -> None:
    cleanups.leave(vm)
    cleanups.leave(vm)
    (waiting,) = cleanups.waiting(host.pk)
    cleanups.done(waiting)
    assert cleanups.waiting(host.pk) == []


@pytest.mark.usefixtures("catalog")
@pytest.mark.parametrize("seconds", [0, 89, 100, 331])
def test_a_host_error_timeout_is_one_of_lifecycles(project: Project, owner: User, seconds: int) -> None:
    with pytest.raises(InvalidInput, match="90 to 330 seconds, in steps of 30") as refused:
        request_create(project, VMRequest("web-2", host_error_timeout_seconds=seconds), user=owner)
    assert refused.value.field == "host_error_timeout_seconds"
