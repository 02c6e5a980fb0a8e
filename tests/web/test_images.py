"""Pages of images: the list, the import form, uploads in pieces and in one form, deleting."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from pytest_django import Settings

from lifecycle.domain.pricing import Item
from lifecycle.domain.states import State
from lifecycle.models import VM, Host, Image, ImageImport, Project, User
from lifecycle.services import image_imports
from tests import factories
from tests.billing.tools import price_list
from tests.web.conftest import Browser

LIST = "/projects/lab/images/"
NEW = f"{LIST}new/"
SHA = "a" * 64
JSON = {"Accept": "application/json"}


@pytest.fixture(autouse=True)
def store(tmp_path: Path, settings: Settings) -> Path:
    """A store of the test's own."""
    settings.IMAGE_STORE = tmp_path
    return tmp_path


def announce(client: Client, size: int, **fields: Any) -> dict[str, str]:
    """What the script does first."""
    response = client.post(NEW, {"name": "mine", "firmware": "bios", "upload_size": size, **fields}, headers=JSON)
    assert response.status_code == 201, response.content
    found: dict[str, str] = response.json()
    return found


def send(client: Client, url: str, offset: int, data: bytes) -> Any:
    return client.post(f"{url}?offset={offset}", data, content_type="application/octet-stream", headers=JSON)


# -- the list ------------------------------------------------------------------------------------


def test_the_list_shows_public_images_and_the_projects_own(
    as_owner: Client, browser: Browser, project: Project, stranger: User
) -> None:
    factories.make_image("public-one")
    factories.make_image("our-own", project=project)
    page = as_owner.get(LIST).content.decode()
    assert "public-one" in page
    assert "our-own" in page
    other = browser(stranger).get("/projects/elsewhere/images/").content.decode()
    assert "public-one" in other
    assert "our-own" not in other


def test_a_public_image_is_not_changed_from_within_a_project(as_owner: Client, project: Project) -> None:
    image = factories.make_image("public-one")
    assert f"/{image.pk}/" not in as_owner.get(LIST).content.decode()
    for action in ("deprecate", "delete"):
        assert as_owner.post(f"{LIST}{image.pk}/{action}/").status_code == 404
    assert as_owner.get(f"{LIST}{image.pk}/confirm/").status_code == 404


def test_an_image_of_another_project_is_not_found(as_owner: Client, project: Project, owner: User) -> None:
    other = factories.make_project("other", owner=owner)
    image = factories.make_image("theirs", project=other)
    assert as_owner.post(f"{LIST}{image.pk}/delete/").status_code == 404
    row = ImageImport.objects.create(project=other, name="x", status="waiting")
    assert as_owner.get(f"{LIST}imports/{row.pk}/").status_code == 404


def test_images_are_paginated(as_owner: Client, project: Project) -> None:
    for _ in range(51):
        factories.make_image(project=project)
    page = as_owner.get(LIST).content.decode()
    assert page.count('role="rowheader"') == 50
    assert "?page=2" in page
    assert as_owner.get(f"{LIST}?page=2").content.decode().count('role="rowheader"') == 1


def test_the_staff_sees_and_changes_what_is_for_everybody(browser: Browser, superuser: User) -> None:
    image = factories.make_image("public-one")
    client = browser(superuser)
    assert "public-one" in client.get("/images/").content.decode()
    client.post(f"/images/{image.pk}/deprecate/")
    image.refresh_from_db()
    assert image.status == "deprecated"
    client.post(f"/images/{image.pk}/deprecate/", {"on": "no"})
    client.post(f"/images/{image.pk}/delete/")
    image.refresh_from_db()
    assert image.status == "deleted"


def test_an_image_in_use_is_kept_and_the_page_says_by_what(
    as_owner: Client, project: Project, host: Host, machine_type: object
) -> None:
    image = factories.make_image("mine", project=project)
    vm = factories.make_vm(project, "web-1", State.TERMINATED, host=host, image=image)
    page = as_owner.post(f"{LIST}{image.pk}/delete/", follow=True).content.decode()
    assert "web-1" in page
    assert Image.objects.kept().filter(pk=image.pk).exists()
    VM.objects.filter(pk=vm.pk).update(deleted_at=vm.created_at)
    as_owner.post(f"{LIST}{image.pk}/delete/")
    assert not Image.objects.kept().exists()


# -- from an address -----------------------------------------------------------------------------


def test_an_address_becomes_an_import_with_a_page(as_owner: Client, project: Project) -> None:
    sent = {"name": "debian-13", "url": "https://example.org/a.qcow2", "sha256": SHA, "firmware": "uefi"}
    response = as_owner.post(NEW, sent)
    row = ImageImport.objects.get()
    assert (response.status_code, response["Location"]) == (303, f"{LIST}imports/{row.pk}/")
    assert (row.status, row.firmware, row.default_user) == ("waiting", "uefi", "root")
    assert "https://example.org/a.qcow2" in as_owner.get(response["Location"]).content.decode()


BAD: list[tuple[str, dict[str, str]]] = [
    ("name", {"name": ""}),
    ("name", {"name": "<b>"}),
    ("url", {"url": ""}),
    ("url", {"url": "file:///etc/passwd"}),
    ("url", {"url": "https://user:password@example.org/x"}),
    ("sha256", {"sha256": ""}),
    ("sha256", {"sha256": "md5"}),
    ("firmware", {"firmware": "coreboot"}),
    ("family", {"family": "Not One"}),
    ("default_user", {"default_user": "a;b"}),
    ("min_memory_mib", {"min_memory_mib": "1"}),
]


