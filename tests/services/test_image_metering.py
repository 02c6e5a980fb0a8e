"""What projects' images take: written with the change of status, refused by the database, derived again, migrated."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from lifecycle import tasks
from lifecycle.domain.errors import InvalidInput
from lifecycle.imaging import importer
from lifecycle.models import Alert, Image, ImageChange, ImageInterval, Project, User, guards
from lifecycle.services import image_imports, image_metering, images, metering
from tests import factories

pytestmark = [pytest.mark.bothdb, pytest.mark.usefixtures("host")]

NOON = datetime(2026, 2, 28, 12, tzinfo=UTC)
MIB = 2**20


def at(minutes: float) -> datetime:
    """So many minutes after noon."""
    return NOON + timedelta(minutes=minutes)


def imported(project: Project | None, user: User, name: str = "mine", size: int = 300 * MIB) -> Image:
    """As a worker ends an import."""
    request = image_imports.ImportRequest(name=name, url="https://example.org/mine.qcow2", sha256="5e" * 32)
    row = image_imports.request_import(project, request, user=user, file_max=2**40)
    held = image_imports.claim(row.pk)
    assert held
    return image_imports.complete(
        held, size_bytes=size, virtual_size_bytes=2**30, sha256="5e" * 32, file_name=f"{name}.qcow2", format="qcow2"
    )


def spans(image: Image) -> list[tuple[int, float, float | None]]:
    """MiB, first and last minute after noon."""
    rows = ImageInterval.objects.filter(image=image).order_by("opened_by_id")
    return [(row.size_mib, (row.started_at - NOON) / timedelta(minutes=1), _minute(row.ended_at)) for row in rows]


def _minute(moment: datetime | None) -> float | None:
    return None if moment is None else (moment - NOON) / timedelta(minutes=1)


# -- with each change ----------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_projects_image_is_metered_from_ready_until_it_is_deleted(project: Project, owner: User) -> None:
    with time_machine.travel(at(5), tick=False) as clock:
        image = imported(project, owner, size=300 * MIB + 1)
        clock.move_to(at(20))
        images.set_deprecated(image, True, user=owner)
        clock.move_to(at(65))
        images.delete(image, user=owner)
    assert spans(image) == [(301, 5, 65)]
    rows = ImageChange.objects.filter(image=image).order_by("id").values_list("kind", "size_mib", "user", "occurred_at")
    assert list(rows) == [("ready", 301, owner.pk, at(5)), ("deleted", None, owner.pk, at(65))]
    assert image_metering.check() == metering.Report(images=1)


@pytest.mark.django_db
def test_an_image_for_everybody_is_metered_for_nobody(db: None) -> None:
    operator = User.objects.create_user("op", is_staff=True)
    image = imported(None, operator)
    images.delete(image, user=operator)
    images.register(
        name="tiny", family="tiny", size_bytes=1, virtual_size_bytes=1, sha256="a" * 64, file_name="a.qcow2"
    )
    assert not ImageChange.objects.exists()
    assert not ImageInterval.objects.exists()


@pytest.mark.django_db
def test_a_clock_set_back_makes_no_negative_length(project: Project, owner: User) -> None:
    with time_machine.travel(at(10), tick=False) as clock:
        image = imported(project, owner)
        clock.move_to(at(3))
        images.delete(image, user=owner)
    assert spans(image) == [(300, 10, 10)]
    assert image_metering.check().differences == 0


@pytest.mark.django_db
def test_a_deletion_that_is_refused_ends_nothing(project: Project, owner: User) -> None:
    image = imported(project, owner)
    factories.make_vm(project, image=image)
    with pytest.raises(InvalidInput):
        images.delete(image, user=owner)
    assert ImageInterval.objects.get(image=image).ended_at is None


@pytest.mark.django_db(transaction=True)
def test_an_import_that_is_not_written_opens_nothing(project: Project, owner: User) -> None:
    """Image, log and interval are one transaction."""
    request = image_imports.ImportRequest(name="mine", url="https://example.org/mine.qcow2", sha256="5e" * 32)
    row = image_imports.claim(image_imports.request_import(project, request, user=owner, file_max=2**40).pk)
    assert row
    row.token = uuid4()  # another worker took over
    with pytest.raises(image_imports.LostImport):
        image_imports.complete(row, size_bytes=1, virtual_size_bytes=1, sha256="", file_name="x")
    assert not Image.objects.filter(project=project).exists()
    assert not ImageChange.objects.exists()


# -- what the database refuses -------------------------------------------------------------------


def write(image: Image, start: float, end: float | None) -> ImageInterval:
    """An interval in minutes after noon, beside the services."""
    row = {"image": image, "project": image.project, "size_mib": 5}
    opened_by = ImageChange.objects.create(kind="ready", occurred_at=NOON, **row)
    return ImageInterval.objects.create(
        opened_by=opened_by, started_at=at(start), ended_at=None if end is None else at(end), **row
    )


@pytest.fixture
def bare(project: Project) -> Image:
    """A project's image that no service metered, with an interval from 12:00 to 12:10."""
    image = factories.make_image(project=project, metered=False)
    write(image, 0, 10)
    return image


@pytest.mark.django_db
@pytest.mark.parametrize(("start", "end"), [(0, 10), (2, 8), (-5, 1), (9, 15), (-5, 15), (9, None), (-5, None)])
def test_intervals_of_an_image_do_not_overlap(bare: Image, start: float, end: float | None) -> None:
    with pytest.raises(IntegrityError, match=guards.IMAGES_NO_OVERLAP), transaction.atomic():
        write(bare, start, end)


