"""Service accounts: Google's own libraries sign with the JSON key, and what they sign opens the API."""

import base64
import json
import time
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs

import jwt
import pytest
import time_machine
from django.test import Client
from django.utils import timezone
from google.auth import transport
from google.oauth2 import service_account

from lifecycle.api import oauth
from lifecycle.models import VM, ApiToken, AuditEntry, Project, User
from lifecycle.services import service_keys
from tests.api.conftest import INSTANCES, Program


@pytest.fixture
def key(owner: User, project: Project) -> dict[str, Any]:
    """Olivia's key for `lab`."""
    _token, text = service_keys.create(owner, "ci", project, may_write=True, days=30, token_uri=oauth.token_uri())
    return dict(json.loads(text))


class ToTheProduct(transport.Request):
    """google-auth's requests, answered by the product."""

    def __call__(
        self, url: Any, method: Any = "GET", body: Any = None, headers: Any = None, timeout: Any = None, **_more: Any
    ) -> Any:
        assert url == oauth.token_uri()
        text = body.decode() if isinstance(body, bytes) else body
        answer = Client().post("/token", {name: values[0] for name, values in parse_qs(text).items()})
        return type("Answer", (), {"status": answer.status_code, "headers": answer.headers, "data": answer.content})


def signed(key: dict[str, Any], **claims: Any) -> str:
    """What the key's holder signs, in order unless `claims` say otherwise; their moments are seconds from now."""
    now = int(time.time())
    moments = {"iat": now + claims.pop("iat", 0), "exp": now + claims.pop("exp", 600)}
    whole = {"iss": key["client_email"], "aud": key["token_uri"], **moments, **claims}
    return jwt.encode(whole, key["private_key"], algorithm="RS256", headers={"kid": key["private_key_id"]})


def test_googles_library_exchanges_the_key(key: dict[str, Any], vm: VM) -> None:
    credentials = service_account.Credentials.from_service_account_info(
        key, scopes=["https://www.googleapis.com/auth/compute"]
    )
    credentials.refresh(ToTheProduct())
    asking = Program(credentials.token)
    assert asking("GET", f"{INSTANCES}/web-1")["name"] == "web-1"
    asking("POST", f"{INSTANCES}/web-1/stop")
    assert asking.status == 200


def test_googles_library_signs_calls_itself(key: dict[str, Any], vm: VM) -> None:
    credentials = service_account.Credentials.from_service_account_info(
        key, always_use_jwt_access=True, scopes=["https://www.googleapis.com/auth/compute"]
    )
    credentials._create_self_signed_jwt("https://compute.googleapis.com/")
    credentials.refresh(ToTheProduct())
    asking = Program(credentials.token)
    assert asking("GET", f"{INSTANCES}/web-1")["name"] == "web-1"


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "https://elsewhere.example/token"},
        {"iss": "somebody@else.example"},
        {"sub": "somebody@else.example"},
        {"exp": -300},
        {"exp": 7200},
        {"iat": 600, "exp": 1200},
    ],
)
def test_what_is_not_in_order_is_refused(claims: dict[str, Any], key: dict[str, Any], vm: VM) -> None:
    answer = Client().post("/token", {"grant_type": service_keys.GRANT, "assertion": signed(key, **claims)})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": ["x"]},
        {"sub": {"a": 1}},
        {"exp": float("inf")},
        {"exp": "soon"},
        {"iat": None},
        {"iat": [1]},
        {"aud": 7},
    ],
)
def test_claims_of_strange_types_are_refused(claims: dict[str, Any], key: dict[str, Any], vm: VM) -> None:
    now = int(time.time())
    whole = {"iss": key["client_email"], "aud": key["token_uri"], "iat": now, "exp": now + 600, **claims}
    headers = {"kid": key["private_key_id"]}
    text = jwt.PyJWS().encode(json.dumps(whole).encode(), key["private_key"], algorithm="RS256", headers=headers)
    answer = Client().post("/token", {"grant_type": service_keys.GRANT, "assertion": text})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    if "aud" not in claims:  # a call that was signed itself may be for anything
        asking = Program(text)
        asking("GET", INSTANCES)
        assert asking.status == 401


