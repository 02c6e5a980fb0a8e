"""Draining: a worker that is told to end takes no new work, ends the steps under way and gives its leases back.

A step that takes too long is left between two of its calls to the host; one call that takes longer than its
process is given is as good as a death: the lease runs out, and another worker looks at what happened.
"""

import time
from typing import Final

#: How long the steps under way may take; the supervisor and docker-compose.yml wait longer than that.
DRAIN_SECONDS: Final = 15.0


class Drain:
    """Whether this process is to end, and since when. `begin` may be called by a handler of signals."""

    def __init__(self) -> None:
        self._begun: float | None = None

    def begin(self) -> None:
        """From now on no operation is taken and no further step begun."""
        if self._begun is None:
            self._begun = time.monotonic()

    @property
    def is_on(self) -> bool:
        """Whether it has begun."""
        return self._begun is not None

    @property
    def is_over(self) -> bool:
        """Whether steps have had their time."""
        return self._begun is not None and time.monotonic() - self._begun > DRAIN_SECONDS


drain = Drain()
