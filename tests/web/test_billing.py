"""The pages of money: what they show, what they refuse, and that nobody else's invoices are there."""

from datetime import timedelta
from decimal import Decimal

import pytest
import time_machine
from django.test import Client

from lifecycle.billing import invoices
from lifecycle.domain.periods import Month
from lifecycle.domain.pricing import Item
from lifecycle.domain.states import State
from lifecycle.models import BillingAccount, Credit, Host, Invoice, Project, PromotionCode, Seller, User
from lifecycle.services import invoices as service
from lifecycle.web.views import billing as views
from tests.billing.tools import MARCH, SLA, crash, feb, image_born, image_gone, price_list, stop, vm_born
from tests.web.conftest import Browser

BASE = "/projects/lab/billing/"


@pytest.fixture
def bill(project: Project, host: Host, catalog: None) -> Invoice:
    """February's, issued: one VM that crashed, was stopped, and one left stopped by a failure."""
    price_list([(Item.VCPU, "3.6"), (Item.DISK, "0.36")], sla=SLA)
    one = vm_born(project, feb(1), "web-1")
    crash(one, feb(2), feb(2, 6))
    stop(one, feb(20))
    crash(vm_born(project, feb(1), "web-2"), feb(10), feb(10), State.TERMINATED)
    Seller.objects.create(name="Clouds & Sons", address="Paris", country="FR")
    with time_machine.travel(MARCH + timedelta(days=4)):
        return invoices.issue(project, Month(2026, 2))


def test_the_invoice_s_page_leads_from_the_total_to_the_intervals(as_owner: Client, bill: Invoice) -> None:
    listed = as_owner.get(f"{BASE}invoices/").content.decode()
    assert bill.number in listed
    page = as_owner.get(f"{BASE}invoices/{bill.pk}/").content.decode()
    assert "Repair, not billed" in page
    assert "Credit for missed uptime" in page
    # web-1 ran 18 days and 18 hours, web-2 nine days; web-2 was down for the other nineteen.
    assert "59.358 %" in page
    assert "announced maintenance count for neither" in page
    line = bill.lines.get(name="web-1", item="vcpu")
    assert f"{BASE}invoices/{bill.pk}/lines/{line.position}/" in page
    parts = as_owner.get(f"{BASE}invoices/{bill.pk}/lines/{line.position}/").content.decode()
    for moment in ("2026-02-01 00:00:00 UTC", "2026-02-02 00:00:00 UTC", "2026-02-02 06:00:00 UTC", "2026-02-20"):
        assert moment in parts
    assert "state--repairing" not in parts


def test_the_credit_s_page_names_its_repair(as_owner: Client, bill: Invoice) -> None:
    line = bill.lines.get(sort="sla")
    page = as_owner.get(f"{BASE}invoices/{bill.pk}/lines/{line.position}/").content.decode()
    assert "2026-02-10 00:00:00 UTC" in page


@pytest.mark.parametrize("ending", ["pdf", "csv"])
@pytest.mark.parametrize("language", ["", "fr", "xx"])
def test_invoices_are_downloaded(as_owner: Client, bill: Invoice, ending: str, language: str) -> None:
    response = as_owner.get(f"{BASE}invoices/{bill.pk}/{ending}/", {"language": language})
    assert response.status_code == 200
    assert response["Content-Disposition"] == f'attachment; filename="{bill.number}.{ending}"'
    assert response.content[:4] == (b"%PDF" if ending == "pdf" else b"posi")


@pytest.mark.parametrize(
    "path", ["invoices/9999/", "invoices/9999/pdf/", "invoices/{pk}/lines/99/", "invoices/{pk}/doc/"]
)
def test_what_is_not_there_is_not_found(as_owner: Client, bill: Invoice, path: str) -> None:
    assert as_owner.get(BASE + path.format(pk=bill.pk)).status_code == 404


def test_an_invoice_of_another_project_is_not_found_in_mine(browser: Browser, stranger: User, bill: Invoice) -> None:
    assert browser(stranger).get(f"/projects/elsewhere/billing/invoices/{bill.pk}/").status_code == 404


def test_payments_corrections_and_reminders_are_shown(as_owner: Client, bill: Invoice) -> None:
    assert bill.due_at
    service.record_payment(bill, Decimal("10.00"), "transfer", "bank 7", user=None)
    note = service.credit_note(bill, "An error of ours.", net=Decimal(5))
    service.remind(bill, bill.due_at + timedelta(days=2))
    page = as_owner.get(f"{BASE}invoices/{bill.pk}/").content.decode()
    for text in ("10.00 EUR", note.number, "Reminder", "overdue"):
        assert text in page
    assert "An error of ours." in as_owner.get(f"{BASE}invoices/{note.pk}/").content.decode()


