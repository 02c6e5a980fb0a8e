"""Lists: a page at a time, in order, filtered; without a filter the database does it all."""

import base64
import binascii
import heapq
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, TypeVar
from uuid import UUID

from django.db.models import Model, Q, QuerySet

from lifecycle.api import filters
from lifecycle.api.call import Call
from lifecycle.api.errors import ApiError, invalid

MAX_RESULTS: Final = 500
NEWEST_FIRST: Final = "creationTimestamp desc"

Row = TypeVar("Row", bound=Model)
Item = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Order:
    """The columns a list is ordered by: by name, and by time for `creationTimestamp desc`. The last is unique.

    `columns` are those that hold a text of the resource as it is, by the name of its field: what a filter wants of
    them, the database looks up.
    """

    by_name: tuple[str, ...]
    by_time: tuple[str, ...]
    columns: Mapping[str, str] = field(default_factory=dict)


def max_results(call: Call) -> int:
    """How many a page may hold: 0 and nothing mean as many as possible."""
    text = call.query.get("maxResults", "")
    if not text:
        return MAX_RESULTS
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise invalid("maxResults", text, "It must be a number from 0 to 500.")
    if int(text) > MAX_RESULTS:
        raise invalid("maxResults", text, "Must be less than or equal to 500.")
    return int(text) or MAX_RESULTS


def order_by(call: Call) -> str:
    """`name`, or `creationTimestamp desc`."""
    text = call.query.get("orderBy", "") or "name"
    if text not in {"name", NEWEST_FIRST}:
        raise invalid("orderBy", text, f"Only 'name' and '{NEWEST_FIRST}' are possible.")
    return text


def filter_of(call: Call) -> filters.Filter:
    """Whether the call's filter lets a resource through."""
    return filters.parse(call.query.get("filter", ""))


def page_of(
    call: Call,
    rows: "QuerySet[Row] | Sequence[QuerySet[Any]]",
    build: Callable[[Row], Item],
    order: Order,
    wanted: filters.Predicate | None = None,
) -> tuple[list[tuple[Row, Item]], str]:
    """One page of `rows` with what stands for each on the wire, and the token of the next ("" after the last).

    Several sets of rows with the same columns make one list. What was built is held against the call's filter, or
    against `wanted` where `build` has done so.
    """
    asked = filter_of(call)
    wanted = wanted or asked
    most = max_results(call)
    # What a filter lets through is few of many, and a chunk costs the same queries whatever its size.
    size = MAX_RESULTS if call.query.get("filter") else most + 1
    newest_first = order_by(call) == NEWEST_FIRST
    columns = order.by_time if newest_first else order.by_name
    equal = {column: asked.equal[name] for name, column in order.columns.items() if name in asked.equal}
    sets = [few.filter(**equal) for few in ([rows] if isinstance(rows, QuerySet) else rows)]
    kept: list[tuple[Row, Item]] = []
    for row in _merged(sets, columns, _after(call, columns), newest_first, size):
        item = build(row)
        if not wanted(dict(item)):
            continue
        if len(kept) == most:
            return kept, _token(order_by(call), [getattr(kept[-1][0], column) for column in columns])
        kept.append((row, item))
    return kept, ""


def _merged(
    sets: "Sequence[QuerySet[Any]]", columns: Sequence[str], after: list[Any] | None, newest_first: bool, size: int
) -> Iterator[Any]:
    def place(row: Any) -> tuple[Any, ...]:
        return tuple(getattr(row, column) for column in columns)

    order = [f"-{column}" if newest_first else column for column in columns]
    streams = [_from(rows.order_by(*order), columns, after, newest_first, size) for rows in sets]
    return heapq.merge(*streams, key=place, reverse=newest_first)


def _from(
    rows: "QuerySet[Row]", columns: Sequence[str], after: list[Any] | None, newest_first: bool, size: int
) -> Iterator[Row]:
    """The rows after a place, some hundred at a time: a filter may pass many before a page is full."""
    while True:
        chunk = list((rows if after is None else rows.filter(_beyond(columns, after, newest_first)))[:size])
        yield from chunk
        if len(chunk) < size:
            return
        after = [getattr(chunk[-1], column) for column in columns]


