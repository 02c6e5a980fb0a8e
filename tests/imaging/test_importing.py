"""Importing with real files, a real web server on loopback and the real qemu-img."""

import hashlib
import os
import socket
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from lifecycle.domain.errors import InvalidInput
from lifecycle.domain.imports import GIB, Limits
from lifecycle.imaging import fetch, importer, importing
from lifecycle.models import Image, ImageImport, Project, User
from lifecycle.services import image_imports, images
from lifecycle.services.image_imports import ImportRequest
from tests.imaging.web_of_images import Publisher, served

pytestmark = pytest.mark.django_db

MIB = 2**20


@pytest.fixture(autouse=True)
def store(tmp_path: Path, settings: Settings) -> Path:
    """A store of the test's own; images may come from loopback here."""
    settings.IMAGE_STORE = tmp_path / "store"
    settings.IMAGE_IMPORT_ALLOWED_NETWORKS = ["127.0.0.0/8"]
    return tmp_path / "store"


def made(path: Path, kind: str = "qcow2", size: str = "64M", *options: str) -> Path:
    """An image with a partition table and some content, of the format `kind`."""
    raw = path.with_suffix(".raw")
    raw.write_bytes(b"\0" * 510 + b"\x55\xaa" + os.urandom(3 * MIB) + b"\0" * 512)
    with raw.open("ab") as file:
        file.truncate(64 * MIB)
    if kind != "raw":
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", kind, *options, str(raw), str(path)], check=True)
    return path


def ask(project: Project | None, user: User, publisher: Publisher, **changes: Any) -> ImageImport:
    values = {"name": "mine", "url": publisher.url, "sha256": hashlib.sha256(publisher.content).hexdigest(), **changes}
    return image_imports.request_import(project, ImportRequest(**values), user=user, file_max=20 * GIB)


def run(row: ImageImport) -> ImageImport:
    """One run now, however long it should wait."""
    ImageImport.objects.filter(pk=row.pk).update(due_at=timezone.now())
    assert importing.run(row.pk)
    row.refresh_from_db()
    return row


def why(row: ImageImport) -> str:
    """What the row says went wrong."""
    assert row.error is not None
    return str(row.error["message"])


def leftovers(store: Path) -> list[str]:
    return sorted(path.name for path in store.glob("*.part"))


# -- what succeeds -------------------------------------------------------------------------------


def test_a_qcow2_is_kept_as_it_is(tmp_path: Path, store: Path, project: Project, owner: User) -> None:
    content = made(tmp_path / "a.qcow2", "qcow2", "64M", "-c").read_bytes()
    with served(Publisher(content)) as publisher:
        row = run(ask(project, owner, publisher))
    image = Image.objects.get()
    assert (row.status, row.image, row.error) == ("done", image, None)
    assert (image.status, image.format, image.kind, image.project) == ("ready", "qcow2", "disk", project)
    assert (image.virtual_size_bytes, image.min_disk_gib) == (64 * MIB, 1)
    file = store / image.file_name
    assert file.read_bytes() == content
    assert image.sha256 == hashlib.sha256(content).hexdigest()
    assert file.stat().st_mode & 0o777 == 0o444
    assert leftovers(store) == []


@pytest.mark.parametrize("kind", ["raw", "vmdk", "vdi"])
def test_other_formats_become_a_qcow2_with_the_same_disk(
    tmp_path: Path, store: Path, project: Project, owner: User, kind: str
) -> None:
    source = made(tmp_path / f"a.{kind}", kind)
    with served(Publisher(source.read_bytes())) as publisher:
        row = run(ask(project, owner, publisher))
    assert row.error is None
    image = Image.objects.get()
    file = store / image.file_name
    compared = ["qemu-img", "compare", "-f", kind, "-F", "qcow2", str(source), str(file)]
    assert subprocess.run(compared, check=False, capture_output=True).returncode == 0
    assert hashlib.sha256(file.read_bytes()).hexdigest() == image.sha256
    assert file.stat().st_size == image.size_bytes < 16 * MIB
    assert leftovers(store) == []


