"""Golden images of a host: read back slowly and compared with their checksums; uploaded again when a person says so.

Reading an image takes as long as the image is large, so it is work of its own beside the reconcile: one image of a
host at a time, each at most once a day.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from django.conf import settings
from django.utils import timezone

from lifecycle.domain.errors import Gone, HypervisorError
from lifecycle.domain.findings import Kind, Sighting
from lifecycle.domain.text import mark
from lifecycle.drivers.base import Hypervisor, ImageRef, Pool
from lifecycle.models import Finding, Host, HostLease, Image
from lifecycle.repair.findings import Ending, attempt
from lifecycle.repair.hosts import connected
from lifecycle.services import findings, leases

log = logging.getLogger(__name__)

PURPOSE: Final = "checksums"
#: Renewed between chunks, which take milliseconds.
LEASE_SECONDS: Final = 60.0
EVERY: Final = timedelta(days=1)
#: After a failure.
AGAIN: Final = timedelta(hours=1)


class TurnLost(Exception):
    """Another process took the host over: reading is given up."""


def hosts_with_images() -> list[int]:
    """Hosts that answer."""
    return list(Host.objects.filter(health=Host.Health.UP).order_by("pk").values_list("pk", flat=True))


def look_after_images(host_id: int, owner: str) -> str | None:
    """Upload again what a person said, then verify one image whose turn it is; its file's name, None for none."""
    host = Host.objects.filter(pk=host_id).first()
    lease = (host_id, PURPOSE, owner)
    if host is None or not leases.take(*lease, LEASE_SECONDS):
        return None
    keep = leases.Renewal(lease, LEASE_SECONDS, partial(_still_ours, *lease)).keep
    try:
        with connected(host.uri) as hypervisor:
            restore_images(host_id, hypervisor, keep)
            drop_deleted(hypervisor)
            return verify_next(host_id, hypervisor, owner, keep)
    except (HypervisorError, TurnLost) as error:
        log.info("host %s: no image could be verified now: %s", host.name, error)
        return None
    finally:
        leases.release(*lease)


def _still_ours(host_id: int, purpose: str, owner: str) -> None:
    if not HostLease.objects.filter(host=host_id, purpose=purpose, owner=owner).exists():
        raise TurnLost(purpose)


def verify_next(host_id: int, hypervisor: Hypervisor, owner: str, keep_going: Callable[[], None]) -> str | None:
    """Verify the first image on the host that was not verified lately. Returns its file's name."""
    there = {volume.name for volume in hypervisor.list_volumes(Pool.IMAGES, afresh=True)}
    for image in Image.objects.kept().exclude(file_name="").order_by("pk"):
        turn = (host_id, f"checksum-{image.pk}", owner)
        if image.file_name not in there or not _its_turn(*turn):
            continue
        verify(host_id, hypervisor, image, keep_going)
        leases.take(*turn, EVERY.total_seconds())
        return image.file_name
    return None


def drop_deleted(hypervisor: Hypervisor) -> int:
    """Remove the files of deleted images from a host, but for those that something there still stands on."""
    there = {volume.name for volume in hypervisor.list_volumes(Pool.IMAGES, afresh=True)}
    gone = Image.objects.filter(status=Image.Status.DELETED, file_name__in=there).values_list("file_name", flat=True)
    unused = [name for name in gone if not hypervisor.users_of(Pool.IMAGES, name)]
    return sum(hypervisor.remove_volume(Pool.IMAGES, name) for name in unused)


def _its_turn(host_id: int, purpose: str, owner: str) -> bool:
    """A lease that nobody gives back: it ends when the image may be read again, after a failure sooner."""
    if HostLease.objects.filter(host=host_id, purpose=purpose, expires_at__gt=timezone.now()).exists():
        return False
    return leases.take(host_id, purpose, owner, AGAIN.total_seconds())


def verify(host_id: int, hypervisor: Hypervisor, image: Image, keep_going: Callable[[], None]) -> bool:
    """Read an image of the host back and record how it was found. True when it is as it should be.

    One that is being uploaded has not its size yet, and is left alone; one of another size need not be read.
    """
    ref, at = _ref(image), timezone.now()
    if _is_uploaded_now(host_id, image):
        return True
    found = hypervisor.image_sha256(ref, keep_going) if hypervisor.has_image(ref) else ""
    findings.record_image(host_id, _sighting(image, found, at), image.file_name, at)
    return found == image.sha256


def _is_uploaded_now(host_id: int, image: Image) -> bool:
    leased = HostLease.objects.filter(host=host_id, purpose=f"image-{image.pk}", expires_at__gt=timezone.now())
    return leased.exists()


def _sighting(image: Image, found: str, at: datetime) -> Sighting | None:
    if found == image.sha256:
        return None
    text = mark("a golden image on the host is not what was uploaded; disks of VMs stand on it")
    details = {"image": image.name, "recorded": image.sha256, "found": found, "verified_at": at.isoformat()}
    return Sighting(Kind.BAD_IMAGE, image.file_name, text, details)


def _ref(image: Image) -> ImageRef:
    return ImageRef(image.file_name, image.size_bytes, image.sha256, image.format)


def restore_images(host_id: int, hypervisor: Hypervisor, keep_going: Callable[[], None]) -> int:
    """Upload again the images of the host about which a person said so. Returns how many."""
    chosen = findings.due(host_id, {Kind.BAD_IMAGE})
    return sum(attempt(finding, partial(_restore, finding, hypervisor, keep_going)) for finding in chosen)


def _restore(finding: Finding, hypervisor: Hypervisor, keep_going: Callable[[], None]) -> Ending:
    image = Image.objects.filter(file_name=finding.subject).first()
    if image is None:
        raise Gone("the image is not known any more")
    source = settings.IMAGE_STORE / image.file_name
    if not source.is_file():
        raise Gone(f"image file {source} is missing in the image store")
    hypervisor.replace_image(_ref(image), source, keep_going)
    if hypervisor.image_sha256(_ref(image), keep_going) != image.sha256:
        return None
    return mark("The image was uploaded again.")
