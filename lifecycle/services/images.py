"""Golden images as rows."""

from typing import Any

from django.db import transaction

from lifecycle.models import Image
from lifecycle.services.db import service


@service
def register(*, name: str, family: str, **fields: Any) -> Image:
    """Make or renew the image `name`, READY.

    A renewed image keeps its name; the VMs of the former one keep its file: an image that VMs came from
    is renamed with the start of its checksum and deprecated.
    """
    with transaction.atomic():
        found = Image.objects.select_for_update().filter(name=name).first()
        if found and found.sha256 == fields["sha256"]:
            Image.objects.filter(pk=found.pk).update(family=family, status=Image.Status.READY, **fields)
            found.refresh_from_db()
            return found
        if found:
            Image.objects.filter(pk=found.pk).update(
                name=f"{name[:50]}-{found.sha256[:12]}", status=Image.Status.DEPRECATED
            )
        return Image.objects.create(name=name, family=family, status=Image.Status.READY, **fields)
