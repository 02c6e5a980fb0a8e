"""Operations on the wire: how they end, how they are waited for, and how they are taken away."""

from typing import Any

import pytest
from django.utils import timezone

from lifecycle.domain.errors import Broken, QuotaExceeded, ResourcePoolExhausted
from lifecycle.domain.transitions import Action
from lifecycle.models import VM, Change, Operation, User
from tests import factories
from tests.api.conftest import INSTANCES, Program, Programs

OPERATIONS = "/zones/zone-a/operations"


def ended(vm: VM, error: dict[str, Any] | None = None, action: Action = Action.START) -> str:
    """The name of an operation that is over."""
    now = timezone.now()
    made = factories.make_operation(vm, action, status="DONE", insert_time=now, end_time=now, progress=40, error=error)
    return f"operation-{made.pk}"


def test_one_that_failed_is_done_with_its_error_twice(api: Program, vm: VM) -> None:
    reasons = {"host-1": "2 vCPUs wanted, 0 free", "host-2": "the host does not answer"}
    error = ResourcePoolExhausted("No host in zone %(zone)s has room for this VM now.", zone="zone-a", reasons=reasons)
    operation = api("GET", f"{OPERATIONS}/{ended(vm, error.as_dict())}")
    assert (operation["status"], operation["progress"]) == ("DONE", 100)
    assert (operation["httpErrorStatusCode"], operation["httpErrorMessage"]) == (503, "SERVICE UNAVAILABLE")
    item = operation["error"]["errors"][0]
    assert item["code"] == "ZONE_RESOURCE_POOL_EXHAUSTED"
    assert "host-1: 2 vCPUs wanted, 0 free" in item["message"]
    assert item["errorDetails"][0]["errorInfo"]["metadatas"] == reasons


def test_a_quota_and_a_host_error_have_their_codes_and_statuses(api: Program, vm: VM) -> None:
    quota = QuotaExceeded("%(metric)s", metric="vcpus", limit=4, usage=3, requested=2, scope="project lab")
    operation = api("GET", f"{OPERATIONS}/{ended(vm, quota.as_dict())}")
    assert operation["httpErrorStatusCode"] == 403
    assert operation["error"]["errors"][0]["errorDetails"][0]["quotaInfo"]["limitName"] == "CPUS"
    broken = {"code": Broken.code, "message": Broken.user_text}
    assert api("GET", f"{OPERATIONS}/{ended(vm, broken)}")["httpErrorStatusCode"] == 500


@pytest.mark.parametrize("action", list(Action))
def test_every_action_has_a_name_on_the_wire(action: Action, api: Program, vm: VM) -> None:
    kind = api("GET", f"{OPERATIONS}/{ended(vm, action=action)}")["operationType"]
    assert kind.isidentifier() or kind.startswith("compute.instances.")


def test_wait_takes_what_each_client_posts(api: Program, vm: VM) -> None:
    name = api("POST", f"{INSTANCES}/web-1/stop")["name"]
    bodies: tuple[Any, ...] = (None, "", {})
    for body in bodies:
        assert api("POST", f"{OPERATIONS}/{name}/wait", body)["status"] == "PENDING"
    Operation.objects.update(status="DONE", end_time=timezone.now())
    assert api("POST", f"{OPERATIONS}/{name}/wait")["status"] == "DONE"


def test_a_deleted_operation_is_gone_from_the_answers_and_stays_in_the_history(api: Program, vm: VM) -> None:
    name = ended(vm)
    assert api("DELETE", f"{OPERATIONS}/{name}") == {}
    api("GET", f"{OPERATIONS}/{name}")
    assert api.status == 404
    assert "items" not in api("GET", OPERATIONS)
    assert Operation.objects.filter(vm=vm).count() == 1


@pytest.mark.parametrize(("path", "body"), [("stop", None), ("setScheduling", {"automaticRestart": False})])
def test_the_request_of_a_deleted_operation_is_still_known(path: str, body: Any, api: Program, vm: VM) -> None:
    request_id = "11111111-1111-4111-8111-111111111111"
    first = api("POST", f"{INSTANCES}/web-1/{path}", body, requestId=request_id)
    Operation.objects.update(status="DONE", end_time=timezone.now())
    api("DELETE", f"{OPERATIONS}/{first['name']}")
    again = api("POST", f"{INSTANCES}/web-1/{path}", body, requestId=request_id)
    assert (api.status, again["name"]) == (200, first["name"])
    assert Operation.objects.count() + Change.objects.count() == 1


def test_an_open_operation_cannot_be_deleted(api: Program, vm: VM) -> None:
    name = api("POST", f"{INSTANCES}/web-1/stop")["name"]
    api("DELETE", f"{OPERATIONS}/{name}")
    assert api.status == 400


def test_a_viewer_deletes_no_operation(program: Programs, viewer: User, vm: VM) -> None:
    looking = program(viewer)
    name = ended(vm)
    looking("GET", f"{OPERATIONS}/{name}")
    assert looking.status == 200
    looking("DELETE", f"{OPERATIONS}/{name}")
    assert looking.status == 403


def test_an_operation_of_others_is_not_found(program: Programs, stranger: User, vm: VM) -> None:
    asking = program(stranger, of=stranger.memberships.get().project)
    asking("GET", f"{OPERATIONS}/{ended(vm)}")
    assert asking.status == 404


@pytest.mark.parametrize("name", ["operation-x", "operation-", "7", "operation-00000000-0000-4000-8000-000000000000"])
def test_what_is_no_operation_is_not_found(name: str, api: Program, vm: VM) -> None:
    api("GET", f"{OPERATIONS}/{name}")
    assert api.status == 404


def test_there_are_no_global_and_no_regional_operations(api: Program, vm: VM) -> None:
    name = ended(vm)
    assert "items" not in api("GET", "/global/operations")
    assert "items" not in api("GET", "/regions/zone/operations")
    for path in (f"/global/operations/{name}", f"/regions/zone/operations/{name}"):
        api("GET", path)
        assert api.status == 404
    for path in (f"/global/operations/{name}", f"/regions/zone/operations/{name}"):
        api("POST", f"{path}/wait")
        assert api.status == 404
        api("DELETE", path)
        assert api.status == 404


def test_the_operation_of_a_vm_that_is_gone_can_still_be_read(api: Program, vm: VM) -> None:
    operation = api("DELETE", f"{INSTANCES}/web-1", requestId="11111111-1111-4111-8111-111111111111")
    VM.objects.update(deleted_at=timezone.now(), host=None)
    assert api("GET", f"{OPERATIONS}/{operation['name']}")["operationType"] == "delete"
    again = api("DELETE", f"{INSTANCES}/web-1", requestId="11111111-1111-4111-8111-111111111111")
    assert again["name"] == operation["name"]
