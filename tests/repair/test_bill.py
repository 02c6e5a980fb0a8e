"""Real guests and money: an invoice of exactly what they did, and what schedules and budgets do with them."""

import io
import os
import re
import signal
import time
from datetime import time as clock
from datetime import timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.utils import timezone
from pypdf import PdfReader

from lifecycle.billing import budgets as budget_rounds
from lifecycle.billing import documents, invoices
from lifecycle.domain.periods import Month
from lifecycle.domain.pricing import Item
from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action
from lifecycle.management.hostthreads import HostThread
from lifecycle.models import (
    VM,
    BudgetAlert,
    Invoice,
    Operation,
    Project,
    Schedule,
    ScheduleRun,
    Seller,
    Transition,
    User,
)
from lifecycle.repair import schedules as schedule_rounds
from lifecycle.services import budgets, prices, schedules
from tests.billing.tools import SLA, price_list
from tests.repair.conftest import PATIENCE, Guest, Make, wait_until

pytestmark = [
    pytest.mark.libvirt,
    pytest.mark.guest,
    pytest.mark.timeout(1200),
    pytest.mark.django_db(transaction=True),
]

_STAY = re.compile(r"(web-\d) ([A-Z]+) (\S+ \S+) UTC (\S+ \S+) UTC")


def live(guest: Guest) -> None:
    """Suspended, resumed, crashed and repaired, stopped, deleted."""
    guest.ask(Action.SUSPEND)
    guest.becomes(State.SUSPENDED)
    guest.ask(Action.RESUME)
    guest.becomes(State.RUNNING)
    wait_until(lambda: not guest.vm.operations.exclude(status="DONE").exists(), PATIENCE, "the resume")
    os.kill(guest.qemu_pid, signal.SIGKILL)
    guest.goes_into_repair()
    guest.becomes(State.RUNNING)
    wait_until(lambda: not guest.vm.operations.exclude(status="DONE").exists(), PATIENCE, "the repair")
    guest.ask(Action.STOP)
    guest.becomes(State.TERMINATED)
    wait_until(lambda: not guest.vm.operations.exclude(status="DONE").exists(), PATIENCE, "the stop")
    guest.ask(Action.DELETE)
    wait_until(lambda: guest.vm.deleted_at is not None, PATIENCE, "the delete")


def by_the_log(until: str) -> list[tuple[str, str, str, str]]:
    """Each stay with a length, of the log alone, to the second."""
    found = []
    for vm in VM.objects.order_by("name"):
        rows = list(Transition.objects.filter(vm=vm).order_by("id").values_list("to_state", "occurred_at"))
        for number, (state, at) in enumerate(rows):
            after = rows[number + 1][1] if number + 1 < len(rows) else None
            if state and after != at:
                found.append((vm.name, state, f"{at:%F %T}", f"{after:%F %T}" if after else until))
    return found


def test_the_invoice_of_two_real_guests(make_guest: Make, watcher: HostThread, project: Project) -> None:
    price_list([(Item.VCPU, "36"), (Item.MEMORY, "3.6"), (Item.SUSPENDED_MEMORY, "0.36"), (Item.DISK, "0.36")], sla=SLA)
    Seller.objects.create(name="Clouds & Sons", address="Paris", country="FR")
    failed = make_guest("web-2", automatic_restart=False, stop_grace_seconds=0)
    live(make_guest("web-1", stop_grace_seconds=0))
    os.kill(failed.qemu_pid, signal.SIGKILL)
    failed.becomes(State.TERMINATED)
    time.sleep(1)
    month = Month.of(timezone.now(), prices.account_of(project).zone)
    end = month.next.start(prices.account_of(project).zone)
    with time_machine.travel(end + timedelta(days=3)):
        bill = invoices.issue(project, month)
        text = " ".join(" ".join(p.extract_text() for p in PdfReader(io.BytesIO(documents.pdf(bill))).pages).split())
    assert bill.number in text
    assert _STAY.findall(text) == by_the_log(f"{end:%F %T}")
    the_repair_is_not_billed(bill, text)
    the_failure_is_credited(bill, failed, text)


def the_repair_is_not_billed(bill: Invoice, text: str) -> None:
    repair = bill.lines.get(name="web-1", sort="repair")
    assert float(repair.quantity) > 0
    assert repair.amount == 0
    assert "Repair, not billed" in text
    assert len(re.findall(r"REPAIRING \S+ \S+ UTC \S+ \S+ UTC [^U]*? s ?nothing: repair", text)) >= 1


def the_failure_is_credited(bill: Invoice, failed: Guest, text: str) -> None:
    # web-1 lived for seconds: the moment between its crash and the repair is much of that, and is credited, too.
    back = bill.lines.get(sort="sla", name="web-2")
    assert back.amount < 0
    assert back.reference == str(failed.vm.repairs.get().pk)
    assert "Credit for missed uptime" in text


# -- schedules and budgets -----------------------------------------------------------------------


def falls_due(guest: Guest, action: Action, user: User) -> ScheduleRun:
    """A schedule of `action` whose time was a minute ago, taken by the sweep that every worker runs."""
    far = (timezone.now() + timedelta(hours=12)).astimezone(ZoneInfo("Europe/Paris"))  # not due by itself meanwhile
    at = clock(far.hour, far.minute)
    row = schedules.add(guest.vm, schedules.Wish(action, at, tuple(range(7)), "Europe/Paris"), user=user)
    due = timezone.now() - timedelta(minutes=1)
    Schedule.objects.filter(pk=row.pk).update(next_at=due)
    assert dict(schedule_rounds.sweep(timezone.now())) == {"asked": 1}
    return ScheduleRun.objects.get(schedule=row, due_at=due)


def ends(run: ScheduleRun) -> None:
    """Its operation, which a schedule asked for, ends well."""
    assert run.operation_id
    rows = Operation.objects.filter(pk=run.operation_id)
    wait_until(lambda: rows.get().is_done, PATIENCE, "the operation")
    operation = rows.get()
    assert (operation.asked_by, operation.error) == ("schedule", None)


def test_a_schedule_and_a_budget_move_a_real_guest(
    make_guest: Make, watcher: HostThread, project: Project, owner: User
) -> None:
    """Rows have their time moved; sweeps, operations and the guest are those of every day."""
    price_list([(Item.VCPU, "3600000")])
    guest = make_guest(stop_grace_seconds=0)
    ends(falls_due(guest, Action.STOP, owner))
    assert (guest.state, guest.domain.isActive()) == (State.TERMINATED, 0)
    ends(falls_due(guest, Action.START, owner))
    assert (guest.state, guest.domain.isActive()) == (State.RUNNING, 1)

    budgets.save(project, budgets.Wish("all", Decimal(1), suspend_at=100, notice_hours=24), user=owner)
    assert budget_rounds.look().suspended == 0
    notice = BudgetAlert.objects.get(about="notice")
    assert notice.due_at
    assert notice.due_at > timezone.now() + timedelta(hours=23)
    assert guest.state == State.RUNNING
    BudgetAlert.objects.filter(pk=notice.pk).update(due_at=timezone.now() - timedelta(seconds=1))
    assert budget_rounds.look().suspended == 1
    guest.becomes(State.SUSPENDED)
    assert (guest.domain.isActive(), guest.domain.hasManagedSaveImage()) == (0, 1)
    assert BudgetAlert.objects.get(about="suspended").done == [str(guest.vm_id)]
    assert budget_rounds.look().suspended == 0
