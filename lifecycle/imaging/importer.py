"""The importer: each worker looks for imports itself and works on one at a time, beside the operations of VMs."""

import logging
import threading
from pathlib import Path
from typing import Final

from django.conf import settings
from django.db import close_old_connections, connection

from lifecycle.imaging import importing
from lifecycle.models import Image, ImageImport
from lifecycle.services import image_imports, image_metering

log = logging.getLogger(__name__)

_ROUNDS_TO_TIDY: Final = 200


class Importer:
    """A thread of one process."""

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, once a process."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._loop, daemon=True, name="importer")
            self._thread.start()

    def stop(self) -> None:
        """End after what is under way; another worker takes over what did not end."""
        self._stopping.set()

    def _loop(self) -> None:
        rounds = 0
        while not self._stopping.wait(settings.SWEEP_SECONDS):
            try:
                close_old_connections()
                if rounds % _ROUNDS_TO_TIDY == 0:
                    tidy()
                rounds += 1
                work()
            except Exception:
                log.exception("the importer failed; trying again")
                connection.close()
        connection.close()


def work() -> int:
    """Run what is due, one after the other; returns how many."""
    return sum(importing.run(row_id) for row_id in image_imports.due())


def tidy() -> int:
    """Give up uploads that nobody goes on with, remove bytes that no open import owns, and files of deleted images.

    Images that the version before brought in or deleted during an upgrade are metered from now on.
    Returns how many files.
    """
    image_imports.expire_uploads()
    image_metering.put_right()
    store = Path(settings.IMAGE_STORE)
    found = list(store.glob("*.part"))
    kept = {str(pk) for pk in ImageImport.objects.filter(status__in=ImageImport.OPEN).values_list("pk", flat=True)}
    left = [path for path in found if path.name.partition(".")[0] not in kept]
    deleted = (
        Image.objects.filter(status=Image.Status.DELETED).exclude(file_name="").values_list("file_name", flat=True)
    )
    wanted = set(Image.objects.kept().values_list("file_name", flat=True))
    left += [store / name for name in deleted if name not in wanted and (store / name).is_file()]
    for path in left:
        path.unlink(missing_ok=True)
    return len(left)


importer = Importer()
