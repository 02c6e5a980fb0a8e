"""Bills of whole projects: a month reckoned by hand, and an independent recount over random lives."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lifecycle.billing import rating
from lifecycle.domain.periods import Month
from lifecycle.domain.pricing import Item, Sort
from lifecycle.domain.states import State
from lifecycle.domain.transitions import DEATHS, PAIRS, Action
from lifecycle.models import VM, Image, ImageChange, MachineType, Project, Transition
from lifecycle.services import prices
from lifecycle.services.prices import Offer
from tests import factories
from tests.billing.tools import (
    FEBRUARY,
    MARCH,
    ROUND_PRICES,
    SLA,
    crash,
    delete,
    feb,
    go,
    image_born,
    image_gone,
    money,
    price_list,
    start,
    stop,
    vm_born,
)
from tests.services.tools import undone

pytestmark = [pytest.mark.bothdb, pytest.mark.django_db, pytest.mark.usefixtures("host")]

D = Decimal


@pytest.fixture
def shape(db: None) -> MachineType:
    """2 vCPUs and 4 GiB."""
    return factories.make_machine_type("standard-2", vcpus=2, memory_mib=4096, family="standard")


def told(bill: rating.Bill) -> list[tuple[str, str, str]]:
    """Name, item or sort, and amount of each line."""
    names = {str(pk): name for pk, name in VM.objects.values_list("pk", "name")}
    names |= {f"image-{pk}": name for pk, name in Image.objects.values_list("pk", "name")}
    return [(names.get(x.resource, ""), x.item if x.sort is Sort.USAGE else x.sort, str(x.amount)) for x in bill.lines]


# -- the golden month ----------------------------------------------------------------------------


def test_the_golden_month(project: Project, shape: MachineType) -> None:
    """February 2026, prices per hour: vCPU 0.036, GiB 0.0072, suspended GiB 0.00036, disk GiB 0.00018,
    GiB of images 0.0018.

    a: 10 GiB of disk, runs all 672 hours but 12 of repair.       660 h x 2 x 0.036            = 47.52
                                                                  660 h x 4 x 0.0072           = 19.008 -> 19.01
                                                                  660 h x 10 x 0.00018         =  1.188 ->  1.19
    b: 20 GiB, born on the 11th, suspended on the 16th at noon    132 h x 2 x 0.036            =  9.504 ->  9.50
       for the rest of the month.                                 132 h x 4 x 0.0072           =  3.8016 -> 3.80
                                                                  300 h x 4 x 0.00036          =  0.432 ->  0.43
                                                                  432 h x 20 x 0.00018         =  1.5552 -> 1.56
    c: 1 GiB, born in January, left TERMINATED by a failure on    168 h x 2 x 0.036            = 12.096 -> 12.10
       the 8th until a start on the 15th, deleted on the 15th     168 h x 4 x 0.0072           =  4.8384 -> 4.84
       at once. 168 h up, 168 h down: 50 % of 17.00 comes back.   336 h x 1 x 0.00018          =  0.06048 -> 0.06
                                                                  half of 17.00                = -8.50
    d: an image of 2.5 GiB, ready from the 5th until it is        240 h x 2.5 x 0.0018         =  1.08
       deleted on the 15th; e: one of 1 GiB, of before and after. 672 h x 1 x 0.0018           =  1.2096 -> 1.21
    """
    price_list([*ROUND_PRICES, (Item.IMAGE, "0.0018")], sla=SLA)
    a = vm_born(project, feb(1), "a", machine_type=shape, disk_gib=10)
    crash(a, feb(3), feb(3, 12))
    b = vm_born(project, feb(11), "b", machine_type=shape, disk_gib=20)
    go(b, Action.SUSPEND, State.RUNNING, State.SUSPENDING, feb(16, 12))
    go(b, Action.SUSPEND, State.SUSPENDING, State.SUSPENDED, feb(16, 12))
    c = vm_born(project, feb(1) - timedelta(days=9), "c", machine_type=shape)
    crash(c, feb(8), feb(8), State.TERMINATED)
    start(c, feb(15))
    delete(c, feb(15))
    image_gone(image_born(project, feb(5, 12), "d", 2560), feb(15, 12))
    image_gone(image_born(project, feb(1) - timedelta(days=3), "e", 1024), MARCH + timedelta(days=1))
    bill = rating.bill(project, FEBRUARY, MARCH)
    assert told(bill) == [
        ("a", "vcpu", "47.52"),
        ("a", "memory", "19.01"),
        ("a", "disk", "1.19"),
        ("a", "repair", "0.00"),
        ("b", "vcpu", "9.50"),
        ("b", "memory", "3.80"),
        ("b", "suspended_memory", "0.43"),
        ("b", "disk", "1.56"),
        ("c", "vcpu", "12.10"),
        ("c", "memory", "4.84"),
        ("c", "disk", "0.06"),
        ("c", "sla", "-8.50"),
        ("d", "image", "1.08"),
        ("e", "image", "1.21"),
    ]
    assert bill.net == money("93.80")
    repair = next(line for line in bill.lines if line.sort is Sort.REPAIR)
    assert repair.hours == 12
    back = next(line for line in bill.lines if line.sort is Sort.SLA)
    assert (int(back.quantity), int(back.rate), back.reference) == (168 * 3600, 50, str(c.repairs.get().pk))


def test_the_same_month_derives_into_the_same_bytes(project: Project, shape: MachineType) -> None:
    price_list(sla=SLA)
    for number in range(3):
        crash(vm_born(project, feb(2), f"vm-{number}", machine_type=shape), feb(9, 0.123456), feb(10))
    first = rating.bill(project, FEBRUARY, MARCH)
    assert rating.bill(project, FEBRUARY, MARCH).canonical() == first.canonical()
    stop(VM.objects.get(name="vm-1"), feb(20))
    assert rating.bill(project, FEBRUARY, MARCH).digest != first.digest


def test_sustained_use_is_taken_off_vm_by_vm(project: Project, shape: MachineType) -> None:
    """All month: 30 % of 48.384 and of 19.3536; half the month: 10 %."""
    price_list(sustained=[["0.25", "20"], ["0.5", "40"], ["0.75", "60"]])
    vm_born(project, feb(1), "all", machine_type=shape)
    stop(vm_born(project, feb(1), "half", machine_type=shape), feb(15))
    found = [
        (line.item, int(line.rate), str(line.amount))
        for line in rating.bill(project, FEBRUARY, MARCH).lines
        if line.sort is Sort.SUSTAINED
    ]
    assert found == [("memory", 30, "-5.81"), ("vcpu", 30, "-14.52"), ("memory", 10, "-0.97"), ("vcpu", 10, "-2.42")]


def test_a_resize_is_two_lines_of_what_each_time_had(project: Project, shape: MachineType) -> None:
    price_list([(Item.VCPU, "1"), (Item.DISK, "1")])
    vm = vm_born(project, feb(1), "vm", machine_type=shape)
    stop(vm, feb(1, 10))
    VM.objects.filter(pk=vm.pk).update(vcpus=8)
    vm.disks.update(size_gib=5)
    start(vm, feb(1, 20))
    stop(vm, feb(1, 21))
    lines = rating.bill(project, FEBRUARY, feb(1, 21)).lines
    assert [(line.item, int(line.hours)) for line in lines] == [("vcpu", 10 * 2 + 1 * 8), ("disk", 10 + 10 + 1 * 5)]


def test_a_family_keeps_its_price_when_its_machine_type_gets_another(project: Project, shape: MachineType) -> None:
    price_list([(Item.VCPU, "1")])
    vm_born(project, feb(1), "vm", machine_type=shape)
    MachineType.objects.update(family="other")
    assert rating.bill(project, FEBRUARY, feb(2)).lines[0].kind == "standard"


def test_a_clock_set_back_bills_no_moment_twice(project: Project, shape: MachineType) -> None:
    price_list([(Item.VCPU, "1")])
    vm = vm_born(project, feb(1), "vm", machine_type=shape)
    stop(vm, feb(1, 10))
    start(vm, feb(1, 5))
    stop(vm, feb(1, 4))
    assert rating.bill(project, FEBRUARY, MARCH).lines[0].hours == 10 * 2


def test_the_forecast_is_the_bill_of_what_runs_on(project: Project, shape: MachineType) -> None:
    price_list([(Item.VCPU, "1")])
    vm = vm_born(project, feb(1), "vm", machine_type=shape)
    with time_machine.travel(feb(11)):
        assert rating.total(rating.vm_lines(vm, FEBRUARY, feb(11), prices.tariff())) == 2 * 240
        assert rating.bill(project, FEBRUARY, MARCH).net == 2 * 672


def test_credits_and_discounts_of_the_project(project: Project, shape: MachineType) -> None:
    price_list([(Item.VCPU, "1")])
    vm_born(project, feb(1), "vm", machine_type=shape)
    prices.grant_credit(project, D(100), "sorry", user=None)
    prices.grant_credit(project, D(7), "gone by then", user=None, expires_at=feb(20))
    account = prices.change_account(project, {}, user=None)
    type(account).objects.update(discount_percent=25)
    found = [(line.sort, int(line.amount)) for line in rating.bill(project, FEBRUARY, MARCH).lines]
    assert found == [(Sort.USAGE, 1344), (Sort.DISCOUNT, -336), (Sort.CREDIT, -100)]


def test_another_projects_vms_are_not_on_the_bill(project: Project, shape: MachineType) -> None:
    price_list()
    vm_born(factories.make_project(), feb(1), "vm", machine_type=shape)
    assert rating.bill(project, FEBRUARY, MARCH).lines == []


def test_a_bill_takes_the_same_queries_however_many_vms(project: Project, shape: MachineType) -> None:
    price_list(sla=SLA)
    seen = []
    for number in range(1, 4):
        crash(vm_born(project, feb(1), f"vm-{number}", machine_type=shape), feb(2), feb(3))
        with CaptureQueriesContext(connection) as captured:
            rating.bill(project, FEBRUARY, MARCH)
        seen.append(len(captured))
    assert len(set(seen)) == 1, seen


def test_a_bill_takes_the_same_queries_however_many_images(project: Project) -> None:
    price_list([(Item.IMAGE, "1")])
    seen = []
    for number in range(1, 4):
        image_born(project, feb(1), f"image-{number}", 1024)
        with CaptureQueriesContext(connection) as captured:
            assert rating.bill(project, FEBRUARY, MARCH).net == 672 * number
        seen.append(len(captured))
    assert len(set(seen)) == 1, seen


def test_images_have_what_is_free_and_the_discount_of_the_project(project: Project) -> None:
    """1 GiB for 672 hours, of which 72 unit-hours are free and the rest is half the price."""
    made = price_list([(Item.VCPU, "1")])
    with time_machine.travel(made.valid_from):
        offers = [Offer(Item.IMAGE, prices.per_second("1"), free_hours=D(72))]
        prices.publish(prices.draft_price_list("EUR", FEBRUARY, offers), user=None)
    image_born(project, feb(1), "mine", 1024)
    account = prices.change_account(project, {}, user=None)
    type(account).objects.update(discount_percent=50)
    found = [(line.sort, str(line.amount)) for line in rating.bill(project, FEBRUARY, MARCH).lines]
    assert found == [(Sort.USAGE, "672.00"), (Sort.FREE, "-72.00"), (Sort.DISCOUNT, "-300.00")]


def test_images_that_are_not_sold_are_on_no_bill(project: Project) -> None:
    price_list()
    image_born(project, feb(1), "mine", 1024)
    assert rating.bill(project, FEBRUARY, MARCH).lines == []


# -- the naive recount ---------------------------------------------------------------------------

PARIS = ZoneInfo("Europe/Paris")
#: March 2026 in Paris: 743 hours. In UTC from 23:00 on the last of February to 22:00 on the last of March.
FROM, TO = Month(2026, 3).bounds(PARIS)
CHANGE = datetime(2026, 3, 17, 10, 30, tzinfo=UTC)
HOURLY = {
    1: {
        "vcpu": Fraction(36, 1000),
        "memory": Fraction(72, 10000),
        "saved": Fraction(36, 100000),
        "disk": Fraction(18, 100000),
        "image": Fraction(36, 10000),
    },
    2: {
        "vcpu": Fraction(72, 1000),
        "memory": Fraction(36, 10000),
        "saved": Fraction(18, 100000),
        "disk": Fraction(36, 100000),
        "image": Fraction(18, 10000),
    },
}
#: What is billed in each state, written down once more from LIFECYCLE.md.
SELLS = {
    "PROVISIONING": ("disk",),
    "STAGING": ("disk",),
    "RUNNING": ("vcpu", "memory", "disk"),
    "STOPPING": ("disk",),
    "REPAIRING": (),
    "TERMINATED": ("disk",),
    "SUSPENDING": ("memory", "disk"),
    "SUSPENDED": ("saved", "disk"),
}


def recount(project: Project) -> Fraction:
    """Minute by minute over the log, in cents: no intervals, no Decimal, nothing of the product's rating."""
    cents = 0
    for vm in VM.objects.filter(project=project):
        log = list(Transition.objects.filter(vm=vm).order_by("id").values_list("to_state", "occurred_at"))
        size: dict[str, Fraction | int] = {
            "vcpu": vm.vcpus,
            "memory": Fraction(vm.memory_mib, 1024),
            "saved": Fraction(vm.memory_mib, 1024),
        }
        size["disk"] = sum(disk.size_gib for disk in vm.disks.all())
        minutes: Counter[tuple[int, str]] = Counter()
        minute, place, state = FROM, 0, ""
        while minute < TO:
            while place < len(log) and log[place][1] <= minute:
                state, place = log[place][0], place + 1
            for item in SELLS.get(state, ()):
                minutes[2 if minute >= CHANGE else 1, item] += 1
            minute += timedelta(minutes=1)
        for (version, item), count in minutes.items():
            cents += round(count * HOURLY[version][item] / 60 * size[item] * 100)
    return Fraction(cents + recount_images(project), 100)


