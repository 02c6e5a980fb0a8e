"""A database that was put back from a backup: what a return in time must not bring back, or give a second time."""

from dataclasses import dataclass
from itertools import islice
from typing import Final

from django.contrib.sessions.models import Session
from django.db import connection
from django.db.models import F
from django.utils import timezone

from lifecycle.models import Address, Network, Operation, Project
from lifecycle.services.db import service
from lifecycle.services.networks import never_used

#: More events than a project can have had since the backup. Their numbers were given to browsers already; a page that
#: is left open would take a new event of such a number for one that it knows.
EVENT_GAP: Final = 1_000_000
#: More projects than were made since. Their numbers stand in the names of networks that may still be on the hosts.
PROJECT_GAP: Final = 256
#: More addresses than a project's VMs were given since. Guests that the record does not know may still have them.
ADDRESS_GAP: Final = 256


@dataclass(frozen=True, slots=True)
class Settled:
    """`sessions` were ended; `open_operations` go on when a worker starts."""

    sessions: int
    open_operations: int


@service
def settle() -> Settled:
    """End every session (one that was ended since would live again), and leave gaps in what is given once."""
    sessions, _by_model = Session.objects.all().delete()
    Project.objects.update(last_event_number=F("last_event_number") + EVENT_GAP)
    _skip_projects()
    for network in Network.objects.all():
        _rest_addresses(network)
    return Settled(sessions, Operation.objects.exclude(status=Operation.Status.DONE).count())


def _rest_addresses(network: Network) -> None:
    """Addresses never used rest as if they had been released now: they are given when no others are left."""
    now = timezone.now()
    Address.objects.bulk_create(
        Address(network=network, ip=ip, released_at=now) for ip in islice(never_used(network), ADDRESS_GAP)
    )


def _skip_projects() -> None:
    table = Project._meta.db_table
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("UPDATE sqlite_sequence SET seq = seq + %s WHERE name = %s", [PROJECT_GAP, table])
        else:
            sequence = "pg_get_serial_sequence(%s, 'id')"
            cursor.execute(f"SELECT setval({sequence}, nextval({sequence}) + %s)", [table, table, PROJECT_GAP])
