"""What is old and read by nobody goes, in small batches; what tells history stays."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from lifecycle import tasks
from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action, Asker
from lifecycle.models import (
    Alert,
    AlertDelivery,
    Budget,
    BudgetAlert,
    Event,
    Finding,
    Host,
    Operation,
    OperationStep,
    Project,
    Repair,
    RevenueDay,
    ScheduleRun,
    SerialLog,
    Transition,
)
from lifecycle.realtime.consumers import REPLAY_LIMIT
from lifecycle.services import retention
from tests import factories

pytestmark = [pytest.mark.bothdb, pytest.mark.django_db, pytest.mark.usefixtures("host")]

LONG_AGO = timezone.now() - timedelta(days=400)


def test_old_events_go_but_those_that_a_browser_may_ask_for(project: Project) -> None:
    kept = retention.EVENTS_KEPT
    assert kept > REPLAY_LIMIT
    first = project.last_event_number + 1
    numbers = range(first, first + kept + 700)
    Event.objects.bulk_create(Event(project=project, number=n, kind="vm", payload={}, at=LONG_AGO) for n in numbers)
    Project.objects.filter(pk=project.pk).update(last_event_number=numbers[-1])
    assert tasks.forget_old_rows() >= 700
    left = Event.objects.filter(project=project).order_by("number").values_list("number", flat=True)
    assert list(left) == list(numbers[-kept:])
    assert tasks.forget_old_rows() == 0


def test_old_runs_of_schedules_alerts_of_budgets_and_days_of_revenue_go(project: Project) -> None:
    vm = factories.make_vm(project)
    budget = Budget.objects.create(project=project, name="all", amount=1)
    for at, month in ((LONG_AGO - timedelta(days=9), "2025-01"), (timezone.now(), "2026-01")):
        ScheduleRun.objects.create(vm=vm, action="stop", due_at=at, at=at, outcome="asked")
        values = {"about": "threshold", "percent": 50, "amount": 1, "spent": 1, "currency": "EUR"}
        BudgetAlert.objects.create(budget=budget, month=month, at=at, **values)
        RevenueDay.objects.create(day=at.date(), project=project, item="vcpu", quantity=1, amount=1)
    assert tasks.forget_old_rows() == 3
    for model in (ScheduleRun, BudgetAlert, RevenueDay):
        assert model._default_manager.count() == 1


def test_young_events_stay_however_many(project: Project) -> None:
    Event.objects.create(project=project, number=1, kind="vm", payload={})
    Project.objects.filter(pk=project.pk).update(last_event_number=5000)
    assert tasks.forget_old_rows() == 0


def test_steps_of_old_operations_go_and_the_operations_stay(project: Project) -> None:
    over = {"status": "DONE", "insert_time": LONG_AGO, "end_time": LONG_AGO}
    old = factories.make_operation(factories.make_vm(project), Action.STOP, steps=("a", "b"), **over)
    young = factories.make_operation(
        old.vm, Action.START, steps=("a",), status="DONE", end_time=timezone.now() + timedelta(minutes=1)
    )
    lasting = factories.make_operation(old.vm, Action.STOP, steps=("a",), insert_time=LONG_AGO)
    assert tasks.forget_old_rows() == 2
    assert set(OperationStep.objects.values_list("operation", flat=True)) == {young.pk, lasting.pk}
    assert Operation.objects.count() == 3


def test_output_of_vms_stopped_for_long_goes_but_not_how_far_it_was_read(project: Project) -> None:
    logs = {}
    vms: dict[str, dict[str, Any]] = {
        "stopped": {"state": State.TERMINATED, "state_since": LONG_AGO},
        "runs": {"state": State.RUNNING, "state_since": LONG_AGO},
        "lately": {"state": State.TERMINATED},
    }
    for name, fields in vms.items():
        logs[name] = SerialLog.objects.create(vm=factories.make_vm(project, **fields), text="login:", read_bytes=6)
    SerialLog.objects.update(updated_at=LONG_AGO)
    assert tasks.forget_old_rows() == 1
    left = {name: SerialLog.objects.values_list("text", "read_bytes").get(pk=log.pk) for name, log in logs.items()}
    assert left == {"stopped": ("", 6), "runs": ("login:", 6), "lately": ("login:", 6)}
    assert tasks.forget_old_rows() == 0


def test_closed_alerts_and_findings_go_and_open_ones_stay(host: Host) -> None:
    closed = Alert.objects.create(key="a", kind="findings", text="x", opened_at=LONG_AGO, resolved_at=LONG_AGO)
    AlertDelivery.objects.create(alert=closed, way="mail", about="opened")
    Alert.objects.create(key="b", kind="findings", text="x", opened_at=LONG_AGO)
    finding: dict[str, Any] = {"host": host, "kind": "unknown_volume", "text": "x", "first_seen_at": LONG_AGO}
    Finding.objects.create(subject="closed", closed_at=LONG_AGO, **finding)
    Finding.objects.create(subject="ignored", closed_at=LONG_AGO, choice="ignore", **finding)
    Finding.objects.create(subject="open", **finding)
    assert tasks.forget_old_rows() == 2
    assert list(Alert.objects.values_list("key", flat=True)) == ["b"]
    assert set(Finding.objects.values_list("subject", flat=True)) == {"ignored", "open"}


def test_transitions_and_repairs_are_kept(project: Project) -> None:
    vm = factories.make_vm(project)
    times: dict[str, Any] = {"occurred_at": LONG_AGO, "recorded_at": LONG_AGO}
    Transition.objects.create(
        vm=vm, number=1, from_state="RUNNING", to_state="STOPPING", action="stop", asked_by="user", **times
    )
    Repair.objects.create(
        vm=vm, cause="crash", summary="x", prior_state="RUNNING", opened_by=Asker.OBSERVER, opened_at=LONG_AGO,
        closed_at=LONG_AGO, outcome="restarted",
    )  # fmt: skip
    assert tasks.forget_old_rows() == 0
    assert (Transition.objects.count(), Repair.objects.count()) == (1, 1)


def test_no_batch_is_larger_than_its_bound(project: Project) -> None:
    operation = factories.make_operation(
        factories.make_vm(project), Action.STOP, status="DONE", insert_time=LONG_AGO, end_time=LONG_AGO
    )
    OperationStep.objects.bulk_create(OperationStep(operation=operation, index=n, name="x") for n in range(1200))
    with CaptureQueriesContext(connection):
        assert list(retention.batches()) == [500, 500, 200]
