"""What tests of services share: seeing that nothing changed, and threads with connections of their own."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from django.apps import apps
from django.db import connection, connections, transaction

from lifecycle.domain.errors import DomainError
from lifecycle.models import VM, Address, Disk, Host, Operation, OperationStep, Project

Outcome = Any

#: One after the other: a server that is to make fifty connections at once may be too slow for the last of them.
_opening = threading.Lock()

#: Tables whose rows are compared whole; of the others, which are only ever appended to, the number.
WATCHED = (Project, VM, Operation, OperationStep, Host, Disk, Address)


def contents() -> dict[str, Any]:
    """How many rows each table of the product has, and all of those that can change."""
    names = [model._meta.db_table for model in apps.get_app_config("lifecycle").get_models()]
    counts = " UNION ALL ".join(f"SELECT '{name}', COUNT(*) FROM {name}" for name in names)  # noqa: S608  # our names
    with connection.cursor() as cursor:
        cursor.execute(counts)
        found: dict[str, Any] = dict(cursor.fetchall())
    for model in WATCHED:
        found[model._meta.label] = list(model._base_manager.order_by("pk").values_list())
    return found


@contextmanager
def refusal(error: type[DomainError], match: str | None = None) -> Iterator[pytest.ExceptionInfo[DomainError]]:
    """The block is refused with `error`, and no row of any table is made, changed or lost.

    The block runs in a transaction of its own, as a service does when a request calls it.
    """
    before = contents()
    with pytest.raises(error, match=match) as refused, transaction.atomic():
        yield refused
    assert contents() == before


@contextmanager
def no_change() -> Iterator[None]:
    """The block succeeds and changes no row of any table."""
    before = contents()
    yield
    assert contents() == before


@contextmanager
def undone() -> Iterator[None]:
    """What the block writes is taken back at its end."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def at_once(works: list[Callable[[], Outcome]]) -> list[Outcome]:
    """Run all works at the same moment, each in a thread with its own connection.

    Returns, in order, what each returned or the exception it raised.
    """
    gate = threading.Barrier(len(works))

    def run(work: Callable[[], Outcome]) -> Outcome:
        try:
            with _opening:
                connection.ensure_connection()
            gate.wait(120)
            return work()
        except Exception as error:
            return error
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, works))
