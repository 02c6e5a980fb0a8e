"""What a line of an invoice goes back to: the exact intervals, with their states, and the rate."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from lifecycle.billing.rating import rows_within
from lifecycle.domain import pricing
from lifecycle.domain.metering import Shape
from lifecycle.domain.pricing import Item, Sort, Tariff
from lifecycle.domain.states import State
from lifecycle.models import ImageInterval, Invoice, InvoiceLine, MeteringInterval, Repair
from lifecycle.services import prices

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Not named among what a stay was billed: repair is nothing, and every VM has an address.
_UNTOLD = frozenset({Item.REPAIR, Item.ADDRESS})
_SHAPE = ("machine_type", "vcpus", "memory_mib", "disk_gib", "family", "zone")

#: Lines that are made of intervals; the others are made of lines.
MEASURED = frozenset({Sort.USAGE, Sort.REPAIR})


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an interval within a line. `quantity` is in unit-seconds, as they are priced.

    Attributes:
        state: the VM's; None: an image was in the store.
        opened_by: the row of the log of transitions, or of the images' log, that began it.
    """

    state: State | None
    start: datetime
    end: datetime
    units: Decimal
    quantity: Decimal
    opened_by: int

    @property
    def seconds(self) -> Decimal:
        """Its length."""
        return Decimal((self.end - self.start) // timedelta(microseconds=1)) / 1_000_000


def of_line(line: InvoiceLine, tariff: Tariff | None = None) -> Iterator[Part]:
    """The intervals behind a line, in their order. Their quantities sum to the line's; nothing for other sorts."""
    if line.sort not in MEASURED or not (line.vm_id or line.image_id):
        return
    invoice = line.invoice
    parts = (tariff or prices.tariff()).parts(invoice.period_start, invoice.period_end)
    inside = [(start, end) for book, start, end in parts if book.version == line.version]
    yield from _of_image(line, inside) if line.image_id else _of_vm(line, inside)


_Inside = list[tuple[int, int]]


def _of_vm(line: InvoiceLine, inside: _Inside) -> Iterator[Part]:
    invoice = line.invoice
    rows = rows_within(MeteringInterval.objects.filter(vm=line.vm_id), invoice.period_start, invoice.period_end)
    found = rows.order_by("opened_by_id").values_list("state", "started_at", "ended_at", "opened_by_id", *_SHAPE)
    for state, begun, ended, number, *shape in found.iterator():
        if shape[-1] != line.zone:
            continue
        for held in pricing.held(State(state), Shape(*shape)):
            if (held.item, held.kind) == (line.item, line.kind):
                yield from _clipped(State(state), begun, ended, number, held, inside)


def _of_image(line: InvoiceLine, inside: _Inside) -> Iterator[Part]:
    rows = ImageInterval.objects.filter(image=line.image_id)
    found = rows_within(rows, line.invoice.period_start, line.invoice.period_end).order_by("opened_by_id")
    for begun, ended, number, size in found.values_list("started_at", "ended_at", "opened_by_id", "size_mib"):
        for held in pricing.kept(size):
            yield from _clipped(None, begun, ended, number, held, inside)


def _clipped(
    state: State | None,
    begun: datetime,
    ended: datetime | None,
    number: int,
    held: pricing.Holding,
    inside: _Inside,
) -> Iterator[Part]:
    for since, until in inside:
        start = max(since, pricing.microseconds(begun))
        end = min(until, pricing.microseconds(ended)) if ended else until
        if start < end:
            units = pricing.quantity_of(held.item, held.units * 1_000_000)
            quantity = pricing.quantity_of(held.item, held.units * (end - start))
            yield Part(state, _moment(start), _moment(end), units, quantity, number)


def _moment(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


@dataclass(frozen=True, slots=True)
class Stay:
    """A stay of a VM in a state within a month, and whether its vCPUs, memory and disks were billed.

    Without a state: the time that an image was in the store.
    """

    name: str
    state: State | None
    start: datetime
    end: datetime
    sold: tuple[Item, ...]


def of_invoice(invoice: Invoice, most: int) -> list[Stay]:
    """The first `most` + 1 stays behind an invoice, VM by VM and then image by image.

    One more than asked for says that there are more. Images are listed when they were billed.
    """
    found = _of_vms(invoice, most + 1)
    billed = invoice.lines.filter(item=Item.IMAGE).exists()
    return found + (_of_images(invoice, most + 1 - len(found)) if billed else [])


def _of_vms(invoice: Invoice, most: int) -> list[Stay]:
    rows = rows_within(
        MeteringInterval.objects.filter(project=invoice.project_id), invoice.period_start, invoice.period_end
    )
    names = ("vm__name", "state", "started_at", "ended_at", *_SHAPE)
    found = []
    for name, state, begun, ended, *shape in rows.order_by("vm__name", "vm_id", "opened_by_id").values_list(*names)[
        :most
    ]:
        start, end = max(begun, invoice.period_start), min(ended or invoice.period_end, invoice.period_end)
        if start < end:
            sold = tuple(held.item for held in pricing.held(State(state), Shape(*shape)) if held.item not in _UNTOLD)
            found.append(Stay(name, State(state), start, end, sold))
    return found


def _of_images(invoice: Invoice, most: int) -> list[Stay]:
    rows = rows_within(
        ImageInterval.objects.filter(project=invoice.project_id), invoice.period_start, invoice.period_end
    ).order_by("image__name", "image_id", "opened_by_id")
    found = []
    for name, begun, ended in rows.values_list("image__name", "started_at", "ended_at")[:most]:
        start, end = max(begun, invoice.period_start), min(ended or invoice.period_end, invoice.period_end)
        if start < end:
            found.append(Stay(name, None, start, end, (Item.IMAGE,)))
    return found


def repairs_of(line: InvoiceLine) -> list[Repair]:
    """The repair records that an SLA credit goes back to: one query."""
    if line.sort != Sort.SLA or not line.reference:
        return []
    numbers = [int(number) for number in line.reference.split(",") if number.isdigit()]
    return list(Repair.objects.filter(pk__in=numbers, vm=line.vm_id).order_by("opened_at", "pk"))
