"""Settings of a VM: changed at once, by fingerprint where two may meet, each with an operation that is DONE."""

import pytest

from lifecycle.domain.states import State
from lifecycle.models import VM, Change, Disk, Host, Project, Quota, SerialLog, User
from lifecycle.services import vm_changes
from tests import factories
from tests.api.conftest import INSTANCES, Program, Programs

VM_PATH = f"{INSTANCES}/web-1"
METADATA_MOVED = "Supplied fingerprint does not match current metadata fingerprint."


@pytest.fixture
def stopped(project: Project, host: Host, catalog: None) -> VM:
    """`web-1`, TERMINATED."""
    return factories.make_vm(project, "web-1", State.TERMINATED, host=host)


def test_metadata_is_replaced_and_reaches_the_seeds_fields(api: Program, vm: VM) -> None:
    seen = api("GET", VM_PATH)["metadata"]["fingerprint"]
    items = [{"key": "ssh-keys", "value": f"me:{factories.SSH_KEY}"}, {"key": "startup-script", "value": "#!/bin/sh\n"}]
    operation = api("POST", f"{VM_PATH}/setMetadata", {"fingerprint": seen, "items": items})
    assert (operation["status"], operation["operationType"]) == ("DONE", "setMetadata")
    changed = VM.objects.get()
    assert (changed.ssh_keys, changed.startup_script) == (factories.SSH_KEY, "#!/bin/sh\n")
    assert api("GET", VM_PATH)["metadata"]["items"] == items
    assert api("GET", f"/zones/zone-a/operations/{operation['name']}") == operation
    assert api("POST", f"/zones/zone-a/operations/{operation['name']}/wait")["status"] == "DONE"


def test_who_was_slower_is_told_so_in_compute_engines_words(api: Program, vm: VM) -> None:
    seen = api("GET", VM_PATH)["metadata"]["fingerprint"]
    api("POST", f"{VM_PATH}/setMetadata", {"fingerprint": seen, "items": [{"key": "a", "value": "1"}]})
    for fingerprint in (seen, ""):
        answer = api("POST", f"{VM_PATH}/setMetadata", {"fingerprint": fingerprint, "items": []})
        assert (api.status, answer["error"]["message"]) == (412, METADATA_MOVED)
        assert answer["error"]["errors"][0]["reason"] == "conditionNotMet"
    api("POST", f"{VM_PATH}/setTags", {"fingerprint": "AAAAAAAAAAA=", "items": ["web"]})
    assert api.status == 412


def test_a_page_that_changes_the_keys_wins_over_older_metadata(api: Program, vm: VM) -> None:
    seen = api("GET", VM_PATH)["metadata"]["fingerprint"]
    items = [{"key": "ssh-keys", "value": f"me:{factories.SSH_KEY}"}]
    api("POST", f"{VM_PATH}/setMetadata", {"fingerprint": seen, "items": items})
    VM.objects.update(ssh_keys="")
    assert "items" not in api("GET", VM_PATH)["metadata"]


@pytest.mark.parametrize("value", ["not a key", "-----BEGIN OPENSSH PRIVATE KEY-----"])
def test_metadata_that_would_not_work_is_refused(value: str, api: Program, vm: VM) -> None:
    seen = api("GET", VM_PATH)["metadata"]["fingerprint"]
    api("POST", f"{VM_PATH}/setMetadata", {"fingerprint": seen, "items": [{"key": "ssh-keys", "value": value}]})
    assert api.status == 400
    assert not Change.objects.exists()


def test_tags_are_replaced(api: Program, vm: VM) -> None:
    seen = api("GET", VM_PATH)["tags"]["fingerprint"]
    api("POST", f"{VM_PATH}/setTags", {"fingerprint": seen, "items": ["web", "db", "web"]})
    assert api("GET", VM_PATH)["tags"]["items"] == ["db", "web"]


