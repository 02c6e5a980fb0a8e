"""`./portal logs`: what the processes wrote."""

import os
import sys
import time
from pathlib import Path
from typing import TextIO

from vmportal.launcher.errors import PortalError
from vmportal.launcher.installation import Installation

POLL_SECONDS = 0.25


def logs(installation: Installation, process: str | None, follow: bool, lines: int) -> int:
    """Print the last `lines` of one process's log, or of all; with `follow`, then what comes, until Ctrl-C."""
    found = {path.stem: path for path in sorted(installation.logs.glob("*.log"))}
    if not found:
        raise PortalError(f"Nothing in {installation.var} has logged yet: run ./portal up first.")
    if process and process not in found:
        raise PortalError(f"No process {process!r} has logged; there are: {', '.join(found)}.")
    chosen = {process: found[process]} if process else found
    width = max((len(name) for name in chosen), default=0)
    for name, path in chosen.items():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:] if lines else ():
            _print(name if len(chosen) > 1 else "", width, line)
    if follow:
        _follow(chosen, width)
    return 0


def _follow(chosen: dict[str, Path], width: int) -> None:
    tails = {name: _Tail(path) for name, path in chosen.items()}
    try:
        while True:
            for name, tail in tails.items():
                for line in tail.read():
                    _print(name if len(chosen) > 1 else "", width, line)
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        return


class _Tail:
    """Reads what is added to a log, across its rotation."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: TextIO = path.open(encoding="utf-8", errors="replace")
        self._file.seek(0, 2)
        self._rest = ""

    def read(self) -> list[str]:
        """The whole lines that came since the last call."""
        text = self._rest + self._file.read()
        if self._rotated():
            self._file.close()
            self._file = self.path.open(encoding="utf-8", errors="replace")
            text += self._file.read()
        *lines, self._rest = text.split("\n")
        return lines

    def _rotated(self) -> bool:
        try:
            now = self.path.stat()
        except OSError:
            return False
        return now.st_ino != _inode(self._file) or now.st_size < self._file.tell()


def _inode(file: TextIO) -> int:
    return os.fstat(file.fileno()).st_ino


def _print(name: str, width: int, line: str) -> None:
    sys.stdout.write(f"{name.ljust(width)} | {line}\n" if name else f"{line}\n")
    sys.stdout.flush()
