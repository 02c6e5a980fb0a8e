"""The sweep of schedules: every worker and watcher does it, so that a dead beat stops none; each due time once."""

import logging
from collections import Counter
from datetime import datetime
from typing import Final

from django.utils import timezone

from lifecycle.services import rounds, schedules

log = logging.getLogger(__name__)

ROUND: Final = "schedules"
TURN_SECONDS: Final = 60.0
PAUSE_SECONDS: Final = 5.0
BATCH: Final = 200


def run() -> int | None:
    """Take what is due, if it is our turn; returns how many due times were taken."""
    with rounds.turn(ROUND, seconds=TURN_SECONDS, pause_seconds=PAUSE_SECONDS) as mine:
        return None if mine is None else sum(sweep(timezone.now()).values())


def sweep(now: datetime) -> Counter[str]:
    """Take what is due at `now`, earliest first; how many had which outcome. One schedule's trouble stops no other.

    Of a schedule with several missed times each is taken in its turn, up to a batch.
    """
    done: Counter[str] = Counter()
    waiting: set[int] = set()
    while (found := schedules.due(now, BATCH, waiting)) and sum(done.values()) < BATCH:
        for schedule_id, due_at in found:
            try:
                taken = schedules.take(schedule_id, due_at, now)
            except Exception:
                log.exception("the schedule %s could not be taken", schedule_id)
                taken = None
            if taken is None:
                waiting.add(schedule_id)
            else:
                done[taken.outcome] += 1
    return done
