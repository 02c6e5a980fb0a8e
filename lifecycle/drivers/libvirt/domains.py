"""Domains: defined, looked at, started, stopped, saved, removed."""

import random
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from typing import Any, Final
from uuid import UUID

import libvirt

from lifecycle.domain.definitions import Definition
from lifecycle.domain.errors import Busy, Gone, Refused
from lifecycle.domain.states import Power
from lifecycle.domain.usage import Counters
from lifecycle.drivers.base import Anatomy, DomainSpec, DomainView, Pool
from lifecycle.drivers.libvirt.definition_xml import disk_targets, read
from lifecycle.drivers.libvirt.errors import TYPES, absent_is_fine, code
from lifecycle.drivers.libvirt.filter_xml import filter_xml
from lifecycle.drivers.libvirt.guest_xml import Places, domain_xml, mark_of
from lifecycle.drivers.libvirt.lines import Lines
from lifecycle.drivers.libvirt.names import METADATA, METADATA_PREFIX, filter_name
from lifecycle.drivers.libvirt.power import power_of, reason_word
from lifecycle.drivers.libvirt.qemu_log import log_tail
from lifecycle.drivers.libvirt.session import verb
from lifecycle.drivers.libvirt.stats import read_counters
from lifecycle.drivers.libvirt.storage import Pools
from lifecycle.drivers.libvirt.xml import E, described, parse, to_text

_UNDEFINE: Final = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
)
_SAVED: Final = libvirt.VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE
_TRANSIENT: Final = libvirt.VIR_CONNECT_LIST_DOMAINS_TRANSIENT

#: How long a definition is believed without being read again: some ways of changing one tell no event.
DEFINITION_SECONDS: Final = 900.0

#: (installation, generation) from our metadata; (None, None) for a domain that is not ours.
_Mark = tuple[str | None, int | None]


