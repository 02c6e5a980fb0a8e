"""Instances: created, looked at, acted upon, and refused as Compute Engine refuses."""

import json
from typing import Any

import pytest

from lifecycle.domain.states import State
from lifecycle.models import VM, Disk, Host, Image, Operation, Project, Quota, User
from tests import factories
from tests.api.conftest import INSTANCES, Program, Programs, body_of, disks

ROOT = "https://testserver/compute/v1/projects/lab"


def test_a_new_vm_is_what_was_asked_for(api: Program, host: Host, catalog: None, owner: User) -> None:
    metadata = {"items": [{"key": "ssh-keys", "value": f"root:{factories.SSH_KEY}"}, {"key": "colour", "value": "red"}]}
    operation = api(
        "POST",
        INSTANCES,
        body_of(metadata=metadata, tags={"items": ["web"]}, labels={"env": "prod"}, deletionProtection=True),
    )
    assert (api.status, operation["operationType"], operation["status"]) == (200, "insert", "PENDING")
    assert operation["targetLink"] == f"{ROOT}/zones/zone-a/instances/new-1"
    made = VM.objects.get(name="new-1")
    assert (made.ssh_keys, made.deletion_protection, made.created_by) == (factories.SSH_KEY, True, owner)
    instance = api("GET", f"{INSTANCES}/new-1")
    assert instance["status"] == "PROVISIONING"
    assert instance["metadata"]["items"] == [{"key": "colour", "value": "red"}, metadata["items"][0]]
    assert instance["tags"]["items"] == ["web"]
    assert instance["labels"] == {"env": "prod"}
    assert instance["machineType"] == f"{ROOT}/zones/zone-a/machineTypes/tiny-1"
    assert instance["disks"][0]["autoDelete"] is True
    assert instance["id"] == operation["targetId"]


@pytest.mark.parametrize(
    "reference",
    [
        "https://compute.googleapis.com/compute/v1/projects/debian-cloud/global/images/tiny",
        "https://127.0.0.1:8000/compute/v1/projects/lab/global/images/family/tiny",
        "projects/lab/global/images/tiny",
        "/projects/lab/global/images/family/tiny",
        "global/images/tiny",
        "projects/lab/zones/-/imageFamilyViews/tiny",
        "tiny",
    ],
)
@pytest.mark.parametrize(
    "shape", ["{root}/zones/zone-a/machineTypes/tiny-1", "zones/zone-a/machineTypes/tiny-1", "tiny-1"]
)
def test_every_form_of_a_reference_is_understood(
    reference: str, shape: str, api: Program, host: Host, catalog: None
) -> None:
    disks = [{"boot": True, "initializeParams": {"sourceImage": reference, "diskSizeGb": "2"}}]
    answer = api("POST", INSTANCES, body_of(disks=disks, machineType=shape.format(root=ROOT)))
    assert api.status == 200, answer
    disk = Disk.objects.get(vm__name="new-1")
    assert (disk.size_gib, disk.auto_delete) == (2, False)


@pytest.mark.parametrize(
    "interface",
    [
        {"network": "projects/{pk}/global/networks/default"},
        {"subnetwork": "default"},
        {"subnetwork": "regions/zone/subnetworks/default"},
        {"subnetwork": "https://compute.googleapis.com/compute/v1/projects/lab/regions/zone/subnetworks/default"},
    ],
)
@pytest.mark.parametrize("disk_type", ["pd-standard", "zones/zone-a/diskTypes/pd-standard"])
def test_every_form_of_network_and_disk_type_is_understood(
    interface: dict[str, str], disk_type: str, api: Program, host: Host, catalog: None, project: Project
) -> None:
    interface = {name: text.format(pk=project.pk) for name, text in interface.items()}
    disk = disks(initializeParams={"sourceImage": "tiny", "diskType": disk_type})
    answer = api("POST", INSTANCES, body_of(networkInterfaces=[interface], disks=disk))
    assert api.status == 200, answer


@pytest.mark.parametrize(
    "interface",
    [
        {"network": "global/networks/other"},
        {"network": "projects/other/global/networks/default"},
        {"subnetwork": "regions/zone/subnetworks/other"},
    ],
)
def test_another_network_is_not_found(interface: dict[str, str], api: Program, host: Host, catalog: None) -> None:
    answer = api("POST", INSTANCES, body_of(networkInterfaces=[interface]))
    (text,) = interface.values()
    assert api.status == 404
    assert text.rpartition("projects/other/")[2] in answer["error"]["message"]
    assert not VM.objects.exists()


