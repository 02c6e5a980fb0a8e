"""The admin's own content security policy, and its door."""

import pytest
from django.test import Client
from django.urls import reverse


def directives(response: object) -> dict[str, set[str]]:
    header = response["Content-Security-Policy"]  # type: ignore[index]
    parts = (part.split() for part in header.split(";") if part.strip())
    return {name: set(values) for name, *values in parts}


def test_the_admin_may_compile_expressions_and_nothing_inline(admin_client: Client) -> None:
    policy = directives(admin_client.get(reverse("admin:index")))
    assert policy["script-src"] == {"'self'", "'unsafe-eval'"}
    assert policy["style-src"] == {"'self'"}
    assert "style-src-attr" not in policy


@pytest.mark.parametrize("address", ["account_login", "web:projects"])
def test_the_portal_keeps_its_strict_policy(admin_client: Client, address: str) -> None:
    policy = directives(admin_client.get(reverse(address)))
    assert policy["script-src"] == {"'self'"}


@pytest.mark.parametrize(
    "path",
    [
        "admin:index",
        "admin:lifecycle_vm_changelist",
        "admin:lifecycle_machinetype_add",
        "admin:django_celery_beat_periodictask_add",
    ],
)
def test_no_page_of_the_admin_holds_inline_scripts_or_style_sheets(
    admin_client: Client, everything: object, path: str
) -> None:
    response = admin_client.get(reverse(path))
    assert response.status_code == 200
    page = response.content.decode()
    assert "<style" not in page
    assert "<script>" not in page
    assert " onclick=" not in page


def test_the_admins_own_sign_in_form_is_never_shown(client: Client, db: None) -> None:
    response = client.post(reverse("admin:login"), {"username": "ada", "password": "wrong"})
    assert response.status_code == 302
    assert response["Location"].startswith(reverse("account_login"))


def test_passwords_are_changed_in_the_portal(admin_client: Client) -> None:
    response = admin_client.get(reverse("admin:password_change"))
    assert response["Location"] == reverse("account_change_password")
