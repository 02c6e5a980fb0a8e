"""How the constraints of prices, invoices and payments are broken."""

from datetime import time, timedelta
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import Group
from django.utils import timezone

from lifecycle.models import (
    VM,
    BillingAccount,
    Budget,
    BudgetAlert,
    CommittedUse,
    Credit,
    CreditUse,
    GroupGrant,
    ImageChange,
    ImageInterval,
    Invoice,
    InvoiceLine,
    Maintenance,
    Payment,
    Price,
    PriceList,
    Project,
    PromotionCode,
    Reminder,
    RevenueDay,
    Schedule,
    ScheduleRun,
    Seller,
    TaxRate,
    guards,
)
from tests import factories
from tests.services.breaks import breaks

ONE = Decimal(1)
LONG_AGO = timezone.now() - timedelta(days=9999)


def price_list(version: int = 900, **fields: Any) -> PriceList:
    return PriceList.objects.create(**{"version": version, "currency": "EUR", "valid_from": LONG_AGO, **fields})


def credit(project: Project, **fields: Any) -> Credit:
    return Credit.objects.create(**{"project": project, "amount": ONE, "reason": "a present", **fields})


def commitment(project: Project, **fields: Any) -> CommittedUse:
    now = timezone.now()
    defaults = {"item": "vcpu", "units": ONE, "starts_at": now, "ends_at": now + timedelta(days=30)}
    return CommittedUse.objects.create(**{"project": project, **defaults, **fields})


def change(invoice: Invoice, **fields: Any) -> None:
    Invoice.objects.filter(pk=invoice.pk).update(**fields)


def issue(invoice: Invoice, sequence: int, number: str) -> None:
    change(invoice, status="issued", sequence=sequence, number=number, issued_at=timezone.now())


@breaks("one_price_list_begins_at_a_time")
def _(_project: Project, _vm: VM) -> None:
    for version in (900, 901):
        price_list(version, published_at=timezone.now())


@breaks("one_price_for_a_thing")
def _(_project: Project, _vm: VM) -> None:
    prices = price_list()
    for _time in range(2):
        Price.objects.create(price_list=prices, item="vcpu", per_second=ONE)


@breaks("a_price_is_not_negative")
def _(_project: Project, _vm: VM) -> None:
    Price.objects.create(price_list=price_list(), item="vcpu", per_second=-ONE)


@breaks("a_discount_is_a_percentage")
def _(project: Project, _vm: VM) -> None:
    BillingAccount.objects.create(project=project, discount_percent=Decimal(101))


@breaks("a_commitment_has_a_length")
def _(project: Project, _vm: VM) -> None:
    commitment(project, ends_at=timezone.now() - timedelta(days=1))


@breaks("a_commitment_is_of_something")
def _(project: Project, _vm: VM) -> None:
    commitment(project, units=Decimal(0))


@breaks("a_promotion_is_worth_something")
def _(_project: Project, _vm: VM) -> None:
    PromotionCode.objects.create(code="NOTHING", amount=Decimal(0))


@breaks("a_credit_is_worth_something")
def _(project: Project, _vm: VM) -> None:
    credit(project, amount=Decimal(0))


@breaks("a_promotion_is_used_once_a_project")
def _(project: Project, _vm: VM) -> None:
    promotion = PromotionCode.objects.create(code="WELCOME", amount=ONE)
    for _time in range(2):
        credit(project, promotion=promotion)


@breaks("one_tax_rate_begins_at_a_time")
def _(_project: Project, _vm: VM) -> None:
    for _time in range(2):
        TaxRate.objects.create(country="ZZ", percent=ONE)


@breaks("a_tax_rate_is_a_percentage")
def _(_project: Project, _vm: VM) -> None:
    TaxRate.objects.create(country="ZZ", percent=Decimal(101))


@breaks("there_is_one_seller")
def _(_project: Project, _vm: VM) -> None:
    Seller.objects.create(id=2, name="Another", address="Elsewhere", country="FR")