@pytest.mark.django_db
@pytest.mark.parametrize(("start", "end"), [(10, 20), (10, None), (-5, 0), (5, 5)])
def test_intervals_that_touch_or_have_no_length_do_not_overlap(bare: Image, start: float, end: float | None) -> None:
    write(bare, start, end)
    write(factories.make_image(project=bare.project, metered=False), 0, 10)


@pytest.mark.django_db
@pytest.mark.parametrize("change", [{"ended_at": at(11)}, {"size_mib": 4}, {"started_at": at(1)}])
def test_an_interval_that_is_closed_stays(bare: Image, change: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError, match=guards.IMAGES_CLOSED_ONLY), transaction.atomic():
        ImageInterval.objects.filter(image=bare).update(**change)


@pytest.mark.django_db
@pytest.mark.parametrize("change", [{"size_mib": 4}, {"occurred_at": at(1)}])
def test_the_log_of_images_is_never_changed(bare: Image, change: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError, match=guards.IMAGES_APPEND_ONLY), transaction.atomic():
        ImageChange.objects.filter(image=bare).update(**change)


# -- derived again -------------------------------------------------------------------------------


def rebuild(word: str) -> str:
    out = StringIO()
    call_command("rebuild_metering", word, stdout=out)
    return out.getvalue()


@pytest.mark.django_db
def test_what_differs_from_the_log_is_found_told_and_written_anew(project: Project, owner: User) -> None:
    with time_machine.travel(at(0), tick=False) as clock:
        gone, short, right = (imported(project, owner, name) for name in ("gone", "short", "right"))
        clock.move_to(at(30))
        images.delete(gone, user=owner)
    ImageInterval.objects.filter(image=gone).delete()
    ImageInterval.objects.filter(image=short).update(ended_at=at(7))
    with pytest.raises(CommandError, match="0 VMs and 3 images"):
        rebuild("--check")
    report = image_metering.check()
    assert (report.images, report.differences) == (3, 2)
    assert ["missing" in word for word in report.words] == [True, False]
    assert "image short" in report.words[1]
    assert "300 MiB" in report.words[1]
    kept = ImageInterval.objects.get(image=right).pk
    assert "No difference: 0 VMs and 3 images" in rebuild("--repair")
    assert (spans(gone), spans(short)) == ([(300, 0, 30)], [(300, 0, None)])
    assert ImageInterval.objects.get(image=right).pk == kept


@pytest.mark.django_db
def test_an_image_that_differs_is_an_alert(project: Project, owner: User) -> None:
    image = imported(project, owner)
    ImageInterval.objects.all().delete()
    assert tasks.check_metering() == 1
    assert Alert.objects.get(kind="metering", resolved_at=None).params["first"].startswith("image mine")
    image_metering.repair(image)
    assert tasks.check_metering() == 0


@pytest.mark.django_db
def test_what_the_version_before_did_is_put_right_by_the_workers_round(
    project: Project, owner: User, settings: Any, tmp_path: Any
) -> None:
    settings.IMAGE_STORE = tmp_path
    with time_machine.travel(at(0), tick=False) as clock:
        came = factories.make_image("came", project=project, metered=False)
        went = imported(project, owner, "went")
        Image.objects.filter(pk=went.pk).update(status=Image.Status.DELETED)
        never = factories.make_image("never", project=project, metered=False, status=Image.Status.DELETED)
        assert image_metering.check().differences == 2
        clock.move_to(at(9))
        importer.tidy()
        clock.move_to(at(12))
        importer.tidy()
    assert (spans(came), spans(went), spans(never)) == ([(18, 9, None)], [(300, 0, 9)], [])
    assert image_metering.check().differences == 0


# -- the migration -------------------------------------------------------------------------------

BEFORE = ("lifecycle", "0042_metering_of_images_does_not_overlap")
FILL = ("lifecycle", "0043_images_that_are_there")


@pytest.fixture
def latest() -> Iterator[None]:
    """Whatever happens, the tests after this one find the database of today."""
    yield
    call_command("migrate", "lifecycle", verbosity=0)


@pytest.mark.django_db(transaction=True)
def test_images_that_are_there_are_metered_from_the_upgrade_on(project: Project, owner: User, latest: None) -> None:
    other = factories.make_project()
    images_of = {
        status: factories.make_image(project=project, status=status, metered=False, size_bytes=MIB + 1)
        for status in Image.Status
    }
    theirs = factories.make_image(project=other, metered=False)
    everybodys = factories.make_image()
    known = imported(project, owner, "known")
    MigrationExecutor(connection).migrate([BEFORE])
    begun = timezone.now()
    MigrationExecutor(connection).migrate([FILL])
    MigrationExecutor(connection).migrate([BEFORE])
    MigrationExecutor(connection).migrate([FILL])  # again: nothing twice
    metered = {row.image_id: row for row in ImageInterval.objects.exclude(image=known)}
    there = {images_of[Image.Status.READY].pk, images_of[Image.Status.DEPRECATED].pk, theirs.pk}
    assert metered.keys() == there
    assert everybodys.pk not in metered
    assert all(begun <= row.started_at <= timezone.now() and row.ended_at is None for row in metered.values())
    assert metered[images_of[Image.Status.READY].pk].size_mib == 2
    assert set(ImageChange.objects.exclude(image=known).values_list("kind", flat=True)) == {"found"}
    assert ImageInterval.objects.filter(image=known).count() == 1
    assert image_metering.check().differences == 0