def test_a_transfer_that_breaks_off_goes_on_where_it_stopped(
    tmp_path: Path, project: Project, owner: User, store: Path
) -> None:
    content = made(tmp_path / "a.qcow2").read_bytes()
    with served(Publisher(content, cut_after=MIB + 7, cuts=2)) as publisher:
        row = ask(project, owner, publisher)
        assert run(row).status == "waiting"
        assert why(row).startswith("the transfer")
        assert (store / row.part_name).stat().st_size == MIB + 7
        assert run(row).status == "waiting"
        assert run(row).status == "done"
    assert [wanted for wanted, _sent in publisher.seen] == ["", f"bytes={MIB + 7}-", f"bytes={2 * (MIB + 7)}-"]
    assert sum(sent for _wanted, sent in publisher.seen) == len(content)


def test_a_file_that_changed_meanwhile_is_fetched_anew(tmp_path: Path, project: Project, owner: User) -> None:
    content = made(tmp_path / "a.qcow2").read_bytes()
    with served(Publisher(b"x" * 5 * MIB, etag='"old"', cut_after=MIB, cuts=1)) as publisher:
        row = ask(project, owner, publisher, sha256=hashlib.sha256(content).hexdigest())
        run(row)
        publisher.content, publisher.etag = content, '"new"'
        assert run(row).status == "done"


def test_a_server_without_ranges_is_asked_for_all_again(tmp_path: Path, project: Project, owner: User) -> None:
    content = made(tmp_path / "a.qcow2").read_bytes()
    with served(Publisher(content, cut_after=MIB, cuts=1, with_ranges=False)) as publisher:
        row = ask(project, owner, publisher)
        run(row)
        assert run(row).status == "done"


def test_a_busy_server_is_asked_again_later(tmp_path: Path, project: Project, owner: User) -> None:
    content = made(tmp_path / "a.qcow2").read_bytes()
    with served(Publisher(content, statuses=[503, 429])) as publisher:
        row = ask(project, owner, publisher)
        assert [run(row).status for _ in range(3)] == ["waiting", "waiting", "done"]


def test_an_iso_stays_an_iso(store: Path, project: Project, owner: User) -> None:
    content = b"\0" * 0x8001 + b"CD001" + b"\0" * (64 * 1024)
    with served(Publisher(content)) as publisher:
        assert run(ask(project, owner, publisher)).error is None
    image = Image.objects.get()
    assert (image.kind, image.format, image.file_name[-4:]) == ("iso", "raw", ".iso")
    assert (store / image.file_name).read_bytes() == content


def test_an_upload_is_checked_like_a_fetched_file(tmp_path: Path, store: Path, project: Project, owner: User) -> None:
    request = ImportRequest("mine", total_bytes=5)
    row = image_imports.request_import(project, request, user=owner, file_max=GIB)
    store.mkdir()
    (store / row.part_name).write_bytes(b"hello")
    image_imports.upload_is_whole(row.pk)
    assert run(row).status == "failed"
    assert "not an image" in why(row)
    assert leftovers(store) == []