def test_what_clients_ask_for_by_default_and_nobody_gives_is_warned_of(api: Program, host: Host, catalog: None) -> None:
    interfaces = [{"network": "global/networks/default", "accessConfigs": [{"type": "ONE_TO_ONE_NAT"}]}]
    accounts = [{"email": "default", "scopes": ["https://www.googleapis.com/auth/logging.write"]}]
    named = disks(deviceName="new-1")
    operation = api("POST", INSTANCES, body_of(networkInterfaces=interfaces, serviceAccounts=accounts, disks=named))
    assert [w["code"] for w in operation["warnings"]] == ["FIELD_VALUE_OVERRIDEN"] * 3


def test_what_the_product_gives_anyway_is_not_warned_of(api: Program, host: Host, catalog: None) -> None:
    params = {"sourceImage": "global/images/tiny", "architecture": "X86_64"}
    plain = disks(deviceName="boot", interface="SCSI", index=0, initializeParams=params)
    operation = api("POST", INSTANCES, body_of(disks=plain, networkInterfaces=[{"nicType": "VIRTIO_NET"}]))
    assert api.status == 200
    assert "warnings" not in operation


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"guestAccelerators": [{"acceleratorCount": 1}]}, "unsupportedOperation"),
        ({"canIpForward": True}, "unsupportedOperation"),
        ({"hostname": "a.example.org"}, "unsupportedOperation"),
        ({"scheduling": {"preemptible": True}}, "unsupportedOperation"),
        ({"scheduling": {"provisioningModel": "SPOT"}}, "unsupportedOperation"),
        ({"shieldedInstanceConfig": {"enableVtpm": True}}, "unsupportedOperation"),
        ({"networkInterfaces": [{}, {}]}, "unsupportedOperation"),
        ({"nonsense": 1}, "invalid"),
        ({"name": "Not_A_Name"}, "invalid"),
        ({"name": 7}, "invalid"),
        ({"machineType": "zones/zone-b/machineTypes/tiny-1"}, "invalid"),
        ({"machineType": "n1-standard-1"}, "invalid"),
        ({"machineType": "zones/zone-a/disks/tiny-1"}, "invalid"),
        ({"machineType": None}, "invalid"),
        ({"machineType": "https://[/zones/zone-a/machineTypes/tiny-1"}, "invalid"),
        ({"labels": json.loads('{"a":' * 300 + "1" + "}" * 300)}, "parseError"),
        ({"disks": []}, "invalid"),
        ({"disks": "all"}, "invalid"),
        ({"disks": [{"boot": True, "source": "zones/zone-a/disks/old"}]}, "unsupportedOperation"),
        ({"metadata": {"items": [{"key": "shutdown-script", "value": "#!/bin/sh"}]}}, "invalid"),
        ({"metadata": {"items": [{"key": "a", "value": "1"}, {"key": "a", "value": "2"}]}}, "invalid"),
        ({"metadata": {"items": [{"key": "a b", "value": "1"}]}}, "invalid"),
        ({"tags": {"items": ["Not a tag"]}}, "invalid"),
        ({"tags": {"words": ["web"]}}, "invalid"),
        ({"metadata": {"entries": []}}, "invalid"),
        ({"metadata": {"items": [{"key": "a", "value": "1", "secret": True}]}}, "invalid"),
        ({"metadata": {"items": [{"key": "a", "value": "\ud800"}]}}, "parseError"),
        ({"networkInterfaces": [{"nicType": "GVNIC"}]}, "unsupportedOperation"),
        ({"networkInterfaces": [{"subnetwork": "regions/elsewhere/subnetworks/default"}]}, "invalid"),
        ({"networkInterfaces": [{"subnetwork": "global/networks/default"}]}, "invalid"),
        (
            {
                "disks": disks(
                    initializeParams={"sourceImage": "tiny", "diskType": "zones/zone-b/diskTypes/pd-standard"}
                )
            },
            "invalid",
        ),
        (
            {"disks": disks(initializeParams={"sourceImage": "tiny", "diskType": "zones/zone-a/disks/pd-standard"})},
            "invalid",
        ),
        ({"disks": disks(interface="NVME")}, "unsupportedOperation"),
        (
            {"disks": disks(diskSizeGb="2", initializeParams={"sourceImage": "tiny", "diskSizeGb": "3"})},
            "invalid",
        ),
        ({"disks": disks(guestOsFeatures=[{"type": "UEFI_COMPATIBLE"}])}, "unsupportedOperation"),
        ({"disks": disks(initializeParams={"sourceImage": "global/images/tiny", "architecture": "ARM64"})}, "invalid"),
    ],
)
def test_what_cannot_be_is_refused_with_its_reason(
    change: dict[str, Any], reason: str, api: Program, host: Host, catalog: None
) -> None:
    answer = api("POST", INSTANCES, body_of(**change))
    assert (api.status, answer["error"]["errors"][0]["reason"]) == (400, reason)
    assert not VM.objects.exists()


