"""What happened, in order: faults, requests, and what is wrong."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Entry:
    """One thing that happened, `at` seconds after the beginning."""

    at: float
    what: str
    kind: str
    target: str
    detail: dict[str, Any] = field(default_factory=dict)


class Timeline:
    """Entries in order; safe to write to from several threads."""

    def __init__(self) -> None:
        self._begin = time.monotonic()
        self._lock = threading.Lock()
        self.entries: list[Entry] = []

    @property
    def now(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._begin

    def add(self, what: str, kind: str, target: str, **detail: Any) -> Entry:
        """Something that has just happened."""
        entry = Entry(round(self.now, 3), what, kind, target, detail)
        with self._lock:
            self.entries.append(entry)
        return entry

    def of(self, what: str) -> list[Entry]:
        """All entries of one sort."""
        with self._lock:
            return [entry for entry in self.entries if entry.what == what]

    @contextmanager
    def problems(self, where: str) -> Iterator[None]:
        """What is raised in the block is written down and ends nothing."""
        try:
            yield
        except Exception as error:
            self.add("trouble", type(error).__name__, where, text=str(error)[:300])

    def as_rows(self) -> list[dict[str, Any]]:
        """For JSON."""
        with self._lock:
            return [asdict(entry) for entry in sorted(self.entries, key=lambda entry: entry.at)]
