"""Invoices: derived to the byte, issued once with numbers without gaps, fixed, corrected, paid, reminded of."""

import csv
import io
import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
import time_machine
from django.db import IntegrityError, transaction
from django.utils import timezone, translation
from pypdf import PdfReader

from lifecycle.billing import documents, intervals, invoices, words
from lifecycle.domain.errors import InvalidInput, NotFound, StateConflict
from lifecycle.domain.periods import Month
from lifecycle.domain.pricing import Item, Line, Sort
from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action
from lifecycle.models import (
    VM,
    Credit,
    Invoice,
    InvoiceLine,
    MachineType,
    Payment,
    Project,
    Seller,
    TaxRate,
    Transition,
    User,
    guards,
)
from lifecycle.services import invoices as service
from lifecycle.services import prices
from tests import factories
from tests.billing.tools import (
    MARCH,
    ROUND_PRICES,
    SLA,
    crash,
    delete,
    feb,
    go,
    image_born,
    image_gone,
    price_list,
    start,
    stop,
    vm_born,
)
from tests.services.tools import at_once, no_change, refusal, undone

pytestmark = [pytest.mark.bothdb, pytest.mark.django_db, pytest.mark.usefixtures("host")]

D = Decimal
MONTH = Month(2026, 2)


@pytest.fixture
def shape(db: None) -> MachineType:
    return factories.make_machine_type("standard-1", vcpus=1, memory_mib=1024, family="standard")


@pytest.fixture
def seller(db: None) -> Seller:
    TaxRate.objects.create(country="FR", percent=D(20))
    return Seller.objects.create(name="Clouds & Sons", address="1 Rue du Ciel\n75001 Paris", country="FR", tax_id="FR1")


@pytest.fixture
def vm(project: Project, shape: MachineType) -> VM:
    """Runs all February; 672 vCPU-hours at 0.036: 24.19, GiB-hours at 0.0072: 4.84, disk: 0.12. Together 29.15."""
    price_list(sla=SLA)
    return vm_born(project, feb(1), "web-1", machine_type=shape)


def issued(project: Project, month: Month = MONTH) -> Invoice:
    return invoices.issue(project, month)


# -- drafts --------------------------------------------------------------------------------------


def test_a_draft_is_made_once_and_left_alone(project: Project, vm: VM) -> None:
    first = invoices.draft(project, MONTH)
    assert first
    assert (first.net, first.total, first.number) == (D("29.15"), D("29.15"), "")
    with no_change():
        assert invoices.draft(project, MONTH) == first


def test_a_draft_follows_what_changes_before_it_is_issued(project: Project, vm: VM, seller: Seller) -> None:
    first = invoices.draft(project, MONTH)
    assert first
    stop(vm, feb(15))
    second = invoices.draft(project, MONTH)
    assert second
    assert second.net < first.net
    assert Invoice.objects.count() == 1
    assert second.net == sum((line.amount for line in second.lines.all()), D(0))


def test_a_month_of_nothing_has_no_draft(project: Project, vm: VM) -> None:
    assert invoices.draft(project, Month(2026, 1)) is None
    with refusal(NotFound, match="nothing to bill"):
        invoices.issue(project, Month(2026, 1))


def test_the_month_is_that_of_the_projects_time_zone(project: Project, vm: VM) -> None:
    prices.change_account(project, {"time_zone": "America/New_York"}, user=None)
    made = invoices.draft(project, MONTH)
    assert made
    assert (made.period_start, made.period_end) == (feb(1, 5), MARCH + timedelta(hours=5))


def test_a_changed_time_zone_bills_no_hour_twice(project: Project, vm: VM, seller: Seller) -> None:
    first = issued(project)
    prices.change_account(project, {"time_zone": "America/New_York"}, user=None)
    second = invoices.draft(project, MONTH.next)
    assert second
    assert second.period_start == first.period_end == MARCH
    assert second.period_end == datetime(2026, 4, 1, 4, tzinfo=UTC)


# -- issuing -------------------------------------------------------------------------------------