@pytest.mark.parametrize("kid", ["\0", "é", "a b", "", 7, ["x"], {"a": 1}, None])
def test_a_key_id_that_none_could_have_is_refused(kid: Any, db: None) -> None:
    """NUL would be an error of PostgreSQL."""
    header = base64.urlsafe_b64encode(json.dumps({"alg": "RS256", "kid": kid}).encode()).rstrip(b"=").decode()
    text = f"{header}.e30.c2ln"
    answer = Client().post("/token", {"grant_type": service_keys.GRANT, "assertion": text})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    asking = Program(text)
    asking("GET", INSTANCES)
    assert asking.status == 401


def test_another_key_and_another_algorithm_are_refused(
    key: dict[str, Any], owner: User, project: Project, vm: VM
) -> None:
    _token, text = service_keys.create(owner, "other", project, may_write=True, days=1, token_uri=oauth.token_uri())
    forged = {**key, "private_key": json.loads(text)["private_key"]}
    claims = {"iss": key["client_email"], "iat": int(time.time()), "exp": int(time.time()) + 60}
    none = jwt.encode(claims, "", algorithm="none", headers={"kid": key["private_key_id"]})
    secret = jwt.encode(claims, "x" * 40, algorithm="HS256", headers={"kid": key["private_key_id"]})
    for token in (signed(forged), none, secret, "a.b.c", "vmx_nonsense"):
        asking = Program(token)
        asking("GET", INSTANCES)
        assert asking.status == 401


def test_a_revoked_or_expired_key_opens_nothing(key: dict[str, Any], vm: VM) -> None:
    secret, _seconds = service_keys.exchange(signed(key), oauth.token_uri())
    Program(secret)("GET", INSTANCES)
    for change in ({"revoked_at": timezone.now()}, {"expires_at": timezone.now() - timedelta(seconds=1)}):
        ApiToken.objects.update(revoked_at=None)
        ApiToken.objects.update(**change)
        for token in (secret, signed(key)):
            asking = Program(token)
            asking("GET", INSTANCES)
            assert asking.status == 401


def test_the_private_key_is_not_kept(key: dict[str, Any]) -> None:
    assert "PRIVATE" not in str(ApiToken.objects.values().get())


def test_the_door_says_what_it_takes(db: None) -> None:
    assert Client().get("/token").status_code == 405
    assert Client().post("/token", {"grant_type": "password"}).json()["error"] == "unsupported_grant_type"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"x", "multipart/form-data"),
        (b"--x\r\nnothing", "multipart/form-data; boundary="),
        (b"assertion=" + b"x" * (3 << 20), "application/x-www-form-urlencoded"),
        (b"&".join(b"a%d=1" % number for number in range(1500)), "application/x-www-form-urlencoded"),
    ],
)
def test_a_form_that_cannot_be_read_is_refused_in_oauths_shape(body: bytes, kind: str, db: None) -> None:
    answer = Client().post("/token", body, content_type=kind)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


def test_an_exchange_is_written_down_and_of_those_refused_the_first_in_a_minute(
    counted_anew: None, key: dict[str, Any], owner: User, project: Project
) -> None:
    with time_machine.travel(timezone.now(), tick=False):
        for assertion in (signed(key), "nonsense", "nonsense"):
            Client().post("/token", {"grant_type": service_keys.GRANT, "assertion": assertion})
    entries = AuditEntry.objects.filter(action="api.call", target="token", channel="api").order_by("pk")
    written = [(entry.user, entry.project, entry.details) for entry in entries]
    assert written == [
        (owner, project, {"status": 200, "token": key["private_key_id"][:8]}),
        (None, None, {"status": 400}),
    ]
