"""Operators' pages of money: price lists, the invoice run, payments, and who sees them."""

import re
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import pytest
import time_machine
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from lifecycle.billing import effects, invoices
from lifecycle.domain.periods import Month
from lifecycle.domain.pricing import Item
from lifecycle.models import VM, Credit, GroupGrant, Host, Invoice, Payment, PriceList, Project, Seller, User
from lifecycle.services import bootstrap as service
from lifecycle.services import invoices as service_invoices
from lifecycle.services import prices
from lifecycle.services.bootstrap import BILLING_GROUP, bootstrap
from tests import factories
from tests.billing.tools import MARCH, feb, image_born, price_list, start, stop, vm_born

RUN = "/admin/lifecycle/invoice/run/"


def page(name: str, *args: object) -> str:
    return reverse(f"admin:lifecycle_{name}", args=args)


@pytest.fixture
def used(project: Project, host: Host, catalog: None) -> Project:
    """A vCPU at 1.00 an hour, all February."""
    price_list([(Item.VCPU, "1")])
    vm_born(project, feb(1), "web-1")
    return project


@pytest.fixture
def seller(db: None) -> Seller:
    return Seller.objects.create(name="Clouds & Sons", address="Paris", country="FR")


def test_a_price_list_is_copied_changed_looked_at_and_published(admin_client: Client, used: Project) -> None:
    first = PriceList.objects.get()
    admin_client.post(page("pricelist_changelist"), {"action": "copy", "_selected_action": [first.pk]})
    draft = PriceList.objects.get(published_at=None)
    assert draft.version == 2
    price = draft.prices.get()
    form = {
        "title": "dearer", "currency": "EUR", "sustained": "[]", "sla": "[]",
        "valid_from_0": "2031-01-01", "valid_from_1": "00:00:00",
        "prices-TOTAL_FORMS": "1", "prices-INITIAL_FORMS": "1",
        "prices-0-id": price.pk, "prices-0-price_list": draft.pk, "prices-0-item": "vcpu",
        "prices-0-per_second": "0.000555555555556", "prices-0-free_hours": "0",
    }  # fmt: skip
    assert admin_client.post(page("pricelist_change", draft.pk), form).status_code == 302
    price.refresh_from_db()
    assert price.per_second == Decimal("0.000555555555556")
    with time_machine.travel(MARCH + timedelta(days=3)):
        admin_client.get("/projects/")
        effect = admin_client.get(f"/admin/lifecycle/pricelist/{draft.pk}/effect", follow=True).content.decode()
    assert "672.00" in effect.replace(",", "")
    assert "1344.00" in effect.replace(",", "")
    admin_client.post(page("pricelist_changelist"), {"action": "publish", "_selected_action": [draft.pk]})
    draft.refresh_from_db()
    assert draft.published_at
    assert admin_client.post(page("pricelist_change", draft.pk), form).status_code == 403


def test_wrong_tiers_are_refused_in_words(admin_client: Client, used: Project) -> None:
    draft = prices.copy_price_list(PriceList.objects.get(), timezone.now() + timedelta(days=9))
    form = {
        "title": "x", "currency": "EUR", "sustained": '[["7", "1"]]', "sla": "[]",
        "valid_from_0": "2031-01-01", "valid_from_1": "00:00:00",
        "prices-TOTAL_FORMS": "0", "prices-INITIAL_FORMS": "0",
    }  # fmt: skip
    answer = admin_client.post(page("pricelist_change", draft.pk), form, follow=True)
    assert "pairs of a bound" in answer.content.decode()
    draft.refresh_from_db()
    assert draft.sustained == []


def test_a_run_is_looked_at_and_then_done(admin_client: Client, used: Project, seller: Seller) -> None:
    with time_machine.travel(MARCH + timedelta(days=2)):
        admin_client.get("/projects/")
        dry = admin_client.get(RUN, follow=True).content.decode()
        assert "672.00" in dry
        assert "is drafted anew" in dry
        assert not Invoice.objects.exists()
        assert admin_client.post(RUN, follow=True).status_code == 200
        assert Invoice.objects.get().is_draft
        assert "stays as it is" in admin_client.get(RUN, follow=True).content.decode()
    with time_machine.travel(MARCH + timedelta(days=5)):
        admin_client.get("/projects/")
        assert "is issued" in admin_client.get(RUN, follow=True).content.decode()
        admin_client.post(RUN)
    assert Invoice.objects.get().number == "VMP-000001"


def test_a_dry_run_names_the_lines_that_change_even_when_the_sum_does_not(
    admin_client: Client, used: Project, seller: Seller
) -> None:
    """A credit lapsed, and a day of one VM became a day of another: 672.00 less 5.00 before, 672.00 after."""
    credit = prices.grant_credit(used, Decimal(5), "sorry", user=None)
    image_born(used, feb(1), "base", 1024)
    assert invoices.draft(used, Month(2026, 2))
    vm = VM.objects.get()
    stop(vm, feb(10))
    start(vm, feb(11))
    vm_born(used, feb(28), "web-2")
    Credit.objects.filter(pk=credit.pk).update(expires_at=feb(2))
    with time_machine.travel(MARCH + timedelta(days=1)):
        [step] = effects.of_run(timezone.now())
        admin_client.get("/projects/")
        page = admin_client.get(RUN, follow=True).content.decode()
    assert (step.kept, step.derived, step.differs, step.would_issue) == (Decimal(667), Decimal(672), True, False)
    found = [(each.name, each.line.sort, each.before, each.after) for each in step.changes]
    assert found == [
        ("web-1", "usage", Decimal(672), Decimal(648)),
        ("web-2", "usage", None, Decimal(24)),
        ("", "credit", Decimal(-5), None),
    ]
    for text in ("3 lines differ", "648.00", "−5.00", "is drafted anew"):
        assert text in page
    with time_machine.travel(MARCH + timedelta(days=1)):
        invoices.draft(used, Month(2026, 2))
        [step] = effects.of_run(timezone.now())
        assert (step.differs, step.changes) == (False, ())
        prices.change_account(used, {"name": "Lab GmbH"}, user=None)  # the document changes, its lines do not
        [step] = effects.of_run(timezone.now())
        assert (step.differs, step.changes) == (True, ())