def test_a_worker_that_died_is_replaced_by_one_that_goes_on(
    tmp_path: Path, store: Path, project: Project, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = made(tmp_path / "a.vdi", "vdi").read_bytes()
    with served(Publisher(content)) as publisher:
        row = ask(project, owner, publisher)

        def die(*_: Any) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as broken:
            broken.setattr("lifecycle.imaging.checking.convert", die)
            with pytest.raises(KeyboardInterrupt):
                importing.run(row.pk)
        assert importing.run(row.pk) is False
        ImageImport.objects.filter(pk=row.pk).update(lease_expires_at=timezone.now())
        assert importer.work() == 1
    row.refresh_from_db()
    assert row.status == "done"
    assert len(publisher.seen) == 1


def test_a_cancelled_import_leaves_no_bytes(tmp_path: Path, store: Path, project: Project, owner: User) -> None:
    content = made(tmp_path / "a.qcow2").read_bytes()
    with served(Publisher(content, cut_after=MIB, cuts=1)) as publisher:
        row = run(ask(project, owner, publisher))
    image_imports.cancel(row, user=owner)
    assert leftovers(store) == [row.part_name]
    assert importer.tidy() == 1
    assert leftovers(store) == []


def test_the_file_of_a_deleted_image_leaves_the_store(
    tmp_path: Path, store: Path, project: Project, owner: User
) -> None:
    with served(Publisher(made(tmp_path / "a.qcow2").read_bytes())) as publisher:
        run(ask(project, owner, publisher))
    image = Image.objects.get()
    assert importer.tidy() == 0
    images.delete(image, user=owner)
    assert importer.tidy() == 1
    assert list(store.iterdir()) == []


# -- what is refused -----------------------------------------------------------------------------


def refused(project: Project, owner: User, publisher: Publisher, store: Path, **changes: Any) -> str:
    """The words of an import that fails for good and leaves nothing."""
    row = run(ask(project, owner, publisher, **changes))
    assert row.status == "failed"
    assert not Image.objects.exists()
    assert list(store.iterdir()) == []
    return why(row)


def hostile(tmp_path: Path, *options: str) -> bytes:
    """A qcow2 made by qemu-img with something that must not be in it."""
    path = tmp_path / "hostile.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, str(path), "1G"], check=True)
    return path.read_bytes()


def test_another_checksum_is_refused(tmp_path: Path, store: Path, project: Project, owner: User) -> None:
    with served(Publisher(made(tmp_path / "a.qcow2").read_bytes())) as publisher:
        assert "another checksum" in refused(project, owner, publisher, store, sha256="0" * 64)


def test_a_backing_file_is_refused(tmp_path: Path, store: Path, project: Project, owner: User) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret" * 1000)
    content = hostile(tmp_path, "-u", "-b", str(secret), "-F", "raw")
    with served(Publisher(content)) as publisher:
        assert "backing file" in refused(project, owner, publisher, store)


def test_a_data_file_is_refused(tmp_path: Path, store: Path, project: Project, owner: User) -> None:
    content = hostile(tmp_path, "-o", f"data_file={tmp_path / 'data'},data_file_raw=on")
    with served(Publisher(content)) as publisher:
        assert "data file" in refused(project, owner, publisher, store)


def test_a_vmdk_with_extents_elsewhere_is_refused(tmp_path: Path, store: Path, project: Project, owner: User) -> None:
    made(tmp_path / "flat.vmdk", "vmdk", "64M", "-o", "subformat=monolithicFlat")
    with served(Publisher((tmp_path / "flat.vmdk").read_bytes())) as publisher:
        assert "names other files" in refused(project, owner, publisher, store)


def test_a_vmdk_with_a_parent_is_refused(tmp_path: Path, store: Path, project: Project, owner: User) -> None:
    base = made(tmp_path / "base.vmdk", "vmdk")
    child = tmp_path / "child.vmdk"
    subprocess.run(["qemu-img", "create", "-q", "-f", "vmdk", "-b", str(base), "-F", "vmdk", str(child)], check=True)
    with served(Publisher(child.read_bytes())) as publisher:
        assert "backing file" in refused(project, owner, publisher, store)


def test_an_absurd_disk_is_refused(tmp_path: Path, store: Path, project: Project, owner: User) -> None:
    path = tmp_path / "huge.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "500T"], check=True)
    with served(Publisher(path.read_bytes())) as publisher:
        assert "at most 200 GiB" in refused(project, owner, publisher, store)


def test_a_small_file_that_unpacks_without_end_is_refused(
    tmp_path: Path, store: Path, project: Project, owner: User, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, packed = tmp_path / "bomb.raw", tmp_path / "bomb.vmdk"
    block = b"\0" * 510 + b"\x55\xaa" + b"A" * (64 * MIB - 512)
    raw.write_bytes(block)
    options = ["-o", "subformat=streamOptimized"]
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "vmdk", *options, str(raw), str(packed)], check=True)
    assert packed.stat().st_size < 4 * MIB
    monkeypatch.setattr(importing, "limits", lambda: Limits(16 * MIB, 200 * GIB))
    with served(Publisher(packed.read_bytes())) as publisher:
        assert "Unpacked" in refused(project, owner, publisher, store)


