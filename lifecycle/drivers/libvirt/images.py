"""Golden images on a host: uploaded once, never written again.

libvirt cannot rename a volume, so an upload goes to the final name, and **the size is the mark of completeness**: the
file starts empty and grows as it is written in order, and the last chunk is held back until the checksum of the whole
was found right. A file of the full size is therefore whole. Two workers that upload the same image write the same
bytes to the same places, and harm nobody; an upload that was killed is simply written over by the next.
"""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import libvirt

from lifecycle.domain.errors import Broken, Gone, Refused
from lifecycle.drivers.base import ImageRef, Pool
from lifecycle.drivers.libvirt.session import verb
from lifecycle.drivers.libvirt.storage import StorageVerbs, abort, refresh, send_all
from lifecycle.drivers.libvirt.storage_xml import raw_volume_xml

CHUNK_BYTES: Final = 1024 * 1024
#: For everybody to read, for nobody to write.
MODE: Final = "0444"


class ImageVerbs(StorageVerbs):
    """The verbs about golden images."""

    @verb
    def has_image(self, image: ImageRef) -> bool:
        """Whether the golden volume is there in its full size (the test driver: there at all)."""
        found = self._volume(Pool.IMAGES, image.volume)
        if found is None:
            return False
        return self.is_test or file_bytes(found) == image.size_bytes

    @verb
    def upload_image(self, image: ImageRef, source: Path, keep_going: Callable[[], None]) -> None:
        """Upload the image file.

        Raises:
            HypervisorError: `Refused` when the file is not what `image` says; `OutOfSpace`.
        """
        if source.stat().st_size != image.size_bytes:
            raise Refused(f"image file {source} has not the {image.size_bytes} bytes it should have")
        if self.has_image(image):
            return
        volume = self._empty_volume(image)
        if self.is_test:
            return
        self._upload(volume, image, source, keep_going)
        if (size := file_bytes(volume)) != image.size_bytes:
            raise Broken(f"image {image.volume} has {size} bytes on the host, not {image.size_bytes}")

    @verb
    def replace_image(self, image: ImageRef, source: Path, keep_going: Callable[[], None]) -> None:
        """Upload a damaged image again, as a new file: QEMUs that run keep the old one open."""
        for _chunk in _checked(source, image):
            keep_going()
        self._remove(Pool.IMAGES, image.volume)
        self.upload_image(image, source, keep_going)

    def _empty_volume(self, image: ImageRef) -> Any:
        """A volume to write into: a new empty one, or what an earlier upload left."""
        xml = raw_volume_xml(image.volume, 0 if not self.is_test else image.size_bytes, MODE)
        volume, _new = self._make(Pool.IMAGES, xml, image.volume)
        if not self.is_test and file_bytes(volume) > image.size_bytes:
            volume.delete(0)  # nothing of ours: an upload never exceeds the image
            volume, _new = self._make(Pool.IMAGES, xml, image.volume)
        return volume

    def _upload(self, volume: Any, image: ImageRef, source: Path, keep_going: Callable[[], None]) -> None:
        stream = self.conn.newStream(0)
        try:
            volume.upload(stream, 0, image.size_bytes)
            for chunk in _checked(source, image):
                keep_going()
                send_all(stream, chunk)
            stream.finish()
        except BaseException:
            abort(stream)
            raise
        refresh(self._pool(Pool.IMAGES))  # libvirt learns the image's format and virtual size

    @verb
    def image_sha256(self, image: ImageRef, keep_going: Callable[[], None]) -> str:
        """The checksum of the golden volume, read back. `Gone` when it is not there."""
        volume = self._volume(Pool.IMAGES, image.volume)
        if volume is None:
            raise Gone(f"image {image.volume} is not on the host")
        if self.is_test:
            return image.sha256
        digest = hashlib.sha256()

        def take(chunk: bytes) -> None:
            keep_going()
            digest.update(chunk)

        self._download(volume, 0, file_bytes(volume), take)
        return digest.hexdigest()


def file_bytes(volume: Any) -> int:
    """The length of the volume's file, which for qcow2 is not its capacity."""
    return int(volume.infoFlags(libvirt.VIR_STORAGE_VOL_GET_PHYSICAL)[2])


def _checked(source: Path, image: ImageRef) -> Iterator[bytes]:
    """The file in chunks; the last comes only when the checksum of all is right."""
    digest = hashlib.sha256()
    held = b""
    with source.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            if held:
                yield held
            held = chunk
    if digest.hexdigest() != image.sha256:
        raise Refused(f"image file {source} does not have the checksum it should have")
    yield held
