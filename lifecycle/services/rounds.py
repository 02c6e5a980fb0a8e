"""Rounds: work that one process at a time does for the whole installation. A turn that is lost expires by itself."""

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from lifecycle.models import Round
from lifecycle.services.db import service

#: By how much the clocks of processes on several machines may differ.
CLOCKS_DIFFER = timedelta(minutes=1)


class Turn:
    """One process's turn at a round. What is put into `memory` is there for the next one."""

    def __init__(self, memory: dict[str, Any]) -> None:
        self.memory = memory


@contextmanager
def turn(name: str, *, seconds: float, pause_seconds: float = 0.0) -> Iterator[Turn | None]:
    """A turn at the round `name`; None when it is another's, or was done less than `pause_seconds` ago.

    Args:
        seconds: after so long the turn is lost, and another process may begin.
    """
    owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"[:100]
    memory = take(name, owner, seconds, pause_seconds)
    if memory is None:
        yield None
        return
    mine = Turn(memory)
    try:
        yield mine
    finally:
        finish(name, owner, pause_seconds, mine.memory)


@service
def take(name: str, owner: str, seconds: float, pause_seconds: float = 0.0) -> dict[str, Any] | None:
    """Begin the round, if it is due; what its last turn remembered, or None when it is not.

    One that is due later than any turn or pause ends was put off before the clock was set back: it is due.
    """
    now = timezone.now()
    until = now + timedelta(seconds=seconds)
    too_late = now + timedelta(seconds=max(seconds, pause_seconds)) + CLOCKS_DIFFER
    rows = Round.objects.filter(name=name)
    if not rows.filter(Q(due_at__lte=now) | Q(due_at__gt=too_late)).update(owner=owner, due_at=until):
        if rows.exists():
            return None
        try:
            with transaction.atomic():
                Round.objects.create(name=name, owner=owner, due_at=until)
        except IntegrityError:  # another process was faster
            return None
    memory: dict[str, Any] = rows.values_list("memory", flat=True).get()
    return memory


@service
def finish(name: str, owner: str, pause_seconds: float, memory: dict[str, Any]) -> bool:
    """End the turn; the next is due after the pause. False when the turn was lost: nothing is written."""
    due_at = timezone.now() + timedelta(seconds=pause_seconds)
    rows = Round.objects.filter(name=name, owner=owner)
    return bool(rows.update(owner="", due_at=due_at, memory=memory))
