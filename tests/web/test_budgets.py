"""The pages of budgets: what owners write, what members see, and the refusal of a new VM."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import time_machine
from django.test import Client

from lifecycle.billing import budgets as rounds
from lifecycle.domain.pricing import Item
from lifecycle.models import VM, Budget, Host, Project, User
from lifecycle.services import budgets
from lifecycle.services.budgets import Wish
from tests.billing.tools import price_list, vm_born
from tests.web.conftest import Browser

BASE = "/projects/lab/billing/budgets/"
GOOD = {"name": "All VMs", "amount": "240", "thresholds": "50, 100", "notice_hours": "24"}


#: In the midst of a month, so that what was spent was spent in it.
NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)


@pytest.fixture
def spending(project: Project, host: Host, catalog: None) -> Iterator[VM]:
    """A VM that has cost 10 times the clock's hours since ten hours ago; it is `NOW`."""
    price_list([(Item.VCPU, "10")])
    vm = vm_born(project, NOW - timedelta(hours=10), "web-1")
    with time_machine.travel(NOW):
        yield vm


def test_an_owner_makes_changes_and_removes_a_budget(as_owner: Client, project: Project) -> None:
    made = as_owner.post(f"{BASE}new/", {**GOOD, "forbid_at": "100", "suspend_at": "150"})
    assert (made.status_code, made["Location"]) == (303, BASE)
    row = Budget.objects.get()
    assert (row.name, row.amount, row.thresholds) == ("All VMs", Decimal(240), [50, 100])
    assert (row.forbid_at, row.suspend_at, row.looked_at is not None) == (100, 150, True)
    page = as_owner.get(BASE).content.decode()
    for text in ("All VMs", "240.00", "forbidden from 100 % on", "suspended from 150 % on, 24 hours after a notice"):
        assert text in page
    form = as_owner.get(f"{BASE}{row.pk}/").content.decode()
    assert 'value="50, 100"' in form
    assert as_owner.post(f"{BASE}{row.pk}/", {**GOOD, "amount": "250"}).status_code == 303
    row.refresh_from_db()
    assert (row.amount, row.forbid_at, row.suspend_at) == (Decimal(250), None, None)
    french = {"Accept-Language": "fr"}
    assert 'value="250,00"' in as_owner.get(f"{BASE}{row.pk}/", headers=french).content.decode()
    assert as_owner.post(f"{BASE}{row.pk}/", {**GOOD, "amount": "250,50"}, headers=french).status_code == 303
    row.refresh_from_db()
    assert row.amount == Decimal("250.50")
    assert as_owner.post(f"{BASE}{row.pk}/remove/").status_code == 303
    assert "No budgets yet" in as_owner.get(BASE).content.decode()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"amount": "0"}, "more than nothing"),
        ({"amount": "x"}, "Enter a number"),
        ({"thresholds": "half"}, "whole percentages"),
        ({"thresholds": "0"}, "from 1 to 1000 percent"),
        ({"forbid_at": "0"}, "from 1 to 1000"),
        ({"notice_hours": "0"}, "from 1 to 168 hours"),
        ({"webhook_url": "example.org"}, "a full address"),
        ({"name": ""}, "Give the budget a name"),
    ],
)
def test_what_is_wrong_is_said_beside_its_field(as_owner: Client, project: Project, changes: dict, says: str) -> None:  # type: ignore[type-arg]
    answer = as_owner.post(f"{BASE}new/", {**GOOD, **changes})
    assert answer.status_code == 400
    assert says in answer.content.decode()
    assert not Budget.objects.exists()


def test_the_secret_is_shown_on_one_answer_to_who_made_it(
    as_owner: Client, browser: Browser, viewer: User, project: Project
) -> None:
    answer = as_owner.post(f"{BASE}new/", {**GOOD, "webhook_url": "https://example.org/hook?key=mine"})
    secret = Budget.objects.get().webhook_secret
    assert answer.status_code == 200
    assert answer["Cache-Control"] == "no-store"
    assert secret in answer.content.decode()
    assert secret not in as_owner.get(BASE).content.decode()
    seen = browser(viewer).get(BASE).content.decode()
    assert "with a webhook" in seen
    assert "example.org" not in seen


def test_a_new_vm_is_refused_and_the_budget_named(
    as_owner: Client, project: Project, spending: VM, owner: User
) -> None:
    budgets.save(project, Wish("Team <A>", Decimal(1), forbid_at=100), user=owner)
    rounds.look()
    answer = as_owner.post("/projects/lab/vms/new/", {"name": "web-9"})
    page = answer.content.decode()
    assert answer.status_code == 403
    assert "The budget “Team &lt;A&gt;” allows no new VMs this month" in page
    assert "from 100 % on" in page
    assert "no new VMs" in as_owner.get(BASE).content.decode()
    assert not VM.objects.filter(name="web-9").exists()


def test_another_month_s_figures_are_not_shown_as_this_one_s(
    as_owner: Client, project: Project, spending: VM, owner: User
) -> None:
    budgets.save(project, Wish("all", Decimal(1), forbid_at=100), user=owner)
    rounds.look()
    as_owner.get(BASE)
    with time_machine.travel(NOW + timedelta(days=40)):
        as_owner.force_login(owner, backend="django.contrib.auth.backends.ModelBackend")
        page = as_owner.get(BASE).content.decode()
    assert "Not looked at this month yet" in page
    assert "no new VMs" not in page


def test_a_budget_of_another_project_is_not_found(as_owner: Client, project: Project, stranger: User) -> None:
    other = Project.objects.get(slug="elsewhere")
    row = Budget.objects.create(project=other, name="theirs", amount=1, thresholds=[1])
    for path in (f"{BASE}{row.pk}/", f"{BASE}{row.pk}/remove/"):
        assert as_owner.post(path, GOOD).status_code == 404
    assert Budget.objects.filter(pk=row.pk).exists()
