"""Rating one month of 10,000 VMs with 30 transitions each, against a plain SQL aggregate over the same rows."""

import itertools
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

from django.db import connection
from django.db.models import Model

from lifecycle.billing import rating
from lifecycle.domain.discounts import Terms
from lifecycle.domain.pricing import Item, PriceBook, Tariff
from lifecycle.domain.states import State
from lifecycle.models import VM, Image, MachineType, MeteringInterval, PriceList, Project, Transition, User, Zone
from lifecycle.services import prices
from lifecycle.services.projects import create_project
from tests.bench.figures import Row, timed

START, END = datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)
#: A life that goes round: 30 intervals, of which five are REPAIRING.
ROUND = (*(State.RUNNING, State.REPAIRING, State.RUNNING, State.STOPPING, State.TERMINATED, State.STAGING),)
FROM = {
    State.RUNNING: "",
    State.REPAIRING: State.RUNNING,
    State.STOPPING: State.RUNNING,
    State.TERMINATED: State.STOPPING,
    State.STAGING: State.PROVISIONING,
}
TRANSITIONS = 30
BATCH = 5_000


def fill(owner: User, count: int, say: Callable[[str], None]) -> Project:
    """A project with `count` VMs and their month: rows only."""
    project = create_project(f"bills-{count}", owner=owner)
    zone, image, shape = Zone.objects.all()[0], Image.objects.all()[0], MachineType.objects.get(name="standard-2")
    ids = [uuid4() for _ in range(count)]
    vms = (
        VM(
            project=project, name=f"vm-{n:05}", zone=zone, image=image, machine_type=shape, state=State.TERMINATED,
            vcpus=2, memory_mib=4096, id=pk,
            mac=f"52:56:{count % 251:02x}:{n >> 16:02x}:{n >> 8 & 255:02x}:{n & 255:02x}",
        )
        for n, pk in enumerate(ids)
    )  # fmt: skip
    _create(VM, vms)
    say(f"billing: {count * TRANSITIONS:,} transitions and intervals")
    last = Transition.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    _create(Transition, _transitions(ids, last))
    _create(MeteringInterval, _intervals(ids, last, project))
    return project


def _create(model: type[Model], rows: Iterator[Model]) -> None:
    while batch := list(itertools.islice(rows, BATCH)):
        model._default_manager.bulk_create(batch)


def _moments() -> list[datetime]:
    step = (END - START) / TRANSITIONS
    return [START + step * number + timedelta(seconds=number * 7) for number in range(TRANSITIONS)]


def _transitions(ids: list[UUID], last: int) -> Iterator[Transition]:
    moments = _moments()
    for place, pk in enumerate(ids):
        for number, at in enumerate(moments):
            state = ROUND[number % len(ROUND)]
            yield Transition(
                pk=last + 1 + place * TRANSITIONS + number, vm_id=pk, number=number, from_state=FROM[state] or "",
                to_state=state, action="adopt", asked_by="operator", occurred_at=at, recorded_at=at,
            )  # fmt: skip


def _intervals(ids: list[UUID], last: int, project: Project) -> Iterator[MeteringInterval]:
    moments = _moments()
    for place, pk in enumerate(ids):
        for number, at in enumerate(moments):
            yield MeteringInterval(
                vm_id=pk, project=project, opened_by_id=last + 1 + place * TRANSITIONS + number,
                state=ROUND[number % len(ROUND)], started_at=at,
                ended_at=moments[number + 1] if number + 1 < TRANSITIONS else None,
                machine_type="standard-2", vcpus=2, memory_mib=4096, disk_gib=10, family="standard", zone="zone-a",
            )  # fmt: skip


_SQLITE = """
SELECT SUM((julianday(MIN(COALESCE(ended_at, %s), %s)) - julianday(MAX(started_at, %s))) * 86400.0
  * (CASE WHEN state = 'RUNNING' THEN vcpus * %s + memory_mib / 1024.0 * %s ELSE 0 END
     + CASE WHEN state <> 'REPAIRING' THEN disk_gib * %s ELSE 0 END))
FROM lifecycle_meteringinterval WHERE project_id = %s AND started_at < %s"""
_POSTGRES = """
SELECT SUM(EXTRACT(EPOCH FROM LEAST(COALESCE(ended_at, %s), %s) - GREATEST(started_at, %s))
  * (CASE WHEN state = 'RUNNING' THEN vcpus * %s + memory_mib / 1024.0 * %s ELSE 0 END
     + CASE WHEN state <> 'REPAIRING' THEN disk_gib * %s ELSE 0 END))
FROM lifecycle_meteringinterval WHERE project_id = %s AND started_at < %s"""


def _book() -> PriceBook:
    found = PriceList.objects.order_by("version")[0]
    return prices.tariff(instead=found).books[0]


def _by_sql(project: Project) -> Decimal:
    """The floor: one sum over the same rows, in floating point, without lines or rounding."""
    book = _book()
    found = [book.price(item, "standard", "zone-a") for item in (Item.VCPU, Item.MEMORY, Item.DISK)]
    rates = [float(price.per_second) if price else 0.0 for price in found]
    statement = _POSTGRES if connection.vendor == "postgresql" else _SQLITE
    with connection.cursor() as cursor:
        cursor.execute(statement, [END, END, START, *rates, project.pk, END])
        return Decimal(str(cursor.fetchone()[0]))


def _rate(project: Project) -> tuple[Decimal, int]:
    """The lines of every VM, streamed: none is kept."""
    parts = Tariff((_book(),)).parts(START, END)
    total, lines = Decimal(0), 0
    for found in rating.lines_of(rating.vms(project, START, END), parts, Terms()):
        total += sum((line.amount for line in found if line.sort == "usage"), Decimal(0))
        lines += len(found)
    return total, lines


def _peak_mib(project: Project) -> float:
    tracemalloc.start()
    _rate(project)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 2**20


def run(owner: User, count: int, rounds: int, say: Callable[[str], None]) -> list[Row]:
    """Time of both in turns, and the peak of memory against a tenth of the VMs."""
    small, project = fill(owner, count // 10, say), fill(owner, count, say)
    floor = [timed(lambda: _by_sql(project)) for _ in range(rounds)]
    rated = [timed(lambda: _rate(project)) for _ in range(rounds)]
    (total, lines), plain = _rate(project), _by_sql(project)
    # Half a cent a line, and what floating-point days are wrong by.
    if abs(total - plain) > Decimal("0.005") * lines + plain * Decimal("0.0001"):
        raise RuntimeError(f"the sums differ: rated {total}, by SQL {plain}")
    peaks = f"peak of Python's memory {_peak_mib(project):.1f} MiB; of a tenth of the VMs {_peak_mib(small):.1f} MiB"
    what = f"rate a month of {count:,} VMs × {TRANSITIONS} transitions"
    return [Row(what, rated, floor, "one SQL sum over the same rows", f"{lines:,} lines, streamed; {peaks}")]