def test_an_issued_invoice_has_number_date_tax_and_seller(project: Project, vm: VM, seller: Seller) -> None:
    made = issued(project)
    assert made.number == "VMP-000001"
    assert (made.net, made.tax, made.total) == (D("29.15"), D("5.83"), D("34.98"))
    assert made.seller["name"] == "Clouds & Sons"
    assert made.due_at
    assert made.issued_at
    assert made.due_at - made.issued_at == timedelta(days=14)


def test_what_is_issued_is_issued_once(project: Project, vm: VM, seller: Seller) -> None:
    made = issued(project)
    with refusal(StateConflict, match="issued already"):
        service.issue(made, made.digest)
    stop(vm, feb(15))
    with no_change():
        assert invoices.draft(project, MONTH) == made


def test_what_changed_meanwhile_is_not_issued(project: Project, vm: VM, seller: Seller) -> None:
    made = invoices.draft(project, MONTH)
    assert made
    with refusal(StateConflict, match="changed"):
        service.issue(made, "another")


def test_nothing_is_issued_without_a_seller_or_before_the_month_is_over(project: Project, vm: VM) -> None:
    invoices.draft(project, MONTH)
    with pytest.raises(InvalidInput, match="seller"):
        issued(project)
    Seller.objects.create(name="x", address="y", country="FR")
    with time_machine.travel(feb(20)), pytest.raises(InvalidInput, match="not over"):
        issued(project)


def test_a_customer_in_another_state_of_the_union_owes_the_tax(project: Project, vm: VM, seller: Seller) -> None:
    prices.change_account(project, {"country": "DE", "tax_id": "DE9"}, user=None)
    made = issued(project)
    assert made.reverse_charge
    assert made.tax == 0
    assert made.total == made.net


def test_numbers_have_no_gaps_even_when_an_issue_fails(
    project: Project, shape: MachineType, vm: VM, seller: Seller
) -> None:
    other = factories.make_project()
    vm_born(other, feb(1), "web-1", machine_type=shape)
    issued(project)
    made = invoices.draft(other, MONTH)
    assert made
    with undone():
        service.issue(made, made.digest)
    assert [issued(other).sequence, issued(project, MONTH.next).sequence] == [2, 3]


@pytest.mark.django_db(transaction=True)
def test_two_that_issue_at_once_issue_one(project: Project, vm: VM, seller: Seller) -> None:
    made = invoices.draft(project, MONTH)
    assert made
    found = at_once([lambda: service.issue(made, made.digest)] * 3)
    assert sorted(type(each).__name__ for each in found) == ["Invoice", "StateConflict", "StateConflict"]
    assert list(Invoice.objects.values_list("sequence", flat=True)) == [1]
    remove_what_is_issued()


def remove_what_is_issued() -> None:
    """So that the tests' database can be emptied; nothing of the product does this."""
    InvoiceLine.objects.all().delete()
    Invoice.objects.all().delete()


def test_the_database_refuses_every_change_of_an_issued_invoice(project: Project, vm: VM, seller: Seller) -> None:
    made = issued(project)
    line = made.lines.first()
    assert line
    for change in (
        lambda: Invoice.objects.filter(pk=made.pk).update(total=1, net=1, tax=0),
        lambda: Invoice.objects.filter(pk=made.pk).update(status="draft", number="", sequence=None, issued_at=None),
        lambda: Invoice.objects.filter(pk=made.pk).update(customer={}),
        lambda: InvoiceLine.objects.filter(pk=line.pk).update(amount=0),
        lambda: InvoiceLine.objects.create(invoice=made, position=99, sort="usage", quantity="1", rate=1, amount=1),
    ):
        with pytest.raises(IntegrityError, match=guards.ISSUED_FIXED), transaction.atomic():
            change()


def test_an_invoice_that_does_not_add_up_is_refused(project: Project, vm: VM) -> None:
    made = invoices.draft(project, MONTH)
    assert made
    with pytest.raises(IntegrityError, match="an_invoice_adds_up"), transaction.atomic():
        Invoice.objects.filter(pk=made.pk).update(total=made.total + D("0.01"))


