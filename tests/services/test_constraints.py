"""Constraints named as sentences hold, whoever writes: rows are put in beside the services."""

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any
from uuid import uuid4

import pytest
from django.apps import apps
from django.db import IntegrityError, models, transaction
from django.utils import timezone

from lifecycle.domain.states import State
from lifecycle.domain.transitions import ALL_PAIRS, BIRTHS, DEATHS, Action
from lifecycle.models import (
    VM,
    Address,
    Alert,
    AlertDelivery,
    AuditEntry,
    Change,
    Disk,
    Event,
    Finding,
    Host,
    HostLease,
    MachineType,
    Membership,
    MeteringInterval,
    OperationStep,
    Project,
    Repair,
    SavedView,
    Transition,
    User,
    guards,
)
from tests import factories
from tests.services import breaks_billing, breaks_things
from tests.services.breaks import BREAK, breaks

#: Their constraints are broken where they are imported from.
OTHERS = (breaks_billing, breaks_things)

pytestmark = [pytest.mark.bothdb, pytest.mark.django_db, pytest.mark.usefixtures("host")]


@breaks("one_open_operation_per_vm")
def _(_project: Project, vm: VM) -> None:
    factories.make_operation(vm, Action.STOP)
    factories.make_operation(vm, Action.RESET)


@breaks("one_operation_per_request_id")
def _(project: Project, vm: VM) -> None:
    request_id = uuid4()
    factories.make_operation(vm, Action.STOP, request_id=request_id)
    factories.make_operation(factories.make_vm(project), Action.STOP, request_id=request_id)


@breaks("progress_is_a_percentage")
def _(_project: Project, vm: VM) -> None:
    factories.make_operation(vm, Action.STOP, progress=101)


@breaks("an_operation_is_done_when_it_has_an_end")
def _(_project: Project, vm: VM) -> None:
    factories.make_operation(vm, Action.STOP, status="DONE")


@breaks("an_operation_ends_after_its_request")
def _(_project: Project, vm: VM) -> None:
    now = timezone.now()
    factories.make_operation(vm, Action.STOP, status="DONE", insert_time=now, end_time=now - timedelta(seconds=1))


@breaks("a_step_stands_once")
def _(_project: Project, vm: VM) -> None:
    operation = factories.make_operation(vm, Action.STOP, steps=("one",))
    OperationStep.objects.create(operation=operation, index=0, name="two")


@breaks("one_live_vm_per_name")
def _(project: Project, vm: VM) -> None:
    factories.make_vm(project, vm.name)


@breaks("one_live_vm_per_mac")
def _(project: Project, vm: VM) -> None:
    factories.make_vm(project, mac=vm.mac)


@breaks("a_vm_state_is_known")
def _(_project: Project, vm: VM) -> None:
    VM.objects.filter(pk=vm.pk).update(state="DREAMING")


@breaks("a_vm_with_a_domain_has_a_host")
def _(_project: Project, vm: VM) -> None:
    VM.objects.filter(pk=vm.pk).update(host=None)


@breaks("a_vm_has_cpu_and_memory")
def _(_project: Project, vm: VM) -> None:
    VM.objects.filter(pk=vm.pk).update(vcpus=0)


@breaks("one_boot_disk_per_vm")
def _(_project: Project, vm: VM) -> None:
    Disk.objects.create(vm=vm, name="second", size_gib=1, volume="second.qcow2")


@breaks("a_disk_has_a_size")
def _(_project: Project, vm: VM) -> None:
    Disk.objects.filter(vm=vm).update(size_gib=0)


@breaks("an_address_exists_once_per_network")
def _(_project: Project, vm: VM) -> None:
    address = Address.objects.get(vm=vm)
    Address.objects.create(network=address.network, ip=address.ip)


@breaks("a_machine_type_has_cpu_and_memory")
def _(_project: Project, _vm: VM) -> None:
    factories.make_machine_type(vcpus=0)


@breaks("one_default_machine_type")
def _(_project: Project, _vm: VM) -> None:
    MachineType.objects.filter(is_default=True).update(is_default=False)
    factories.make_machine_type(is_default=True)
    factories.make_machine_type(is_default=True)


@breaks("vcpus_reserved_are_within_the_host_limit")
def _(_project: Project, _vm: VM) -> None:
    Host.objects.update(vcpus_reserved=65)  # 8 CPUs at 800 %


@breaks("memory_reserved_is_within_the_host_limit")
def _(_project: Project, _vm: VM) -> None:
    Host.objects.update(memory_mib_reserved=15 * 1024 + 1)  # 16 GiB, of which 1 GiB is kept


