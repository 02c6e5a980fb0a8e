"""What /proc tells: which processes are an installation's, however they came to be orphans."""

import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")


def is_alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        return _stat(pid)[0] != "Z"
    except OSError:
        return False


def start_time(pid: int) -> str:
    """When the process started, in clock ticks since boot; with the pid it names one process for ever. '' when gone."""
    try:
        return _stat(pid)[19]
    except OSError:
        return ""


def _stat(pid: int) -> list[str]:
    # The name, in parentheses, may hold spaces: what follows it is regular, and opens with the state.
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def carries(marker: str) -> list[int]:
    """The processes in whose environment `marker` (KEY=VALUE) stands, as far as we may look."""
    wanted, found = os.fsencode(marker), []
    for entry in PROC.iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue
    return sorted(pid for pid in found if is_alive(pid))


def mention(path: Path) -> list[int]:
    """The processes on whose command line `path` stands: anybody's, for unlike the environment it is no secret."""
    wanted, found = os.fsencode(path), []
    for entry in PROC.iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with suppress(OSError):
            if wanted in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return sorted(found)


def end(pids: Iterable[int], grace_seconds: float = 5) -> None:
    """Ask the processes to end, then make them."""
    left = list(pids)
    for number, wait in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, 2.0)):
        for pid in left:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + wait
        while (left := [pid for pid in left if is_alive(pid)]) and time.monotonic() < deadline:
            time.sleep(0.05)
        if not left:
            return


def resident_bytes(pid: int) -> int:
    """The process's own share of memory (PSS where the kernel tells, else RSS), in bytes; 0 when it is gone."""
    for name, key in (("smaps_rollup", "Pss:"), ("status", "VmRSS:")):
        try:
            for line in (PROC / str(pid) / name).read_text().splitlines():
                if line.startswith(key):
                    return int(line.split()[1]) * 1024
        except OSError:
            continue
    return 0
