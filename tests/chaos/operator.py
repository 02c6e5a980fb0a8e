"""The operator at the host, who does what the operators' guide says of a start that libvirtd was killed in.

libvirtd writes a domain's status down before it starts the domain's QEMU. Killed in between, it finds a domain without
a process when it comes back, does not look at it (`if (!obj->pid) return 0` in qemuProcessReconnectHelper, libvirt 9),
and holds the domain for a start that nobody is about any more: no call ends it, virDomainDestroy included.
"""

import os
import re
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

#: No start takes so long between the status and its QEMU, with libvirtd frozen in between.
PATIENCE_SECONDS = 45.0
_NO_PROCESS = re.compile(rb"<domstatus [^>]*pid='0'")

Qemus = Callable[[], Iterable[tuple[int, str]]]


class Operator:
    """Looks at the host now and then; `run` is what /run/libvirt is there. `cleared`: the domains that were freed."""

    def __init__(
        self, run: Path, end_libvirtd: Callable[[], None], qemus: Qemus, patience: float = PATIENCE_SECONDS
    ) -> None:
        self.cleared: list[str] = []
        self._run, self._end_libvirtd, self._qemus, self._patience = run, end_libvirtd, qemus, patience
        self._since: dict[Path, float] = {}

    def look(self) -> None:
        """End libvirtd and what is left of forgotten starts; who tends libvirtd starts it again."""
        if forgotten := self.forgotten():
            self._end_libvirtd()
            for status in forgotten:
                self._clear(status)

    def forgotten(self) -> list[Path]:
        """Status files of domains that have had no process for too long."""
        now = time.monotonic()
        found = [path for path in (self._run / "qemu").glob("*.xml") if _has_no_process(path)]
        self._since = {path: self._since.get(path, now) for path in found}
        return [path for path, since in self._since.items() if now - since > self._patience]

    def _clear(self, status: Path) -> None:
        for pid, guest in self._qemus():
            if guest == status.stem:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        status.unlink(missing_ok=True)
        self.cleared.append(status.stem)


def _has_no_process(path: Path) -> bool:
    with suppress(OSError):
        return _NO_PROCESS.search(path.read_bytes()) is not None
    return False
