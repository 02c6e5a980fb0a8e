"""Images on their way in, as rows: asked for, taken by a worker under a lease, moved on, ended.

A write of a worker happens only while the row has the worker's token; a worker that lost its lease changes nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID, uuid4

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from lifecycle.domain import imports
from lifecycle.domain.errors import DomainError, InvalidInput, NameTaken, NotFound, StateConflict
from lifecycle.domain.guests import MEMORY_MIB
from lifecycle.models import Image, ImageImport, Project, User
from lifecycle.models.images import Firmware
from lifecycle.realtime import push
from lifecycle.services import image_metering
from lifecycle.services.db import lock_project, service
from lifecycle.services.images import check_may_import, check_quota

#: Renewed with each second of progress; what is checked or converted says so as often.
LEASE_SECONDS: Final = 60
OPEN_MAX: Final = 5  # imports of a project under way
FAILURES_MAX: Final = 6
BACKOFF_SECONDS: Final = (5, 300)
#: An upload that nobody goes on with is given up.
UPLOAD_IDLE: Final = timedelta(hours=24)

Status = ImageImport.Status


class LostImport(Exception):
    """The import was cancelled, or another worker took over: nothing may be written any more."""


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """What a person says of a new image. Without `url` the file is uploaded."""

    name: str
    url: str = ""
    sha256: str = ""
    family: str = ""
    description: str = ""
    firmware: str = "bios"
    default_user: str = "root"
    min_memory_mib: int = 256
    total_bytes: int | None = None  # of an upload, as the browser says


@service
def request_import(project: Project | None, request: ImportRequest, *, user: User, file_max: int) -> ImageImport:
    """Write an import: a worker fetches its address, or its upload is waited for. `project` None: for everybody.

    Raises:
        InvalidInput, NameTaken, QuotaExceeded, Forbidden, NotFound: nothing was written.
    """
    if project is not None:
        project = lock_project(project.pk)
    check_may_import(project, user)
    row = _checked(request, file_max)
    row.project, row.user = project, user
    _refuse_taken(project, row.name)
    others = ImageImport.objects.filter(project=project, status__in=ImageImport.OPEN)
    if others.count() >= OPEN_MAX:
        raise InvalidInput("%(most)s imports are under way: wait until one is done, or cancel one.", most=OPEN_MAX)
    check_quota(project, request.total_bytes or 0)
    row.save(force_insert=True)
    return row


def _checked(request: ImportRequest, file_max: int) -> ImageImport:
    if request.url:
        imports.check_url(request.url)
        if not request.sha256.strip():
            raise InvalidInput(
                "Give the SHA-256 checksum that the publisher names: by it the file is known to be the right one.",
                field="sha256",
            )
    if request.firmware not in Firmware.values:
        raise InvalidInput("There is no firmware %(value)s.", field="firmware", value=request.firmware)
    if request.min_memory_mib not in MEMORY_MIB:
        raise InvalidInput("Between %(least)s and %(most)s MiB.", field="min_memory_mib", least=80, most=MEMORY_MIB[-1])
    check_file_size(1 if request.total_bytes is None else request.total_bytes, file_max)
    name = imports.check_image_name(request.name)
    return ImageImport(
        source=ImageImport.Source.URL if request.url else ImageImport.Source.UPLOAD,
        status=Status.WAITING if request.url else Status.UPLOADING,
        url=request.url,
        sha256=imports.check_sha256(request.sha256),
        name=name,
        family=imports.check_image_name(request.family or name, "family"),
        description=request.description.strip()[:200],
        firmware=request.firmware,
        default_user=imports.check_default_user(request.default_user or "root"),
        min_memory_mib=request.min_memory_mib,
        total_bytes=request.total_bytes,
    )


def check_file_size(size: int, file_max: int) -> None:
    """Refuse a file of nothing, or of more than `file_max` bytes."""
    if size <= 0:
        raise InvalidInput("The file is empty.", field="file")
    if size > file_max:
        raise InvalidInput(
            "The file has %(value)s GiB; at most %(most)s GiB are possible.",
            field="file",
            value=round(size / imports.GIB, 1),
            most=round(file_max / imports.GIB, 1),
        )


def _refuse_taken(project: Project | None, name: str) -> None:
    taken = Image.objects.kept().filter(project=project, name=name).exists()
    if taken or ImageImport.objects.filter(project=project, name=name, status__in=ImageImport.OPEN).exists():
        raise NameTaken("There is an image called %(name)s already.", field="name", name=name)


@service
def cancel(row: ImageImport, *, user: User) -> None:
    """End an import that is under way; its worker stops at its next look. Raises StateConflict when it is over."""
    check_may_import(row.project, user)
    rows = ImageImport.objects.filter(pk=row.pk, status__in=ImageImport.OPEN)
    if not rows.update(status=Status.CANCELLED, token=None, ended_at=timezone.now()):
        raise StateConflict("This import is over already.")
    _tell(row.pk)


# -- uploads -------------------------------------------------------------------------------------


@service
def note_upload(row_id: UUID, done_bytes: int) -> bool:
    """How much of an upload has come. False when it is not waited for any more."""
    rows = ImageImport.objects.filter(pk=row_id, status=Status.UPLOADING)
    return bool(rows.update(done_bytes=done_bytes, touched_at=timezone.now()))


@service
def upload_is_whole(row_id: UUID) -> None:
    """The last byte came: a worker checks it now. Raises StateConflict when it is not waited for any more."""
    rows = ImageImport.objects.filter(pk=row_id, status=Status.UPLOADING)
    changes = {"status": Status.WAITING, "phase": ImageImport.Phase.CHECK, "due_at": timezone.now()}
    if not rows.update(**changes):
        raise StateConflict("This upload is over already.")
    _tell(row_id)


@service
def expire_uploads() -> int:
    """Give up uploads that nobody goes on with."""
    rows = ImageImport.objects.filter(status=Status.UPLOADING, touched_at__lt=timezone.now() - UPLOAD_IDLE)
    return rows.update(status=Status.CANCELLED, ended_at=timezone.now())


# -- a worker's ----------------------------------------------------------------------------------


def due() -> list[UUID]:
    """Imports that wait for a worker, or whose worker is gone."""
    now = timezone.now()
    waiting = Q(status=Status.WAITING, due_at__lte=now) | Q(status=Status.RUNNING, lease_expires_at__lt=now)
    return list(ImageImport.objects.filter(waiting).order_by("due_at").values_list("pk", flat=True)[:10])


@service
def claim(row_id: UUID) -> ImageImport | None:
    """Take an import's lease; None when somebody else was faster."""
    now = timezone.now()
    free = Q(status=Status.WAITING, due_at__lte=now) | Q(status=Status.RUNNING, lease_expires_at__lt=now)
    lease = {"token": uuid4(), "lease_expires_at": now + timedelta(seconds=LEASE_SECONDS), "status": Status.RUNNING}
    if not ImageImport.objects.filter(free, pk=row_id).update(**lease):
        return None
    _tell(row_id)
    return ImageImport.objects.select_related("project", "user").get(pk=row_id)


