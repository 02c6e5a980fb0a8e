"""What lines of a bill are called, in the reader's language."""

from decimal import Decimal
from typing import Final

from django.utils import formats
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from lifecycle.domain.pricing import Item, Line, Sort
from lifecycle.models import InvoiceLine

#: A line as it is derived or as it is kept.
AnyLine = InvoiceLine | Line

ITEMS: Final = {
    Item.VCPU: gettext_lazy("vCPU"),
    Item.MEMORY: gettext_lazy("Memory"),
    Item.SUSPENDED_MEMORY: gettext_lazy("Memory while suspended"),
    Item.DISK: gettext_lazy("Disk"),
    Item.ADDRESS: gettext_lazy("Address"),
    Item.IMAGE: gettext_lazy("Storage of images"),
    Item.REPAIR: gettext_lazy("Repair, not billed"),
}
#: What one unit-hour of an item is called.
UNITS: Final = {
    Item.VCPU: gettext_lazy("vCPU·h"),
    Item.MEMORY: gettext_lazy("GiB·h"),
    Item.SUSPENDED_MEMORY: gettext_lazy("GiB·h"),
    Item.DISK: gettext_lazy("GiB·h"),
    Item.ADDRESS: gettext_lazy("h"),
    Item.IMAGE: gettext_lazy("GiB·h"),
    Item.REPAIR: gettext_lazy("h"),
}
_SORTS: Final = {
    Sort.SUSTAINED: gettext_lazy("Sustained-use discount"),
    Sort.SLA: gettext_lazy("Credit for missed uptime"),
    Sort.FREE: gettext_lazy("Free tier"),
    Sort.COMMITTED: gettext_lazy("Covered by committed use"),
    Sort.COMMITMENT: gettext_lazy("Committed use"),
    Sort.DISCOUNT: gettext_lazy("Discount"),
    Sort.CREDIT: gettext_lazy("Credit"),
    Sort.CORRECTION: gettext_lazy("Correction of"),
}
#: Sorts whose rate is a percentage.
PERCENTAGES: Final = frozenset({Sort.SUSTAINED, Sort.SLA, Sort.DISCOUNT, Sort.COMMITMENT})


def item_name(item: str) -> str:
    """The name of an item."""
    return str(ITEMS.get(Item(item), item)) if item else ""


def title(line: AnyLine) -> str:
    """What the line is."""
    sort = Sort(line.sort)
    if sort in {Sort.USAGE, Sort.REPAIR}:
        return item_name(line.item)
    name = str(_SORTS[sort])
    if sort is Sort.CORRECTION:
        return f"{name} {line.reference}"
    return f"{name} – {item_name(line.item)}" if line.item else name


def detail(line: AnyLine) -> str:
    """Of which kind and where."""
    return " · ".join(filter(None, [line.kind, line.zone]))


def quantity(line: AnyLine) -> str:
    """In unit-hours; of a percentage, the hours or nothing."""
    hours = Decimal(line.quantity) / 3600
    if not hours:
        return ""
    unit = UNITS[Item(line.item)] if line.item else _("h")
    return f"{formats.number_format(hours.quantize(Decimal('0.0001')), use_l10n=True, force_grouping=True)} {unit}"


def rate(line: AnyLine) -> str:
    """Per unit-hour, or in percent."""
    if line.sort in PERCENTAGES:
        return f"{formats.number_format(_short(line.rate))} %"
    if not line.rate:
        return "0" if line.sort == Sort.REPAIR else ""
    return formats.number_format(_short((line.rate * 3600).quantize(Decimal("0.0000000001"))))


def _short(number: Decimal) -> Decimal:
    """Without zeros at the end."""
    short = number.normalize()
    return short.quantize(Decimal(1)) if short == short.to_integral() else short


def money(amount: Decimal, currency: str) -> str:
    """An amount with its currency, as the reader's language writes it."""
    return f"{formats.number_format(amount, 2, use_l10n=True, force_grouping=True)} {currency}".replace("-", "−")
