"""What one browser has not been sent yet of a serial console, within bounds: only a slow one itself loses some."""

import asyncio
from collections import deque
from typing import Any, Final

#: Beyond this the oldest is dropped, and the browser told how much.
BUFFER_BYTES: Final = 512 * 1024
#: So much is sent before the browser says that its terminal has drawn it.
WINDOW_BYTES: Final = 256 * 1024
PIECE_BYTES: Final = 32 * 1024


class Viewer:
    """One browser's end of a hub."""

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._notes: deque[dict[str, Any]] = deque()
        self._waiting = 0
        self._skipped = 0
        self._on_the_way = 0
        self._news = asyncio.Event()

    def offer(self, data: bytes) -> None:
        """Output for this viewer."""
        for start in range(0, len(data), PIECE_BYTES):
            self._pieces.append(data[start : start + PIECE_BYTES])
        self._waiting += len(data)
        while self._waiting > BUFFER_BYTES:
            dropped = len(self._pieces.popleft())
            self._waiting -= dropped
            self._skipped += dropped
        self._news.set()

    def tell(self, note: dict[str, Any]) -> None:
        """Something about the console, sent before the output that waits."""
        self._notes.append(note)
        self._news.set()

    def drawn(self, count: int) -> None:
        """The browser has drawn so many bytes more."""
        self._on_the_way = max(0, self._on_the_way - count)
        self._news.set()

    async def next(self) -> bytes | dict[str, Any]:
        """What to send next: a note, or output as far as the browser keeps up."""
        while True:
            if self._notes:
                return self._notes.popleft()
            if self._skipped:
                skipped, self._skipped = self._skipped, 0
                return {"type": "skipped", "bytes": skipped}
            if self._pieces and self._on_the_way < WINDOW_BYTES:
                return self._take()
            self._news.clear()
            await self._news.wait()

    def _take(self) -> bytes:
        """Small pieces together: a message for each byte that a guest prints would cost more than the byte."""
        taken = [self._pieces.popleft()]
        size = len(taken[0])
        while self._pieces and size + len(self._pieces[0]) <= PIECE_BYTES:
            taken.append(self._pieces.popleft())
            size += len(taken[-1])
        self._waiting -= size
        self._on_the_way += size
        return b"".join(taken)
