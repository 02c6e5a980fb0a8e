"""compute.snapshots: there are none yet; lists say so, and what would make one is refused."""

from typing import Any

from lifecycle.api import finders, schemas
from lifecycle.api.call import Call
from lifecycle.api.errors import unsupported
from lifecycle.api.listing import list_answer, page_of_items
from lifecycle.api.registry import LIST_PARAMETERS, method
from lifecycle.api.schemas import Operation, Snapshot

_ALL = "projects/{project}/global/snapshots"
_WHY = "disks have no snapshots yet."


@method("snapshots.list", "GET", _ALL, schemas.list_of(Snapshot), query=LIST_PARAMETERS)
def list_(call: Call) -> dict[str, Any]:
    """The project's snapshots: there are none."""
    items, token = page_of_items(call, [])
    return list_answer(call, "snapshot", items, token)


@method("snapshots.get", "GET", _ALL + "/{snapshot}", Snapshot)
def get(call: Call) -> Snapshot:
    """One snapshot: there is none."""
    raise call.missing()


@method("snapshots.insert", "POST", _ALL, Operation, body=Snapshot, query=("requestId",))
def insert(call: Call) -> Operation:
    """Refused: disks have no snapshots."""
    raise unsupported("snapshots.insert", _WHY)


@method(
    "disks.createSnapshot",
    "POST",
    "projects/{project}/zones/{zone}/disks/{disk}/createSnapshot",
    Operation,
    body=Snapshot,
    query=("guestFlush", "requestId"),
)
def create(call: Call) -> Operation:
    """Refused: disks have no snapshots."""
    finders.zone_in(call)
    raise unsupported("disks.createSnapshot", _WHY)
