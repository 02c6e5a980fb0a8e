"""What a month costs so far and will have cost at its end: bills of the same rating, to now and to the end."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from lifecycle.billing import rating
from lifecycle.billing.invoices import bounds
from lifecycle.domain import pricing
from lifecycle.domain.metering import Shape, Usage
from lifecycle.domain.periods import Month
from lifecycle.domain.pricing import CENT, MONTH_HOURS, ZERO, Holding, Line, Sort, image_of
from lifecycle.domain.states import State
from lifecycle.models import VM, Image, Project
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
class Cost:
    """What a VM or an image costs so far, and what it was called."""

    name: str
    gone: bool
    amount: Decimal
    is_image: bool = False


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


def by_resource(costs: Costs) -> list[Cost]:
    """The project's costs by VM and image, dearest first: two queries."""
    sums: dict[str, Decimal] = defaultdict(lambda: NOTHING)
    for line in costs.lines:
        if line.resource:
            sums[line.resource] += line.amount
    own = {number: key for key in sums if (number := image_of(key)) is not None}
    vms = VM.objects.filter(pk__in=[UUID(key) for key in sums.keys() - set(own.values())])
    rows = [
        Cost(name, gone is not None, sums[str(pk)]) for pk, name, gone in vms.values_list("pk", "name", "deleted_at")
    ]
    images = Image.objects.filter(pk__in=own).values_list("pk", "name", "status")
    rows += [Cost(name, status == Image.Status.DELETED, sums[own[pk]], True) for pk, name, status in images]
    return sorted(rows, key=lambda row: (-row.amount, row.name))


@dataclass(frozen=True, slots=True)
class Preview:
    """What something would cost all the time: an hour and a month, without what the project has free."""

    currency: str
    hour: Decimal
    month: Decimal
    lines: tuple[Line, ...]


def preview(shape: Shape, now: datetime) -> Preview:
    """Of a VM that runs, by the prices that apply now."""
    return _preview(pricing.held(State.RUNNING, shape), shape.zone, now)


def preview_image(size_mib: int, now: datetime) -> Preview:
    """Of an image of that size in the store, by the prices that apply now; no line where images are not sold."""
    return _preview(pricing.kept(size_mib), "", now)


def _preview(held: tuple[Holding, ...], zone: str, now: datetime) -> Preview:
    tariff = prices.tariff()
    book = tariff.at(now)
    month = now + timedelta(hours=MONTH_HOURS)
    lines = rating.preview(held, zone, now, month, prices.frozen(book)) if book else []
    hourly = sum((line.quantity / MONTH_HOURS * line.rate for line in lines if line.sort is Sort.USAGE), ZERO)
    return Preview(tariff.currency, hourly.quantize(Decimal("0.0001")), rating.total(lines), tuple(lines))
