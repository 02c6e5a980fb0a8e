"""Every operation the engine can run, by action. The crash matrix of the tests is generated from it."""

from typing import Final

from lifecycle.operations import create, delete, expire, repair, reset, resume, start, stop, suspend
from lifecycle.operations.definition import Definition

DEFINITIONS: Final[dict[str, Definition]] = {
    module.DEFINITION.action.value: module.DEFINITION
    for module in (create, start, stop, reset, suspend, resume, expire, delete, repair)
}