def test_a_project_has_one_invoice_a_month(project: Project, vm: VM) -> None:
    made = invoices.draft(project, MONTH)
    assert made
    made.pk = None
    with pytest.raises(IntegrityError), transaction.atomic():
        made.save(force_insert=True)


# -- credits -------------------------------------------------------------------------------------


def test_a_credit_is_taken_once_over_all_invoices(project: Project, vm: VM, seller: Seller) -> None:
    prices.grant_credit(project, D(40), "welcome", user=None)
    assert issued(project).net == 0
    assert prices.credits_left(project)[0][1] == D("10.85")
    third = issued(project, MONTH.next)
    assert third.lines.filter(sort=Sort.CREDIT).get().amount == D("-10.85")
    assert prices.credits_left(project) == []


def test_two_drafts_do_not_take_the_same_credit(project: Project, vm: VM, seller: Seller) -> None:
    prices.grant_credit(project, D(20), "welcome", user=None)
    first, second = invoices.draft(project, MONTH), invoices.draft(project, MONTH.next)
    assert first
    assert second
    service.issue(first, first.digest)
    with refusal(StateConflict, match="used meanwhile"):
        service.issue(second, second.digest)
    assert not issued(project, MONTH.next).lines.filter(sort=Sort.CREDIT).exists()
    assert Credit.objects.get().uses.count() == 1


# -- corrections ---------------------------------------------------------------------------------


def test_a_credit_note_takes_back_all_or_a_part(project: Project, vm: VM, seller: Seller) -> None:
    made = issued(project)
    part = service.credit_note(made, "half of it", net=D("10.01"))
    assert (part.number, part.net, part.tax, part.total) == ("VMP-000002", D("-10.01"), D("-2.00"), D("-12.01"))
    assert made.open == D("22.97")
    rest = service.credit_note(made, "the rest")
    assert part.total + rest.total == -made.total
    assert made.open == 0
    with refusal(InvalidInput, match="0.00 left"):
        service.credit_note(made, "more")


def test_a_credit_note_has_a_reason_and_corrects_an_issued_invoice(project: Project, vm: VM, seller: Seller) -> None:
    made = invoices.draft(project, MONTH)
    assert made
    with refusal(StateConflict):
        service.credit_note(made, "why")
    made = issued(project)
    for reason, net in (("", None), ("why", D(0)), ("why", D("29.16")), ("why", D(-1))):
        with refusal(InvalidInput):
            service.credit_note(made, reason, net=net)


# -- payments and dunning ------------------------------------------------------------------------


def test_payments_are_recorded_once_and_add_up(project: Project, vm: VM, seller: Seller, superuser: User) -> None:
    made = issued(project)
    for _again in range(2):
        service.record_payment(made, D(10), "transfer", "bank 1", user=superuser)
    assert made.open == D("24.98")
    service.record_payment(made, D("24.98"), "card", "pi_1", user=None)
    assert made.open == 0
    assert Payment.objects.count() == 2


@pytest.mark.parametrize(
    ("amount", "method", "reference"),
    [
        ("0", "transfer", "x"),
        ("1.001", "transfer", "x"),
        ("1", "gold", "x"),
        ("1", "transfer", " "),
        ("2", "card", "bank 1"),
    ],
)
def test_a_payment_that_makes_no_sense_is_refused(
    project: Project, vm: VM, seller: Seller, amount: str, method: str, reference: str
) -> None:
    made = issued(project)
    service.record_payment(made, D(10), "transfer", "bank 1", user=None)
    with refusal(InvalidInput):
        service.record_payment(made, D(amount), method, reference, user=None)


def test_a_draft_is_not_paid(project: Project, vm: VM) -> None:
    made = invoices.draft(project, MONTH)
    assert made
    with refusal(StateConflict):
        service.record_payment(made, D(1), "transfer", "x", user=None)


def test_a_payment_is_never_changed(project: Project, vm: VM, seller: Seller) -> None:
    service.record_payment(issued(project), D(1), "transfer", "x", user=None)
    with pytest.raises(IntegrityError, match=guards.PAYMENTS_FIXED), transaction.atomic():
        Payment.objects.update(amount=2)