def test_labels_are_replaced_and_found_by_filters(api: Program, vm: VM) -> None:
    seen = api("GET", VM_PATH)["labelFingerprint"]
    api("POST", f"{VM_PATH}/setLabels", {"labelFingerprint": seen, "labels": {"env": "prod"}})
    assert api("GET", VM_PATH)["labels"] == {"env": "prod"}
    assert len(api("GET", INSTANCES, filter="labels.env=prod")["items"]) == 1
    api("POST", f"{VM_PATH}/setLabels", {"labelFingerprint": seen, "labels": {}})
    assert api.status == 412
    again = api("GET", VM_PATH)["labelFingerprint"]
    for labels in ({"Env": "prod"}, {"env": 7}, ["env"]):
        api("POST", f"{VM_PATH}/setLabels", {"labelFingerprint": again, "labels": labels})
        assert api.status == 400


def test_a_terminated_vm_gets_another_size(api: Program, stopped: VM) -> None:
    operation = api("POST", f"{VM_PATH}/setMachineType", {"machineType": "zones/zone-a/machineTypes/custom-2-512"})
    assert operation["operationType"] == "setMachineType"
    changed = VM.objects.get()
    assert (changed.vcpus, changed.memory_mib, changed.machine_type.name) == (2, 512, "custom-2-512")
    assert changed.awaits_its_size


@pytest.mark.parametrize(
    ("machine_type", "status"), [("custom-2-512", 403), ("nothing", 400), ("custom-1-10", 400), (None, 400)]
)
def test_a_size_that_cannot_be_is_refused(machine_type: str | None, status: int, api: Program, stopped: VM) -> None:
    Quota.objects.update(vcpus=1)
    api("POST", f"{VM_PATH}/setMachineType", {"machineType": machine_type})
    assert api.status == status
    assert VM.objects.get().vcpus == 1


def test_a_running_or_adopted_vm_keeps_its_size(api: Program, vm: VM) -> None:
    api("POST", f"{VM_PATH}/setMachineType", {"machineType": "custom-2-512"})
    assert api.status == 409
    VM.objects.update(state=State.TERMINATED, adopted=True)
    api("POST", f"{VM_PATH}/setMachineType", {"machineType": "custom-2-512"})
    assert api.status == 409


def test_scheduling_changes_what_it_names(api: Program, vm: VM) -> None:
    api("POST", f"{VM_PATH}/setScheduling", {"automaticRestart": False})
    api("POST", f"{VM_PATH}/setScheduling", {"hostErrorTimeoutSeconds": 120})
    scheduling = api("GET", VM_PATH)["scheduling"]
    assert (scheduling["automaticRestart"], scheduling["hostErrorTimeoutSeconds"]) == (False, 120)
    api("POST", f"{VM_PATH}/setScheduling", {})
    assert api("GET", VM_PATH)["scheduling"] == scheduling
    for body in ({"hostErrorTimeoutSeconds": 91}, {"onHostMaintenance": "TERMINATE"}, {"preemptible": True}):
        api("POST", f"{VM_PATH}/setScheduling", body)
        assert api.status == 400


def test_a_policy_that_is_not_named_stays_though_another_changed_it_meanwhile(vm: VM, owner: User) -> None:
    VM.objects.update(automatic_restart=False)  # after `vm` was read
    vm_changes.set_scheduling(vm, host_error_timeout_seconds=120, user=owner)
    row = VM.objects.get()
    assert (row.automatic_restart, row.host_error_timeout_seconds) == (False, 120)


def test_protection_is_switched_and_refuses_the_delete(api: Program, vm: VM) -> None:
    api("POST", f"{VM_PATH}/setDeletionProtection", deletionProtection="true")
    assert api("GET", VM_PATH)["deletionProtection"] is True
    api("DELETE", VM_PATH)
    assert api.status == 409
    api("POST", f"{VM_PATH}/setDeletionProtection", deletionProtection="false")
    api("DELETE", VM_PATH)
    assert api.status == 200


def test_a_disk_is_kept_when_told_so(api: Program, vm: VM) -> None:
    device = api("GET", VM_PATH)["disks"][0]["deviceName"]
    api("POST", f"{VM_PATH}/setDiskAutoDelete", autoDelete="false", deviceName=device)
    assert not Disk.objects.get().auto_delete
    for query in ({"autoDelete": "false", "deviceName": "other"}, {"deviceName": device}):
        api("POST", f"{VM_PATH}/setDiskAutoDelete", **query)
        assert api.status == 400