@service
def progress(row: ImageImport, **changes: Any) -> None:
    """Write how far it is, and renew the lease. Raises LostImport."""
    now = timezone.now()
    _write(row, touched_at=now, lease_expires_at=now + timedelta(seconds=LEASE_SECONDS), **changes)


@service
def retry_later(row: ImageImport, problem: str) -> bool:
    """After a failure that may pass: wait, longer each time. False (and FAILED) when it failed too often."""
    attempts = row.attempts + 1
    if attempts >= FAILURES_MAX:
        fail(row, InvalidInput("It failed %(number)s times in a row: %(why)s", number=attempts, why=problem))
        return False
    seconds = min(BACKOFF_SECONDS[0] * 2 ** (attempts - 1), BACKOFF_SECONDS[1])
    error = InvalidInput("%(why)s It is tried again in %(seconds)s seconds.", why=problem, seconds=seconds).as_dict()
    due_at = timezone.now() + timedelta(seconds=seconds)
    _write(row, status=Status.WAITING, token=None, attempts=attempts, error=error, due_at=due_at)
    return True


@service
def fail(row: ImageImport, error: DomainError) -> None:
    """The end: it becomes no image, and the row says why."""
    _write(row, status=Status.FAILED, token=None, error=error.as_dict(), ended_at=timezone.now())


@service
def complete(row: ImageImport, **facts: Any) -> Image:
    """The end: a READY image of what was found in the file. `facts` are fields of the image.

    Raises:
        NameTaken, QuotaExceeded: meanwhile. LostImport.
    """
    if row.project_id:
        lock_project(row.project_id)
    _write(row, touched_at=timezone.now())  # first of all: is it still ours?
    check_quota(row.project, facts["size_bytes"])
    try:
        with transaction.atomic():
            image = Image.objects.create(
                project=row.project,
                name=row.name,
                family=row.family,
                description=row.description,
                firmware=row.firmware,
                default_user=row.default_user,
                min_memory_mib=row.min_memory_mib,
                created_by=row.user,
                status=Image.Status.READY,
                **facts,
            )
    except IntegrityError:
        raise NameTaken("There is an image called %(name)s already.", field="name", name=row.name) from None
    image_metering.stored(image, user=row.user)
    _write(row, status=Status.DONE, token=None, error=None, image=image, ended_at=timezone.now())
    return image


@contextmanager
def held(row: ImageImport) -> Iterator[None]:
    """Whatever happens in the block: the row's lease is given back when it is still ours."""
    try:
        yield
    finally:
        ImageImport.objects.filter(pk=row.pk, token=row.token).update(lease_expires_at=timezone.now())


def _write(row: ImageImport, **changes: Any) -> None:
    found = ImageImport.objects.filter(pk=row.pk, token=row.token, status=Status.RUNNING)
    if row.token is None or not found.update(**changes):
        raise LostImport(str(row.pk))
    for name, value in changes.items():
        if name != "token":
            setattr(row, name, value)
    _tell(row.pk)


def find(project: Project | None, row_id: UUID) -> ImageImport:
    """An import of the project (None: for everybody). Raises NotFound."""
    found = ImageImport.objects.filter(project=project, pk=row_id).select_related("project", "user", "image").first()
    if found is None:
        raise NotFound("There is no such import.")
    return found


def _tell(row_id: UUID) -> None:
    """Browsers that watch the project are told that there is something new about its images."""
    project_id = ImageImport.objects.filter(pk=row_id).values_list("project_id", flat=True).first()
    if project_id is not None:
        transaction.on_commit(lambda: push.note(project_id, "images"))
