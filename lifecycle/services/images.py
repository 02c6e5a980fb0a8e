"""Golden images as rows."""

from typing import Any

from lifecycle.models import Image
from lifecycle.services.db import service


@service
def register(*, name: str, family: str, **fields: Any) -> Image:
    """Make or renew the image `name`, READY.

    A renewed image keeps its name; the VMs of the former one keep its file: an image that VMs came from
    is renamed with the start of its checksum and deprecated.
    """
    found = Image.objects.select_for_update().filter(name=name).first()
    if found and found.sha256 != fields["sha256"]:
        Image.objects.filter(pk=found.pk).update(name=_former_name(name, found.sha256), status=Image.Status.DEPRECATED)
        found = None
    if found is None:  # the image may have been here before: then it is the same row again
        found = Image.objects.filter(name=_former_name(name, fields["sha256"]), sha256=fields["sha256"]).first()
    if found is None:
        return Image.objects.create(name=name, family=family, status=Image.Status.READY, **fields)
    Image.objects.filter(pk=found.pk).update(name=name, family=family, status=Image.Status.READY, **fields)
    found.refresh_from_db()
    return found


def _former_name(name: str, sha256: str) -> str:
    return f"{name[:50]}-{sha256[:12]}"
