"""Repairs, findings and alerts in the admin: seen by the staff, acted on through services."""

from datetime import datetime

import pytest
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from lifecycle.domain.states import Power, State
from lifecycle.models import VM, Alert, ConsoleSession, Finding, Host, Operation, Project, Repair
from lifecycle.services import observations
from tests.factories import make_vm, reload_vm


@pytest.fixture
def vm(project: Project, host: Host) -> VM:
    return make_vm(project, "web-1", host=host)


@pytest.fixture
def repair(vm: VM) -> Repair:
    now = timezone.now()
    observations.guest_crashed(vm.pk, reason="It died.", occurred_at=now, seen_at=now, power=Power.OFF)
    return Repair.objects.get()


@pytest.fixture
def finding(host: Host) -> Finding:
    return Finding.objects.create(host=host, kind="unknown_volume", subject="a.qcow2", text="a volume")


@pytest.fixture
def alert(db: None) -> Alert:
    return Alert.objects.create(key="x", kind="host_down", text="The host %(host)s is down.", params={"host": "h<1>"})


def do(client: Client, row: Repair | Finding | Alert | VM | ConsoleSession, action: str, **fields: str) -> str:
    """Run an action of the row's list; the page that follows."""
    url = reverse(f"admin:lifecycle_{row._meta.model_name}_changelist")
    data = {"action": action, ACTION_CHECKBOX_NAME: str(row.pk), **fields}
    return client.post(url, data, follow=True).content.decode()


def test_the_rows_have_lists_and_pages(admin_client: Client, repair: Repair, finding: Finding, alert: Alert) -> None:
    for row in (repair, finding, alert):
        name = f"admin:lifecycle_{row._meta.model_name}"
        assert admin_client.get(reverse(f"{name}_changelist"), {"is": "open"}).status_code == 200
        assert admin_client.get(reverse(f"{name}_change", args=[row.pk])).status_code == 200
    assert (
        "The host h&lt;1&gt; is down." in admin_client.get(reverse("admin:lifecycle_alert_changelist")).content.decode()
    )


def test_a_note_is_asked_for_and_kept(admin_client: Client, repair: Repair) -> None:
    assert "<textarea" in do(admin_client, repair, "note")
    do(admin_client, repair, "note", text="looked at it")
    entry = repair.entries.get(kind="note")
    assert (entry.text, entry.user) == ("looked at it", admin_client.get(reverse("admin:index")).wsgi_request.user)


def test_a_repair_is_given_up_with_a_reason_alone(admin_client: Client, repair: Repair) -> None:
    do(admin_client, repair, "give_up", text=" ")
    assert reload_vm(repair.vm_id).state == State.REPAIRING
    do(admin_client, repair, "give_up", text="no disk")
    assert repair.entries.get(kind="give_up").text == "no disk"
    assert "is given up: it is being switched off." in do(admin_client, repair, "retry")


def test_a_repair_is_closed_when_nothing_is_left_to_do(admin_client: Client, repair: Repair) -> None:
    assert "is under way. Give it up first." in do(admin_client, repair, "close", text="it runs")
    Operation.objects.update(status="DONE", end_time=timezone.now())
    VM.objects.update(power=Power.ON, power_seen_at=timezone.now())
    do(admin_client, repair, "close", text="it runs")
    repair.refresh_from_db()
    assert (repair.outcome, reload_vm(repair.vm_id).state) == ("closed", State.RUNNING)


def test_a_vm_is_reported_faulty(admin_client: Client, vm: VM) -> None:
    do(admin_client, vm, "report_faulty", text="its clock stands still")
    assert reload_vm(vm.pk).state == State.REPAIRING
    assert Repair.objects.get().cause == "reported"


def chosen() -> tuple[str, datetime | None]:
    """What the only finding says of its choice."""
    return Finding.objects.values_list("choice", "due_at").get()


def test_a_choice_says_what_becomes_of_it_and_is_noted(admin_client: Client, finding: Finding) -> None:
    page = do(admin_client, finding, "choose")
    assert "After the quarantine the volume and all that is on it is deleted." in page
    assert 'value="adopt"' not in page
    do(admin_client, finding, "choose", choice="adopt")
    assert chosen() == ("", None)
    do(admin_client, finding, "choose", choice="delete")
    choice, due_at = chosen()
    assert choice == "delete"
    assert due_at
    do(admin_client, finding, "withdraw")
    assert chosen() == ("", None)


def test_an_alert_is_acknowledged(admin_client: Client, alert: Alert) -> None:
    do(admin_client, alert, "acknowledge")
    alert.refresh_from_db()
    assert alert.acknowledged_at is not None


def test_staff_that_may_only_look_cannot_act(client: Client, repair: Repair, finding: Finding) -> None:
    from django.contrib.auth.models import Permission

    from tests.factories import make_user

    staff = make_user("looker", is_staff=True)
    staff.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    client.force_login(staff)
    do(client, repair, "give_up", text="no")
    do(client, finding, "choose", choice="delete")
    finding.refresh_from_db()
    assert (reload_vm(repair.vm_id).state, finding.choice) == (State.REPAIRING, "")


def test_operators_see_what_needs_them(admin_client: Client, repair: Repair, finding: Finding, alert: Alert) -> None:
    page = admin_client.get(reverse("web:operators")).content.decode()
    assert "The host h&lt;1&gt; is down." in page
    assert reverse("admin:lifecycle_repair_change", args=[repair.pk]) in page
    assert reverse("admin:lifecycle_finding_change", args=[finding.pk]) in page


def test_operators_read_that_nothing_needs_them(admin_client: Client) -> None:
    assert "Nothing needs you." in admin_client.get(reverse("web:operators")).content.decode()


def test_operators_see_and_cut_consoles(admin_client: Client, vm: VM) -> None:
    session = ConsoleSession.objects.create(vm=vm, project=vm.project, user=vm.created_by, kind="serial")
    assert admin_client.get(reverse("admin:lifecycle_consolesession_changelist")).status_code == 200
    assert admin_client.get(reverse("admin:lifecycle_consolesession_change", args=[session.pk])).status_code == 200
    assert "told to end." in do(admin_client, session, "cut")
    session.refresh_from_db()
    assert session.cut_at is not None
    assert "has ended." in do(admin_client, session, "cut")
