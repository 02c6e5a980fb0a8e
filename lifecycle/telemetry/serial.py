"""Recording serial output: new bytes of the hosts' serial logs go into the database, where pages read them.

The logs are read through the storage pool, never as local files. A log that became shorter was rolled over (or
emptied): the rest of the old one is read from its backup where there is one, then the new one from its beginning.
"""

import codecs
import logging
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from lifecycle.drivers.base import Hypervisor, Pool
from lifecycle.models import VM
from lifecycle.services import observations

log = logging.getLogger(__name__)

#: At most so many bytes of a VM are read in one round; a guest that says more loses the middle, not the end.
READ_MAX: Final = 1024 * 1024
_BACKUP: Final = ".0"
_REPLACEMENT: Final = "\ufffd"


@dataclass(frozen=True, slots=True)
class Source:
    """A VM whose log may have grown. `read_bytes`: the offset up to which it was recorded."""

    vm_id: UUID
    volume: str
    read_bytes: int


@dataclass(slots=True)
class Recorder:
    """Records the serial logs of one host. Remembers the sizes it has seen, so that a round without news is cheap."""

    host_id: int
    hypervisor: Hypervisor
    _sizes: dict[UUID, int] = field(default_factory=dict)

    def record(self) -> int:
        """One round: returns how many logs had news."""
        sizes = {v.name: v.capacity_bytes for v in self.hypervisor.list_volumes(Pool.SERIAL)}
        sources = _sources(self.host_id)
        self._sizes = {s.vm_id: self._sizes[s.vm_id] for s in sources if s.vm_id in self._sizes}
        return sum(self._record_one(source, sizes) for source in sources)

    def _record_one(self, source: Source, sizes: dict[str, int]) -> bool:
        size = sizes.get(source.volume)
        if size is None or self._sizes.get(source.vm_id) == size:
            return False
        start = source.read_bytes
        before = ""
        if size < start:
            before = self._rest_of_backup(source, sizes.get(source.volume + _BACKUP, 0))
            start = 0
        text, end = self._read(source.volume, start, size)
        news = bool(before or text or end != source.read_bytes)
        if news:
            observations.append_serial(source.vm_id, before + text, read_from=source.read_bytes, read_to=end)
        self._sizes[source.vm_id] = size
        return news

    def _rest_of_backup(self, source: Source, size: int) -> str:
        if size <= source.read_bytes:
            return ""
        text, _end = self._read(source.volume + _BACKUP, source.read_bytes, size)
        return text

    def _read(self, volume: str, start: int, size: int) -> tuple[str, int]:
        """The text from `start` on, and the offset after its last whole character."""
        start = max(start, size - READ_MAX)
        raw = self.hypervisor.read_volume(Pool.SERIAL, volume, start, READ_MAX) if size > start else b""
        text, used = decode(raw)
        return text, start + used


def decode(raw: bytes) -> tuple[str, int]:
    """UTF-8 text and how many bytes it took: a character whose end has not come yet is left for the next round.

    What is no UTF-8 is replaced; control characters are kept, NUL excepted (PostgreSQL stores none).
    """
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    text = decoder.decode(raw)
    pending, _flags = decoder.getstate()
    return text.replace("\0", _REPLACEMENT), len(raw) - len(pending)


def _sources(host_id: int) -> list[Source]:
    """All VMs of the host: a stopped one's last words count too, and cost nothing when there are none."""
    vms = VM.objects.live().filter(host=host_id).values_list("pk", "serial_log__read_bytes")
    return [Source(pk, VM(pk=pk).serial_volume, read_bytes or 0) for pk, read_bytes in vms]
