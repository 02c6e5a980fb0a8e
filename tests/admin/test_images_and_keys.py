"""Operators see images on their way in and everybody's SSH keys, and may end either."""

import pytest
from django.contrib.messages import get_messages
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from lifecycle.models import AuditEntry, Image, ImageImport, Project, SSHKey, User
from lifecycle.services import image_imports, keys
from tests import factories

pytestmark = pytest.mark.django_db


def listing(model: type[Model]) -> str:
    return reverse(f"admin:lifecycle_{model._meta.model_name}_changelist")


def act(client: Client, row: Model, action: str) -> str:
    """Run a list's action on one row; what the next page says."""
    answer = client.post(listing(type(row)), {"action": action, "_selected_action": row.pk}, follow=True)
    return " ".join(str(message) for message in get_messages(answer.wsgi_request)) or answer.content.decode()


def import_of(project: Project, name: str, user: User) -> ImageImport:
    """An import that waits for a worker."""
    url = f"https://images.example.org/{name}.qcow2"
    request = image_imports.ImportRequest(name=name, url=url, sha256="5e" * 32)
    return image_imports.request_import(project, request, user=user, file_max=2**40)


@pytest.fixture
def coming(project: Project, owner: User) -> ImageImport:
    return import_of(project, "rescue", owner)


@pytest.fixture
def key(owner: User) -> SSHKey:
    return keys.add_user_key(owner, factories.make_public_key("olivia@laptop"), "laptop")


def test_an_import_is_shown_with_its_problem(admin_client: Client, coming: ImageImport) -> None:
    error = {"code": "INVALID", "message": "The file has another checksum."}
    ImageImport.objects.filter(pk=coming.pk).update(status="failed", error=error, done_bytes=2**20)
    assert "rescue" in admin_client.get(listing(ImageImport)).content.decode()
    page = admin_client.get(reverse("admin:lifecycle_imageimport_change", args=[coming.pk])).content.decode()
    assert "The file has another checksum." in page
    assert "1.0" in page


def test_an_import_is_cancelled_and_that_is_audited(admin_client: Client, coming: ImageImport) -> None:
    assert "was cancelled" in act(admin_client, coming, "cancel")
    coming.refresh_from_db()
    assert coming.status == ImageImport.Status.CANCELLED
    assert AuditEntry.objects.filter(action="row.change", target__contains="rescue").exists()
    assert "over already" in act(admin_client, coming, "cancel")


def test_a_key_is_found_by_its_fingerprint_and_removed(admin_client: Client, key: SSHKey) -> None:
    found = admin_client.get(listing(SSHKey), {"q": key.fingerprint}).content.decode()
    assert "laptop" in found
    assert "olivia" in found
    assert admin_client.get(reverse("admin:lifecycle_sshkey_change", args=[key.pk])).status_code == 200
    assert "was removed" in act(admin_client, key, "remove")
    assert not SSHKey.objects.filter(pk=key.pk).exists()
    assert AuditEntry.objects.filter(action="row.delete", target__contains="laptop").exists()


def test_nobody_adds_or_changes_either_here(admin_client: Client, coming: ImageImport, key: SSHKey) -> None:
    for row in (coming, key):
        name = row._meta.model_name
        assert admin_client.get(reverse(f"admin:lifecycle_{name}_add")).status_code == 403
        change = reverse(f"admin:lifecycle_{name}_change", args=[row.pk])
        assert admin_client.post(change, {"name": "other"}).status_code == 403


def test_an_owner_of_a_project_is_no_operator(client: Client, owner: User, coming: ImageImport, key: SSHKey) -> None:
    client.force_login(owner)
    for row in (coming, key):
        assert client.get(listing(type(row))).status_code in {302, 403}
        act_url = listing(type(row))
        client.post(act_url, {"action": "remove", "_selected_action": row.pk})
        row.refresh_from_db()


def test_lists_ask_the_same_number_of_questions_for_more_rows(
    admin_client: Client, project: Project, owner: User, coming: ImageImport, key: SSHKey
) -> None:
    def questions() -> list[int]:
        counts = []
        for model in (ImageImport, SSHKey, Image):
            with CaptureQueriesContext(
                connection,
            ) as asked:
                admin_client.get(listing(model))
            counts.append(len(asked))
        return counts

    factories.make_image("ours", project=project)
    questions()
    before = questions()
    for number in range(3):
        import_of(project, f"more-{number}", owner)
        keys.add_project_key(project, factories.make_public_key(f"k{number}@ci"), user=owner)
        factories.make_image(f"ours-{number}", project=project)
    assert questions() == before