@pytest.mark.parametrize(
    ("verb", "path", "query"),
    [
        ("POST", "", {"sourceInstanceTemplate": "global/instanceTemplates/web"}),
        ("POST", "", {"sourceMachineImage": "global/machineImages/web"}),
        ("POST", "/web-1/stop", {"noGracefulShutdown": "true"}),
        ("DELETE", "/web-1", {"noGracefulShutdown": "true"}),
    ],
)
def test_a_parameter_that_asks_for_more_is_not_left_out(
    verb: str, path: str, query: dict[str, str], api: Program, vm: VM
) -> None:
    (name,) = query
    answer = api(verb, f"{INSTANCES}{path}", None if path else body_of(), **query)
    assert (api.status, answer["error"]["errors"][0]["reason"]) == (400, "unsupportedOperation")
    assert name in answer["error"]["message"]
    assert not Operation.objects.exists()
    api(verb, f"{INSTANCES}{path}", None if path else body_of(), **{name: ""})
    assert api.status == 200


@pytest.mark.parametrize("status", [Image.Status.DEPRECATED, Image.Status.PENDING, Image.Status.FAILED])
def test_an_image_that_is_not_offered_is_not_changed_for_another_of_its_family(
    status: Image.Status, api: Program, host: Host, catalog: None
) -> None:
    factories.make_image("tiny-2")
    Image.objects.filter(name="tiny").update(status=status)
    answer = api("POST", INSTANCES, body_of())
    assert (api.status, answer["error"]["errors"][0]["reason"]) == (400, "invalid")
    assert status in answer["error"]["message"]
    assert not VM.objects.exists()
    newest = disks(initializeParams={"sourceImage": "global/images/family/tiny"})
    api("POST", INSTANCES, body_of(disks=newest))
    assert VM.objects.get().image.name == "tiny-2"


def test_an_unknown_image_is_not_found(api: Program, host: Host, catalog: None) -> None:
    disks = [
        {"boot": True, "initializeParams": {"sourceImage": "projects/debian-cloud/global/images/family/debian-12"}}
    ]
    answer = api("POST", INSTANCES, body_of(disks=disks))
    assert api.status == 404
    assert "projects/debian-cloud/global/images/family/debian-12" in answer["error"]["message"]


def test_a_used_up_quota_names_metric_limit_and_usage(api: Program, project: Project, vm: VM) -> None:
    Quota.objects.filter(project=project).update(vms=1)
    error = api("POST", INSTANCES, body_of())["error"]
    assert (api.status, error["errors"][0]["reason"], error["errors"][0]["domain"]) == (
        403,
        "quotaExceeded",
        "usageLimits",
    )
    info = error["details"][0]["quotaInfo"]
    assert (info["limitName"], info["limit"], info["dimensions"]["usage"]) == ("INSTANCES", 1.0, "1")


def test_a_taken_name_is_a_conflict(api: Program, vm: VM) -> None:
    answer = api("POST", INSTANCES, body_of("web-1"))
    assert (api.status, answer["error"]["errors"][0]["reason"]) == (409, "alreadyExists")


@pytest.mark.parametrize(
    ("state", "verb", "after"),
    [
        (State.TERMINATED, "start", "PROVISIONING"),
        (State.RUNNING, "stop", "STOPPING"),
        (State.RUNNING, "reset", "RUNNING"),
        (State.RUNNING, "suspend", "SUSPENDING"),
        (State.SUSPENDED, "resume", "PROVISIONING"),
    ],
)
def test_each_action_opens_its_operation(
    state: State, verb: str, after: str, api: Program, project: Project, host: Host, catalog: None
) -> None:
    factories.make_vm(project, "web-1", state, host=host)
    operation = api("POST", f"{INSTANCES}/web-1/{verb}")
    assert (api.status, operation["operationType"]) == (200, verb)
    assert api("GET", f"{INSTANCES}/web-1")["status"] == after
    assert api("GET", f"/zones/zone-a/operations/{operation['name']}") == operation