@pytest.mark.parametrize("kind", ["qcow2", "vmdk", "vdi"])
def test_an_image_that_was_cut_short_is_refused(
    tmp_path: Path, store: Path, project: Project, owner: User, kind: str
) -> None:
    content = made(tmp_path / f"a.{kind}", kind).read_bytes()
    with served(Publisher(content[: len(content) // 2 + 100])) as publisher:
        assert refused(project, owner, publisher, store)


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"\x1f\x8b" + b"x" * 600, os.urandom(4096)])
def test_what_is_no_image_is_refused(content: bytes, store: Path, project: Project, owner: User) -> None:
    with served(Publisher(content)) as publisher:
        assert refused(project, owner, publisher, store)


def test_a_file_that_is_too_large_is_not_even_fetched(
    store: Path, project: Project, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "limits", lambda: Limits(MIB, GIB))
    with served(Publisher(b"x" * 3 * MIB)) as publisher:
        assert "at most" in refused(project, owner, publisher, store)


def test_a_qcow2_with_a_wild_table_is_refused(tmp_path: Path, store: Path, project: Project, owner: User) -> None:
    content = bytearray(made(tmp_path / "a.qcow2").read_bytes())
    struct.pack_into(">Q", content, 40, 2**56)  # the L1 table is said to be far behind the end
    with served(Publisher(bytes(content))) as publisher:
        assert refused(project, owner, publisher, store)


# -- where from ----------------------------------------------------------------------------------


def test_a_private_address_is_refused_without_being_asked(
    store: Path, project: Project, owner: User, settings: Settings
) -> None:
    settings.IMAGE_IMPORT_ALLOWED_NETWORKS = []
    with served(Publisher(b"x")) as publisher:
        words = refused(project, owner, publisher, store)
    assert "private address" in words
    assert publisher.seen == []


@pytest.mark.parametrize("host", ["localhost", "127.1", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]"])
def test_loopback_by_any_spelling_is_refused(host: str, tmp_path: Path) -> None:
    rules = fetch.Rules([], GIB)
    with pytest.raises(InvalidInput, match="private address"):
        fetch.fetch(f"http://{host}:1/", tmp_path / "x", "", rules, lambda *_: None)


def test_a_redirect_to_a_private_address_is_refused(
    store: Path, project: Project, owner: User, settings: Settings
) -> None:
    settings.IMAGE_IMPORT_ALLOWED_NETWORKS = ["127.0.0.1/32"]
    with served(Publisher(b"x", redirect_to="http://127.0.0.2:1/image")) as publisher:
        words = refused(project, owner, publisher, store, url=f"http://127.0.0.1:{publisher.port}/away")
    assert "127.0.0.2" in words


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://127.0.0.1/x", "/away"])
def test_a_redirect_elsewhere_or_in_a_circle_is_refused(to: str, store: Path, project: Project, owner: User) -> None:
    with served(Publisher(b"x", redirect_to=to)) as publisher:
        assert refused(project, owner, publisher, store, url=f"http://127.0.0.1:{publisher.port}/away")


def test_a_redirect_to_the_file_is_followed(tmp_path: Path, project: Project, owner: User) -> None:
    content = made(tmp_path / "a.qcow2").read_bytes()
    with served(Publisher(content, redirect_to="/image")) as publisher:
        row = ask(project, owner, publisher, url=f"http://127.0.0.1:{publisher.port}/away")
        assert run(row).status == "done"


def test_the_address_that_was_judged_is_the_one_that_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that points to a public address at the first look and to loopback at the second gains nothing."""
    looks: list[str] = []

    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        looks.append(host)
        address = "203.0.114.7" if len(looks) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    asked: list[Any] = []

    def connect(address: Any, _timeout: float) -> socket.socket:
        asked.append(address)
        raise OSError("unreachable here")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(fetch.Interrupted):
        fetch.fetch("http://rebinding.example/x", tmp_path / "x", "", fetch.Rules([], GIB), lambda *_: None)
    assert (looks, asked) == (["rebinding.example"], [("203.0.114.7", 80)])
