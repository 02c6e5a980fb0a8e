"""What an operation is: a list of steps, and what happens at its two ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lifecycle.domain.transitions import Action

if TYPE_CHECKING:
    from lifecycle.operations.context import Context


@dataclass(frozen=True, slots=True)
class Again:
    """A step that waits: look again in `seconds`; `detail` tells people what for."""

    seconds: float
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Skip:
    """The operation is finished from here: the remaining steps are skipped."""

    detail: str = ""


Outcome = Again | Skip | None
Work = Callable[["Context"], Outcome]


@dataclass(frozen=True, slots=True)
class Step:
    """One idempotent step: looks, acts, records; run twice it succeeds.

    Attributes:
        undo: takes the step's effect back, whether it happened or not; Gone counts as success.
        no_undo: why there is none; one of the two is always given.
        deadline_seconds: for the step with all its waits and retries.
    """

    name: str
    do: Work
    undo: Work | None = None
    no_undo: str = ""
    deadline_seconds: float = 120.0

    def __post_init__(self) -> None:
        if (self.undo is None) == (not self.no_undo):
            raise ValueError(f"step {self.name} needs an undo, or a line that says why it has none")


@dataclass(frozen=True, slots=True)
class Definition:
    """An operation.

    Attributes:
        complete: the last writes of a success, in one transaction with the closing: moves the VM on.
        fail: the last writes after everything was undone: moves the VM to where LIFECYCLE says.
        retried: a failure is never final: the step is repeated with back-off until it succeeds.
    """

    action: Action
    steps: tuple[Step, ...]
    complete: Callable[[Context], None]
    fail: Callable[[Context], None] | None = None
    retried: bool = field(default=False)

    def __post_init__(self) -> None:
        if (self.fail is None) != self.retried:
            raise ValueError(f"{self.action} is either retried, or says what its failure leads to")
