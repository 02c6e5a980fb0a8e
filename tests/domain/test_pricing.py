"""Rating and what is taken off, without a database: figures by hand, and properties of whole bills."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.domain import discounts, pricing
from lifecycle.domain.discounts import Commitment, Credit, Terms, Totals
from lifecycle.domain.metering import Shape, Usage
from lifecycle.domain.periods import Month
from lifecycle.domain.pricing import Holding, Item, Line, Piece, Price, PriceBook, Sort, Tariff, Tier, held
from lifecycle.domain.sla import credit, percent_back
from lifecycle.domain.states import State
from lifecycle.domain.taxes import tax_of

START = datetime(2026, 2, 1, tzinfo=UTC)
END = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
SHAPE = Shape("standard-2", 2, 4096, 10, "standard", "zone-a")
D = Decimal


def book(
    *prices: Price, version: int = 1, valid_from: datetime = START - timedelta(days=400), **more: object
) -> PriceBook:
    return PriceBook(version, "EUR", valid_from, prices, **more)  # type: ignore[arg-type]


def tariff(*books: PriceBook) -> Tariff:
    return Tariff(books)


def piece(state: State, start: datetime, end: datetime | None, shape: Shape = SHAPE, name: str = "vm") -> Piece:
    return Piece(name, shape.zone, start, end, held(state, shape))


VCPU = Price(Item.VCPU, D("0.00001"))
ALL = (
    VCPU,
    Price(Item.MEMORY, D("0.000002")),
    Price(Item.SUSPENDED_MEMORY, D("0.0000001")),
    Price(Item.DISK, D("0.0000003")),
)


# -- what each state sells -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "sold"),
    [
        (State.PROVISIONING, {"disk"}),
        (State.STAGING, {"disk"}),
        (State.RUNNING, {"vcpu", "memory", "disk"}),
        (State.STOPPING, {"disk"}),
        (State.REPAIRING, {"repair"}),
        (State.TERMINATED, {"disk"}),
        (State.SUSPENDING, {"memory", "disk"}),
        (State.SUSPENDED, {"suspended_memory", "disk"}),
    ],
)
def test_each_state_sells_what_the_lifecycle_says(state: State, sold: set[str]) -> None:
    parts = tariff(book(*ALL)).parts(START, END)
    lines = pricing.rate([piece(state, START, START + HOUR)], parts)
    assert {line.item for line in lines} == sold


def test_repair_is_metered_and_rated_at_zero() -> None:
    lines = pricing.rate([piece(State.REPAIRING, START, START + HOUR)], tariff(book(*ALL)).parts(START, END))
    assert [(line.sort, line.amount, line.quantity) for line in lines] == [(Sort.REPAIR, D("0.00"), D(3600))]


def test_amounts_are_quantity_times_rate_by_hand() -> None:
    """10 hours of 2 vCPUs, 4 GiB and 10 GiB of disk."""
    lines = pricing.rate([piece(State.RUNNING, START, START + 10 * HOUR)], tariff(book(*ALL)).parts(START, END))
    found = {line.item: (line.quantity, line.amount) for line in lines}
    assert found == {
        "vcpu": (D(72000), D("0.72")),
        "memory": (D(144000), D("0.29")),  # 0.288
        "disk": (D(360000), D("0.11")),  # 0.108
    }


def test_half_a_cent_goes_to_the_even_cent() -> None:
    assert [pricing.rounded(D(x)) for x in ("0.005", "0.015", "0.025", "-0.005", "0.0050000001")] == [
        D("0.00"), D("0.02"), D("0.02"), D("0.00"), D("0.01"),
    ]  # fmt: skip
    assert str(pricing.rounded(D("-0.001"))) == "0.00"


def test_what_lasts_is_counted_to_the_end_and_what_is_outside_is_not() -> None:
    parts = tariff(book(VCPU)).parts(START, END)
    lasts = pricing.rate([piece(State.RUNNING, START - HOUR, None)], parts)
    assert lasts[0].quantity == 2 * 28 * 86400
    assert pricing.rate([piece(State.RUNNING, START - HOUR, START)], parts) == []
    assert pricing.rate([piece(State.RUNNING, END, None)], parts) == []


def test_the_price_that_names_more_is_taken() -> None:
    prices = [
        Price(Item.VCPU, D(1)),
        Price(Item.VCPU, D(2), zone="zone-a"),
        Price(Item.VCPU, D(3), kind="standard"),
        Price(Item.VCPU, D(4), kind="standard", zone="zone-b"),
    ]
    one = book(*prices)

    def rate(kind: str, zone: str) -> Decimal:
        found = one.price(Item.VCPU, kind, zone)
        assert found
        return found.per_second

    assert [rate("standard", "zone-a"), rate("standard", "zone-b")] == [3, 4]
    assert [rate("tiny", "zone-a"), rate("tiny", "x")] == [2, 1]
    assert one.price(Item.DISK, "standard", "zone-a") is None


def test_a_new_version_cuts_the_interval_where_it_begins() -> None:
    dearer = book(Price(Item.VCPU, D("0.00003")), version=2, valid_from=START + 10 * HOUR)
    parts = tariff(book(VCPU), dearer).parts(START, END)
    lines = pricing.rate([piece(State.RUNNING, START + 8 * HOUR, START + 11 * HOUR)], parts)
    assert [(line.version, line.quantity, line.amount) for line in lines] == [
        (1, D(14400), D("0.14")),
        (2, D(7200), D("0.22")),
    ]


def test_before_the_first_version_nothing_is_sold() -> None:
    late = tariff(book(VCPU, valid_from=END - HOUR))
    lines = pricing.rate([piece(State.RUNNING, START, END)], late.parts(START, END))
    assert lines[0].quantity == 2 * 3600
    assert pricing.rate([piece(State.RUNNING, START, END)], Tariff(()).parts(START, END)) == []


# -- months --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "month", "hours"),
    [
        ("UTC", "2026-02", 672),
        ("UTC", "2024-02", 696),
        ("Europe/Paris", "2026-03", 743),  # the clock is put forward
        ("Europe/Paris", "2026-10", 745),
        ("Europe/Paris", "2026-12", 744),
        ("America/Sao_Paulo", "2017-10", 743),  # at midnight
        ("Pacific/Apia", "2011-12", 720),  # a day that never was
    ],
)
def test_a_month_is_as_long_as_on_its_own_wall(zone: str, month: str, hours: int) -> None:
    from zoneinfo import ZoneInfo

    start, end = Month.parse(month).bounds(ZoneInfo(zone))
    assert end - start == hours * HOUR
    assert Month.of(start, ZoneInfo(zone)) == Month.parse(month)
    assert Month.of(end, ZoneInfo(zone)) == Month.parse(month).next
    assert Month.parse(month).next.before == Month.parse(month)


@pytest.mark.parametrize("text", ["", "2026", "2026-13", "2026-00", "26-01", "2026-1", "٢٠٢٦-٠١"])
def test_what_is_no_month_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="month"):
        Month.parse(text)


# -- what is taken off ---------------------------------------------------------------------------

TIERS = (Tier(D(0), D(0)), Tier(D("0.25"), D(20)), Tier(D("0.5"), D(40)), Tier(D("0.75"), D(60)))


@pytest.mark.parametrize(
    ("share", "percent"), [("0.1", "0"), ("0.25", "0"), ("0.5", "10"), ("1", "30"), ("0.75", "20")]
)
def test_sustained_use_makes_each_quarter_cheaper(share: str, percent: str) -> None:
    assert discounts.effective_percent(D(share), TIERS) == D(percent)


def sold(amount: str, quantity: str = "3600000", item: Item = Item.VCPU) -> Totals:
    """Usage of one item at the price VCPU."""
    totals = Totals()
    totals.add(Line(Sort.USAGE, D(amount), "vm", item, "standard", "zone-a", 1, D(quantity), VCPU.per_second))
    return totals


def test_the_free_tier_takes_off_what_it_covers_and_no_more() -> None:
    free = Price(Item.VCPU, D("0.00001"), free_hours=D(100))
    lines = discounts.of_project(sold("36.00"), tariff(book(free)), Terms(), START, END)
    assert [(line.sort, line.amount, line.quantity) for line in lines] == [(Sort.FREE, D("-3.60"), D(360000))]
    lots = Price(Item.VCPU, D("0.00001"), free_hours=D(10**6))
    assert discounts.of_project(sold("36.00"), tariff(book(lots)), Terms(), START, END)[0].amount == D("-36.00")


def commitment(units: str, percent: str) -> Commitment:
    return Commitment("7", Item.VCPU, "standard", D(units), D(percent), START - HOUR, END + HOUR)


def test_a_commitment_is_paid_whether_used_or_not() -> None:
    """One vCPU all of February: 2,419,200 s at 0.00001, half the price: 12.10; of 36.00 used it covers 24.19."""
    lines = discounts.of_project(
        sold("36.00"), tariff(book(VCPU)), Terms(commitments=(commitment("1", "50"),)), START, END
    )
    assert [(line.sort, line.amount) for line in lines] == [
        (Sort.COMMITMENT, D("12.10")),
        (Sort.COMMITTED, D("-24.19")),
    ]
    unused = discounts.of_project(Totals(), tariff(book(VCPU)), Terms(commitments=(commitment("1", "50"),)), START, END)
    assert [line.amount for line in unused] == [D("12.10")]


def test_discount_and_credits_come_last_and_never_go_below_zero() -> None:
    terms = Terms(D(10), credits=(Credit("1", D("30.00")), Credit("2", D("30.00"))))
    lines = discounts.of_project(sold("36.00"), tariff(book(VCPU)), terms, START, END)
    assert [(line.sort, line.amount) for line in lines] == [
        (Sort.DISCOUNT, D("-3.60")),
        (Sort.CREDIT, D("-30.00")),
        (Sort.CREDIT, D("-2.40")),
    ]


_UNITS = st.integers(1, 64)


@given(
    pieces=st.lists(st.tuples(st.integers(0, 28 * 86400), st.integers(0, 86400 * 9), _UNITS), max_size=20),
    rate=st.decimals("0", "0.01", places=15),
    free=st.integers(0, 2000),
    percent=st.integers(0, 100),
    committed=st.integers(0, 20),
    money=st.decimals("0.01", "500", places=2),
)
def test_a_bill_is_the_sum_of_its_lines_and_never_below_zero(
    pieces: list[tuple[int, int, int]], rate: Decimal, free: int, percent: int, committed: int, money: Decimal
) -> None:
    price = Price(Item.VCPU, rate, free_hours=D(free))
    prices = tariff(book(price, sustained=TIERS))
    parts = prices.parts(START, END)
    commitments = (commitment(str(committed), "37"),) if committed else ()
    terms = Terms(D(percent), commitments, (Credit("1", money),))
    totals, lines = Totals(), []
    for number, (start, length, units) in enumerate(pieces):
        at = START + timedelta(seconds=start)
        held_now = (Holding(Item.VCPU, "standard", units),)
        mine = pricing.rate([Piece(str(number), "", at, at + timedelta(seconds=length), held_now)], parts)
        mine += discounts.sustained(mine, parts, {"vcpu": D(units)}, terms)
        for line in mine:
            totals.add(line)
        lines += mine
    exact = sum(Fraction(line.quantity) * Fraction(line.rate) for line in lines if line.sort is Sort.USAGE)
    usage = [line.amount for line in lines if line.sort is Sort.USAGE]
    assert abs(Fraction(sum(usage, D(0))) - exact) <= Fraction(len(usage), 200)
    lines += discounts.of_project(totals, prices, terms, START, END)
    assert all(line.amount == line.amount.quantize(D("0.01")) for line in lines)
    assert sum((line.amount for line in lines), D(0)) >= 0


# -- the SLA and taxes ---------------------------------------------------------------------------

SLA = (Tier(D("0.999"), D(10)), Tier(D("0.99"), D(25)), Tier(D("0.95"), D(50)))


@pytest.mark.parametrize(
    ("uptime", "percent"),
    [("1", 0), ("0.999", 0), ("0.99899", 10), ("0.99", 10), ("0.98", 25), ("0.95", 25), ("0.5", 50), ("0", 50)],
)
def test_the_lowest_tier_that_was_missed_counts(uptime: str, percent: int) -> None:
    assert percent_back(D(uptime), SLA) == percent
    assert percent_back(None, SLA) == 0


def test_the_credit_names_downtime_percent_and_repairs() -> None:
    found = credit(Usage(up=D(98), down=D(2)), D("10.02"), SLA, resource="vm", repairs=[3, 9])
    assert found == Line(Sort.SLA, D("-2.50"), "vm", quantity=D(2), rate=D(25), reference="3,9")  # 2.505: to even
    assert credit(Usage(up=D(100)), D(10), SLA, resource="vm", repairs=[]) is None


@pytest.mark.parametrize(
    ("customer", "tax_id", "percent", "reverse"),
    [
        ("FR", "", 20, False),
        ("", "", 20, False),
        ("DE", "", 19, False),
        ("DE", "DE123", 0, True),
        ("US", "X", 0, False),
    ],
)
def test_the_tax_goes_by_the_countries(customer: str, tax_id: str, percent: int, reverse: bool) -> None:
    tax = tax_of("FR", customer, tax_id, {"FR": D(20), "DE": D(19)})
    assert tax.percent == percent
    assert tax.reverse_charge == reverse
    assert tax.on(D("10.02")) == pricing.rounded(D("10.02") * percent / 100)