def test_reminders_rise_with_the_days_and_end_with_the_payment(project: Project, vm: VM, seller: Seller) -> None:
    made = issued(project)
    assert made.due_at

    def remind(days: float) -> int | None:
        assert made.due_at
        sent = service.remind(made, made.due_at + timedelta(days=days))
        return sent.level if sent else None

    assert [remind(days) for days in (-1, 0.5, 1, 2, 13)] == [None, None, 1, None, None]
    assert [remind(days) for days in (14, 14, 40, 60)] == [2, None, 3, None]
    assert list(service.overdue(made.due_at + timedelta(days=2))) == [made]
    service.record_payment(made, made.total, "transfer", "x", user=None)
    assert list(service.unpaid()) == []


def test_what_is_paid_late_is_reminded_of_no_more(project: Project, vm: VM, seller: Seller) -> None:
    made = issued(project)
    service.credit_note(made, "all of it")
    assert service.remind(made, timezone.now() + timedelta(days=99)) is None


# -- the run -------------------------------------------------------------------------------------


def test_the_run_drafts_what_is_over_and_issues_what_is_old_enough(
    project: Project, shape: MachineType, vm: VM, seller: Seller
) -> None:
    vm_born(factories.make_project("other"), feb(10), "web-1", machine_type=shape)
    with time_machine.travel(MARCH + timedelta(days=1)):
        first = invoices.run()
    assert (len(first.drafted), len(first.issued)) == (2, 0)
    with time_machine.travel(MARCH + timedelta(days=4)):
        second = invoices.run()
        assert [(str(i.project), i.month, i.number) for i in second.issued] == [
            ("lab", "2026-02", "VMP-000001"),
            ("other", "2026-02", "VMP-000002"),
        ]
        with no_change():
            assert invoices.run().issued == []


def test_a_run_without_a_seller_issues_nothing(project: Project, vm: VM) -> None:
    with time_machine.travel(MARCH + timedelta(days=40)):
        result = invoices.run()
    assert (len(result.drafted), len(result.issued)) == (2, 0)


# -- behind a line -------------------------------------------------------------------------------


def test_every_line_opens_its_exact_intervals(project: Project, shape: MachineType, vm: VM) -> None:
    """Cut by the month, by a repair and by a new price list in its midst; sums are the lines' quantities."""
    price_list([(Item.VCPU, "1"), (Item.DISK, "0.1")], feb(10, 7.5))
    crash(vm, feb(3, 1.23456), feb(4))
    stop(vm, feb(11))
    start(vm, feb(12))
    delete(vm_born(project, feb(1) - timedelta(days=3), "old", machine_type=shape), feb(20))
    made = invoices.draft(project, MONTH)
    assert made
    measured = [line for line in made.lines.all() if line.sort in intervals.MEASURED]
    assert len(measured) == 3 + 2 + 1 + 3 + 2
    for line in measured:
        parts = list(intervals.of_line(line))
        assert sum((part.quantity for part in parts), D(0)) == D(line.quantity), line.item
    vcpu = next(line for line in measured if line.name == "web-1" and line.item == "vcpu" and line.version == 1)
    assert [(p.state, p.start, p.end) for p in intervals.of_line(vcpu)] == [
        (State.RUNNING, feb(1), feb(3, 1.23456)),
        (State.RUNNING, feb(4), feb(10, 7.5)),
    ]


@pytest.fixture
def image_bill(project: Project) -> Invoice:
    """A project without a VM: an image of 1.5 GiB from the 5th to the 12th, another price from the 10th on."""
    price_list([(Item.IMAGE, "0.1")])
    price_list([(Item.IMAGE, "0.2")], feb(10))
    image_gone(image_born(project, feb(5), "=base", 1536), feb(12))
    assert list(invoices.months_to_do(project, MARCH)) == [MONTH]
    made = invoices.draft(project, MONTH)
    assert made
    return made


