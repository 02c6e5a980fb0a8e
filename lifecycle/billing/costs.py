"""What a month costs so far and will have cost at its end: bills of the same rating, to now and to the end."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from lifecycle.billing import rating
from lifecycle.billing.invoices import bounds
from lifecycle.domain.metering import Shape, Usage
from lifecycle.domain.periods import Month
from lifecycle.domain.pricing import CENT, MONTH_HOURS, ZERO, Line, Sort
from lifecycle.models import VM, Project
from lifecycle.services import metering, prices

NOTHING = ZERO.quantize(CENT)


@dataclass(frozen=True, slots=True)
class Costs:
    """Of [since, until), of which the part up to `now` was used. Amounts without tax.

    `forecast` assumes that everything stays as it is. Both are after discounts and before credits of money.
    """

    currency: str
    since: datetime
    now: datetime
    until: datetime
    so_far: Decimal
    forecast: Decimal
    lines: tuple[Line, ...]
    uptime: Decimal | None


@dataclass(frozen=True, slots=True)
class VMCost:
    """What a VM costs so far, and what it was called."""

    vm_id: UUID
    name: str
    gone: bool
    amount: Decimal


def month_of(project: Project, now: datetime) -> tuple[datetime, datetime]:
    """The bounds of the project's month."""
    return bounds(project, Month.of(now, prices.account_of(project).zone))


def of_project(project: Project, now: datetime) -> Costs:
    """The project's costs of this month."""
    since, until = month_of(project, now)
    tariff = prices.tariff()
    so_far = rating.bill(project, since, now, tariff=tariff)
    forecast = rating.bill(project, since, until, tariff=tariff)
    usage = metering.project_usage(project, since, now)
    return Costs(
        tariff.currency,
        since,
        now,
        until,
        _owed(so_far.lines),
        _owed(forecast.lines),
        tuple(so_far.lines),
        usage.availability,
    )


def so_far(project: Project, now: datetime) -> tuple[str, Decimal]:
    """The project's month and what it has cost by now: after discounts, before credits of money, without tax."""
    since, _until = month_of(project, now)
    return str(Month.of(now, prices.account_of(project).zone)), _owed(rating.bill(project, since, now).lines)


def of_vm(vm: VM, now: datetime) -> Costs:
    """One VM's part of it, before what concerns the whole project."""
    since, until = month_of(vm.project, now)
    tariff = prices.tariff()
    lines = rating.vm_lines(vm, since, now, tariff)
    forecast = rating.total(rating.vm_lines(vm, since, until, tariff))
    usage: Usage = metering.usage(vm, since, now)
    return Costs(tariff.currency, since, now, until, rating.total(lines), forecast, tuple(lines), usage.availability)


def _owed(lines: list[Line]) -> Decimal:
    return sum((line.amount for line in lines if line.sort is not Sort.CREDIT), NOTHING)


def by_vm(costs: Costs) -> list[VMCost]:
    """The project's costs VM by VM, dearest first: one query."""
    sums: dict[str, Decimal] = defaultdict(lambda: NOTHING)
    for line in costs.lines:
        if line.resource:
            sums[line.resource] += line.amount
    found = VM.objects.filter(pk__in=[UUID(pk) for pk in sums]).values_list("pk", "name", "deleted_at")
    rows = [VMCost(pk, name, gone is not None, sums[str(pk)]) for pk, name, gone in found]
    return sorted(rows, key=lambda row: (-row.amount, row.name))


@dataclass(frozen=True, slots=True)
class Preview:
    """What a VM would cost, running all the time: an hour and a month, without what the project has free."""

    currency: str
    hour: Decimal
    month: Decimal
    lines: tuple[Line, ...]


def preview(shape: Shape, now: datetime) -> Preview:
    """By the prices that apply now."""
    tariff = prices.tariff()
    book = tariff.at(now)
    lines = rating.preview(shape, now, now + timedelta(hours=MONTH_HOURS), prices.frozen(book)) if book else []
    hourly = sum((line.quantity / MONTH_HOURS * line.rate for line in lines if line.sort is Sort.USAGE), ZERO)
    return Preview(tariff.currency, hourly.quantize(Decimal("0.0001")), rating.total(lines), tuple(lines))
