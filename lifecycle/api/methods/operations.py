"""compute.zoneOperations, and the global and regional ones, of which there are none."""

from typing import Any

from django.db.models import QuerySet

from lifecycle.api import finders, schemas
from lifecycle.api.call import Call
from lifecycle.api.errors import ApiError
from lifecycle.api.links import range_of
from lifecycle.api.listing import Order, aggregated_answer, list_answer, page_of, page_of_items
from lifecycle.api.registry import LIST_PARAMETERS, method
from lifecycle.api.resources.operations import operation_of
from lifecycle.api.schemas import Nothing, Operation
from lifecycle.models import Change, Zone
from lifecycle.models import Operation as Row
from lifecycle.services import operations
from lifecycle.services.operations import reused

_ALL = "projects/{project}/zones/{zone}/operations"
_ONE = _ALL + "/{operation}"
_GLOBAL = "projects/{project}/global/operations/{operation}"
_REGIONAL = "projects/{project}/regions/{region}/operations"
_LIST = schemas.list_of(Operation)
ORDER = Order(by_name=("pk",), by_time=("insert_time", "pk"))


def known_operation(call: Call) -> Operation | None:
    """The operation of this request, when it was made before: nothing is done twice, though it was deleted since.

    Raises:
        RequestIdReused: it was another request, of another kind or for another VM.
    """
    if call.request_id is None:
        return None
    for rows in finders.every_operation(call, request_id=call.request_id):
        if (found := rows.first()) is not None:
            again = operation_of(found, call.links)
            if again["operationType"] != call.method.id.partition(".")[2] or not _is_of_address(call, found):
                raise reused(call.request_id, again["operationType"], found.target_name)
            return again
    return None


def _is_of_address(call: Call, row: Row | Change) -> bool:
    """Whether the operation's VM, which may be gone, is the one that the call's address names."""
    text = call.path["instance"]
    between = range_of(text)
    named = between[0] <= row.vm_id <= between[1] if between else row.target_name == text
    return named and row.vm.zone.name == call.path["zone"]


def answer_of(call: Call, row: Row | Change) -> Operation:
    """The operation as it is now, with all that an answer shows of it."""
    index = 0 if isinstance(row, Row) else 1
    return operation_of(finders.every_operation(call, pk=row.pk)[index].get(), call.links)


@method("zoneOperations.get", "GET", _ONE, Operation)
def get(call: Call) -> Operation:
    """One operation."""
    return operation_of(finders.operation_in(call), call.links)


@method("zoneOperations.list", "GET", _ALL, _LIST, query=LIST_PARAMETERS)
def list_(call: Call) -> dict[str, Any]:
    """The operations of a zone."""
    rows = finders.operations(call, vm__zone=finders.zone_in(call))
    page, token = _page(call, rows)
    return list_answer(call, "operation", [item for _row, item in page], token)


@method("zoneOperations.wait", "POST", _ONE + "/wait", Operation, body=Nothing, writes=False)
def wait(call: Call) -> Operation:
    """The operation when it is DONE, or after a few seconds; who finds it not DONE asks again."""
    return operation_of(finders.operation_in(call), call.links)


@method("zoneOperations.delete", "DELETE", _ONE, Nothing)
def delete(call: Call) -> dict[str, Any]:
    """Take a DONE operation out of the answers of the API. The portal's history keeps it."""
    row = finders.operation_in(call)
    if isinstance(row, Row) and not row.is_done:
        raise ApiError(400, "resourceNotReady", "The operation is not DONE: only a finished one can be deleted.")
    operations.hide_from_api(row, user=call.user)
    return {}


@method(
    "globalOperations.aggregatedList",
    "GET",
    "projects/{project}/aggregated/operations",
    schemas.aggregated_list_of(Operation, "operations"),
    query=(*LIST_PARAMETERS, "includeAllScopes"),
)
def aggregated_list(call: Call) -> dict[str, Any]:
    """The operations of all zones."""
    page, token = _page(call, finders.operations(call))
    names = Zone.objects.values_list("name", flat=True)
    scopes: dict[str, list[Any]] = {"global": [], **{f"zones/{name}": [] for name in names}}
    for row, item in page:
        scopes[f"zones/{row.vm.zone.name}"].append(item)
    return aggregated_answer(call, "operation", scopes, token, "operations")


@method("globalOperations.list", "GET", "projects/{project}/global/operations", _LIST, query=LIST_PARAMETERS)
def list_global(call: Call) -> dict[str, Any]:
    """Operations that belong to no zone: there are none."""
    items, token = page_of_items(call, [])
    return list_answer(call, "operation", items, token)


@method("globalOperations.get", "GET", _GLOBAL, Operation)
def get_global(call: Call) -> Operation:
    """One operation that belongs to no zone: there is none."""
    raise call.missing()


@method("globalOperations.wait", "POST", _GLOBAL + "/wait", Operation, body=Nothing, writes=False)
def wait_global(call: Call) -> Operation:
    """One operation that belongs to no zone: there is none."""
    raise call.missing()


@method("globalOperations.delete", "DELETE", _GLOBAL, Nothing)
def delete_global(call: Call) -> dict[str, Any]:
    """One operation that belongs to no zone: there is none."""
    raise call.missing()


@method("regionOperations.list", "GET", _REGIONAL, _LIST, query=LIST_PARAMETERS)
def list_regional(call: Call) -> dict[str, Any]:
    """Operations of a region: there are none, all belong to zones."""
    finders.zones_of_region(call)
    items, token = page_of_items(call, [])
    return list_answer(call, "operation", items, token)


@method("regionOperations.get", "GET", _REGIONAL + "/{operation}", Operation)
def get_regional(call: Call) -> Operation:
    """One operation of a region: there is none."""
    raise call.missing()


@method("regionOperations.wait", "POST", _REGIONAL + "/{operation}/wait", Operation, body=Nothing, writes=False)
def wait_regional(call: Call) -> Operation:
    """One operation of a region: there is none."""
    raise call.missing()


@method("regionOperations.delete", "DELETE", _REGIONAL + "/{operation}", Nothing)
def delete_regional(call: Call) -> dict[str, Any]:
    """One operation of a region: there is none."""
    raise call.missing()


def _page(call: Call, rows: "list[QuerySet[Any]]") -> tuple[list[tuple[Any, Any]], str]:
    def build(row: Row | Change) -> Operation:
        return operation_of(row, call.links)

    return page_of(call, rows, build, ORDER)