@breaks("disk_reserved_is_within_the_host_limit")
def _(_project: Project, _vm: VM) -> None:
    Host.objects.update(disk_gib_reserved=1001)  # 500 GiB at 200 %


@breaks("one_lease_per_host_and_purpose")
def _(_project: Project, vm: VM) -> None:
    assert vm.host
    for owner in ("one", "two"):
        HostLease.objects.create(host=vm.host, purpose="watch", owner=owner, expires_at=timezone.now())


@breaks("one_open_finding_per_subject")
def _(_project: Project, vm: VM) -> None:
    assert vm.host
    for _time in range(2):
        Finding.objects.create(host=vm.host, kind="unknown_volume", subject="a.qcow2", text="a volume")


@breaks("event_numbers_are_unique")
def _(project: Project, _vm: VM) -> None:
    for _time in range(2):
        Event.objects.create(project=project, number=1, kind="vm", payload={})


@breaks("one_membership_per_person_and_project")
def _(project: Project, _vm: VM) -> None:
    Membership.objects.create(project=project, user=User.objects.get(username="olivia"), role="viewer")


@breaks("a_role_is_known")
def _(project: Project, _vm: VM) -> None:
    Membership.objects.filter(project=project).update(role="king")


@breaks("a_saved_view_has_a_name_of_its_own")
def _(project: Project, _vm: VM) -> None:
    user = User.objects.get(username="olivia")
    for query in ("q=a", "q=b"):
        SavedView.objects.create(project=project, user=user, name="mine", query=query)


@breaks("an_audit_channel_is_known")
def _(project: Project, _vm: VM) -> None:
    AuditEntry.objects.create(action="vm.start", project=project, channel="rumour")


@breaks("an_audit_entry_is_never_changed")
def _(project: Project, _vm: VM) -> None:
    entry = AuditEntry.objects.create(action="vm.start", project=project, channel="portal")
    AuditEntry.objects.filter(pk=entry.pk).update(who="nobody")


@breaks("a_transition_stands_in_the_table")
def _(_project: Project, vm: VM) -> None:
    write_transition(vm, "TERMINATED", "SUSPENDED")


def write_transition(vm: VM, source: str, target: str) -> Transition:
    return Transition.objects.create(
        vm=vm, number=1, from_state=source, to_state=target, action="stop", asked_by="user", occurred_at=timezone.now()
    )


def write_interval(vm: VM, start: int, end: int | None, opened_by: Transition | None = None) -> MeteringInterval:
    """From minute `start` to minute `end` of a certain hour."""
    hour = datetime(2026, 2, 28, 23, tzinfo=UTC)
    return MeteringInterval.objects.create(
        vm=vm,
        project=vm.project,
        opened_by=opened_by or write_transition(vm, "", "RUNNING"),
        state="RUNNING",
        started_at=hour.replace(minute=start),
        ended_at=None if end is None else hour.replace(minute=end),
        machine_type="tiny-1",
        vcpus=1,
        memory_mib=128,
        disk_gib=1,
    )


@breaks("one_open_metering_interval_per_vm")
def _(_project: Project, vm: VM) -> None:
    write_interval(vm, 0, None)
    write_interval(vm, 10, None)


@breaks("a_transition_opens_one_interval")
def _(_project: Project, vm: VM) -> None:
    first = write_interval(vm, 0, 10)
    write_interval(vm, 10, 20, first.opened_by)


@breaks("a_metering_interval_has_no_negative_length")
def _(_project: Project, vm: VM) -> None:
    write_interval(vm, 10, 9)


@breaks(guards.NO_OVERLAP)
def _(_project: Project, vm: VM) -> None:
    write_interval(vm, 0, 10)
    write_interval(vm, 9, 20)


@breaks(guards.CLOSED_ONLY)
def _(_project: Project, vm: VM) -> None:
    MeteringInterval.objects.filter(pk=write_interval(vm, 0, 10).pk).update(ended_at=timezone.now())


@breaks(guards.APPEND_ONLY)
def _(_project: Project, vm: VM) -> None:
    Transition.objects.filter(pk=write_transition(vm, "", "RUNNING").pk).update(occurred_at=timezone.now())


@breaks("one_open_alert_per_matter")
def _(_project: Project, _vm: VM) -> None:
    for _time in range(2):
        Alert.objects.create(key="host_down:1", kind="host_down", text="x")