def test_the_month_so_far_and_its_end(as_owner: Client, bill: Invoice, project: Project) -> None:
    """One vCPU at 3.60 an hour and 1 GiB of disk at 0.36, from the first of March; ten days and all 31."""
    vm_born(project, MARCH, "web-3")
    with time_machine.travel(MARCH + timedelta(days=10)):
        as_owner.get("/projects/")
        page = as_owner.get("/projects/lab/vms/web-3/costs/").content.decode()
        whole = as_owner.get(BASE).content.decode()
    assert "950.40 EUR" in page.replace(",", "")
    assert "2946.24 EUR" in page.replace(",", "")
    assert "web-3" in whole
    assert "announced maintenance count for neither" in whole


def test_images_stand_beside_vms(as_owner: Client, project: Project, host: Host, catalog: None) -> None:
    """Of 1 GiB at 1.00 an hour: one that is kept, and one that was deleted after two days."""
    price_list([(Item.VCPU, "0.1"), (Item.IMAGE, "1")])
    vm_born(project, feb(1), "web-1")
    image_born(project, feb(1), "our-base", 1024)
    image_gone(image_born(project, feb(1), "old-base", 1024), feb(3))
    with time_machine.travel(feb(11)):
        as_owner.get("/projects/")
        page = as_owner.get(BASE).content.decode().replace(",", "")
    assert page.index("our-base") < page.index("old-base") < page.index(">web-1<")
    for amount in ("312.00 EUR", "240.00 EUR", "48.00 EUR", "24.00 EUR", "787.20 EUR"):  # the last: at the end
        assert amount in page
    assert "/projects/lab/images/" in page
    made = invoices.draft(project, Month(2026, 2))
    assert made
    line = made.lines.get(name="old-base")
    parts = as_owner.get(f"{BASE}invoices/{made.pk}/lines/{line.position}/").content.decode()
    assert "in the store" in parts
    assert "2026-02-03 00:00:00 UTC" in parts


def test_the_create_form_says_what_it_costs(as_owner: Client, project: Project, host: Host, catalog: None) -> None:
    price_list([(Item.VCPU, "0.01"), (Item.MEMORY, "0.001"), (Item.DISK, "0.0001")])
    assert "7.46 EUR" in as_owner.get("/projects/lab/vms/new/").content.decode()
    asked = {"machine_type": "custom", "vcpus": "4", "memory_mib": "2048", "disk_gib": "10"}
    answer = as_owner.get(f"{BASE}preview/", asked).content.decode()
    assert "31.39 EUR" in answer  # 730 x (4 x 0.01 + 2 x 0.001 + 10 x 0.0001)
    for wrong in ({"vcpus": "x"}, {"machine_type": "custom", "vcpus": "-1"}, {"disk_gib": "9" * 40}):
        assert as_owner.get(f"{BASE}preview/", wrong).status_code == 200


def test_without_a_price_list_the_pages_say_so(as_owner: Client, vm: object) -> None:
    for path in (BASE, "/projects/lab/vms/new/"):
        assert "nothing costs anything" in as_owner.get(path).content.decode()


def test_owners_change_the_account(as_owner: Client, project: Project) -> None:
    good = {"name": "Lab GmbH", "country": "de", "language": "fr", "time_zone": "Europe/Berlin"}
    assert as_owner.post(f"{BASE}account/", good).status_code == 303
    row = BillingAccount.objects.get()
    assert (row.name, row.country, row.language, row.time_zone) == ("Lab GmbH", "DE", "fr", "Europe/Berlin")
    wrong = as_owner.post(f"{BASE}account/", {**good, "country": "12", "time_zone": "Mars"})
    assert wrong.status_code == 400
    assert "Select a valid choice" in wrong.content.decode()
    again = as_owner.post(f"{BASE}account/", {**good, "country": "12"})
    assert "two letters" in again.content.decode()


def test_a_promotion_code_is_redeemed(as_owner: Client, project: Project) -> None:
    PromotionCode.objects.create(code="WELCOME", amount=Decimal(20))
    assert as_owner.post(f"{BASE}promotion/", {"code": "welcome"}).status_code == 303
    assert Credit.objects.get().amount == 20
    assert "has used the code" in as_owner.post(f"{BASE}promotion/", {"code": "welcome"}).content.decode()
    assert "no such promotion code" in as_owner.post(f"{BASE}promotion/", {"code": "x"}).content.decode()


def test_drafts_say_that_they_are_no_invoice(as_owner: Client, bill: Invoice, project: Project) -> None:
    draft = invoices.draft(project, Month(2026, 3))
    assert draft
    assert "is no invoice yet" in as_owner.get(f"{BASE}invoices/{draft.pk}/").content.decode()


def test_long_invoices_have_pages(
    as_owner: Client, project: Project, host: Host, catalog: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "LINES_A_PAGE", 3)
    price_list([(Item.DISK, "1")])
    for number in range(4):
        vm_born(project, feb(1), f"vm-{number}", State.TERMINATED)
    bill = invoices.draft(project, Month(2026, 2))
    assert bill
    first = as_owner.get(f"{BASE}invoices/{bill.pk}/").content.decode()
    assert "vm-2" in first
    assert "vm-3" not in first
    assert "vm-3" in as_owner.get(f"{BASE}invoices/{bill.pk}/?page=2").content.decode()
