"""Lives of VMs in the past, written by the services with the clock set back, and price lists to rate them by."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import time_machine

from lifecycle.domain.pricing import Item
from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action, Asker
from lifecycle.models import VM, Image, PriceList, Project
from lifecycle.services import image_metering, prices
from lifecycle.services.prices import Offer
from lifecycle.services.transitions import born, move
from tests import factories

FEBRUARY = datetime(2026, 2, 1, tzinfo=UTC)
MARCH = datetime(2026, 3, 1, tzinfo=UTC)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)

#: Prices per unit-hour that are easy to reckon with.
ROUND_PRICES = (
    (Item.VCPU, "0.036"),
    (Item.MEMORY, "0.0072"),
    (Item.SUSPENDED_MEMORY, "0.00036"),
    (Item.DISK, "0.00018"),
)
SLA = [["0.999", "10"], ["0.99", "25"], ["0.95", "50"]]


def feb(day: int, hour: float = 0) -> datetime:
    """A moment of February 2026."""
    return FEBRUARY + timedelta(days=day - 1, hours=hour)


def price_list(
    hourly: Iterable[tuple[Item, str]] = ROUND_PRICES, valid_from: datetime = LONG_AGO, **more: object
) -> PriceList:
    """A published price list; `more` are tiers. The clock stands just before it begins."""
    offers = [Offer(item, prices.per_second(price)) for item, price in hourly]
    with time_machine.travel(valid_from - timedelta(days=1), tick=False):
        made = prices.draft_price_list("EUR", valid_from, offers, **more)  # type: ignore[arg-type]
        return prices.publish(made, user=None)


def vm_born(project: Project, at: datetime, name: str = "", state: State = State.RUNNING, **fields: object) -> VM:
    """A VM that was adopted at `at`, as it is."""
    with time_machine.travel(at, tick=False):
        vm = factories.make_vm(project, name, state, created_at=at, state_since=at, **fields)  # type: ignore[arg-type]
        born(vm, Action.ADOPT, asked_by=Asker.OPERATOR)
    return vm


def go(
    vm: VM, action: Action, source: State, target: State | None, at: datetime, noticed: datetime | None = None
) -> None:
    """A transition that occurred at `at` and was recorded then, or at `noticed`."""
    with time_machine.travel(noticed or at, tick=False):
        move(vm.id, action, source, target, asked_by=Asker.OBSERVER, occurred_at=at)


def stop(vm: VM, at: datetime) -> None:
    """By its user, at once."""
    go(vm, Action.STOP, State.RUNNING, State.STOPPING, at)
    go(vm, Action.STOP, State.STOPPING, State.TERMINATED, at)


def start(vm: VM, at: datetime) -> None:
    """By its user, at once."""
    go(vm, Action.START, State.TERMINATED, State.PROVISIONING, at)
    go(vm, Action.START, State.PROVISIONING, State.STAGING, at)
    go(vm, Action.START, State.STAGING, State.RUNNING, at)


def crash(
    vm: VM, at: datetime, repaired: datetime, target: State = State.RUNNING, noticed: datetime | None = None
) -> None:
    """RUNNING -> REPAIRING -> `target`."""
    go(vm, Action.CRASH, State.RUNNING, State.REPAIRING, at, noticed)
    go(vm, Action.CRASH, State.REPAIRING, target, repaired, max(repaired, noticed or repaired))


def delete(vm: VM, at: datetime) -> None:
    """From RUNNING, at once."""
    go(vm, Action.DELETE, State.RUNNING, State.STOPPING, at)
    go(vm, Action.DELETE, State.STOPPING, None, at)


def image_born(project: Project, at: datetime, name: str, size_mib: int) -> Image:
    """A project's own image that became ready at `at`."""
    with time_machine.travel(at, tick=False):
        return factories.make_image(name, project=project, size_bytes=size_mib * 2**20)


def image_gone(image: Image, at: datetime) -> None:
    """Deleted, as its service does it."""
    with time_machine.travel(at, tick=False):
        image_metering.gone(image, user=None)
        Image.objects.filter(pk=image.pk).update(status=Image.Status.DELETED)


def money(text: str) -> Decimal:
    """An amount."""
    return Decimal(text)
