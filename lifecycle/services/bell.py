"""The bell: tells Celery's workers on commit that an operation is due.

Only a bell: the operation's row is the queue. A bell that does not ring (Redis down) delays the operation
until a worker's sweep finds it, and never blocks or fails the request that rang.
"""

import logging
import time
from uuid import UUID

from celery import current_app
from django.db import transaction

log = logging.getLogger(__name__)

TASK = "lifecycle.run_operation"
#: After a failure the bell is left alone for so long, so that a dead broker costs a request nothing.
SILENT_SECONDS = 5.0

_silent_until = 0.0


def ring(operation_id: UUID, seconds: float = 0.0) -> None:
    """On commit, make a worker look at the operation, in `seconds`."""
    transaction.on_commit(lambda: _send(operation_id, seconds))


def _send(operation_id: UUID, seconds: float) -> None:
    global _silent_until
    if time.monotonic() < _silent_until:
        return
    try:
        current_app.send_task(TASK, args=[str(operation_id)], countdown=seconds or None, retry=False)
    except Exception as error:
        _silent_until = time.monotonic() + SILENT_SECONDS
        log.warning("the bell for operation %s did not ring (%s); the sweep will find it", operation_id, error)
