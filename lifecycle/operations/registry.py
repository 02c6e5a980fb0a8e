"""Every operation the engine can run, by action. The crash matrix of the tests is generated from it."""

from typing import Final

from lifecycle.operations import create, delete, expire, repair, reset, resume, start, stop, suspend
from lifecycle.operations.definition import Definition

DEFINITIONS: Final[dict[str, Definition]] = {
    module.DEFINITION.action.value: module.DEFINITION
    for module in (create, start, stop, reset, suspend, resume, expire, delete, repair)
}

#: What a step may take with all its waits, in seconds; those that wait for a host or a person have none.
DEADLINES: Final[dict[tuple[str, str], float]] = {
    (action, step.name): step.deadline_seconds
    for action, definition in DEFINITIONS.items()
    for step in definition.steps
    if step.deadline_seconds < repair.NO_DEADLINE
}