@pytest.mark.parametrize(("field", "fields"), BAD, ids=str)
def test_bad_input_is_answered_beside_its_field(
    as_owner: Client, project: Project, field: str, fields: dict[str, str]
) -> None:
    good = {"name": "mine", "url": "https://example.org/a", "sha256": SHA, "firmware": "bios"}
    response = as_owner.post(NEW, {**good, **fields})
    assert response.status_code == 400
    assert response.context["form"].errors[field]
    assert not ImageImport.objects.exists()


def test_a_running_import_says_how_far_it_is_and_can_be_cancelled(
    as_owner: Client, project: Project, owner: User
) -> None:
    request = image_imports.ImportRequest("mine", url="https://example.org/a", sha256=SHA)
    row = image_imports.request_import(project, request, user=owner, file_max=100)
    work = image_imports.claim(row.pk)
    assert work is not None
    image_imports.progress(work, done_bytes=25, total_bytes=100)
    assert "25 %" in as_owner.get(LIST, headers={"HX-Request": "true"}).content.decode()
    assert 'value="25"' in as_owner.get(f"{LIST}imports/{row.pk}/").content.decode()
    as_owner.post(f"{LIST}imports/{row.pk}/cancel/")
    row.refresh_from_db()
    assert row.status == "cancelled"
    assert "over already" in as_owner.post(f"{LIST}imports/{row.pk}/cancel/", follow=True).content.decode()


# -- uploads -------------------------------------------------------------------------------------


def test_an_upload_goes_on_where_it_stopped(as_owner: Client, project: Project, store: Path) -> None:
    data = bytes(range(256)) * 40
    url = announce(as_owner, len(data))["piece"]
    assert send(as_owner, url, 0, data[:1000]).json() == {"offset": 1000}
    assert as_owner.get(url).json() == {"offset": 1000, "open": True}
    again = send(as_owner, url, 0, data[:1000])
    assert (again.status_code, again.json()) == (409, {"offset": 1000})
    ahead = send(as_owner, url, 5000, data[5000:])
    assert (ahead.status_code, ahead.json()) == (409, {"offset": 1000})
    assert send(as_owner, url, 1000, data[1000:]).json() == {"offset": len(data)}
    row = ImageImport.objects.get()
    assert (row.status, row.done_bytes) == ("waiting", len(data))
    assert (store / row.part_name).read_bytes() == data
    assert send(as_owner, url, len(data), b"more").status_code in {400, 409}


def test_more_than_was_announced_is_refused(as_owner: Client, project: Project) -> None:
    url = announce(as_owner, 10)["piece"]
    response = send(as_owner, url, 0, b"x" * 11)
    assert response.status_code == 400
    assert "larger" in response.json()["error"]
    assert as_owner.get(url).json()["offset"] == 0


@pytest.mark.parametrize("offset", ["", "-1", "x", "9" * 30])
def test_a_piece_says_where_it_begins(as_owner: Client, project: Project, offset: str) -> None:
    url = announce(as_owner, 10)["piece"]
    assert as_owner.post(f"{url}?offset={offset}", b"x", content_type="application/octet-stream").status_code == 400


def test_a_piece_for_a_cancelled_upload_is_refused(as_owner: Client, project: Project, owner: User) -> None:
    url = announce(as_owner, 10)["piece"]
    image_imports.cancel(ImageImport.objects.get(), user=owner)
    assert send(as_owner, url, 0, b"x").status_code == 409


@pytest.mark.parametrize("size", [0, -1, 21 * 2**30])
def test_an_upload_of_an_impossible_size_is_refused_before_it_begins(
    as_owner: Client, project: Project, size: int
) -> None:
    sent = {"name": "mine", "firmware": "bios", "upload_size": size}
    response = as_owner.post(NEW, sent, headers=JSON)
    assert response.status_code == 400
    assert json.loads(response.content)["errors"]
    assert not ImageImport.objects.exists()


def test_without_scripts_the_form_brings_the_file(as_owner: Client, project: Project, store: Path) -> None:
    data = b"\0" * 510 + b"\x55\xaa" + b"\0" * (3 * 2**20)
    response = as_owner.post(NEW, {"name": "mine", "firmware": "bios", "file": SimpleUploadedFile("a.img", data)})
    row = ImageImport.objects.get()
    assert response.status_code == 303
    assert (row.status, row.total_bytes) == ("waiting", len(data))
    assert (store / row.part_name).stat().st_size == len(data)


def test_a_plain_form_has_its_limit(as_owner: Client, project: Project, settings: Settings) -> None:
    settings.IMAGE_PLAIN_UPLOAD_MAX_MIB = 1
    sent = {"name": "mine", "firmware": "bios", "file": SimpleUploadedFile("a.img", b"x" * 2**21)}
    response = as_owner.post(NEW, sent)
    assert response.status_code == 413
    assert "sent in pieces" in response.content.decode()
    assert not ImageImport.objects.exists()


def test_an_address_and_a_file_are_not_both_taken(as_owner: Client, project: Project) -> None:
    file = SimpleUploadedFile("a.img", b"x")
    sent = {"name": "mine", "firmware": "bios", "url": "https://example.org/a", "sha256": SHA, "file": file}
    response = as_owner.post(NEW, sent)
    assert response.status_code == 400
    assert "not both" in response.content.decode()


@pytest.mark.usefixtures("project")
def test_the_form_says_what_it_costs_to_keep_an_image(as_owner: Client, browser: Browser, operator: User) -> None:
    free = as_owner.get(NEW).content.decode()
    assert "At most" in free
    assert "a GiB and month" not in free
    price_list([(Item.IMAGE, "0.001")])
    assert "An image costs 0.73 EUR a GiB and month" in as_owner.get(NEW).content.decode()
    assert "a GiB and month" not in browser(operator).get("/images/new/").content.decode()  # nobody pays for those
