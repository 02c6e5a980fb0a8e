"""What projects' images take in the store: a log of their own, intervals by it, derived again and compared.

`stored` and `gone` are called in the transaction of the image's change of status, under its project's lock.
"""

import logging
from collections.abc import Iterator
from datetime import datetime

from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from lifecycle.domain import metering
from lifecycle.domain.metering import Change, Difference, Span, Stored
from lifecycle.models import Image, ImageChange, ImageInterval, Project, User
from lifecycle.services.db import lock_project, service
from lifecycle.services.metering import Report

log = logging.getLogger(__name__)

IMAGES_AT_ONCE = 500
MIB = 2**20
Kind = ImageChange.Kind
#: An image takes storage as long as it has one of these, whether it is offered or not.
_THERE = (Image.Status.READY, Image.Status.DEPRECATED)

Log = list[Change[Stored]]
Record = list[Span[Stored]]


# -- with each change ----------------------------------------------------------------------------


def stored(image: Image, *, user: User | None, kind: Kind = Kind.READY) -> None:
    """The image takes storage from now on; nothing for an image of everybody."""
    if image.project_id is not None:
        _append(image, image.project_id, kind, -(-image.size_bytes // MIB), user)


def gone(image: Image, *, user: User | None) -> None:
    """It takes none any more; nothing for an image of everybody, or one that was never metered."""
    if image.project_id is not None and ImageChange.objects.filter(image=image).exists():
        _append(image, image.project_id, Kind.DELETED, None, user)


def _append(image: Image, project_id: int, kind: Kind, size_mib: int | None, user: User | None) -> None:
    """The row of the log, the end of the interval before it, and the next one. No row occurs before the last did."""
    now = timezone.now()
    last = ImageChange.objects.filter(image=image).order_by("-id").values_list("occurred_at", flat=True).first()
    row = ImageChange.objects.create(
        image=image,
        project_id=project_id,
        kind=kind,
        size_mib=size_mib,
        user=user,
        occurred_at=max(now, last or now),
        recorded_at=now,
    )
    ImageInterval.objects.filter(image=image, ended_at__isnull=True).update(ended_at=row.occurred_at)
    if size_mib is not None:
        _interval(image, project_id, Span(row.pk, Stored(size_mib), row.occurred_at, None)).save(force_insert=True)


def _interval(image: Image, project_id: int, span: Span[Stored]) -> ImageInterval:
    return ImageInterval(
        image=image,
        project_id=project_id,
        opened_by_id=span.opened_by,
        size_mib=span.state.size_mib,
        started_at=span.started_at,
        ended_at=span.ended_at,
    )


# -- what the version before left ----------------------------------------------------------------


def put_right() -> int:
    """Log what processes of the version before did during an upgrade: images that came or went without a row.

    The row is of now: what was not written down is not billed afterwards. Returns how many images.
    """
    return sum(_put_right(pk, project_id) for pk, project_id in _strays().values_list("pk", "project_id"))


def _strays() -> QuerySet[Image]:
    """Images whose status is not what their log says: one query."""
    latest = ImageChange.objects.filter(image=OuterRef("pk")).order_by("-id").values("kind")[:1]
    rows = Image.objects.filter(project__isnull=False).annotate(last=Subquery(latest)).order_by("pk")
    unmetered = Q(status__in=_THERE) & (Q(last__isnull=True) | Q(last=Kind.DELETED))
    return rows.filter(unmetered | (Q(last__isnull=False) & ~Q(last=Kind.DELETED) & ~Q(status__in=_THERE)))


@service
def _put_right(pk: int, project_id: int) -> bool:
    lock_project(project_id)
    image = _strays().filter(pk=pk).first()
    if image is None:
        return False
    if image.status in _THERE:
        stored(image, user=None, kind=Kind.FOUND)
    else:
        gone(image, user=None)
    log.info("the image %s was metered anew: it is %s", image, image.status)
    return True


# -- derived again -------------------------------------------------------------------------------


def check(limit: int = 20) -> Report:
    """Derive the intervals of every image again from its log and compare, as `metering.check` does for VMs."""
    report = Report()
    for images in _batches():
        report.images += len(images)
        for image in _suspects(images):
            found = differences(image)
            report.differences += len(found)
            report.words += found[: max(0, limit - len(report.words))]
    return report


@service
def differences(image: Image) -> list[str]:
    """What differs for one image, in words, as of one moment."""
    _lock(image)
    derived, recorded = _read([image])[image.pk]
    found = [str(each) for each in _compare(derived, recorded)]
    if _strays().filter(pk=image.pk).exists():
        end = "takes no storage" if not derived or derived[-1].target is None else "takes storage"
        found.append(f"by its log it {end}, and it is {Image.objects.get(pk=image.pk).status}")
    return [f"image {image.name} ({image.pk}): {each}" for each in found]


@service
def repair(image: Image) -> int:
    """Write the intervals of one image that differ from its log anew; returns how many."""
    project = _lock(image)
    wrong = _compare(*_read([image])[image.pk])
    ImageInterval.objects.filter(opened_by__in=[each.opened_by for each in wrong]).delete()
    ImageInterval.objects.bulk_create(_interval(image, project.pk, each.derived) for each in wrong if each.derived)
    return len(wrong)


def _lock(image: Image) -> Project:
    """The row of its project, locked as `lock_project` does it."""
    return Project.objects.select_for_update().get(images=image.pk)


def images_that_differ() -> Iterator[Image]:
    """Every image whose intervals are not those of its log."""
    for images in _batches():
        yield from _suspects(images)


def _batches() -> Iterator[list[Image]]:
    """Projects' images, those that are gone included, some at a time."""
    rows, last = Image.objects.filter(project__isnull=False).order_by("pk"), 0
    while images := list(rows.filter(pk__gt=last)[:IMAGES_AT_ONCE]):
        yield images
        last = images[-1].pk


def _suspects(images: list[Image]) -> list[Image]:
    """Those that differ as read without a lock, in three queries."""
    found = _read(images)
    strays = set(_strays().filter(pk__in=[image.pk for image in images]).values_list("pk", flat=True))
    return [image for image in images if image.pk in strays or _compare(*found[image.pk])]


def _read(images: list[Image]) -> dict[int, tuple[Log, Record]]:
    """The log and the intervals of each image, in two queries."""
    found: dict[int, tuple[Log, Record]] = {image.pk: ([], []) for image in images}
    rows = ImageChange.objects.filter(image__in=images).order_by("id")
    for image, number, size, at in rows.values_list("image", "id", "size_mib", "occurred_at"):
        found[image][0].append(Change(number, None if size is None else Stored(size), at))
    intervals = ImageInterval.objects.filter(image__in=images).order_by()
    names = ("image", "opened_by", "size_mib", "started_at", "ended_at")
    for image, number, size, start, end in intervals.values_list(*names):
        found[image][1].append(Span(number, Stored(size), start, end))
    return found


def _compare(log: Log, recorded: Record) -> list[Difference[Stored]]:
    return metering.compare(metering.derive(log), recorded)


# -- reading -------------------------------------------------------------------------------------


def first_at(project_id: int) -> datetime | None:
    """When the first image of the project began to take storage: one query."""
    rows = ImageInterval.objects.filter(project=project_id).order_by("started_at")
    return rows.values_list("started_at", flat=True).first()
