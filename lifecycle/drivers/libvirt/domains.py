"""Domains: defined, looked at, started, stopped, saved, removed."""

import threading
from contextlib import suppress
from typing import Any, Final
from uuid import UUID

import libvirt

from lifecycle.domain.errors import Busy, Gone, Refused
from lifecycle.domain.states import Power
from lifecycle.drivers.base import DomainSpec, DomainView, Pool
from lifecycle.drivers.libvirt.errors import TYPES, absent_is_fine, code
from lifecycle.drivers.libvirt.filter_xml import filter_xml
from lifecycle.drivers.libvirt.guest_xml import Places, domain_xml
from lifecycle.drivers.libvirt.lines import Lines
from lifecycle.drivers.libvirt.names import METADATA, filter_name
from lifecycle.drivers.libvirt.power import power_of, reason_word
from lifecycle.drivers.libvirt.qemu_log import log_tail
from lifecycle.drivers.libvirt.session import verb
from lifecycle.drivers.libvirt.storage import Pools
from lifecycle.drivers.libvirt.xml import parse

_UNDEFINE: Final = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
)
_SAVED: Final = libvirt.VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE
_TRANSIENT: Final = libvirt.VIR_CONNECT_LIST_DOMAINS_TRANSIENT

#: (installation, generation) from our metadata; (None, None) for a domain that is not ours.
_Mark = tuple[str | None, int | None]


class DomainVerbs(Pools):
    """The verbs about domains."""

    def __init__(self, lines: Lines, installation: str) -> None:
        self._marks: dict[UUID, _Mark] = {}
        self._marks_lock = threading.Lock()
        super().__init__(lines, installation)
        self.watch.on_change = self._forget_mark

    # -- defining

    @verb
    def define(self, spec: DomainSpec) -> None:
        """Define the packet filter and the domain; definitions of the same VM are replaced."""
        log = None if self.is_test else self._path(Pool.SERIAL, spec.serial_volume)
        disk, seed = self._path(Pool.DISKS, spec.disk_volume), self._path(Pool.DISKS, spec.seed_volume)
        places = Places(disk, seed, log, self._base_of(spec.disk_volume))
        if not self.is_test:
            self.conn.nwfilterDefineXML(filter_xml(spec))
        self.conn.defineXML(domain_xml(spec, places, test=self.is_test))
        self._forget_mark(spec.uuid)

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
        self._forget_mark(uuid)
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

    def _forget_mark(self, uuid: UUID) -> None:
        with self._marks_lock:
            self._marks.pop(uuid, None)

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
        """The end of QEMU's log; "" where the host does not let us read it. `uuid` is not needed for it."""
        del uuid
        with suppress(libvirt.libvirtError):
            return "" if self.is_test else log_tail(self.conn, name)
        return ""


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
