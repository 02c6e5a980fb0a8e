"""The page of a VM's schedules, and the hints about idle VMs with what they offer by one click."""

from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client

from lifecycle.models import VM, IdleHint, Operation, Schedule, ScheduleRun, User
from lifecycle.services import prices
from tests import factories
from tests.web.conftest import Browser

PAGE = "/projects/lab/vms/web-1/schedules/"
GOOD = {"action": "stop", "at": "19:30", "days": ["0", "4"], "time_zone": "Europe/Berlin"}


def test_a_schedule_is_added_skipped_once_and_removed(as_owner: Client, vm: VM) -> None:
    assert as_owner.post(PAGE, GOOD).status_code == 303
    row = Schedule.objects.get()
    assert (row.action, f"{row.at:%H:%M}", row.days, row.time_zone) == ("stop", "19:30", "04", "Europe/Berlin")
    page = as_owner.get(PAGE).content.decode()
    for text in ("19:30", "Mon, Fri", "Europe/Berlin", "Skip once"):
        assert text in page
    as_owner.post(f"{PAGE}{row.pk}/skip/", {"on": "1"})
    assert "skipped once" in as_owner.get(PAGE).content.decode()
    as_owner.post(f"{PAGE}{row.pk}/skip/", {"on": ""})
    row.refresh_from_db()
    assert not row.skip_next
    as_owner.post(f"{PAGE}{row.pk}/remove/")
    assert "No schedules yet" in as_owner.get(PAGE).content.decode()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"at": ""}, "Say at what time"),
        ({"at": "25:00"}, "A time is written as 19:30"),
        ({"days": []}, "at least one day"),
        ({"days": ["8"]}, "Select a valid choice"),
        ({"time_zone": "Mars"}, "Select a valid choice"),
        ({"action": "delete"}, "Select a valid choice"),
    ],
)
def test_what_is_wrong_is_said(as_owner: Client, vm: VM, changes: dict[str, object], says: str) -> None:
    answer = as_owner.post(PAGE, {**GOOD, **changes})
    assert answer.status_code == 400
    assert says in answer.content.decode()
    assert not Schedule.objects.exists()


def test_the_form_begins_with_the_project_s_time_zone(as_owner: Client, vm: VM, owner: User) -> None:
    prices.change_account(vm.project, {"time_zone": "Asia/Tokyo"}, user=owner)
    assert '<option value="Asia/Tokyo" selected>' in as_owner.get(PAGE).content.decode()


def test_the_same_schedule_twice_is_refused_in_words(as_owner: Client, vm: VM) -> None:
    as_owner.post(PAGE, GOOD)
    assert "has this schedule already" in as_owner.post(PAGE, GOOD).content.decode()


def test_what_became_of_the_last_times_is_listed(as_owner: Client, vm: VM) -> None:
    error = {"code": "X", "template": "%(name)s is no more.", "params": {"name": "web-1"}, "message": ""}
    due = datetime(2026, 3, 2, 19, tzinfo=UTC)
    ScheduleRun.objects.create(vm=vm, action="stop", due_at=due, outcome="refused", error=error)
    done = Operation.objects.get(vm=vm)
    later = due + timedelta(days=1)
    ScheduleRun.objects.create(vm=vm, action="start", due_at=later, outcome="asked", operation=done)
    page = as_owner.get(PAGE).content.decode()
    assert "Mon 2026-03-02 19:00 UTC" in page
    assert "web-1 is no more." in page
    assert f"/operations/{done.pk}/" in page


def test_viewers_see_and_change_nothing(browser: Browser, viewer: User, vm: VM, as_owner: Client) -> None:
    as_owner.post(PAGE, GOOD)
    page = browser(viewer).get(PAGE).content.decode()
    assert "19:30" in page
    assert "Skip once" not in page
    assert "Add a schedule" not in page


@pytest.fixture
def hint(vm: VM) -> IdleHint:
    return IdleHint.objects.create(vm=vm, since=datetime(2026, 3, 2, tzinfo=UTC), cpu_percent=1.25, network=20)


def test_a_hint_offers_a_schedule_by_one_click(as_owner: Client, vm: VM, hint: IdleHint) -> None:
    for path in (PAGE, "/projects/lab/billing/"):
        page = as_owner.get(path).content.decode()
        assert "web-1 has been idle since March 2, 2026" in page
        assert f"{PAGE}office-hours/" in page
    assert as_owner.post(f"{PAGE}office-hours/").status_code == 303
    assert set(Schedule.objects.values_list("action", "days")) == {("start", "01234"), ("stop", "01234")}
    assert "Mon – Fri" in as_owner.get(PAGE).content.decode()


def test_a_hint_offers_to_suspend_by_one_click(as_owner: Client, vm: VM, hint: IdleHint) -> None:
    assert "/projects/lab/vms/web-1/suspend/" in as_owner.get(PAGE).content.decode()
    assert as_owner.post("/projects/lab/vms/web-1/suspend/").status_code == 303
    assert Operation.objects.filter(vm=vm, action="suspend").exists()


def test_a_dismissed_hint_is_gone(as_owner: Client, vm: VM, hint: IdleHint) -> None:
    answer = as_owner.post("/projects/lab/vms/web-1/idle/dismiss/", {"next": "/projects/lab/billing/"})
    assert (answer.status_code, answer["Location"]) == (303, "/projects/lab/billing/")
    assert "has been idle" not in as_owner.get(PAGE).content.decode()
    assert "no hint about web-1" in as_owner.post("/projects/lab/vms/web-1/idle/dismiss/", follow=True).content.decode()


def test_hints_of_other_projects_are_not_shown(as_owner: Client, vm: VM, hint: IdleHint, stranger: User) -> None:
    other = factories.make_vm(factories.make_project("theirs", owner=stranger), "secret-vm")
    IdleHint.objects.create(vm=other, since=hint.since, cpu_percent=1, network=2)
    assert "secret-vm" not in as_owner.get("/projects/lab/billing/").content.decode()
