"""Bytes of an upload into the image store: a piece at a time, never in memory, and never twice at one place.

What has come is the length of the file. A piece that does not begin there is refused with that length, so that a
browser goes on at the right place after a lost connection, a closed tab or a restart of the portal.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

from django.conf import settings

from lifecycle.domain.errors import InvalidInput, StateConflict
from lifecycle.domain.imports import GIB
from lifecycle.models import ImageImport
from lifecycle.services import image_imports

PIECE_MAX: Final = 64 * 2**20
_READ_BYTES: Final = 256 * 1024


class WrongOffset(StateConflict):
    """The piece does not begin where the file ends; `at` is where it ends."""

    code = "WRONG_OFFSET"

    def __init__(self, at: int) -> None:
        super().__init__("The upload is at %(at)s.", at=at)
        self.at = at


def file_max() -> int:
    """The largest file that may become an image, in bytes."""
    return int(settings.IMAGE_IMPORT_MAX_GIB) * GIB


def received(row: ImageImport) -> int:
    """How many bytes of the upload have come."""
    path = _path(row)
    return path.stat().st_size if path.exists() else 0


def take(row: ImageImport, source: IO[bytes] | Any, offset: int) -> int:
    """Append a piece; returns how many bytes have come. The last one hands the upload to a worker.

    Raises:
        WrongOffset: it begins elsewhere. InvalidInput: too much. StateConflict: the upload is over.
    """
    with _alone(row) as file:
        at = file.seek(0, 2)
        if offset != at:
            raise WrongOffset(at)
        most = min(file_max(), row.total_bytes or file_max())
        while data := source.read(_READ_BYTES):
            at += len(data)
            if at > most:
                file.truncate(offset)
                raise InvalidInput("The file is larger than was said: %(most)s bytes.", field="file", most=most)
            file.write(data)
        file.flush()
        if not image_imports.note_upload(row.pk, at):
            raise StateConflict("This upload is over already.")
    if row.total_bytes is not None and at == row.total_bytes:
        image_imports.upload_is_whole(row.pk)
    return at


@contextmanager
def _alone(row: ImageImport) -> Iterator[IO[bytes]]:
    """The file, for one request at a time."""
    path = _path(row)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StateConflict("Another piece of this upload is just being written.") from None
        yield file


def _path(row: ImageImport) -> Path:
    return Path(settings.IMAGE_STORE) / row.part_name
