"""What every page keeps to: the content security policy, names for everything, readable errors."""

import re
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.test import Client
from django.utils import translation

from lifecycle import labels
from lifecycle.domain.errors import HypervisorError, QuotaExceeded
from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action, Asker
from lifecycle.models import VM, OperationStep, User
from tests import factories
from tests.web.conftest import Browser

PATHS = [
    "/",
    "/search/?q=web",
    "/projects/",
    "/projects/new/",
    "/projects/lab/vms/",
    "/projects/lab/vms/new/",
    "/projects/lab/vms/web-1/",
    "/projects/lab/vms/web-1/confirm/delete/",
    "/projects/lab/vms/web-1/console/",
    "/projects/lab/vms/web-1/console/?q=x",
    "/projects/lab/vms/web-1/screen/",
    "/projects/lab/operations/",
    "/projects/lab/members/",
    "/projects/lab/audit/",
    "/projects/lab/vms/web-1/edit/",
    "/notifications/",
    "/account/notifications/",
    "/account/preferences/",
    "/account/keys/",
    "/projects/lab/images/",
    "/projects/lab/images/new/",
    "/images/",
    "/images/new/",
    "/projects/lab/keys/",
    "/operators/",
    "/accounts/password/change/",
    "/accounts/logout/",
    "/nothing-here/",
]
BEFORE_THE_DOOR = ["/accounts/login/", "/accounts/signup/", "/accounts/password/reset/", "/invitations/wrong/"]
#: Executable scripts come from files; a JSON data block is not executed.
INLINE = re.compile(r"<style|\sstyle=|\son[a-z]+=|javascript:|<script(?![^>]*(\ssrc=|type=\"application/json\"))")


@pytest.mark.parametrize("path", PATHS)
def test_pages_keep_to_the_strict_policy(browser: Browser, superuser: User, vm: VM, path: str) -> None:
    response = browser(superuser).get(path)
    assert "unsafe" not in response["Content-Security-Policy"]
    assert not INLINE.search(response.content.decode())


@pytest.mark.parametrize("path", BEFORE_THE_DOOR)
def test_pages_before_the_door_keep_to_it_too(browser: Browser, db: None, path: str) -> None:
    response = browser(None).get(path)
    assert "unsafe" not in response["Content-Security-Policy"]
    assert not INLINE.search(response.content.decode())


@pytest.mark.parametrize("path", [*PATHS, *BEFORE_THE_DOOR])
def test_pages_load_nothing_from_elsewhere(browser: Browser, superuser: User, vm: VM, path: str) -> None:
    page = browser(superuser if path in PATHS else None).get(path).content.decode()
    assert not re.findall(r'(?:src|href|action)="(?:https?:)?//[^"]+"', page)


@pytest.mark.parametrize("path", [*PATHS, *BEFORE_THE_DOOR])
def test_every_page_has_one_heading_and_unique_ids(browser: Browser, superuser: User, vm: VM, path: str) -> None:
    page = browser(superuser if path in PATHS else None).get(path, follow=True).content.decode()
    assert page.count("<main") == 1
    assert len(re.findall(r"<h1", page)) == 1
    ids = re.findall(r'\sid="([^"]+)"', page)
    assert sorted(set(ids)) == sorted(ids)


def test_every_state_action_and_asker_has_a_name() -> None:
    assert set(labels.STATES) == set(labels.MEANINGS) == {s.value for s in State}
    assert set(labels.ACTIONS) == {a.value for a in Action}
    assert set(labels.ASKERS) == {a.value for a in Asker}
    assert set(labels.STEP_STATUSES) == set(labels.STEP_ICONS) == {s.value for s in OperationStep.Status}


def test_every_step_of_an_operation_has_a_name() -> None:
    from lifecycle.operations.registry import DEFINITIONS

    steps = {step.name for definition in DEFINITIONS.values() for step in definition.steps}
    assert steps <= set(labels.STEPS), f"no name for {steps - set(labels.STEPS)}"


def test_badges_say_the_names_of_the_api_in_english() -> None:
    with translation.override("en"):
        assert {code: str(name).upper() for code, name in labels.STATES.items()} == {s.value: s.value for s in State}


def test_an_error_s_numbers_are_filled_in() -> None:
    error = QuotaExceeded("The quota of %(metric)s is %(limit)s.", metric="VMs", limit=3).as_dict()
    assert labels.error_text(error) == "The quota of VMs is 3."
    assert labels.error_text({"code": HypervisorError.code, "message": HypervisorError.user_text})
    assert labels.error_text({"template": "%(missing)s", "message": "plain"}) == "plain"


def test_a_page_that_breaks_says_so_calmly(browser: Browser, superuser: User, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("lifecycle.web.views.vm_list.list_context", broken)
    client = Client(raise_request_exception=False)
    client.force_login(superuser, backend="django.contrib.auth.backends.ModelBackend")
    factories.make_project("lab", owner=superuser)
    response = client.get("/projects/lab/vms/")
    assert response.status_code == 500
    assert "Something broke on our side" in response.content.decode()


def test_the_operators_page_says_that_mail_is_off(browser: Browser, superuser: User, settings: LazySettings) -> None:
    settings.MAIL_ENABLED = False
    assert "Mail is off" in browser(superuser).get("/operators/").content.decode()


def test_stylesheets_and_scripts_reach_for_nothing_outside() -> None:
    static = Path(__file__).resolve().parents[2] / "static"
    for file in [*static.glob("css/*.css"), *static.glob("js/*.js")]:
        assert not re.search(r"https?://|@import", file.read_text()), file.name
