"""Importing an image: fetch, check, convert, store. Each phase is repeated whole or goes on where it stopped.

The row (`ImageImport`) is the queue and the truth. A file appears in the store under its final name when it is
complete, checked and durable; a worker that dies leaves `<id>.part`, from which the next one goes on.
"""

import ipaddress
import logging
import os
import shutil
import time
from pathlib import Path
from typing import Final
from uuid import UUID

from django.conf import settings

from lifecycle.domain.errors import DomainError, InvalidInput
from lifecycle.domain.imports import CONVERTED, GIB, Limits, disk_gib
from lifecycle.imaging import checking, fetch
from lifecycle.models import Image, ImageImport
from lifecycle.services import image_imports
from lifecycle.services.image_imports import LostImport

log = logging.getLogger(__name__)

Phase = ImageImport.Phase
#: The database is told how far it is at most so often.
TELL_SECONDS: Final = 1.0
#: What stays free in the store, whatever comes.
SPARE_BYTES: Final = 1 * GIB


def limits() -> Limits:
    """By the settings."""
    return Limits(settings.IMAGE_IMPORT_MAX_GIB * GIB, settings.IMAGE_IMPORT_MAX_DISK_GIB * GIB)


def run(row_id: UUID) -> bool:
    """Work on an import until it is done, fails, waits or is taken away. False when there was nothing to take."""
    row = image_imports.claim(row_id)
    if row is None:
        return False
    work = _Work(row)
    try:
        work.run()
    except LostImport:
        log.info("import %s was cancelled or taken over; this worker leaves it", row_id)
    except Exception as error:
        _note(row, error)
    work.tidy()
    return True


def _note(row: ImageImport, error: Exception) -> None:
    """Write how a run failed: for good, or to be tried again."""
    try:
        if isinstance(error, DomainError):
            image_imports.fail(row, error)
        elif isinstance(error, fetch.Interrupted):
            image_imports.retry_later(row, str(error))
        else:
            log.error("import %s failed", row.pk, exc_info=error)
            why = f"the image store answers: {error.strerror}" if isinstance(error, OSError) else "an internal error"
            image_imports.retry_later(row, why)
    except LostImport:
        log.info("import %s ended while its failure was written", row.pk)


class _Work:
    """One run of one import by one worker."""

    def __init__(self, row: ImageImport) -> None:
        self.row = row
        self.store = Path(settings.IMAGE_STORE)
        self.part = self.store / row.part_name
        self.made = self.store / f"{row.id}.qcow2.part"
        self._told_at = 0.0

    def run(self) -> None:
        self.store.mkdir(parents=True, exist_ok=True)
        if self.row.source == ImageImport.Source.URL and not self._is_whole():
            self._fetch()
        digest = self._verify()
        kind, disk_bytes = checking.check_file(self.part, limits(), self._tell)
        path = self.part
        if kind in CONVERTED:
            self._check_room(disk_bytes // 4)
            self._begin(Phase.CONVERT)
            checking.convert(self.part, kind, self.made, limits(), disk_bytes, self._tell)
            path = self.made
            digest = ""
        self._begin(Phase.STORE)
        self._publish(path, kind, disk_bytes, digest or checking.sha256_of(path, self._tell))

    def tidy(self) -> None:
        """Remove what is needed no more; the bytes of an import that goes on later stay."""
        if ImageImport.objects.filter(pk=self.row.pk, status__in=ImageImport.OPEN).exists():
            return
        for path in (self.part, self.made):
            path.unlink(missing_ok=True)

    # -- phases

    def _is_whole(self) -> bool:
        """Whether a former worker fetched all of it."""
        return self.row.phase != Phase.FETCH and self.part.is_file()

    def _fetch(self) -> None:
        allowed = [ipaddress.ip_network(text) for text in settings.IMAGE_IMPORT_ALLOWED_NETWORKS]
        rules = fetch.Rules(allowed, limits().file_bytes)
        checked_room = False

        def told(done: int, total: int | None, validator: str) -> None:
            nonlocal checked_room
            if not checked_room:
                self._check_room((total or 0) - done)
                image_imports.progress(self.row, validator=validator, total_bytes=total, done_bytes=done)
                checked_room = True
            self._tell(done, total)
            if self.row.attempts and done:
                image_imports.progress(self.row, attempts=0, error=None)

        fetch.fetch(self.row.url, self.part, self.row.validator, rules, told)

    def _verify(self) -> str:
        """The checksum is the one that was named. Returns it."""
        self._begin(Phase.CHECK)
        if not self.part.is_file():
            raise InvalidInput("The uploaded file is not in the image store any more. Upload it again.")
        digest = checking.sha256_of(self.part, self._tell)
        if self.row.sha256 and digest != self.row.sha256:
            raise InvalidInput(
                "The file has another checksum than was named: %(found)s. It is not the file you meant, or was damaged "
                "on its way.",
                field="sha256",
                found=digest,
            )
        return digest

    def _publish(self, path: Path, kind: str, disk_bytes: int, digest: str) -> None:
        """Make the file durable and read-only, give it its name, and write the image's row."""
        is_iso = kind == "iso"
        final = self.store / f"{self.row.id}-{digest[:12]}.{'iso' if is_iso else 'qcow2'}"
        size = path.stat().st_size
        image_imports.progress(self.row)
        path.chmod(0o444)
        with path.open("rb") as file:
            os.fsync(file.fileno())
        path.rename(final)
        try:
            image_imports.complete(
                self.row,
                kind="iso" if is_iso else "disk",
                format="raw" if is_iso else "qcow2",
                size_bytes=size,
                virtual_size_bytes=disk_bytes,
                sha256=digest,
                min_disk_gib=1 if is_iso else disk_gib(disk_bytes),
                file_name=final.name,
            )
        except BaseException:
            if not Image.objects.filter(file_name=final.name).exists():
                final.unlink(missing_ok=True)
            raise

    # -- telling

    def _begin(self, phase: str) -> None:
        image_imports.progress(self.row, phase=phase, done_bytes=0, total_bytes=None)
        self._told_at = 0.0

    def _tell(self, done: int, total: int | None) -> None:
        """Say how far it is, once a second; raises LostImport when it is not ours any more."""
        now = time.monotonic()
        if now - self._told_at >= TELL_SECONDS:
            self._told_at = now
            image_imports.progress(self.row, done_bytes=done, total_bytes=total)

    def _check_room(self, more: int) -> None:
        if shutil.disk_usage(self.store).free < max(more, 0) + SPARE_BYTES:
            raise InvalidInput("The image store has no room for this file now. The operators have to make some.")
