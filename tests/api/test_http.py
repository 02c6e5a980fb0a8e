"""The door itself: verbs, parameters, sizes and addresses that no client should send, refused in Google's shape."""

import pytest
from django.test import Client

from lifecycle.models import VM, Project
from tests.api.conftest import INSTANCES, Program

VM_PATH = f"/compute/v1/projects/lab{INSTANCES}/web-1"


def test_a_post_may_stand_for_another_verb_and_a_get_may_not(api: Program, vm: VM) -> None:
    asking = {"Authorization": f"Bearer {api.secret}", "X-HTTP-Method-Override": "DELETE"}
    assert Client().get(VM_PATH, headers=asking).json()["name"] == "web-1"
    assert VM.objects.get().state == "RUNNING"
    assert Client().post(VM_PATH, headers=asking).json()["operationType"] == "delete"


def test_a_get_in_a_post_has_its_parameters_in_the_body(api: Program, vm: VM) -> None:
    asking = {"Authorization": f"Bearer {api.secret}", "X-HTTP-Method-Override": "GET"}
    kind = "application/x-www-form-urlencoded"
    answer = Client().post(VM_PATH, data="fields=name", content_type=kind, headers=asking)
    assert answer.json() == {"name": "web-1"}


def test_too_many_parameters_are_refused(api: Program, vm: VM) -> None:
    answer = api("GET", INSTANCES, **{f"a{number}": "1" for number in range(1500)})
    assert (api.status, answer["error"]["errors"][0]["reason"]) == (400, "invalid")


def test_a_body_that_is_too_large_is_refused(api: Program, vm: VM) -> None:
    answer = api("POST", INSTANCES, {"name": "x" * (3 << 20)})
    assert (api.status, answer["error"]["errors"][0]["reason"]) == (413, "requestTooLarge")


def test_a_project_that_no_database_could_hold_is_not_found(api: Program, project: Project) -> None:
    api("GET", "projects/%00/zones")
    assert api.status == 404


@pytest.mark.parametrize(
    "path", ["/compute/beta/projects/lab/zones", "/batch/compute/alpha", "/compute/v1", "/compute/"]
)
def test_another_version_is_told_that_there_is_none(path: str, db: None) -> None:
    for answer in (Client().get(path), Client().post(path)):
        assert (answer.status_code, answer.json()["error"]["errors"][0]["reason"]) == (404, "notFound")
        assert "/compute/v1/" in answer.json()["error"]["message"]


def test_a_refusal_is_not_kept_by_a_cache(api: Program, vm: VM) -> None:
    api("GET", f"{INSTANCES}/nothing")
    assert (api.status, api.headers["Cache-Control"]) == (404, "private, no-store")
