"""Imports as rows: who may ask, what is refused, leases, ends; and images that are deprecated and deleted."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from lifecycle.domain.errors import Forbidden, InvalidInput, NameTaken, NotFound, QuotaExceeded, StateConflict
from lifecycle.domain.imports import GIB
from lifecycle.domain.states import State
from lifecycle.models import VM, Host, Image, ImageImport, Project, Quota, User
from lifecycle.services import image_imports, images
from lifecycle.services.image_imports import ImportRequest, LostImport
from lifecycle.services.vms import VMRequest, request_create
from tests import factories
from tests.services.tools import at_once, refusal

pytestmark = [pytest.mark.bothdb, pytest.mark.django_db]

Status = ImageImport.Status
GOOD = ImportRequest("debian-13", url="https://example.org/debian.qcow2", sha256="a" * 64)


def ask(project: Project | None, user: User, **changes: Any) -> ImageImport:
    return image_imports.request_import(project, replace(GOOD, **changes), user=user, file_max=20 * GIB)


def claimed(row: ImageImport) -> ImageImport:
    found = image_imports.claim(row.pk)
    assert found is not None
    return found


FACTS: dict[str, Any] = {
    "kind": "disk",
    "size_bytes": GIB,
    "virtual_size_bytes": 2 * GIB,
    "sha256": "b" * 64,
    "min_disk_gib": 2,
    "file_name": "x.qcow2",
}


# -- asked for -----------------------------------------------------------------------------------


def test_an_import_waits_for_a_worker(project: Project, owner: User) -> None:
    row = ask(project, owner)
    assert (row.status, row.source, row.family) == (Status.WAITING, "url", "debian-13")
    assert image_imports.due() == [row.pk]


def test_an_upload_waits_for_its_bytes(project: Project, owner: User) -> None:
    row = ask(project, owner, url="", sha256="", total_bytes=100)
    assert row.status == Status.UPLOADING
    assert image_imports.due() == []
    image_imports.upload_is_whole(row.pk)
    assert image_imports.due() == [row.pk]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no name": ({"name": ""}, "name"),
    "a path for a name": ({"name": "../x"}, "name"),
    "a family that is none": ({"family": "A b"}, "family"),
    "an address without a checksum": ({"sha256": ""}, "sha256"),
    "a checksum that is none": ({"sha256": "abc"}, "sha256"),
    "a file address": ({"url": "file:///etc/passwd"}, "url"),
    "an unknown firmware": ({"firmware": "coreboot"}, "firmware"),
    "a user that is none": ({"default_user": "a b"}, "default_user"),
    "no memory": ({"min_memory_mib": 0}, "min_memory_mib"),
    "an empty upload": ({"url": "", "total_bytes": -1}, "file"),
    "an upload that is too large": ({"url": "", "total_bytes": 21 * GIB}, "file"),
}


@pytest.mark.parametrize(("changes", "field"), REFUSED.values(), ids=REFUSED.keys())
def test_bad_input_is_refused_by_its_field_and_leaves_nothing(
    project: Project, owner: User, changes: dict[str, Any], field: str
) -> None:
    with refusal(InvalidInput) as refused:
        ask(project, owner, **changes)
    assert refused.value.field == field


def test_a_name_is_taken_by_an_image_and_by_an_import_under_way(project: Project, owner: User) -> None:
    ask(project, owner)
    with refusal(NameTaken):
        ask(project, owner)
    factories.make_image("mine", project=project)
    with refusal(NameTaken):
        ask(project, owner, name="mine")


def test_a_project_may_use_the_name_of_a_public_image(project: Project, owner: User) -> None:
    factories.make_image("debian-13")
    assert ask(project, owner)


def test_imports_under_way_are_few(project: Project, owner: User) -> None:
    for number in range(image_imports.OPEN_MAX):
        ask(project, owner, name=f"image-{number}")
    with refusal(InvalidInput, "under way"):
        ask(project, owner)


def test_the_quota_of_images_refuses(project: Project, owner: User) -> None:
    Quota.objects.filter(project=project).update(image_gib=3)
    factories.make_image(project=project, size_bytes=2 * GIB)
    with refusal(QuotaExceeded):
        ask(project, owner, url="", total_bytes=2 * GIB)
    row = claimed(ask(project, owner))
    with refusal(QuotaExceeded):
        image_imports.complete(row, **FACTS | {"size_bytes": 2 * GIB})


def test_viewers_and_strangers_import_nothing(project: Project, viewer: User, stranger: User) -> None:
    with refusal(Forbidden):
        ask(project, viewer)
    with refusal(NotFound):
        ask(project, stranger)


def test_only_the_staff_imports_for_everybody(project: Project, owner: User, superuser: User) -> None:
    with refusal(Forbidden):
        ask(None, owner)
    assert ask(None, superuser).project is None


# -- a worker's ----------------------------------------------------------------------------------


def test_one_worker_gets_an_import(transactional_db: None, project: Project, owner: User) -> None:
    row = ask(project, owner)
    found = at_once([lambda: image_imports.claim(row.pk)] * 4)
    assert sum(isinstance(one, ImageImport) for one in found) == 1


def test_a_worker_that_lost_its_lease_writes_nothing(project: Project, owner: User) -> None:
    row = ask(project, owner)
    first = claimed(row)
    assert image_imports.claim(row.pk) is None
    ImageImport.objects.filter(pk=row.pk).update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    assert image_imports.due() == [row.pk]
    second = claimed(row)
    for write in (
        lambda: image_imports.progress(first, done_bytes=5),
        lambda: image_imports.fail(first, InvalidInput("no")),
        lambda: image_imports.complete(first, **FACTS),
    ):
        with pytest.raises(LostImport):
            write()
    assert not Image.objects.exists()
    assert image_imports.complete(second, **FACTS).project == project


def test_a_done_import_is_an_image_that_vms_can_be_made_from(project: Project, owner: User, zone: object) -> None:
    factories.make_machine_type(memory_mib=512, is_default=True)
    image = image_imports.complete(claimed(ask(project, owner)), **FACTS)
    assert (image.status, image.created_by, image.min_disk_gib) == ("ready", owner, 2)
    vm_id = request_create(project, VMRequest("web-1", image="debian-13"), user=owner).vm_id
    assert VM.objects.get(pk=vm_id).image == image


def test_another_project_makes_no_vm_from_it(project: Project, owner: User, catalog: None) -> None:
    image_imports.complete(claimed(ask(project, owner)), **FACTS)
    other = factories.make_project(owner=owner)
    with pytest.raises(InvalidInput, match="no image debian-13"):
        request_create(other, VMRequest("web-1", image="debian-13"), user=owner)


def test_a_failure_that_may_pass_waits_longer_each_time_and_ends(project: Project, owner: User) -> None:
    row = ask(project, owner)
    waits = []
    for _ in range(image_imports.FAILURES_MAX - 1):
        work = claimed(row)
        assert image_imports.retry_later(work, "the line is cut.")
        row.refresh_from_db()
        waits.append(row.due_at - timezone.now())
        assert image_imports.due() == []
        ImageImport.objects.filter(pk=row.pk).update(due_at=timezone.now())
    assert waits == sorted(waits)
    assert not image_imports.retry_later(claimed(row), "the line is cut.")
    row.refresh_from_db()
    assert row.status == Status.FAILED
    assert row.error is not None
    assert "the line is cut" in row.error["message"]


def test_a_cancelled_import_is_its_workers_no_more(project: Project, owner: User, viewer: User) -> None:
    row = ask(project, owner)
    work = claimed(row)
    with pytest.raises(Forbidden):
        image_imports.cancel(row, user=viewer)
    image_imports.cancel(row, user=owner)
    with pytest.raises(LostImport):
        image_imports.progress(work, done_bytes=1)
    with pytest.raises(StateConflict):
        image_imports.cancel(row, user=owner)


def test_an_upload_that_nobody_goes_on_with_is_given_up(project: Project, owner: User) -> None:
    row = ask(project, owner, url="", total_bytes=100)
    assert image_imports.expire_uploads() == 0
    ImageImport.objects.filter(pk=row.pk).update(touched_at=timezone.now() - timedelta(days=2))
    assert image_imports.expire_uploads() == 1
    assert not image_imports.note_upload(row.pk, 5)


def test_an_import_of_another_project_is_not_found(project: Project, owner: User) -> None:
    row = ask(project, owner)
    other = factories.make_project(owner=owner)
    assert image_imports.find(project, row.pk) == row
    for place in (other, None):
        with pytest.raises(NotFound):
            image_imports.find(place, row.pk)
    with pytest.raises(NotFound):
        image_imports.find(project, uuid4())


# -- images --------------------------------------------------------------------------------------


def test_an_image_in_use_is_not_deleted(project: Project, owner: User, host: Host) -> None:
    image = factories.make_image("mine", project=project)
    factories.make_vm(project, "web-1", State.TERMINATED, host=host, image=image)
    with refusal(InvalidInput, "web-1"):
        images.delete(image, user=owner)


def test_an_image_of_deleted_vms_alone_is_deleted_and_its_name_free(project: Project, owner: User, host: Host) -> None:
    image = factories.make_image("mine", project=project)
    vm = factories.make_vm(project, "web-1", State.TERMINATED, host=host, image=image)
    VM.objects.filter(pk=vm.pk).update(deleted_at=timezone.now())
    images.delete(image, user=owner)
    assert not Image.objects.usable_in(project).exists()
    assert ask(project, owner, name="mine")
    with refusal(NotFound):
        images.delete(image, user=owner)


def test_a_deprecated_image_is_not_offered_and_can_be_again(project: Project, owner: User) -> None:
    image = factories.make_image("mine", project=project)
    assert images.set_deprecated(image, True, user=owner)
    assert not images.set_deprecated(image, True, user=owner)
    image.refresh_from_db()
    assert image.status == "deprecated"
    assert images.set_deprecated(image, False, user=owner)


def test_images_are_changed_by_those_who_may(
    project: Project, viewer: User, operator: User, stranger: User, superuser: User
) -> None:
    mine, public = factories.make_image("mine", project=project), factories.make_image("tiny")
    for user, error in ((viewer, Forbidden), (stranger, NotFound)):
        for act in (lambda u: images.delete(mine, user=u), lambda u: images.set_deprecated(mine, True, user=u)):
            with refusal(error):
                act(user)
    with refusal(Forbidden):
        images.delete(public, user=operator)
    images.delete(mine, user=operator)
    images.delete(public, user=superuser)


def test_what_somebody_sees_is_public_or_of_their_projects(project: Project, viewer: User, stranger: User) -> None:
    mine, public = factories.make_image("mine", project=project), factories.make_image("tiny")
    assert set(Image.objects.visible_to(viewer)) == {mine, public}
    assert set(Image.objects.visible_to(stranger)) == {public}


def test_a_projects_own_image_goes_before_a_public_one(project: Project, owner: User, catalog: None) -> None:
    mine = factories.make_image("tiny", project=project)
    vm_id = request_create(project, VMRequest("web-1", image="tiny"), user=owner).vm_id
    assert VM.objects.get(pk=vm_id).image == mine
