"""Transactions: one a service call, the project's row locked first, retried when the database says so."""

import functools
import random
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar
from uuid import UUID

from django.db import OperationalError, connection, transaction

from lifecycle import tracing
from lifecycle.models import Project

P = ParamSpec("P")
R = TypeVar("R")

_RETRIES = 6
_WORTH_RETRYING = ("locked", "deadlock", "could not serialize")


def service(function: Callable[P, R]) -> Callable[P, R]:
    """Run `function` in a transaction of its own (or join the one that is open).

    SQLite's "database is locked" and PostgreSQL's deadlocks are retried from the start with a growing,
    random pause; the function must therefore read all it needs inside.
    """

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with tracing.span(f"service {function.__name__}"):
            return _run(function, *args, **kwargs)

    return run


def _run(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    if connection.in_atomic_block:
        return function(*args, **kwargs)
    for attempt in range(_RETRIES):
        try:
            with transaction.atomic():
                return function(*args, **kwargs)
        except OperationalError as error:
            if attempt + 1 == _RETRIES or not any(word in str(error) for word in _WORTH_RETRYING):
                raise
            time.sleep(random.uniform(0.01, 0.05) * 2**attempt)  # noqa: S311  # jitter, not a secret
    raise AssertionError("unreachable")


def lock_project(project_id: int) -> Project:
    """The project's row, locked until the commit.

    Every change in a project takes this lock first: it orders the project's events and makes checks of
    quota sound. (On SQLite the immediate transaction holds the whole database.)
    """
    return Project.objects.select_for_update().get(pk=project_id)


def lock_project_of(vm_id: UUID) -> Project | None:
    """The project's row of a VM, tombstones included, locked as `lock_project` does; None when there is no such VM."""
    return Project.objects.select_for_update(of=("self",)).filter(vms=vm_id).first()
