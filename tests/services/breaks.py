"""The registry of how each constraint is broken: `test_constraints` tries all of them and finds what is missing."""

from collections.abc import Callable
from typing import Any

from lifecycle.models import VM, Project

Break = Callable[[Project, VM], Any]

#: Constraint -> how to break it.
BREAK: dict[str, Break] = {}


def breaks(name: str) -> Callable[[Break], Break]:
    """What breaks the constraint of that name, by rows put in beside the services."""

    def register(work: Break) -> Break:
        BREAK[name] = work
        return work

    return register