class DomainVerbs(Pools):
    """The verbs about domains."""

    def __init__(self, lines: Lines, installation: str) -> None:
        self._marks: dict[UUID, _Mark] = {}
        self._read_at: dict[UUID, float] = {}  # when a definition was read last
        self._marks_lock = threading.Lock()
        super().__init__(lines, installation)
        self.watch.on_change = self._forget

    # -- defining

    @verb
    def define(self, spec: DomainSpec) -> None:
        """Define the packet filter and the domain; definitions of the same VM are replaced."""
        log = None if self.is_test else self._path(Pool.SERIAL, spec.serial_volume)
        disk, seed = self._path(Pool.DISKS, spec.disk_volume), self._path(Pool.DISKS, spec.seed_volume)
        cdrom = self._path(Pool.IMAGES, spec.cdrom_volume) if spec.cdrom_volume else None
        places = Places(disk, seed, log, self._base_of(spec.disk_volume), cdrom)
        if not self.is_test:
            self.conn.nwfilterDefineXML(filter_xml(spec))
        self.conn.defineXML(domain_xml(spec, places, test=self.is_test))
        self._forget(spec.uuid)

    @verb
    def undefine(self, uuid: UUID) -> bool:
        """Remove the definition, its saved memory and its filter; True when it was there. `Busy` while it runs."""
        removed = False
        with absent_is_fine():
            domain = self._find(uuid)
            if domain.isActive():
                raise Busy(f"domain {domain.name()} is not off")
            domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE if self.is_test else _UNDEFINE)
            removed = True
        self._remove_filter(uuid)
        self._forget(uuid)
        return removed

    def _remove_filter(self, uuid: UUID) -> None:
        if self.is_test:
            return
        with absent_is_fine():
            self.conn.nwfilterLookupByName(filter_name(self.installation, uuid)).undefine()

    # -- looking

    @verb
    def look(self, uuid: UUID) -> DomainView | None:
        """The domain now; None when the host answers and knows it not."""
        with absent_is_fine():
            domain = self._find(uuid)
            state, reason = domain.state()
            saved = not _runs(state) and bool(domain.hasManagedSaveImage())
            mark = self._read_mark(domain)
            return _view(domain, state, reason, saved=saved, persistent=bool(domain.isPersistent()), mark=mark)
        return None

    @verb
    def list_domains(self) -> list[DomainView]:
        """All domains by three calls, plus one for the mark of each that is new or has changed since the last time."""
        records = self.conn.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE)
        saved = {domain.UUID() for domain in self.conn.listAllDomains(_SAVED)}
        passing = {domain.UUID() for domain in self.conn.listAllDomains(_TRANSIENT)}
        views = []
        for domain, stats in records:
            state, reason = stats["state.state"], stats["state.reason"]
            with absent_is_fine():
                is_saved = domain.UUID() in saved or _just_saved(domain, state, reason)
                persistent = domain.UUID() not in passing
                mark = self._mark(domain)
                views.append(_view(domain, state, reason, saved=is_saved, persistent=persistent, mark=mark))
        return views

    @verb
    def counters(self) -> dict[UUID, Counters]:
        """What all running domains have used so far: one call, whatever their number."""
        return read_counters(self.conn)

    def _find(self, uuid: UUID) -> Any:
        return self.conn.lookupByUUID(uuid.bytes)

    def _mark(self, domain: Any) -> _Mark:
        """From memory: libvirt's events say when a domain was defined, started or stopped since it was read."""
        uuid = UUID(bytes=domain.UUID())
        with self._marks_lock:
            known = self._marks.get(uuid)
        if known is not None:
            return known
        with self._marks_lock:
            self._marks[uuid] = (None, None)  # an event while we read takes it away again
        mark = self._read_mark(domain)
        with self._marks_lock:
            if uuid in self._marks:
                self._marks[uuid] = mark
        return mark

    def _forget(self, uuid: UUID) -> None:
        with self._marks_lock:
            self._marks.pop(uuid, None)
            self._read_at.pop(uuid, None)

    def _read_mark(self, domain: Any) -> _Mark:
        """From the running domain's definition, or the persistent one of a domain that is off."""
        try:
            text = domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, METADATA)
        except libvirt.libvirtError as error:
            if code(error) == libvirt.VIR_ERR_NO_DOMAIN_METADATA:
                return None, None
            raise
        element = parse(text)
        generation = element.get("generation", "")
        return element.get("installation"), int(generation) if generation.isdecimal() else None

    @verb
    def mark(self, uuid: UUID, *, project: str, vm_name: str, generation: int) -> None:
        """Put our mark on the domain: on its definition, and on what runs."""
        domain = self._find(uuid)
        flags = libvirt.VIR_DOMAIN_AFFECT_CONFIG if domain.isPersistent() else 0
        flags |= libvirt.VIR_DOMAIN_AFFECT_LIVE if domain.isActive() else 0
        xml = to_text(mark_of(self.installation, project, vm_name, generation, E))
        domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, xml, METADATA_PREFIX, METADATA, flags)
        self._forget(uuid)

    # -- definitions

    @verb
    def dissect(self, uuid: UUID) -> Anatomy | None:
        """The definition at the next start, and the sizes of its disks; None when the host knows it not."""
        with absent_is_fine():
            domain = self._find(uuid)
            tree = described(domain, libvirt.VIR_DOMAIN_XML_INACTIVE)
            definition = read(tree, self._our_disks())
            kind = tree.find("os/type")
            return Anatomy(
                name=domain.name(),
                architecture="" if kind is None else kind.get("arch", ""),
                persistent=bool(domain.isPersistent()),
                definition=definition,
                disk_bytes={target: _disk_bytes(domain, target) for target in disk_targets(tree)},
            )
        return None

    @verb
    def definitions(self, uuids: Collection[UUID], most: int, again: Collection[UUID] = ()) -> dict[UUID, Definition]:
        """Definitions that are due to be read: events say which changed, and age finds changes that tell no event."""
        now, never = time.monotonic(), float("-inf")
        with self._marks_lock:
            read_at = {uuid: self._read_at.get(uuid, never) for uuid in uuids}
        aged = [uuid for uuid in uuids if now - read_at[uuid] > DEFINITION_SECONDS and uuid not in again]
        random.shuffle(aged)  # whoever connects for one round only does not read the same few each time
        chosen = [*again, *sorted(aged, key=lambda uuid: read_at[uuid])][:most]
        return {uuid: found for uuid in chosen if (found := self._read_definition(uuid, now)) is not None}

    def _read_definition(self, uuid: UUID, now: float) -> Definition | None:
        with self._marks_lock:
            self._read_at[uuid] = now  # an event while we read takes it away again
        with absent_is_fine():
            return read(described(self._find(uuid), libvirt.VIR_DOMAIN_XML_INACTIVE), self._our_disks())
        return None

    def _our_disks(self) -> str:
        return self._path(Pool.DISKS, "").removesuffix("/")

    def wanted(self, spec: DomainSpec) -> Definition:
        """The definition that `define` would make."""
        cdrom = self._path(Pool.IMAGES, spec.cdrom_volume) if spec.cdrom_volume else None
        places = Places(spec.disk_volume, spec.seed_volume, None, cdrom=cdrom)
        return read(parse(domain_xml(spec, places, test=self.is_test)), "")

    # -- power

    @verb
    def start(self, uuid: UUID) -> bool:
        """Start the domain, from its saved memory when there is some. False when it already runs."""
        domain = self._find(uuid)
        if domain.isActive():
            return False
        try:
            domain.create()
        except libvirt.libvirtError as error:
            if code(error) == libvirt.VIR_ERR_OPERATION_INVALID and domain.isActive():
                return False  # another worker was faster
            raise
        return True

    @verb
    def ask_shutdown(self, uuid: UUID) -> bool:
        """Press the ACPI power button. False when the domain is already off."""
        domain = self._find(uuid)
        if not domain.isActive():
            return False
        try:
            domain.shutdown() if self.is_test else domain.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN)
        except libvirt.libvirtError:
            if domain.isActive():
                raise
            return False
        return True

    @verb
    def destroy(self, uuid: UUID) -> bool:
        """Force it off. False when it was off or absent."""
        with absent_is_fine():
            domain = self._find(uuid)
            if not domain.isActive():
                return False
            try:
                domain.destroy()
            except libvirt.libvirtError as error:
                if TYPES.get(code(error)) is Gone or domain.isActive():
                    raise
                return False
            return True
        return False

    @verb
    def reset(self, uuid: UUID) -> None:
        """Hard reset. `Refused` when it is off."""
        domain = self._find(uuid)
        if not domain.isActive():
            raise Refused(f"domain {domain.name()} is off")
        domain.reset(0)

    @verb
    def save_memory(self, uuid: UUID) -> bool:
        """Managed save; a restored guest goes on even when it was paused. False when it is already saved."""
        domain = self._find(uuid)
        if not domain.isActive():
            if domain.hasManagedSaveImage():
                return False
            raise Refused(f"domain {domain.name()} is off: there is no memory to save")
        try:
            domain.managedSave(libvirt.VIR_DOMAIN_SAVE_RUNNING)
        except libvirt.libvirtError:
            if domain.isActive() or not domain.hasManagedSaveImage():
                raise
            return False
        return True

    @verb
    def discard_saved_memory(self, uuid: UUID) -> bool:
        """Remove the saved memory. False when there is none."""
        with absent_is_fine():
            domain = self._find(uuid)
            if not domain.hasManagedSaveImage():
                return False
            domain.managedSaveRemove()
            return True
        return False

    @verb
    def resume_cpus(self, uuid: UUID) -> None:
        """Let a paused domain go on; one that runs does already. `Refused` when it is off."""
        domain = self._find(uuid)
        state, _reason = domain.state()
        if not _runs(state):
            raise Refused(f"domain {domain.name()} is off")
        if state != libvirt.VIR_DOMAIN_RUNNING:
            domain.resume()

    @verb
    def qemu_log_tail(self, uuid: UUID, name: str) -> str:
        """The end of QEMU's log; "" where the host does not let us read it."""
        with absent_is_fine():
            name = self._find(uuid).name()  # a domain that was adopted has the name its maker gave it
        with suppress(libvirt.libvirtError):
            return "" if self.is_test else log_tail(self.conn, name)
        return ""


def _disk_bytes(domain: Any, target: str) -> int:
    """The size that the guest sees; 0 where the host does not tell it."""
    with suppress(libvirt.libvirtError):
        return int(domain.blockInfo(target)[0])
    return 0


def _runs(state: int) -> bool:
    return state not in {libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_CRASHED}


def _just_saved(domain: Any, state: int, reason: int) -> bool:
    """Saved between two of our calls; or saved once and discarded, which only libvirt can tell apart."""
    if (state, reason) != (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_SAVED):
        return False
    return bool(domain.hasManagedSaveImage())


def _view(domain: Any, state: int, reason: int, *, saved: bool, persistent: bool, mark: _Mark) -> DomainView:
    run_id = domain.ID()
    power = power_of(state, reason, saved=saved)
    return DomainView(
        uuid=UUID(bytes=domain.UUID()),
        name=domain.name(),
        power=power,
        persistent=persistent,
        reason=reason_word(state, reason),
        installation=mark[0],
        generation=mark[1],
        run_id=run_id if run_id > 0 and power not in {Power.OFF, Power.SAVED} else None,
    )
