"""Costs by label: which team, environment or product they belong to, by the labels that VMs had at the time.

Each interval keeps the labels of its VM from when it began; a change of labels counts from the next transition on.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import groupby

from lifecycle.billing import costs, rating
from lifecycle.domain import pricing
from lifecycle.domain.metering import Shape
from lifecycle.domain.pricing import Piece
from lifecycle.domain.states import State
from lifecycle.models import MeteringInterval, Project
from lifecycle.services import prices

_COLUMNS = ("vm_id", "labels", "state", "started_at", "ended_at")
_SHAPE = ("machine_type", "vcpus", "memory_mib", "disk_gib", "family", "zone")


@dataclass(frozen=True, slots=True)
class Share:
    """What one value of the label costs; None: VMs without the label, and the project's images."""

    value: str | None
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Allocation:
    """A month so far by the values of one label, dearest first. At list price: before discounts and credits."""

    currency: str
    since: datetime
    key: str
    keys: tuple[str, ...]
    shares: tuple[Share, ...]

    @property
    def total(self) -> Decimal:
        """All of it."""
        return sum((share.amount for share in self.shares), costs.NOTHING)


def by_label(project: Project, key: str, now: datetime) -> Allocation:
    """The project's month by the values of `key`; by the first label there is when it is none of them.

    Two queries, and the prices'; one VM's intervals are in memory at a time, and sums for every label and value.
    """
    since, _until = costs.month_of(project, now)
    tariff = prices.tariff()
    parts = tariff.parts(since, now)
    sums: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(lambda: costs.NOTHING))
    total = costs.NOTHING
    rows = rating.rows_within(MeteringInterval.objects.filter(project=project), since, now)
    for labels, pieces in _by_vm_and_labels(rows) if parts else ():
        amount = rating.total(pricing.rate(pieces, parts))
        total += amount
        for name, value in labels.items():
            sums[name][value] += amount
    for pieces in pricing.by_resource(rating.images(project, since, now) if parts else ()):
        total += rating.total(pricing.rate(pieces, parts))  # an image has no labels
    keys = tuple(sorted(sums))
    chosen = key if key in sums else next(iter(keys), "")
    shares = [Share(value, amount) for value, amount in sums[chosen].items()] if chosen else []
    rest = total - sum((share.amount for share in shares), costs.NOTHING)
    if rest:
        shares.append(Share(None, rest))
    shares.sort(key=lambda share: (-share.amount, share.value or ""))
    return Allocation(tariff.currency, since, chosen, keys, tuple(shares))


def _by_vm_and_labels(rows: rating.Rows) -> Iterator[tuple[dict[str, str], list[Piece]]]:
    """The pieces of each VM, those with the same labels together."""
    found = rows.order_by("vm_id", "opened_by_id").values_list(*_COLUMNS, *_SHAPE)
    for vm_id, mine in groupby(found.iterator(chunk_size=rating.ROWS_AT_ONCE), key=lambda row: row[0]):
        groups: dict[tuple[tuple[str, str], ...], list[Piece]] = defaultdict(list)
        for _vm, labels, state, start, end, *shape in mine:
            held = pricing.held(State(state), Shape(*shape))
            groups[tuple(sorted((labels or {}).items()))].append(Piece(str(vm_id), shape[-1], start, end, held))
        for labels, pieces in groups.items():
            yield dict(labels), pieces