def test_invoices_are_issued_taken_back_and_exported(admin_client: Client, used: Project, seller: Seller) -> None:
    draft = invoices.draft(used, Month(2026, 2))
    assert draft
    admin_client.post(page("invoice_changelist"), {"action": "issue", "_selected_action": [draft.pk]})
    row = Invoice.objects.get()
    assert row.number
    admin_client.post(page("invoice_changelist"), {"action": "take_back", "_selected_action": [row.pk]})
    assert row.open == 0
    found = admin_client.post(page("invoice_changelist"), {"action": "export_json", "_selected_action": [row.pk]})
    assert [each["net"] for each in found.json()] == ["672.00"]


def test_the_list_tells_what_is_paid_late_and_reminded_of(admin_client: Client, used: Project, seller: Seller) -> None:
    assert invoices.draft(used, Month(2026, 2))
    with time_machine.travel(MARCH + timedelta(days=4), tick=False):
        row = invoices.issue(used, Month(2026, 2))
    assert row.due_at

    def shown(days: float) -> str:
        assert row.due_at
        with time_machine.travel(row.due_at + timedelta(days=days), tick=False):
            admin_client.get("/projects/")
            text = admin_client.get(page("invoice_changelist")).content.decode()
        return text.partition("field-dunning")[2].partition("</td>")[0]

    assert "to be paid" in shown(-1)
    assert "overdue" in shown(0.5)
    service_invoices.remind(row, row.due_at + timedelta(days=15))
    assert "second reminder" in shown(15)
    service_invoices.record_payment(row, row.total, "transfer", "bank 1", user=None)
    assert re.search(r">\s*paid\s*<", shown(16))
    assert "reminder" not in shown(16)


def test_payments_and_credits_are_entered(admin_client: Client, used: Project, seller: Seller) -> None:
    row = invoices.issue(used, Month(2026, 2))
    form = {"invoice": row.pk, "amount": "600", "method": "transfer", "reference": "bank 1"}
    form |= {"received_at_0": "2026-03-09", "received_at_1": "10:00:00"}
    admin_client.post(page("payment_add"), form)
    assert Payment.objects.get().recorded_by is not None
    assert row.open == 72
    admin_client.post(page("credit_add"), {"project": used.pk, "amount": "5", "reason": "sorry"})
    assert Credit.objects.get().granted_by is not None


def test_the_billing_role_sees_money_and_no_machines(
    as_user: Callable[[User], Client], used: Project, seller: Seller
) -> None:
    bootstrap()
    clerk = factories.make_user("clerk", is_staff=True)
    clerk.groups.add(Group.objects.get(name=BILLING_GROUP))
    browser = as_user(clerk)
    for name in ("invoice", "payment", "credit", "pricelist", "billingaccount"):
        assert browser.get(page(f"{name}_changelist")).status_code == 200
    for name in ("vm", "host", "operation", "user"):
        assert browser.get(page(f"{name}_changelist")).status_code == 403
    assert browser.get(f"/projects/{used.slug}/vms/").status_code == 404
    assert browser.get(RUN, follow=True).status_code == 200


def given(group: Group) -> set[str]:
    return set(group.permissions.values_list("codename", flat=True))


def test_an_upgrade_gives_the_billing_role_what_is_new_once(monkeypatch: pytest.MonkeyPatch) -> None:
    bootstrap()
    group = Group.objects.get(name=BILLING_GROUP)
    group.permissions.remove(*group.permissions.filter(codename__endswith="_budget"))
    group.permissions.remove(group.permissions.get(codename="change_pricelist"))
    kept = given(group)
    monkeypatch.setattr(service, "BILLING_MODELS", (*service.BILLING_MODELS, "Schedule"))  # of a version to come
    bootstrap()
    assert given(group) - kept == {"view_schedule", "add_schedule", "change_schedule"}
    assert kept <= given(group)
    group.permissions.remove(group.permissions.get(codename="view_schedule"))
    bootstrap()
    assert "view_schedule" not in given(group)


def test_a_role_of_before_is_given_what_came_after_it_alone() -> None:
    """Versions that wrote nothing down gave the first models; some budgets, too, but not yet the days of revenue."""
    bootstrap()
    group = Group.objects.get(name=BILLING_GROUP)
    GroupGrant.objects.all().delete()
    for name in ("taxrate", "revenueday"):
        group.permissions.remove(*group.permissions.filter(codename__endswith=f"_{name}"))
    group.permissions.remove(group.permissions.get(codename="add_budget"))
    kept = given(group)
    bootstrap()
    assert given(group) - kept == {"view_revenueday", "add_revenueday", "change_revenueday"}
    assert GroupGrant.objects.count() == len(service.BILLING_MODELS)
    bootstrap()
    assert "view_taxrate" not in given(group)


def test_others_do_not_see_money(as_user: Callable[[User], Client], make_staff: Callable[..., User]) -> None:
    browser = as_user(make_staff("lifecycle.view_vm"))
    assert browser.get(page("invoice_changelist")).status_code == 403
    assert browser.get(RUN, follow=True).status_code == 403
    assert browser.post(RUN, follow=True).status_code == 403