def test_an_action_the_state_does_not_allow_is_a_conflict(api: Program, vm: VM) -> None:
    answer = api("POST", f"{INSTANCES}/web-1/resume")
    assert (api.status, answer["error"]["errors"][0]["reason"]) == (409, "operationNotAllowed")


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        ("POST", "/web-2/stop"),
        ("DELETE", "/web-1"),
        ("POST", "/web-1/setDeletionProtection"),
        ("POST", ""),
    ],
)
def test_a_request_id_of_another_request_is_refused(
    verb: str, path: str, api: Program, project: Project, host: Host, vm: VM
) -> None:
    """Else the client would be told that it was done."""
    factories.make_vm(project, "web-2", State.RUNNING, host=host)
    request_id = "11111111-1111-4111-8111-111111111111"
    api("POST", f"{INSTANCES}/web-1/stop", requestId=request_id)
    answer = api(verb, f"{INSTANCES}{path}", None if path else body_of(), requestId=request_id)
    assert api.status == 409
    assert "stop of web-1" in answer["error"]["message"]
    assert VM.objects.get(name="web-2").state == State.RUNNING
    assert Operation.objects.count() == 1


@pytest.mark.parametrize("path", ["/web-1/stop", "/web-1/setTags", ""])
def test_nor_may_that_of_a_change_be_used_again(path: str, api: Program, host: Host, vm: VM) -> None:
    request_id = "11111111-1111-4111-8111-111111111111"
    api("POST", f"{INSTANCES}/web-1/setScheduling", {"automaticRestart": False}, requestId=request_id)
    body = {"": body_of(), "/web-1/stop": None}.get(path, {"items": []})
    answer = api("POST", f"{INSTANCES}{path}", body, requestId=request_id)
    assert api.status == 409
    assert "setScheduling of web-1" in answer["error"]["message"]


def test_the_same_request_id_is_the_same_operation(api: Program, host: Host, catalog: None) -> None:
    request_id = "11111111-1111-4111-8111-111111111111"
    first = api("POST", INSTANCES, body_of(), requestId=request_id)
    again = api("POST", INSTANCES, body_of(), requestId=request_id)
    assert first["name"] == again["name"]
    assert first["clientOperationId"] == request_id
    assert VM.objects.count() == Operation.objects.count() == 1
    for wrong in ("seven", "00000000-0000-0000-0000-000000000000"):
        api("POST", INSTANCES, body_of(), requestId=wrong)
        assert api.status == 400


def test_the_same_request_is_known_though_its_family_has_a_newer_image(api: Program, host: Host, catalog: None) -> None:
    request_id = "11111111-1111-4111-8111-111111111111"
    body = body_of(disks=disks(initializeParams={"sourceImage": "global/images/family/tiny"}))
    first = api("POST", INSTANCES, body, requestId=request_id)
    factories.make_image("tiny-2")
    again = api("POST", INSTANCES, dict(reversed(body.items())), requestId=request_id)
    assert (api.status, again["name"]) == (200, first["name"])
    assert VM.objects.get().image.name == "tiny"
    api("POST", INSTANCES, {**body, "deletionProtection": True}, requestId=request_id)
    assert api.status == 409


def test_a_vm_is_found_by_its_number(api: Program, vm: VM) -> None:
    number = api("GET", f"{INSTANCES}/web-1")["id"]
    assert api("GET", f"{INSTANCES}/{number}")["name"] == "web-1"


@pytest.mark.parametrize("who", ["owner", "operator", "viewer", "stranger"])
def test_everybody_gets_what_their_role_allows(
    who: str, program: Programs, vm: VM, project: Project, request: pytest.FixtureRequest
) -> None:
    user = request.getfixturevalue(who)
    if who == "stranger":
        asking = program(user, of=user.memberships.get().project)
        asking.project = project.slug
    else:
        asking = program(user)
    expected = {"owner": (200, 200, 200), "operator": (200, 200, 200), "viewer": (200, 200, 403)}
    statuses = []
    for verb, path in (("GET", INSTANCES), ("GET", f"{INSTANCES}/web-1"), ("POST", f"{INSTANCES}/web-1/suspend")):
        asking(verb, path)
        statuses.append(asking.status)
    assert tuple(statuses) == expected.get(who, (404, 404, 404))


def test_a_stranger_learns_nothing_from_the_answer(program: Programs, vm: VM, stranger: User) -> None:
    asking = program(stranger, of=stranger.memberships.get().project)
    there = asking("GET", "projects/lab/zones/zone-a/instances/web-1")
    nowhere = asking("GET", "projects/nowhere/zones/zone-a/instances/web-1")
    assert str(there).replace("lab", "nowhere") == str(nowhere)


def test_a_vm_of_another_zone_is_not_found_in_this_one(api: Program, vm: VM) -> None:
    factories.make_zone("zone-b")
    api("GET", "/zones/zone-b/instances/web-1")
    assert api.status == 404
    api("GET", "/zones/nowhere/instances/web-1")
    assert api.status == 404