def recount_images(project: Project) -> int:
    """The same of its images, in cents: one is there, whatever it is called, from a row of its log to the next."""
    cents = 0
    for image in Image.objects.filter(project=project):
        log = list(ImageChange.objects.filter(image=image).order_by("id").values_list("size_mib", "occurred_at"))
        seconds: Counter[int] = Counter()
        minute, place, size = FROM, 0, None
        while minute < TO:
            while place < len(log) and log[place][1] <= minute:
                size, place = log[place][0], place + 1
            seconds[2 if minute >= CHANGE else 1] += (size or 0) * 60
            minute += timedelta(minutes=1)
        cents += sum(round(n * HOURLY[version]["image"] / 3600 / 1024 * 100) for version, n in seconds.items())
    return cents


#: When an image is ready, how long it stays (None: for good) and its MiB.
_IMAGE = st.tuples(st.integers(-3000, 40_000), st.none() | st.integers(-720, 30_000), st.integers(1, 90_000))
_STEP = st.tuples(st.integers(0, 10**6), st.sampled_from([0, 1, 59, 600, 3600, 5000, 9000, -720]))


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    walks=st.lists(st.lists(_STEP, max_size=12), min_size=1, max_size=3),
    first=st.integers(-3000, 40_000),
    images=st.lists(_IMAGE, max_size=3),
)
def test_a_naive_recount_agrees_to_the_cent(
    project: Project,
    shape: MachineType,
    walks: list[list[tuple[int, int]]],
    first: int,
    images: list[tuple[int, int | None, int]],
) -> None:
    """Lives that begin before or in the month, with clocks set back, across a change of clocks and of prices."""
    names = {"vcpu": Item.VCPU, "memory": Item.MEMORY, "saved": Item.SUSPENDED_MEMORY, "disk": Item.DISK}
    names["image"] = Item.IMAGE
    with undone():
        price_list([(names[k], str(float(v))) for k, v in HOURLY[1].items()])
        price_list([(names[k], str(float(v))) for k, v in HOURLY[2].items()], CHANGE)
        for number, walk in enumerate(walks):
            clock = FROM + timedelta(minutes=first)
            vm, state = vm_born(project, clock, f"vm-{number}", machine_type=shape, disk_gib=number + 3), State.RUNNING
            for choice, minutes in walk:
                clock += timedelta(minutes=minutes)
                ways: list[tuple[Action, State | None]] = [
                    (a, t) for a in Action for s, t in sorted(PAIRS[a]) if s is state
                ]
                if state in DEATHS:
                    ways.append((Action.DELETE, None))
                action, target = ways[choice % len(ways)]
                go(vm, action, state, target, clock)
                if target is None:
                    break
                state = target
        for number, (ready, length, size) in enumerate(images):
            image = image_born(project, FROM + timedelta(minutes=ready), f"image-{number}", size)
            if length is not None:
                image_gone(image, FROM + timedelta(minutes=ready + length))
        bill = rating.bill(project, FROM, TO)
        assert Fraction(bill.net) == recount(project)
