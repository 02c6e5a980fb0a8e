"""Repairs, findings and alerts in the admin: seen by the staff, acted on through services."""

import html
import re
from datetime import datetime, timedelta

import pytest
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import override

from lifecycle.domain.states import Power, State
from lifecycle.labels import retold
from lifecycle.models import VM, Alert, ConsoleSession, Finding, Host, Operation, Project, Repair, User
from lifecycle.services import observations, repair_tracking, repairs
from tests.factories import make_host, make_vm, reload_vm


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


def do(client: Client, row: Repair | Finding | Alert | VM | Host | ConsoleSession, action: str, **fields: str) -> str:
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


def test_a_repair_tells_its_log_and_a_finding_why_its_choice_is_not_carried_out(
    admin_client: Client, repair: Repair, finding: Finding, superuser: User
) -> None:
    """In the reader's language, as far as the product wrote it."""
    repairs.add_note(repair, superuser, "its <disk> was full")
    Repair.objects.update(summary="The guest's kernel panicked.", outcome_text="The guest runs.")
    url = reverse("admin:lifecycle_repair_change", args=[repair.pk])
    page = admin_client.get(url, headers={"accept-language": "fr"}).content.decode()
    assert "its &lt;disk&gt; was full" in page
    assert str(superuser) in page
    with override("fr"):
        for text in ("The guest's kernel panicked.", "The guest runs."):
            assert retold(text) != text
            assert html.escape(retold(text)) in page
    Finding.objects.update(choice="delete", problem="it is in use by web-2")
    assert "it is in use by web-2" in admin_client.get(reverse("admin:lifecycle_finding_changelist")).content.decode()


# -- repairs in figures ----------------------------------------------------------------------------


def repaired(vm: VM, began: datetime, seconds: int | None, cause: str = "crash") -> None:
    """A repair that took so long; None: it is under way."""
    ended = {} if seconds is None else {"closed_at": began + timedelta(seconds=seconds), "outcome": "restarted"}
    Repair.objects.create(
        vm=vm, host=vm.host, cause=cause, summary="it died", prior_state="RUNNING", opened_by="observer",
        opened_at=began, **ended,
    )  # fmt: skip


def test_the_list_of_repairs_tells_the_time_to_repair_by_host_and_cause(
    admin_client: Client, project: Project, host: Host
) -> None:
    other, now = make_host("host-2"), timezone.now()
    vms = [make_vm(project, host=host), make_vm(project, host=host), make_vm(project, host=other)]
    for vm, seconds in ((vms[0], 20), (vms[0], 40), (vms[1], 90)):
        repaired(vm, now - timedelta(days=2), seconds)
    repaired(vms[1], now - timedelta(days=1), 10, cause="panic")
    repaired(vms[2], now - timedelta(minutes=5), None)
    repaired(vms[0], now - timedelta(days=31), 5000)
    figures = [
        (each.host, each.cause, each.open, each.closed, each.vms, each.mean, each.longest)
        for each in repair_tracking.by_host_and_cause(now)
    ]
    assert figures == [
        ("host-2", "crash", 1, 0, 1, None, None),
        ("host-1", "crash", 0, 3, 2, timedelta(seconds=50), timedelta(seconds=90)),
        ("host-1", "panic", 0, 1, 1, timedelta(seconds=10), timedelta(seconds=10)),
    ]
    page = admin_client.get(reverse("admin:lifecycle_repair_changelist")).content.decode()
    assert "within 30 days" in page
    assert ">50 s</td>" in page
    (url,) = set(re.findall(r'href="([^"]*cause__exact=panic[^"]*)"', page))
    found = admin_client.get(html.unescape(url)).context["cl"].queryset
    assert [(row.cause, row.host) for row in found] == [("panic", host)]


def test_a_host_that_is_kept_out_says_until_when_and_is_let_in_by_hand(admin_client: Client, host: Host) -> None:
    url = reverse("admin:lifecycle_host_changelist")
    assert "refused" not in admin_client.get(url).content.decode()
    Host.objects.update(kept_out_until=timezone.now() + timedelta(minutes=20))
    assert "after too many repairs" in admin_client.get(url).content.decode()
    assert "after too many repairs" in admin_client.get("/operators/").content.decode()
    assert "takes new VMs" in do(admin_client, host, "take_in")
    host.refresh_from_db()
    assert (host.kept_out_until, host.schedulable) == (None, True)


def test_operators_see_and_cut_consoles(admin_client: Client, vm: VM) -> None:
    session = ConsoleSession.objects.create(vm=vm, project=vm.project, user=vm.created_by, kind="serial")
    assert admin_client.get(reverse("admin:lifecycle_consolesession_changelist")).status_code == 200
    assert admin_client.get(reverse("admin:lifecycle_consolesession_change", args=[session.pk])).status_code == 200
    assert "told to end." in do(admin_client, session, "cut")
    session.refresh_from_db()
    assert session.cut_at is not None
    assert "has ended." in do(admin_client, session, "cut")


def test_the_overview_says_what_waits_and_leads_there(
    admin_client: Client, repair: Repair, finding: Finding, alert: Alert
) -> None:
    matters = {matter.name: matter for matter in admin_client.get(reverse("admin:index")).context["matters"]}
    assert {name: matter.count for name, matter in matters.items()} == {
        "open alerts": Alert.objects.filter(resolved_at__isnull=True).count(),
        "open repairs": 1,
        "findings waiting": 1,
        "cleanups left": 0,
    }
    assert list(admin_client.get(matters["open repairs"].url).context["cl"].result_list) == [repair]
    Finding.objects.filter(pk=finding.pk).update(choice=Finding.Choice.IGNORE)
    matters = {matter.name: matter for matter in admin_client.get(reverse("admin:index")).context["matters"]}
    assert matters["findings waiting"].count == 0
