"""Revenue by day: the invoices' rating day by day, repair beside its cost, derived anew as facts come in."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
import time_machine

from lifecycle import tasks
from lifecycle.billing import rating, revenue
from lifecycle.billing.invoices import issue
from lifecycle.domain.periods import Month
from lifecycle.domain.pricing import Item, Sort
from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action
from lifecycle.models import VM, Credit, CreditUse, Host, Project, Repair, RevenueDay, Seller, User
from lifecycle.services import invoices, prices
from lifecycle.services import revenue as service
from tests import factories
from tests.billing.tools import MARCH, SLA, crash, feb, go, image_born, image_gone, price_list, stop, vm_born

pytestmark = [pytest.mark.bothdb, pytest.mark.django_db, pytest.mark.usefixtures("host")]

NOW = feb(10, 12)
HOUR = Decimal(3600)


@pytest.fixture
def vm(project: Project, host: Host, catalog: None) -> VM:
    """1.00 an hour for its vCPU and 0.10 for its disk, from noon of the third."""
    price_list([(Item.VCPU, "1"), (Item.DISK, "0.1")])
    return vm_born(project, feb(3, 12), "web-1")


def sum_up(at: datetime = NOW) -> int:
    return revenue.sum_up(at)


def amounts(item: str) -> dict[int, Decimal]:
    return {row.day.day: row.amount for row in RevenueDay.objects.filter(item=item)}


def test_each_day_has_what_was_used_on_it(vm: VM) -> None:
    stop(vm, feb(5, 6))
    sum_up()
    assert amounts("vcpu") == {3: Decimal("12.00"), 4: Decimal("24.00"), 5: Decimal("6.00")}
    assert amounts("disk") == {3: Decimal("1.20"), **dict.fromkeys(range(4, 10), Decimal("2.40")), 10: Decimal("1.20")}
    row = RevenueDay.objects.get(item="vcpu", day=date(2026, 2, 4))
    assert (row.family, row.quantity) == ("tiny", 24 * HOUR)


def test_images_are_a_part_of_the_day(vm: VM, project: Project) -> None:
    price_list([(Item.IMAGE, "0.5")], feb(6))
    image_gone(image_born(project, feb(5), "base", 2048), feb(7, 6))
    sum_up()
    assert amounts("image") == {6: Decimal("24.00"), 7: Decimal("6.00")}
    assert RevenueDay.objects.get(item="image", day=date(2026, 2, 7)).quantity == 12 * HOUR


def test_repair_is_time_and_what_it_would_have_cost(vm: VM) -> None:
    crash(vm, feb(4, 22), feb(5, 2))
    sum_up()
    assert amounts("vcpu")[4] == Decimal("22.00")
    assert amounts("repair") == {4: Decimal("2.20"), 5: Decimal("2.20")}
    found = RevenueDay.objects.filter(item="repair").values_list("quantity", flat=True)
    assert list(found) == [2 * HOUR, 2 * HOUR]


def test_days_are_summed_up_once_and_anew_as_facts_come_in(vm: VM) -> None:
    sum_up()
    before = list(RevenueDay.objects.order_by("day", "item").values_list("day", "item", "amount"))
    sum_up()
    assert list(RevenueDay.objects.order_by("day", "item").values_list("day", "item", "amount")) == before
    # Its host had been silent: it is known only now that the VM was gone since the eighth.
    go(vm, Action.CRASH, State.RUNNING, State.REPAIRING, feb(8), noticed=NOW)
    sum_up()
    assert amounts("vcpu")[7] == Decimal("24.00")
    assert 8 not in amounts("vcpu")
    assert amounts("repair")[8] == Decimal("26.40")


def test_a_price_that_changes_within_a_day(project: Project, host: Host, catalog: None) -> None:
    price_list([(Item.VCPU, "1")])
    price_list([(Item.VCPU, "3")], valid_from=feb(4, 18))
    vm_born(project, feb(4), "web-1")
    sum_up()
    assert amounts("vcpu")[4] == Decimal("36.00")  # 18 hours at 1, 6 at 3
    assert amounts("vcpu")[5] == Decimal("72.00")


def test_the_days_of_a_month_are_its_usage_lines(vm: VM) -> None:
    """Amounts that are whole cents a day: no rounding is between the two."""
    crash(vm, feb(11), feb(11, 7))
    stop(vm, feb(20, 5))
    sum_up(MARCH)
    bill = rating.bill(vm.project, feb(1), MARCH)
    lines = sum((line.amount for line in bill.lines if line.sort is Sort.USAGE), Decimal(0))
    days = sum((row.amount for row in RevenueDay.objects.exclude(item="repair")), Decimal(0))
    assert lines == days > 0


def test_without_prices_there_is_nothing(project: Project, host: Host, catalog: None) -> None:
    vm_born(project, feb(4), "web-1")
    assert sum_up() == 0


def test_the_task_sums_up(vm: VM) -> None:
    with time_machine.travel(NOW, tick=False):
        assert tasks.sum_up_revenue() == 16


# -- read ----------------------------------------------------------------------------------------


def test_the_installation_s_days_projects_and_families(vm: VM, stranger: User) -> None:
    big = factories.make_machine_type("big", vcpus=4, family="standard")
    other = Project.objects.get(slug="elsewhere")
    vm_born(other, feb(9), "theirs", machine_type=big)
    crash(vm, feb(6), feb(6, 12))
    sum_up()
    days = {day.day.day: day for day in service.by_day(NOW) if day.day.month == 2}
    assert len(service.by_day(NOW)) == 31
    assert days[9].amount == Decimal("24.00") + Decimal("2.40") + Decimal("96.00") + Decimal("2.40")
    assert (days[6].repair_hours, days[6].forgone) == (Decimal(12), Decimal("13.20"))
    assert days[2].amount == 0
    by_project = {share.name: share.amount for share in service.by_project(NOW)}
    assert by_project["elsewhere"] == Decimal("147.60")  # 36 hours at 4.10
    assert [share.name for share in service.by_project(NOW)] == ["lab", "elsewhere"]
    families = {share.name: share.amount for share in service.by_family(NOW)}
    assert families == {"tiny": Decimal("156.00"), "standard": Decimal("144.00")}


def test_credits_that_are_open_and_what_invoices_took_off(vm: VM, owner: User) -> None:
    Seller.objects.create(name="Clouds & Sons", address="Paris", country="FR")
    prices.grant_credit(vm.project, Decimal(50), "sorry", user=None)
    prices.grant_credit(vm.project, Decimal(7), "old", user=None, expires_at=feb(1))
    draft = factories.make_draft_invoice(vm)
    issued = invoices.issue(draft, draft.digest)
    CreditUse.objects.create(credit=Credit.objects.get(amount=50), invoice=issued, amount=Decimal(20))
    assert service.credits_open(NOW) == Decimal("30.00")


def test_what_issued_invoices_took_off_by_month(project: Project, host: Host, catalog: None) -> None:
    price_list([(Item.VCPU, "1"), (Item.DISK, "1")], sla=SLA)
    Seller.objects.create(name="Clouds & Sons", address="Paris", country="FR")
    crash(vm_born(project, feb(1), "web-1"), feb(10), feb(10), State.TERMINATED)
    prices.grant_credit(project, Decimal(5), "sorry", user=None)
    assert service.given() == []
    with time_machine.travel(MARCH + timedelta(days=4)):
        bill = issue(project, Month(2026, 2))
    [found] = service.given()
    taken = -sum(line.amount for line in bill.lines.filter(sort="sla"))
    assert (found.month, found.amounts) == ("2026-02", {"sla": taken, "credit": Decimal(5)})
    assert found.total == taken + 5 > 5


def test_repairs_stand_beside_what_their_time_would_have_cost(vm: VM, host: Host) -> None:
    crash(vm, feb(5), feb(5, 10))
    other = vm_born(vm.project, feb(3, 12), "web-2")
    crash(other, feb(7), feb(7, 1))
    Repair.objects.filter(vm=other).update(cause="panic")
    found = revenue.by_cause(NOW)
    assert [(row.cause, row.repairs, row.hours, row.amount) for row in found] == [
        ("crash", 1, Decimal(10), Decimal("11.00")),
        ("panic", 1, Decimal(1), Decimal("1.10")),
    ]
    assert found[0].host == host.name


def test_old_repairs_are_not_in_the_window(vm: VM) -> None:
    crash(vm, feb(4), feb(4, 1))
    assert revenue.by_cause(feb(4) + timedelta(days=60)) == []
    assert revenue.by_cause(datetime(2026, 2, 5, tzinfo=UTC))