def test_the_line_of_an_image_opens_its_exact_intervals(image_bill: Invoice) -> None:
    first, second = image_bill.lines.order_by("position")
    image = first.image
    assert image
    assert (first.name, first.vm, first.amount, second.amount) == ("=base", None, D("18.00"), D("14.40"))
    parts = list(intervals.of_line(first))
    assert [(p.state, p.start, p.end, p.units) for p in parts] == [(None, feb(5), feb(10), D("1.5"))]
    assert [(p.start, p.end, p.quantity) for p in intervals.of_line(second)] == [(feb(10), feb(12), D(second.quantity))]
    assert parts[0].opened_by == image.log.order_by("id")[0].pk


def test_the_documents_name_images(image_bill: Invoice) -> None:
    text = text_of(documents.pdf(image_bill))
    for word in ("=base", "2026-02-05 00:00:00 UTC", "2026-02-12 00:00:00 UTC", "in the store", "32.40"):
        assert word in text
    assert "conservée" in text_of(documents.pdf(image_bill, "fr"))
    row = next(csv.DictReader(io.StringIO(documents.as_csv(image_bill))))
    assert (row["vm"], row["image"], row["item"], row["amount"]) == ("", "'=base", "image", "18.00")
    assert json.loads(documents.as_json(image_bill))["lines"][0]["name"] == "=base"


def test_a_bill_without_a_line_of_images_lists_none(project: Project, vm: VM) -> None:
    """Images that nobody sells are metered all the same."""
    image_born(project, feb(5), "base", 1536)
    made = invoices.draft(project, MONTH)
    assert made
    assert {stay.name for stay in intervals.of_invoice(made, 600)} == {"web-1"}
    price_list([*ROUND_PRICES, (Item.IMAGE, "1")], feb(20))
    again = invoices.draft(project, MONTH)
    assert again
    assert [stay.name for stay in intervals.of_invoice(again, 600)] == ["web-1", "base"]
    assert len(intervals.of_invoice(again, 0)) == 1


def test_the_credit_of_the_sla_leads_to_its_repairs(project: Project, vm: VM) -> None:
    crash(vm, feb(8), feb(8), State.TERMINATED)
    made = invoices.draft(project, MONTH)
    assert made
    line = made.lines.get(sort=Sort.SLA)
    assert intervals.repairs_of(line) == [vm.repairs.get()]
    assert line.rate == 50


# -- documents -----------------------------------------------------------------------------------


def text_of(pdf: bytes) -> str:
    return "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages)


@pytest.mark.parametrize(
    ("language", "said"), [("en", ("Invoice", "Total", "29.15")), ("fr", ("Facture", "Total", "29,15"))]
)
def test_the_pdf_is_an_invoice_in_both_languages(
    project: Project, vm: VM, seller: Seller, language: str, said: tuple[str, ...]
) -> None:
    prices.change_account(project, {"language": language, "name": "Olivia & Co <b>"}, user=None)
    text = text_of(documents.pdf(issued(project)))
    for word in (*said, "VMP-000001", "Clouds & Sons", "Olivia & Co <b>", "web-1", "RUNNING"):
        assert word in text


@pytest.mark.parametrize(("language", "said"), [("en", "63,800.5000 GiB·h"), ("fr", "63\xa0800,5000 Gio·h")])
def test_quantities_are_written_as_the_language_writes_numbers(language: str, said: str) -> None:
    line = Line(Sort.USAGE, D("3.51"), item=Item.DISK, quantity=D("63800.5") * 3600)
    with translation.override(language):
        assert words.quantity(line).replace("\u202f", "\xa0") == said


def test_the_pdf_is_right_at_300_lines(project: Project, vm: VM, seller: Seller) -> None:
    made = invoices.draft(project, MONTH)
    assert made
    pattern = made.lines.first()
    assert pattern
    one = {"kind": "standard", "zone": "zone-a", "version": 1, "quantity": "3600", "rate": D("0.01"), "amount": D(36)}
    lines = [
        InvoiceLine(invoice=made, position=n, sort="usage", vm=vm, name=f"web-{n}", item="disk", **one)
        for n in range(4, 301)
    ]
    InvoiceLine.objects.bulk_create(lines)
    reader = PdfReader(io.BytesIO(documents.pdf(made)))
    assert len(reader.pages) > 5
    text = "\n".join(page.extract_text() for page in reader.pages)
    assert all(f"web-{n}" in text for n in range(4, 301))
    assert f"Page {len(reader.pages)} / {len(reader.pages)}" in text