@breaks("one_invoice_per_project_and_month")
def _(_project: Project, vm: VM) -> None:
    factories.make_draft_invoice(vm, "2026-02")
    change(factories.make_draft_invoice(vm, "2026-03"), month="2026-02")


@breaks("an_invoice_number_is_given_once")
def _(_project: Project, vm: VM) -> None:
    for sequence, month in ((901, "2026-02"), (902, "2026-03")):
        issue(factories.make_draft_invoice(vm, month), sequence, "VMP-901")


@breaks("an_invoice_is_numbered_when_it_is_issued")
def _(_project: Project, vm: VM) -> None:
    change(factories.make_draft_invoice(vm), status="issued")


@breaks("an_invoice_adds_up")
def _(_project: Project, vm: VM) -> None:
    invoice = factories.make_draft_invoice(vm)
    change(invoice, total=invoice.total + Decimal("0.01"))


@breaks("a_billed_period_has_a_length")
def _(_project: Project, vm: VM) -> None:
    invoice = factories.make_draft_invoice(vm)
    change(invoice, period_end=invoice.period_start)


@breaks("an_invoice_has_a_line_once")
def _(_project: Project, vm: VM) -> None:
    line = InvoiceLine.objects.get(invoice=factories.make_draft_invoice(vm))
    line.pk = None
    line.save(force_insert=True)


@breaks("an_invoice_takes_of_a_credit_once")
def _(project: Project, vm: VM) -> None:
    given, invoice = credit(project), factories.make_draft_invoice(vm)
    for _time in range(2):
        CreditUse.objects.create(credit=given, invoice=invoice, amount=ONE)


@breaks("what_is_taken_of_a_credit_is_something")
def _(project: Project, vm: VM) -> None:
    CreditUse.objects.create(credit=credit(project), invoice=factories.make_draft_invoice(vm), amount=Decimal(0))


@breaks("a_payment_is_of_something")
def _(_project: Project, vm: VM) -> None:
    invoice = factories.make_draft_invoice(vm)
    Payment.objects.create(invoice=invoice, amount=Decimal(0), method="transfer", reference="a transfer of nothing")


@breaks("a_reminder_is_sent_once")
def _(_project: Project, vm: VM) -> None:
    invoice = factories.make_draft_invoice(vm)
    for _time in range(2):
        Reminder.objects.create(invoice=invoice, level=1)


def budget(project: Project, **fields: Any) -> Budget:
    return Budget.objects.create(**{"project": project, "name": "all", "amount": ONE, **fields})


@breaks("a_budget_has_a_name_of_its_own")
def _(project: Project, _vm: VM) -> None:
    budget(project)
    budget(project)


@breaks("a_budget_is_worth_something")
def _(project: Project, _vm: VM) -> None:
    budget(project, amount=0)


@breaks("a_budget_suspends_after_a_notice")
def _(project: Project, _vm: VM) -> None:
    budget(project, notice_hours=0)


@breaks("a_budget_tells_a_threshold_once_a_month")
def _(project: Project, _vm: VM) -> None:
    row = budget(project)
    for _number in range(2):
        BudgetAlert.objects.create(
            budget=row, month="2026-02", about="threshold", percent=50, amount=ONE, spent=ONE, currency="EUR"
        )


def schedule(vm: VM, **fields: Any) -> Schedule:
    defaults = {"action": "stop", "at": time(19), "days": "0", "time_zone": "UTC", "next_at": timezone.now()}
    return Schedule.objects.create(**{"vm": vm, **defaults, **fields})


@breaks("a_vm_has_a_schedule_once")
def _(_project: Project, vm: VM) -> None:
    schedule(vm)
    schedule(vm)


@breaks("a_schedule_starts_or_stops")
def _(_project: Project, vm: VM) -> None:
    schedule(vm, action="delete")


@breaks("a_schedule_has_days")
def _(_project: Project, vm: VM) -> None:
    schedule(vm, days="")


