"""What a person sees while the launcher works: one line a step, with its time; plain where there is no terminal."""

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from vmportal.launcher.errors import PortalError

FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
FRAME_SECONDS = 0.1


class Display:
    """Writes steps to the standard output; `quiet` keeps it for the caller (JSON)."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.live = not quiet and sys.stdout.isatty()

    @contextmanager
    def step(self, title: str) -> Iterator[Callable[[str], None]]:
        """Show `title` with the elapsed time until the block ends; call the value to say what is being done."""
        shown = _Line(title, self.live)
        started = time.monotonic()
        shown.start()
        try:
            yield shown.say
        except BaseException:
            self._end(shown, "✗", title, started)
            raise
        self._end(shown, "✓", title if not shown.result else f"{title}: {shown.result}", started)

    def _end(self, shown: "_Line", mark: str, text: str, started: float) -> None:
        shown.stop()
        if not self.quiet:
            print(f"  {mark} {text}  ({time.monotonic() - started:.1f} s)", flush=True)

    def say(self, text: str = "") -> None:
        """A line of its own."""
        if not self.quiet:
            print(text, flush=True)

    def box(self, lines: Sequence[str]) -> None:
        """Lines in a frame: what a person is to remember."""
        width = max(len(line) for line in lines)
        self.say("┌" + "─" * (width + 2) + "┐")
        for line in lines:
            self.say(f"│ {line.ljust(width)} │")
        self.say("└" + "─" * (width + 2) + "┘")


class _Line:
    """The line of the step under way; drawn by a thread where there is a terminal."""

    def __init__(self, title: str, live: bool) -> None:
        self.title, self.live, self.result, self.note = title, live, "", ""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._draw, daemon=True)

    def say(self, note: str) -> None:
        """Note what is being done; the last note stays as the step's result when it ends with a full stop."""
        self.note = note
        self.result = note[:-1] if note.endswith(".") else self.result

    def start(self) -> None:
        if self.live:
            self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        if self.live:
            self._thread.join()
            sys.stdout.write("\r\x1b[K")

    def _draw(self) -> None:
        started, frame = time.monotonic(), 0
        while not self._ended.wait(FRAME_SECONDS):
            note = f" {self.note}" if self.note else ""
            text = f"  {FRAMES[frame % len(FRAMES)]} {self.title}{note}  {time.monotonic() - started:.0f} s"
            sys.stdout.write(f"\r\x1b[K{text[:118]}")
            sys.stdout.flush()
            frame += 1


def report_error(error: PortalError) -> None:
    """Write the error, and what it knows of the cause, to the standard error."""
    print(f"portal: {error.message}", file=sys.stderr)
    if error.details:
        print("\n".join(f"    {line}" for line in error.details.splitlines()), file=sys.stderr)