_STAY = re.compile(r"(web-\d) ([A-Z]+) (\S+ \S+) UTC (\S+ \S+) UTC")


def by_the_log() -> list[tuple[str, str, str, str]]:
    """Each stay with a length, of the log alone, to the second; what lasts is told to the end of the month."""
    found = []
    for vm in VM.objects.order_by("name"):
        rows = list(Transition.objects.filter(vm=vm).order_by("id").values_list("to_state", "occurred_at"))
        for (state, at), (_next, after) in pairwise([*rows, ("", MARCH)]):
            if state and after != at:
                found.append((vm.name, state, f"{at:%F %T}", f"{after:%F %T}"))
    return found


def test_the_pdf_shows_exactly_what_the_log_tells(project: Project, vm: VM, shape: MachineType, seller: Seller) -> None:
    """Suspended, resumed, crashed and repaired, stopped, deleted; and a second VM left stopped by a failure."""
    go(vm, Action.SUSPEND, State.RUNNING, State.SUSPENDING, feb(2))
    go(vm, Action.SUSPEND, State.SUSPENDING, State.SUSPENDED, feb(2, 0.1))
    for number, (source, target) in enumerate(pairwise(("SUSPENDED", "PROVISIONING", "STAGING", "RUNNING"))):
        go(vm, Action.RESUME, State(source), State(target), feb(3, number / 100))
    crash(vm, feb(4, 5), feb(4, 6))
    stop(vm, feb(10))
    go(vm, Action.DELETE, State.TERMINATED, State.STOPPING, feb(11))
    go(vm, Action.DELETE, State.STOPPING, None, feb(11, 0.1))
    failed = vm_born(project, feb(5), "web-2", machine_type=shape)
    crash(failed, feb(20), feb(20, 0.5), State.TERMINATED)
    made = issued(project)
    text = " ".join(text_of(documents.pdf(made)).split())
    assert _STAY.findall(text) == by_the_log()
    assert text.count("nothing: repair") == text.count("REPAIRING") == 2
    assert {line.amount for line in made.lines.filter(sort=Sort.REPAIR)} == {D("0.00")}
    back = made.lines.filter(sort=Sort.SLA).get(name="web-2")
    assert back.amount < 0
    assert intervals.repairs_of(back) == [failed.repairs.get()]
    assert "web-2 Credit for missed uptime" in text


def test_the_document_fetches_nothing() -> None:
    with pytest.raises(documents._NoFetch):
        documents._refuse("file:///etc/passwd")


def test_the_csv_holds_every_line_and_the_sums(project: Project, vm: VM) -> None:
    made = invoices.draft(project, MONTH)
    assert made
    rows = list(csv.DictReader(io.StringIO(documents.as_csv(made))))
    assert [(row["vm"], row["item"], row["amount"]) for row in rows[:3]] == [
        ("web-1", "vcpu", "24.19"),
        ("web-1", "memory", "4.84"),
        ("web-1", "disk", "0.12"),
    ]
    assert [(row["title"], row["amount"]) for row in rows[-3:]] == [
        ("net", "29.15"),
        ("tax", "0.00"),
        ("total", "29.15"),
    ]
    assert sum(D(row["amount"]) for row in rows[:-3]) == made.net
    assert json.loads(documents.as_json(made))["lines"][0]["amount"] == "24.19"


def test_no_cell_of_the_csv_is_a_formula() -> None:
    assert documents._safe("=1+1") == "'=1+1"
    assert documents._safe("web-1") == "web-1"


def test_the_pdf_of_a_credit_note_says_what_it_corrects_and_why(project: Project, vm: VM, seller: Seller) -> None:
    note = service.credit_note(issued(project), "The network was away.")
    text = text_of(documents.pdf(note))
    assert "Credit note VMP-000002" in text
    assert "VMP-000001" in text
    assert "The network was away." in text
