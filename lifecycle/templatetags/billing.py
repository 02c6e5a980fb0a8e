"""`{% load billing %}`: amounts, quantities and moments of bills."""

from datetime import datetime
from decimal import ROUND_DOWN, Decimal
from zoneinfo import ZoneInfo

from django import template
from django.utils import timezone
from django.utils.dates import WEEKDAYS_ABBR
from django.utils.formats import date_format, number_format
from django.utils.translation import gettext as _

from lifecycle import labels
from lifecycle.billing import words
from lifecycle.models import InvoiceLine

register = template.Library()
register.filter("item_name", words.item_name)
register.filter("line_title", words.title)
register.filter("line_detail", words.detail)
register.filter("line_quantity", words.quantity)
register.filter("line_rate", words.rate)
register.filter("days", labels.weekdays)


@register.filter(name="sum")
def sum_of_money(amount: Decimal) -> str:
    """An amount without its currency."""
    return number_format(amount, 2, use_l10n=True, force_grouping=True).replace("-", "−")


@register.filter
def money(amount: Decimal, currency: str) -> str:
    """An amount with its currency."""
    return words.money(amount, currency)


@register.filter
def percentage(share: Decimal) -> str:
    """A share as percent, cut to three digits: 99.9999 % is never shown as 100."""
    return short((share * 100).quantize(Decimal("0.001"), ROUND_DOWN))


@register.filter
def short(number: Decimal) -> str:
    """Without zeros at the end."""
    return number_format(number.normalize() if number % 1 else int(number), use_l10n=True, force_grouping=True)


@register.filter
def unit_seconds(line: InvoiceLine) -> str:
    """The quantity as it is kept."""
    return short(Decimal(line.quantity))


@register.filter
def at(moment: datetime, zone: ZoneInfo) -> str:
    """Date and time to the second in `zone`, with its abbreviation: of two hours called alike it tells which."""
    local = timezone.localtime(moment, zone)
    return f"{local:%Y-%m-%d %H:%M:%S} {local.tzname()}"


@register.filter
def day(moment: datetime, zone: ZoneInfo) -> str:
    """The date in `zone`, in words."""
    return date_format(timezone.localtime(moment, zone), "DATE_FORMAT")


@register.filter
def minute(moment: datetime, zone: ZoneInfo) -> str:
    """Day of the week, date and time in `zone`, with its abbreviation."""
    local = timezone.localtime(moment, zone)
    return f"{WEEKDAYS_ABBR[local.weekday()]} {local:%Y-%m-%d %H:%M} {local.tzname()}"


@register.simple_tag
def length(start: datetime, end: datetime) -> str:
    """How long: hours, minutes, seconds, whatever the clocks on the wall did."""
    seconds = round((end - start).total_seconds())
    return _("%(h)s h %(m)s min %(s)s s") % {"h": seconds // 3600, "m": seconds // 60 % 60, "s": seconds % 60}


@register.filter
def hours(line: InvoiceLine) -> Decimal:
    """The quantity in unit-hours."""
    return Decimal(line.quantity) / 3600
