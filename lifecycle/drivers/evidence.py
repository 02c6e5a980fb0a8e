"""What a host still tells of a guest that died: bounded, and empty where the host does not tell."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from lifecycle.domain.errors import HypervisorError
from lifecycle.drivers.base import Hypervisor, Pool

#: Of the serial output that nobody has recorded yet: the recorder comes by every few seconds.
SERIAL_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Traces:
    """The end of QEMU's log, and what the guest said on its serial port after its first `read_from` bytes."""

    qemu_log: str
    said: str
    read_from: int


def traces(host: Hypervisor, vm_id: UUID, name: str, serial_volume: str, read_from: int) -> Traces:
    """Read them, before the next start writes on. A host that does not let us is no error: a repair goes on without."""
    qemu_log = said = ""
    with suppress(HypervisorError):
        qemu_log = host.qemu_log_tail(vm_id, name)
    with suppress(HypervisorError):
        said = host.read_volume(Pool.SERIAL, serial_volume, read_from, SERIAL_BYTES).decode(errors="replace")
    return Traces(qemu_log, said, read_from)