@breaks("a_due_time_is_taken_once")
def _(_project: Project, vm: VM) -> None:
    row = schedule(vm)
    for _number in range(2):
        ScheduleRun.objects.create(vm=vm, schedule=row, action="stop", due_at=row.next_at, outcome="missed")


@breaks("a_day_has_an_item_once")
def _(project: Project, _vm: VM) -> None:
    for _number in range(2):
        RevenueDay.objects.create(day=LONG_AGO.date(), project=project, item="vcpu", quantity=ONE, amount=ONE)


@breaks("a_group_is_given_a_model_once")
def _(_project: Project, _vm: VM) -> None:
    group = Group.objects.create(name="clerks")
    for _time in range(2):
        GroupGrant.objects.create(group=group, model="invoice")


# -- images --------------------------------------------------------------------------------------


def change_of_image(project: Project, **fields: Any) -> ImageChange:
    image = factories.make_image(project=project, metered=False)
    values = {"image": image, "project": project, "kind": "ready", "size_mib": 5, "occurred_at": LONG_AGO}
    return ImageChange.objects.create(**{**values, **fields})


def image_interval(opened_by: ImageChange, start: int, end: int | None) -> ImageInterval:
    return ImageInterval.objects.create(
        image=opened_by.image,
        project=opened_by.project,
        opened_by=opened_by,
        size_mib=5,
        started_at=LONG_AGO + timedelta(minutes=start),
        ended_at=None if end is None else LONG_AGO + timedelta(minutes=end),
    )


@breaks("an_image_takes_storage_until_it_is_deleted")
def _(project: Project, _vm: VM) -> None:
    change_of_image(project, kind="deleted")


@breaks("one_open_interval_per_image")
def _(project: Project, _vm: VM) -> None:
    first = change_of_image(project)
    image_interval(first, 0, None)
    image_interval(change_of_image(project, image=first.image), 10, None)


@breaks("a_change_of_an_image_opens_one_interval")
def _(project: Project, _vm: VM) -> None:
    first = change_of_image(project)
    image_interval(first, 0, 10)
    image_interval(first, 10, 20)


@breaks("an_image_interval_has_no_negative_length")
def _(project: Project, _vm: VM) -> None:
    image_interval(change_of_image(project), 10, 9)


@breaks(guards.IMAGES_NO_OVERLAP)
def _(project: Project, _vm: VM) -> None:
    first = change_of_image(project)
    image_interval(first, 0, 10)
    image_interval(change_of_image(project, image=first.image), 9, 20)


@breaks(guards.IMAGES_CLOSED_ONLY)
def _(project: Project, _vm: VM) -> None:
    closed = image_interval(change_of_image(project), 0, 10)
    ImageInterval.objects.filter(pk=closed.pk).update(ended_at=timezone.now())


@breaks(guards.IMAGES_APPEND_ONLY)
def _(project: Project, _vm: VM) -> None:
    ImageChange.objects.filter(pk=change_of_image(project).pk).update(size_mib=6)


# -- maintenance ---------------------------------------------------------------------------------


def announce(vm: VM, hours: tuple[int, int], **fields: Any) -> Maintenance:
    now = timezone.now()
    starts, ends = (now + timedelta(hours=each) for each in hours)
    assert vm.host
    return Maintenance.objects.create(host=vm.host, starts_at=starts, ends_at=ends, reason="a new disk", **fields)


@breaks("a_maintenance_has_a_length")
def _(_project: Project, vm: VM) -> None:
    announce(vm, (30, 30))


@breaks("a_maintenance_is_announced_before_it_begins")
def _(_project: Project, vm: VM) -> None:
    announce(vm, (-1, 5))


@breaks("a_maintenance_is_cancelled_before_it_begins")
def _(_project: Project, vm: VM) -> None:
    announce(vm, (30, 31), cancelled_at=timezone.now() + timedelta(hours=31))
