"""Signing in with more than a password, and what the audit log says of it."""

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import time_machine
from allauth.mfa.models import Authenticator
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.test import Client
from environ import Env
from pytest_django import DjangoCaptureOnCommitCallbacks

from lifecycle.models import AuditEntry, User
from tests import factories
from tests.web.conftest import Browser
from vmportal.environment import oidc_apps


@pytest.fixture(autouse=True)
def _one_moment() -> Iterator[None]:
    """A code is good for half a minute: none ends between the moment it is reckoned and the one it is looked at."""
    with time_machine.travel(datetime.now(UTC), tick=False):
        yield


@pytest.fixture
def person(db: None) -> User:
    return factories.make_user("pia", password=factories.PASSWORD)


def sign_in(password: str = factories.PASSWORD, name: str = "pia") -> Client:
    client = Client()
    client.post("/accounts/login/", {"login": name, "password": password})
    return client


def code_for(secret: str) -> str:
    """What an authenticator app shows now: RFC 6238 with its defaults."""
    counter = (int(time.time()) // 30).to_bytes(8, "big")
    digest = hmac.digest(base64.b32decode(secret), counter, hashlib.sha1)
    offset = digest[-1] & 15
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFFFFFF
    return f"{number % 1_000_000:06}"


def switch_on(client: Client) -> str:
    """Set an app up, after the password once more; its secret."""
    assert "/accounts/reauthenticate/" in client.get("/accounts/2fa/totp/activate/")["Location"]
    client.post("/accounts/reauthenticate/", {"password": factories.PASSWORD})
    page = client.get("/accounts/2fa/totp/activate/").content.decode()
    found = re.search(r'id="authenticator_secret" type="text" value="([A-Z2-7]+)"', page)
    assert found
    response = client.post("/accounts/2fa/totp/activate/", {"code": code_for(found[1])})
    assert response.status_code == 302
    return found[1]


def test_with_an_app_the_password_alone_opens_nothing(person: User) -> None:
    secret = switch_on(sign_in())
    client = sign_in()
    assert client.get("/").status_code == 302
    wrong = client.post("/accounts/2fa/authenticate/", {"code": "000000"})
    assert "Incorrect code" in wrong.content.decode()
    cache.clear()  # a code is good for one sign-in; this one was used to set the app up
    client.post("/accounts/2fa/authenticate/", {"code": code_for(secret)})
    assert client.get("/").status_code == 200


def test_a_recovery_code_works_once(person: User) -> None:
    first = sign_in()
    switch_on(first)
    page = first.get("/accounts/2fa/recovery-codes/").content.decode()
    code = re.findall(r"\b(\d{8})\b", page)[0]
    for status in (200, 302):
        client = sign_in()
        client.post("/accounts/2fa/authenticate/", {"code": code})
        assert client.get("/").status_code == status


def test_its_secrets_rest_encrypted(person: User) -> None:
    secret = switch_on(sign_in())
    assert secret not in str(list(Authenticator.objects.values()))


def test_the_page_shows_what_is_on(person: User) -> None:
    client = sign_in()
    client.post("/accounts/reauthenticate/", {"password": factories.PASSWORD})
    before = client.get("/accounts/2fa/").content.decode()
    assert "/accounts/2fa/totp/activate/" in before
    assert "/accounts/2fa/webauthn/add/" in before
    switch_on(sign_in())
    assert "/accounts/2fa/totp/deactivate/" in client.get("/accounts/2fa/").content.decode()


def test_a_passkey_is_offered_at_the_door(db: None) -> None:
    assert 'id="passkey_login"' in Client().get("/accounts/login/").content.decode()
    options = Client().get("/accounts/2fa/webauthn/login/", headers={"Accept": "application/json"}).json()
    assert options["request_options"]["publicKey"]["challenge"]


@pytest.mark.parametrize("path", ["/accounts/2fa/", "/accounts/2fa/totp/activate/", "/accounts/2fa/webauthn/add/"])
def test_nobody_sees_another_s_factors(browser: Browser, path: str) -> None:
    assert browser(None).get(path).status_code == 302


def test_signing_in_and_out_and_failing_is_recorded(
    person: User, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    sign_in("wrong")
    client = sign_in()
    client.post("/accounts/logout/")
    with django_capture_on_commit_callbacks(execute=True):
        switch_on(sign_in())
    found = list(AuditEntry.objects.order_by("pk").values_list("action", "target"))
    assert found[:3] == [("user.login_failed", "pia"), ("user.login", "pia"), ("user.logout", "pia")]
    assert ("user.mfa", "pia") in found
    assert "wrong" not in str(list(AuditEntry.objects.values()))


def test_a_password_typed_as_a_name_is_not_kept(person: User) -> None:
    sign_in("x", name="my-secret-passphrase")
    assert AuditEntry.objects.get().target == ""


def test_an_identity_provider_needs_its_client(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CLIENT_ID", "CLIENT_SECRET", "NAME"):
        monkeypatch.delenv(f"VMPORTAL_OIDC_{name}", raising=False)
    assert oidc_apps(Env(), "") == []
    with pytest.raises(ImproperlyConfigured, match="VMPORTAL_OIDC_CLIENT_ID"):
        oidc_apps(Env(), "https://id.example.org")
    monkeypatch.setenv("VMPORTAL_OIDC_CLIENT_ID", "portal")
    monkeypatch.setenv("VMPORTAL_OIDC_CLIENT_SECRET", "s")
    [app] = oidc_apps(Env(), "https://id.example.org")
    assert app["settings"] == {"server_url": "https://id.example.org"}


def test_the_provider_stands_on_the_sign_in_page(db: None, settings: object) -> None:
    app = {
        "provider_id": "oidc",
        "name": "Our House",
        "client_id": "portal",
        "secret": "s",
        "settings": {"server_url": "https://id.example.org"},
    }
    settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"APPS": [app]}}  # type: ignore[attr-defined]
    assert "Our House" in Client().get("/accounts/login/").content.decode()