def test_serial_output_goes_on_where_the_client_stopped(api: Program, vm: VM) -> None:
    assert api("GET", f"{VM_PATH}/serialPort")["contents"] == ""
    SerialLog.objects.create(vm=vm, text="é-end", read_bytes=106)
    whole = api("GET", f"{VM_PATH}/serialPort")
    assert (whole["contents"], whole["start"], whole["next"]) == ("é-end", "100", "106")
    rest = api("GET", f"{VM_PATH}/serialPort", start="103")
    assert (rest["contents"], rest["start"], rest["next"]) == ("end", "103", "106")
    assert api("GET", f"{VM_PATH}/serialPort", start="106")["contents"] == ""
    last = api("GET", f"{VM_PATH}/serialPort", start="-3")
    assert (last["contents"], last["start"], last["next"]) == ("end", "103", "106")
    assert api("GET", f"{VM_PATH}/serialPort", start="-900") == whole
    for start in ("--3", "3.5", "all", "1" * 30):
        api("GET", f"{VM_PATH}/serialPort", start=start)
        assert api.status == 400
    api("GET", f"{VM_PATH}/serialPort", port="2")
    assert api.status == 400


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        ("PATCH", "updateShieldedInstanceConfig"),
        ("POST", "simulateMaintenanceEvent"),
        ("POST", "attachDisk"),
        ("POST", "detachDisk"),
    ],
)
def test_what_the_product_has_not_is_refused_with_the_reason(verb: str, path: str, api: Program, vm: VM) -> None:
    answer = api(verb, f"{VM_PATH}/{path}", {} if verb == "PATCH" or path == "attachDisk" else None)
    assert (api.status, answer["error"]["errors"][0]["reason"]) == (400, "unsupportedOperation")


def test_the_same_request_changes_nothing_twice(api: Program, vm: VM) -> None:
    request_id = "11111111-1111-4111-8111-111111111111"
    first = api("POST", f"{VM_PATH}/setScheduling", {"automaticRestart": False}, requestId=request_id)
    VM.objects.update(automatic_restart=True)
    again = api("POST", f"{VM_PATH}/setScheduling", {"automaticRestart": False}, requestId=request_id)
    assert again == first
    assert VM.objects.get().automatic_restart


def test_changes_stand_among_the_operations(api: Program, vm: VM) -> None:
    api("POST", f"{VM_PATH}/setScheduling", {"automaticRestart": False})
    api("POST", f"{VM_PATH}/stop")
    api("POST", f"{VM_PATH}/setScheduling", {"automaticRestart": True})
    kinds, token = [], ""
    for _page in range(3):
        query = {"maxResults": 1, "orderBy": "creationTimestamp desc", **({"pageToken": token} if token else {})}
        answer = api("GET", "/zones/zone-a/operations", **query)
        kinds.append(answer["items"][0]["operationType"])
        token = answer.get("nextPageToken", "")
    assert kinds == ["setScheduling", "stop", "setScheduling"]
    assert token == ""
    assert len(api("GET", "/aggregated/operations")["items"]["zones/zone-a"]["operations"]) == 3


@pytest.mark.parametrize(
    ("path", "body", "query"),
    [
        ("setMetadata", {"items": []}, {}),
        ("setTags", {"items": []}, {}),
        ("setLabels", {"labels": {}}, {}),
        ("setScheduling", {}, {}),
        ("setDeletionProtection", None, {}),
        ("setDiskAutoDelete", None, {"autoDelete": "true", "deviceName": "boot"}),
        ("setMachineType", {"machineType": "tiny-1"}, {}),
    ],
)
def test_a_viewer_changes_nothing_and_a_stranger_finds_nothing(
    path: str, body: dict[str, object] | None, query: dict[str, str],
    program: Programs, viewer: User, stranger: User, vm: VM,
) -> None:  # fmt: skip
    looking = program(viewer)
    looking("POST", f"{VM_PATH}/{path}", body, **query)
    assert looking.status == 403
    lost = program(stranger, of=stranger.memberships.get().project)
    lost.project = "lab"
    lost("POST", f"{VM_PATH}/{path}", body, **query)
    assert lost.status == 404
    assert not Change.objects.exists()
