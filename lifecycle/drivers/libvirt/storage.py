"""Pools and volumes. Only libvirt's API and streams: a host's files are never opened here."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Any, Final

import libvirt

from lifecycle.domain.errors import Broken, Gone, Refused
from lifecycle.drivers.base import ImageRef, Pool, VolumeView
from lifecycle.drivers.libvirt.definition_xml import sources
from lifecycle.drivers.libvirt.errors import absent_is_fine, code
from lifecycle.drivers.libvirt.names import pool_name
from lifecycle.drivers.libvirt.session import Session, verb
from lifecycle.drivers.libvirt.storage_xml import overlay_xml, pool_xml, raw_volume_xml
from lifecycle.drivers.libvirt.xml import described

CHUNK_BYTES: Final = 256 * 1024


class Pools(Session):
    """What storage verbs share."""

    def _pool(self, pool: Pool) -> Any:
        """The pool, started. One that is not there is laid out first."""
        name = pool_name(self.installation, pool)
        try:
            found = self.conn.storagePoolLookupByName(name)
        except libvirt.libvirtError as error:
            if code(error) != libvirt.VIR_ERR_NO_STORAGE_POOL:
                raise
            found = self._lay_out(pool)
        if not found.isActive():
            self._start(found)
        return found

    def _lay_out(self, pool: Pool) -> Any:
        found = self.conn.storagePoolDefineXML(pool_xml(self.installation, pool))
        if not found.isActive():
            try:
                found.build(libvirt.VIR_STORAGE_POOL_BUILD_NEW)
            except libvirt.libvirtError:
                if not found.isActive():  # else another worker was faster
                    raise
        found.setAutostart(True)
        return found

    def _start(self, found: Any) -> None:
        try:
            found.create()
        except libvirt.libvirtError:
            if not found.isActive():
                raise

    def _volume(self, pool: Pool, name: str) -> Any | None:
        """The volume, or None; libvirt goes by what it remembers, so its file is looked at."""
        found = self._pool(pool)
        with absent_is_fine():
            volume = found.storageVolLookupByName(name)
            try:
                volume.info()
            except libvirt.libvirtError:
                refresh(found)
                volume = found.storageVolLookupByName(name)
            return volume
        return None

    def _path(self, pool: Pool, name: str) -> str:
        """Where a volume of that name is, or will be, on the host."""
        tree = described(self._pool(pool))
        return f"{tree.findtext('target/path')}/{name}"

    def _base_of(self, disk: str) -> tuple[str, str] | None:
        """Path and format of what the disk is an overlay of; None when it is none, or is not there."""
        volume = self._volume(Pool.DISKS, disk)
        backing = None if volume is None else described(volume).find("backingStore")
        path = None if backing is None else backing.findtext("path")
        image_format = None if backing is None else backing.find("format")
        return (path, image_format.get("type", "raw")) if path and image_format is not None else None

    def _make(self, pool: Pool, xml: str, name: str) -> tuple[Any, bool]:
        """The volume made from `xml`, or the one that was there; and whether it is new."""
        if (known := self._volume(pool, name)) is not None:
            return known, False
        try:
            return self._pool(pool).createXML(xml), True
        except libvirt.libvirtError:
            if (known := self._volume(pool, name)) is None:
                raise
            return known, False  # another worker was faster


class StorageVerbs(Pools):
    """The verbs about pools, overlays, seeds and logs."""

    @verb
    def ensure_pools(self) -> None:
        """Define, build, start and autostart the installation's pools."""
        for pool in Pool:
            found = self._pool(pool)
            if not found.autostart():
                found.setAutostart(True)

    @verb
    def create_overlay(self, volume: str, image: ImageRef | None, capacity_bytes: int) -> bool:
        """A thin overlay of the golden image; without one, an empty disk.

        Raises:
            HypervisorError: `Gone` without the golden image; `Refused` when the disk would be smaller than it;
                `Broken` when a volume of that name stands on something else.
        """
        if image is None:
            return self._make(Pool.DISKS, overlay_xml(volume, capacity_bytes, None), volume)[1]
        base = self._volume(Pool.IMAGES, image.volume)
        if base is None:
            raise Gone(f"image {image.volume} is not on the host")
        if capacity_bytes < base.info()[1]:
            raise Refused(f"a disk of {capacity_bytes} bytes is smaller than its image {image.volume}")
        xml = overlay_xml(volume, capacity_bytes, (base.path(), image.format))
        made, is_new = self._make(Pool.DISKS, xml, volume)
        if not (is_new or self.is_test or described(made).findtext("backingStore/path") == base.path()):
            raise Broken(f"volume {volume} is there and is no overlay of {image.volume}")
        return is_new

    @verb
    def write_seed(self, volume: str, content: bytes) -> None:
        """(Re)write the seed. Readable by root only, until libvirt hands it to the guest's QEMU."""
        self._remove(Pool.DISKS, volume)
        made, _new = self._make(Pool.DISKS, raw_volume_xml(volume, len(content), "0600"), volume)
        if not self.is_test:
            self._send(made, content)

    def _send(self, volume: Any, content: bytes) -> None:
        stream = self.conn.newStream(0)
        try:
            volume.upload(stream, 0, len(content))
            for start in range(0, len(content), CHUNK_BYTES):
                send_all(stream, content[start : start + CHUNK_BYTES])
            stream.finish()
        except BaseException:
            abort(stream)
            raise

    @verb
    def remove_volume(self, pool: Pool, volume: str, *, exactly: bool = False) -> bool:
        """Remove the volume; True when it was there. The backups of a serial log go with it, unless `exactly`."""
        if exactly or pool is not Pool.SERIAL:
            return self._remove(pool, volume)
        found = self._pool(pool)
        refresh(found)
        names = [name for name in found.listVolumes() if name == volume or name.startswith(f"{volume}.")]
        return [name for name in names if self._remove(pool, name)][:1] == [volume]

    def _remove(self, pool: Pool, volume: str) -> bool:
        with absent_is_fine():
            self._pool(pool).storageVolLookupByName(volume).delete(0)
            return True
        return False

    @verb
    def list_volumes(self, pool: Pool, *, afresh: bool = False) -> list[VolumeView]:
        """The volumes as they are now. Files that others put into the pool of serial logs are always seen."""
        found = self._pool(pool)
        if afresh or pool is Pool.SERIAL:
            refresh(found)
        return [view for volume in found.listAllVolumes() if (view := _view(pool, volume))]

    @verb
    def users_of(self, pool: Pool, volume: str) -> list[str]:
        """Domains that have the volume, running or not, and volumes of any started pool that stand on it."""
        path, by_name = self._path(pool, volume), f"{pool_name(self.installation, pool)}/{volume}"
        found = []
        for domain in self.conn.listAllDomains():
            with absent_is_fine():
                named = {*sources(described(domain)), *sources(described(domain, libvirt.VIR_DOMAIN_XML_INACTIVE))}
                if named & {path, by_name}:
                    found.append(domain.name())
        for other in self.conn.listAllStoragePools(libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE):
            with absent_is_fine():
                found += [v.name() for v in other.listAllVolumes() if _backing(v) == path]
        return found

    @verb
    def base_of(self, pool: Pool, volume: str) -> str:
        """The name of what it stands on, as its header says."""
        found = self._volume(pool, volume)
        path = None if found is None else _backing(found)
        return PurePosixPath(path or "").name

    @verb
    def read_volume(self, pool: Pool, volume: str, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset`; b"" when there is nothing there (yet)."""
        found = self._volume(pool, volume)
        if found is None and pool is Pool.SERIAL:
            refresh(self._pool(pool))  # virtlogd made it, libvirt has not seen it
            found = self._volume(pool, volume)
        if found is None or self.is_test:
            return b""
        size = found.infoFlags(libvirt.VIR_STORAGE_VOL_GET_PHYSICAL)[2]
        wanted = min(length, size - offset)
        return self._receive(found, offset, wanted) if wanted > 0 else b""

    def _receive(self, volume: Any, offset: int, length: int) -> bytes:
        parts: list[bytes] = []
        self._download(volume, offset, length, parts.append)
        return b"".join(parts)

    def _download(self, volume: Any, offset: int, length: int, take: Callable[[bytes], Any]) -> None:
        stream = self.conn.newStream(0)
        try:
            volume.download(stream, offset, length)
            while chunk := stream.recv(CHUNK_BYTES):
                take(chunk)
            stream.finish()
        except BaseException:
            abort(stream)
            raise


def _backing(volume: Any) -> str | None:
    """The path of what the volume stands on; None when it stands alone, or is gone."""
    with absent_is_fine():
        return described(volume).findtext("backingStore/path")
    return None


def send_all(stream: Any, data: bytes) -> None:
    """Send a chunk whole: libvirt may take part of it."""
    while data:
        data = data[stream.send(data) :]


def abort(stream: Any) -> None:
    """End a stream after a failure, whose own error is the one to tell."""
    with suppress(libvirt.libvirtError):
        stream.abort()


def refresh(pool: Any) -> None:
    """Look at the directory again. Refused while a volume is being made: what is known must do then."""
    with suppress(libvirt.libvirtError):
        pool.refresh(0)


def _view(pool: Pool, volume: Any) -> VolumeView | None:
    """The volume as it is now; None when its file is gone."""
    try:
        _kind, capacity, allocation = volume.info()
    except libvirt.libvirtError:
        return None
    return VolumeView(pool, volume.name(), capacity, allocation)
