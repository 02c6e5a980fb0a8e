"""`manage.py build_image`: a row and a file, once."""

from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from lifecycle.imaging.build import BuiltImage
from lifecycle.models import Image

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def store(tiny: BuiltImage, tmp_path: Path, settings: Settings) -> Path:
    """A store with the tiny image's file and nothing registered."""
    settings.IMAGE_STORE = tmp_path / "images"
    settings.IMAGE_STORE.mkdir()
    (settings.IMAGE_STORE / tiny.path.name).symlink_to(tiny.path)
    return Path(settings.IMAGE_STORE)


def build_image(*arguments: str) -> str:
    out = StringIO()
    call_command("build_image", *arguments, stdout=out)
    return out.getvalue()


def test_a_file_in_the_store_is_registered_without_a_build(store: Path, tiny: BuiltImage) -> None:
    said = build_image("tiny")
    row = Image.objects.get()
    assert "Building" not in said
    assert (row.name, row.status, row.format, row.architecture) == ("tiny", "ready", "qcow2", "x86_64")
    assert (row.sha256, row.file_name) == (tiny.sha256, tiny.path.name)
    assert (row.size_bytes, row.virtual_size_bytes) == (tiny.size_bytes, tiny.virtual_size_bytes)
    assert (row.min_disk_gib, row.min_memory_mib, row.default_user) == (1, 96, "root")


def test_a_second_time_nothing_is_done(store: Path) -> None:
    build_image("tiny")
    assert build_image("tiny") == "Image tiny is there already.\n"
    assert Image.objects.count() == 1


def test_a_lost_file_is_built_again(store: Path, settings: Settings) -> None:
    build_image("tiny")
    for path in store.glob("*.qcow2"):
        path.unlink()
    said = build_image("tiny")
    assert "Building image tiny" in said
    assert (store / Image.objects.get(name="tiny").file_name).is_file()


def test_an_unknown_image_is_refused() -> None:
    with pytest.raises(CommandError, match="invalid choice: 'windows'"):
        build_image("windows")
