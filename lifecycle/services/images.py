"""Golden images as rows: registered, deprecated, deleted. A project's own are metered until they are deleted."""

from typing import Any

from django.db.models import Q, Sum

from lifecycle.domain.access import Right
from lifecycle.domain.errors import Forbidden, InvalidInput, NotFound, QuotaExceeded
from lifecycle.domain.imports import GIB
from lifecycle.models import VM, Image, Project, Quota, User
from lifecycle.services import image_metering
from lifecycle.services.access import require
from lifecycle.services.db import lock_project, service


@service
def register(*, name: str, family: str, **fields: Any) -> Image:
    """Make or renew the public image `name`, READY.

    A renewed image keeps its name; the VMs of the former one keep its file: an image that VMs came from
    is renamed with the start of its checksum and deprecated.
    """
    public = Image.objects.kept().filter(project__isnull=True)
    found = public.select_for_update().filter(name=name).first()
    if found and found.sha256 != fields["sha256"]:
        Image.objects.filter(pk=found.pk).update(name=_former_name(name, found.sha256), status=Image.Status.DEPRECATED)
        found = None
    if found is None:  # the image may have been here before: then it is the same row again
        found = public.filter(name=_former_name(name, fields["sha256"]), sha256=fields["sha256"]).first()
    if found is None:
        return Image.objects.create(name=name, family=family, status=Image.Status.READY, **fields)
    Image.objects.filter(pk=found.pk).update(name=name, family=family, status=Image.Status.READY, **fields)
    found.refresh_from_db()
    return found


def check_may_import(project: Project | None, user: User) -> None:
    """Who may bring images in, deprecate and delete them: who may use a project's VMs; the staff for all.

    Raises:
        NotFound: the user is a stranger to the project. Forbidden: the role is too small, or no staff.
    """
    if project is None:
        if not (user.is_active and user.is_staff):
            raise Forbidden("Only the operators of this site change images that are for everybody.")
        return
    require(project, user, Right.USE_VMS)


@service
def set_deprecated(image: Image, on: bool, *, user: User) -> bool:
    """Offer an image for new VMs, or not; VMs keep theirs. False when it already was so."""
    check_may_import(image.project, user)
    source, target = Image.Status.READY, Image.Status.DEPRECATED
    if not on:
        source, target = target, source
    rows = Image.objects.filter(pk=image.pk, status=source).exclude(file_name="")
    return bool(rows.update(status=target))


@service
def delete(image: Image, *, user: User) -> None:
    """Delete an image that no VM stands on. Its files on the hosts and in the store are removed by the workers.

    Raises:
        InvalidInput: VMs stand on it. Forbidden, NotFound: by role.
    """
    check_may_import(image.project, user)
    if image.project_id:
        lock_project(image.project_id)
    found = Image.objects.kept().select_for_update().filter(pk=image.pk).first()
    if found is None:
        raise NotFound("This image is not there any more.")
    users = VM.objects.live().filter(Q(image=found) | Q(cdrom=found) | Q(next_cdrom=found)).order_by("name")
    if number := users.count():
        raise InvalidInput(
            "%(name)s is in use: the disks of %(number)s VMs stand on it (%(first)s …). Delete those VMs first, or "
            "deprecate the image: then it is not offered any more.",
            name=found.name,
            number=number,
            first=users[0].name,
        )
    Image.objects.filter(pk=found.pk).update(status=Image.Status.DELETED)
    image_metering.gone(found, user=user)


def usage_bytes(project: Project) -> int:
    """What the project's images take in the store."""
    return Image.objects.kept().filter(project=project).aggregate(total=Sum("size_bytes"))["total"] or 0


def check_quota(project: Project | None, more_bytes: int) -> None:
    """Refuse when the project's images would take more than its quota. Public images have none."""
    if project is None:
        return
    limit, used = Quota.objects.get(project=project).image_gib, usage_bytes(project)
    if used + more_bytes > limit * GIB:
        raise QuotaExceeded(
            "The project's images may take %(limit)s GiB; they take %(usage)s GiB, and this one needs %(requested)s.",
            metric="image_gib",
            limit=limit,
            usage=-(-used // GIB),
            requested=-(-more_bytes // GIB),
            scope=f"project {project.slug}",
        )


def _former_name(name: str, sha256: str) -> str:
    return f"{name[:50]}-{sha256[:12]}"