def _beyond(columns: Sequence[str], after: list[Any], newest_first: bool) -> Q:
    """Rows that come later in the order than the values `after`."""
    comparison = "lt" if newest_first else "gt"
    found = Q()
    for index, column in enumerate(columns):
        equal = dict(zip(columns[:index], after[:index], strict=True))
        found |= Q(**equal, **{f"{column}__{comparison}": after[index]})
    return found


def _token(order: str, values: Sequence[Any]) -> str:
    texts = [value.isoformat() if isinstance(value, datetime) else value for value in values]
    kept = json.dumps([order, [str(text) if isinstance(text, UUID) else text for text in texts]])
    return base64.urlsafe_b64encode(kept.encode()).decode()


def _after(call: Call, columns: Sequence[str]) -> list[Any] | None:
    """The place that the page token names; None for the first page."""
    text = call.query.get("pageToken", "")
    if not text:
        return None
    try:
        order, values = json.loads(base64.b64decode(text.encode(), altchars=b"-_", validate=True))
        if order != order_by(call) or len(values) != len(columns):
            raise _wrong_token(text)
        return [_typed(column, value) for column, value in zip(columns, values, strict=True)]
    except (binascii.Error, ValueError, TypeError, OverflowError, RecursionError):
        raise _wrong_token(text) from None


def _typed(column: str, value: Any) -> Any:
    """A value of a token, made by anybody, as its column's type."""
    if column in _TIMES:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError(value)
        return moment.astimezone(UTC)
    if column == "name":
        if not isinstance(value, str) or "\0" in value:
            raise ValueError(value)
        return value
    return UUID(value) if isinstance(value, str) else _small(value)


def _small(value: Any) -> int:
    if not isinstance(value, int) or not 0 <= value < 1 << 62:
        raise ValueError(value)
    return value


_TIMES: Final = frozenset({"created_at", "insert_time", "deleted_at"})


def _wrong_token(text: str) -> ApiError:
    return invalid("pageToken", text, "It is not the token of a page of this list in this order.")


# -- lists that are not rows -----------------------------------------------------------------------


def page_of_items(call: Call, items: Sequence[Item]) -> tuple[list[Item], str]:
    """One page of few items that are at hand; they have names."""
    wanted = filter_of(call)
    most = max_results(call)
    newest_first = order_by(call) == NEWEST_FIRST
    ordered = sorted(items, key=lambda item: str(item["name"]), reverse=newest_first)
    if after := _after(call, ("name",)):
        ordered = [i for i in ordered if (i["name"] < after[0] if newest_first else i["name"] > after[0])]
    kept = [item for item in ordered if wanted(dict(item))]
    token = _token(order_by(call), [kept[most - 1]["name"]]) if len(kept) > most else ""
    return kept[:most], token


# -- answers ---------------------------------------------------------------------------------------


def list_answer(call: Call, kind: str, items: Sequence[Item], token: str) -> dict[str, Any]:
    """The answer to a list; without items it has none, and without a further page no token."""
    address = call.address
    answer: dict[str, Any] = {"kind": f"compute#{kind}List", "id": address.partition("/compute/v1/")[2]}
    if items:
        answer["items"] = list(items)
    if token:
        answer["nextPageToken"] = token
    answer["selfLink"] = address
    return answer


def aggregated_answer(
    call: Call, kind: str, by_scope: Mapping[str, Sequence[Item]], token: str, collection: str
) -> dict[str, Any]:
    """The answer to an aggregated list: every scope, those without results saying so."""
    address = call.address
    return {
        "kind": f"compute#{kind}AggregatedList",
        "id": address.partition("/compute/v1/")[2],
        "items": {
            scope: {collection: list(items)} if items else {"warning": _no_results(scope)}
            for scope, items in by_scope.items()
        },
        **({"nextPageToken": token} if token else {}),
        "selfLink": address,
    }


def _no_results(scope: str) -> dict[str, Any]:
    return {
        "code": "NO_RESULTS_ON_PAGE",
        "message": f"There are no results for scope '{scope}' on this page.",
        "data": [{"key": "scope", "value": scope}],
    }
