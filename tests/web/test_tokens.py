"""The page of one's access tokens, and the command that makes one."""

import io
import json
import re

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from lifecycle.models import ApiToken, Project, User
from lifecycle.services import tokens
from tests import factories
from tests.web.conftest import Browser

FORM = {"name": "laptop", "projects": ["lab"], "access": "write", "days": "30"}


def test_the_secret_is_shown_once_and_works(as_owner: Client, project: Project) -> None:
    page = as_owner.post("/account/tokens/", FORM)
    found = re.search(r"<code id=\"token-secret\">(vmp_[\w-]+)</code>", page.content.decode())
    assert found
    assert page["Cache-Control"] == "no-store"
    token = tokens.find(found[1])
    assert token is not None
    assert (token.name, token.may_write, list(token.projects.all())) == ("laptop", True, [project])
    again = as_owner.get("/account/tokens/").content.decode()
    assert "laptop" in again
    assert found[1] not in again


@pytest.mark.parametrize(
    "change", [{"name": ""}, {"projects": []}, {"projects": ["elsewhere"]}, {"days": "0"}, {"days": "400"}]
)
def test_a_wrong_form_says_what_is_wrong(
    change: dict[str, object], as_owner: Client, project: Project, stranger: User
) -> None:
    page = as_owner.post("/account/tokens/", {**FORM, **change})
    assert page.status_code == 400
    assert "field__error" in page.content.decode()
    assert not ApiToken.objects.exists()


def test_nobody_sees_another_persons_tokens(browser: Browser, owner: User, viewer: User, project: Project) -> None:
    tokens.create(owner, "olivias-laptop", [project], may_write=False)
    assert "olivias-laptop" not in browser(viewer).get("/account/tokens/").content.decode()


def test_a_revoked_token_says_so(as_owner: Client, owner: User, project: Project) -> None:
    token, secret = tokens.create(owner, "laptop", [project], may_write=False)
    as_owner.post(f"/account/tokens/{token.pk}/revoke/")
    assert tokens.find(secret) is None
    page = as_owner.get("/account/tokens/").content.decode()
    assert "revoked" in page
    assert f"/account/tokens/{token.pk}/revoke/" not in page


def test_a_key_file_is_handed_out_once(as_owner: Client, owner: User, project: Project) -> None:
    answer = as_owner.post("/account/tokens/", {**FORM, "kind": "key"})
    assert answer["Content-Disposition"].startswith("attachment")
    key = json.loads(answer.content)
    assert key["token_uri"].endswith("/token")
    assert "BEGIN PRIVATE KEY" in key["private_key"]
    assert key["private_key"] not in as_owner.get("/account/tokens/").content.decode()
    factories.make_project("other", owner=owner)
    assert as_owner.post("/account/tokens/", {**FORM, "kind": "key", "projects": ["lab", "other"]}).status_code == 400


def test_many_tokens_come_in_pages(as_owner: Client, owner: User, project: Project) -> None:
    for number in range(30):
        tokens.create(owner, f"laptop-{number}", [project], may_write=False)
    first, second = (as_owner.get(f"/account/tokens/?page={n}").content.decode() for n in (1, 2))
    assert "laptop-29" in first
    assert "laptop-29" not in second
    assert "laptop-0" in second


def test_the_command_prints_the_secret_alone_to_standard_output(owner: User, project: Project) -> None:
    out, err = io.StringIO(), io.StringIO()
    call_command("create_token", user="olivia", project=["lab"], read_only=True, stdout=out, stderr=err)
    secret = out.getvalue().strip()
    token = tokens.find(secret)
    assert token is not None
    assert not token.may_write
    assert secret not in err.getvalue()


@pytest.mark.parametrize(
    "words",
    [
        {"user": "nobody", "project": ["lab"]},
        {"user": "steve", "project": ["lab"]},
        {"user": "olivia", "project": ["lab"], "days": 0},
    ],
)
def test_the_command_says_what_is_wrong(words: dict[str, object], project: Project, stranger: User) -> None:
    with pytest.raises(CommandError):
        call_command("create_token", **words)
    assert not ApiToken.objects.exists()
