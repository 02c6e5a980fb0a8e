"""The billing dashboard: revenue by day, project and family, unbilled repair beside its cost, credits; and exports."""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Final

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.decorators import action, display

from lifecycle.admin.base import ReadOnlyAdmin
from lifecycle.billing import revenue as rated
from lifecycle.billing import words
from lifecycle.domain import axes
from lifecycle.models import Repair, RevenueDay
from lifecycle.services import prices, revenue

WIDTH: Final = 620
HEIGHT: Final = 120
#: Days from one date under the charts to the next: the first and the last of 31 have theirs.
DAYS_A_MARK: Final = 6
#: The columns of an export; its numbers have a point, whatever the language.
COLUMNS: Final = ("day", "project", "item", "family", "quantity", "amount", "currency")


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of a chart: where it stands in the picture, and what it says."""

    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars with their scale: the words of its lines from the top down, and where in the picture each line is."""

    bars: list[Bar]
    scale: list[tuple[str, float]]


def chart(values: Sequence[Decimal], titles: Sequence[str], unit: str) -> Chart:
    """Upright bars over the whole width, under the round number above the highest value."""
    ticks = axes.ticks(max([*values, Decimal(0)]))
    step = WIDTH / max(1, len(values))
    heights = [float(value / ticks[-1]) * HEIGHT for value in values]
    found = [
        Bar(round(number * step + 1, 1), round(HEIGHT - height, 1), round(step - 2, 1), round(height, 1), title)
        for number, (height, title) in enumerate(zip(heights, titles, strict=True))
    ]
    places = max(0, -int(ticks[1].normalize().as_tuple().exponent))
    lines = [(tick, round(HEIGHT - float(tick / ticks[-1]) * HEIGHT, 1)) for tick in reversed(ticks)]
    words_of = (number_format(tick, places, use_l10n=True, force_grouping=True) for tick, _y in lines)
    return Chart(found, [(f"{text} {unit}", y) for text, (_tick, y) in zip(words_of, lines, strict=True)])


def dashboard() -> dict[str, Any]:
    """All that the page shows above its list: a constant number of queries."""
    now = timezone.now()
    days = revenue.by_day(now)
    currency = prices.tariff().currency
    names = [date_format(day.day, "DATE_FORMAT") for day in days]
    return {
        "currency": currency,
        "days": days,
        "marks": [_mark(day.day) if number % DAYS_A_MARK == 0 else "" for number, day in enumerate(days)],
        "revenue_chart": chart(
            [day.amount for day in days],
            [f"{name}: {words.money(day.amount, currency)}" for name, day in zip(names, days, strict=True)],
            currency,
        ),
        "repair_chart": chart(
            [day.repair_hours for day in days],
            [
                f"{name}: {day.repair_hours:.1f} h, {words.money(day.forgone, currency)}"
                for name, day in zip(names, days, strict=True)
            ],
            "h",
        ),
        "revenue_total": sum((day.amount for day in days), Decimal(0)),
        "forgone_total": sum((day.forgone for day in days), Decimal(0)),
        "repair_hours": sum((day.repair_hours for day in days), Decimal(0)),
        "projects": _shares(revenue.by_project(now)),
        "families": _shares(revenue.by_family(now)),
        "given": revenue.given(),
        "credits_open": revenue.credits_open(now),
        "causes": [(row, dict(Repair.Cause.choices)[row.cause]) for row in rated.by_cause(now)],
        "width": WIDTH,
        "height": HEIGHT,
    }


def _mark(day: date) -> str:
    """A date that is short enough to stand under a chart."""
    return date_format(day, pgettext("date under a chart", "j M"))


def _shares(shares: Sequence[revenue.Share]) -> list[tuple[revenue.Share, str]]:
    """Each with its length in percent of the longest, as a meter takes it."""
    top = max([*(share.amount for share in shares), Decimal("0.01")])
    return [(share, f"{share.amount * 100 / top:.1f}") for share in shares]


@admin.register(RevenueDay)
class RevenueAdmin(ReadOnlyAdmin):
    """The dashboard over the rows it is made of."""

    list_display = ["day", "project", "shown_item", "family", "hours", "amount"]
    list_filter = [("project", AutocompleteSelectFilter), "item", "family"]
    search_fields = ["project__slug", "item", "family"]
    list_select_related = ["project"]
    list_per_page = 25
    ordering = ["-day", "project__slug", "item", "family"]
    list_before_template = "admin/lifecycle/billing/revenue.html"
    actions_list = ["export_csv", "export_json"]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """With the charts above the list."""
        return super().changelist_view(request, {**(extra_context or {}), **dashboard()})  # type: ignore[no-any-return]

    @display(description=_("item"), ordering="item")
    def shown_item(self, row: RevenueDay) -> str:
        """Its name."""
        return words.item_name(row.item)

    @display(description=_("unit-hours"), ordering="quantity")
    def hours(self, row: RevenueDay) -> str:
        """As people read it."""
        return f"{row.quantity / 3600:.2f}"

    @action(description=_("Export as CSV"), permissions=["view"], url_path="csv")
    def export_csv(self, request: HttpRequest) -> StreamingHttpResponse:
        """The rows of the charts, one a line."""
        response = StreamingHttpResponse(_csv(), content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = 'attachment; filename="revenue.csv"'
        return response

    @action(description=_("Export as JSON"), permissions=["view"], url_path="json")
    def export_json(self, request: HttpRequest) -> StreamingHttpResponse:
        """The rows of the charts, and repairs beside their cost."""
        response = StreamingHttpResponse(_json(), content_type="application/json")
        response["Content-Disposition"] = 'attachment; filename="revenue.json"'
        return response


class _Echo:
    """What csv writes to: each row is handed on at once."""

    def write(self, text: str) -> str:
        return text


def _rows() -> Iterator[tuple[str, ...]]:
    currency = prices.tariff().currency
    rows = revenue.rows_since(revenue.first_day(timezone.now())).select_related("project").order_by("day", "pk")
    for row in rows.iterator(chunk_size=1000):
        quantity, amount = f"{row.quantity:f}", f"{row.amount:.2f}"
        yield row.day.isoformat(), row.project.slug, row.item, row.family, quantity, amount, currency


def _csv() -> Iterator[str]:
    writer = csv.writer(_Echo())
    yield writer.writerow(COLUMNS)
    for row in _rows():
        yield writer.writerow(row)


def _json() -> Iterator[str]:
    yield '{"days":['
    for number, row in enumerate(_rows()):
        yield (",\n" if number else "\n") + json.dumps(dict(zip(COLUMNS, row, strict=True)))
    repairs = [
        {
            "host": row.host,
            "cause": row.cause,
            "repairs": row.repairs,
            "hours": f"{row.hours:.4f}",
            "unbilled": f"{row.amount:.2f}",
        }
        for row in rated.by_cause(timezone.now())
    ]
    yield f'\n],"repairs":{json.dumps(repairs)}}}\n'