@breaks("an_alert_is_told_once_by_each_way")
def _(_project: Project, _vm: VM) -> None:
    alert = Alert.objects.create(key="host_down:1", kind="host_down", text="x")
    for _time in range(2):
        AlertDelivery.objects.create(alert=alert, way="mail", about="opened")


@breaks("a_host_error_timeout_is_known")
def _(_project: Project, vm: VM) -> None:
    VM.objects.filter(pk=vm.pk).update(host_error_timeout_seconds=100)


def make_repair(vm: VM, **fields: Any) -> Repair:
    values = {"cause": "crash", "prior_state": "RUNNING", "opened_by": "observer", "opened_at": timezone.now()}
    return Repair.objects.create(vm=vm, **{**values, **fields})


@breaks("one_open_repair_per_vm")
def _(_project: Project, vm: VM) -> None:
    make_repair(vm)
    make_repair(vm)


@breaks("one_change_per_request_id")
def _(project: Project, vm: VM) -> None:
    request_id = uuid4()
    for _time in range(2):
        Change.objects.create(project=project, vm=vm, target_name=vm.name, kind="setTags", request_id=request_id)


@breaks("a_repair_has_an_outcome_when_it_is_closed")
def _(_project: Project, vm: VM) -> None:
    make_repair(vm, closed_at=timezone.now())


@breaks("a_repair_ends_after_its_beginning")
def _(_project: Project, vm: VM) -> None:
    make_repair(vm, closed_at=timezone.now() - timedelta(days=1), outcome="gave_up")


@pytest.mark.parametrize("name", BREAK)
def test_the_database_refuses_what_would_break(project: Project, name: str) -> None:
    vm = factories.make_vm(project)
    with pytest.raises(IntegrityError), transaction.atomic():
        BREAK[name](project, vm)


def test_every_constraint_of_the_product_is_broken_here_once() -> None:
    named = {
        constraint.name
        for model in apps.get_app_config("lifecycle").get_models()
        for constraint in model._meta.constraints
    }
    triggers = {guards.NO_OVERLAP, guards.CLOSED_ONLY, guards.APPEND_ONLY, guards.AUDIT_ONLY_GROWS}
    triggers |= {guards.IMAGES_NO_OVERLAP, guards.IMAGES_CLOSED_ONLY, guards.IMAGES_APPEND_ONLY}
    assert named | triggers == set(BREAK), f"of {', '.join(module.__name__ for module in OTHERS)} and here"


def test_the_names_of_constraints_read_as_sentences() -> None:
    assert all(name.count("_") >= 2 for name in BREAK)


# -- what must stay possible ---------------------------------------------------------------------


def test_a_vm_may_have_many_operations_that_are_done(project: Project) -> None:
    vm = factories.make_vm(project)
    for _time in range(3):
        factories.make_operation(vm, Action.STOP, status="DONE", end_time=timezone.now() + timedelta(minutes=1))


def test_a_finding_that_is_closed_may_be_found_again(project: Project) -> None:
    host = factories.make_vm(project).host
    assert host
    seen = {"host": host, "kind": "unknown_volume", "subject": "a.qcow2", "text": "a volume"}
    Finding.objects.create(**seen, closed_at=timezone.now(), closed_because="gone")
    Finding.objects.create(**seen)


def test_a_tombstone_gives_name_and_mac_free(project: Project) -> None:
    vm = factories.make_vm(project)
    VM.objects.filter(pk=vm.pk).update(deleted_at=timezone.now())
    factories.make_vm(project, vm.name, mac=vm.mac)


def test_the_database_knows_the_table_pair_by_pair(project: Project) -> None:
    vm = factories.make_vm(project)
    allowed = {(a.value, b.value) for a, b in ALL_PAIRS}
    allowed |= {("", state.value) for state in BIRTHS} | {(state.value, "") for state in DEATHS}
    states = ["", *(state.value for state in State)]
    found = set()
    for source, target in product(states, states):
        try:
            with transaction.atomic():
                write_transition(vm, source, target)
        except IntegrityError:
            continue
        found.add((source, target))
    assert found == allowed


def test_a_host_that_is_not_described_yet_holds_nothing(db: None) -> None:
    factories.make_host(vcpus_total=0, memory_mib_total=0, disk_gib_total=0)


def test_history_outlives_what_it_tells_of(project: Project) -> None:
    vm = factories.make_vm(project)
    write_transition(vm, "RUNNING", "STOPPING")
    with pytest.raises(models.ProtectedError):
        vm.delete()
