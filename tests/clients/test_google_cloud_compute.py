"""google-cloud-compute: the whole life of a real VM, and every way it can be refused."""

import re
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from google.api_core import exceptions
from google.auth.exceptions import RefreshError
from google.cloud import compute_v1
from google.oauth2.credentials import Credentials

from tests.clients.conftest import CALLS_PER_MINUTE, MACHINE_TYPE, PROJECT, ZONE, Target
from tests.e2e.test_story import ssh
from tests.stack import CHECKOUT, wait_until

pytestmark = [pytest.mark.guest, pytest.mark.slow]

AT: Any = {"project": PROJECT, "zone": ZONE}


class Google:
    """The clients of one token, all of them pointed at the installation: the operations', too."""

    def __init__(self, url: str, token: str) -> None:
        options: Any = {"credentials": Credentials(token), "client_options": {"api_endpoint": url}}
        self.instances = compute_v1.InstancesClient(**options)
        self.operations = compute_v1.ZoneOperationsClient(**options)
        self.images = compute_v1.ImagesClient(**options)
        self.regions = compute_v1.RegionsClient(**options)

    def done(self, operation: Any) -> Any:
        """The operation when it is over."""
        name = operation.name
        for _try in range(240):
            found = self.operations.wait(operation=name, **AT)
            if found.status == compute_v1.Operation.Status.DONE:
                return found
            time.sleep(0.5)
        raise TimeoutError(name)

    def status(self, name: str) -> str:
        """The VM's state."""
        return str(self.instances.get(instance=name, **AT).status)


@pytest.fixture(scope="module")
def google(target: Target) -> Google:
    """The administrator's clients."""
    return Google(target.url, target.token)


def instance(name: str, machine_type: str = MACHINE_TYPE, **more: Any) -> compute_v1.Instance:
    """A VM from the tiny image."""
    disk = compute_v1.AttachedDisk(boot=True, auto_delete=True)
    disk.initialize_params.source_image = f"projects/{PROJECT}/global/images/family/tiny"
    return compute_v1.Instance(
        name=name,
        machine_type=f"zones/{ZONE}/machineTypes/{machine_type}",
        disks=[disk],
        network_interfaces=[compute_v1.NetworkInterface(network="global/networks/default")],
        **more,
    )


def test_the_whole_life_of_a_vm(google: Google, target: Target, tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    keys = compute_v1.Items(key="ssh-keys", value=f"root:{key.with_suffix('.pub').read_text().strip()}")
    script = compute_v1.Items(key="startup-script", value="#!/bin/sh\necho from-metadata > /run/started\n")
    asked = instance("life-1", metadata=compute_v1.Metadata(items=[keys, script]))
    request = compute_v1.InsertInstanceRequest(instance_resource=asked, request_id=str(uuid.uuid4()), **AT)
    first = google.instances.insert_unary(request=request)
    again = google.instances.insert_unary(request=request)
    assert first.name == again.name
    assert not google.done(first).http_error_status_code
    made = google.instances.get(instance="life-1", **AT)
    assert made.status == "RUNNING"
    address = made.network_interfaces[0].network_i_p
    wait_until(lambda: "from-metadata" in ssh(address, key, "cat /run/started"), 120, "the startup script", every=1)

    def act(verb: Callable[..., Any], after: str) -> None:
        operation = google.done(verb(instance="life-1", **AT))
        assert (operation.http_error_status_code, google.status("life-1")) == (0, after)

    act(google.instances.suspend_unary, "SUSPENDED")
    act(google.instances.resume_unary, "RUNNING")
    # /run is memory: it came back.
    wait_until(lambda: "from-metadata" in ssh(address, key, "cat /run/started"), 120, "the resumed guest", every=1)
    act(google.instances.reset_unary, "RUNNING")
    act(google.instances.stop_unary, "TERMINATED")
    resize = compute_v1.InstancesSetMachineTypeRequest(machine_type=f"zones/{ZONE}/machineTypes/custom-1-160")
    google.done(
        google.instances.set_machine_type_unary(
            instance="life-1", instances_set_machine_type_request_resource=resize, **AT
        )
    )
    act(google.instances.start_unary, "RUNNING")
    assert google.instances.get(instance="life-1", **AT).machine_type.endswith("/custom-1-160")
    google.done(google.instances.delete_unary(instance="life-1", **AT))
    with pytest.raises(exceptions.NotFound):
        google.instances.get(instance="life-1", **AT)


def test_an_operation_that_fails_is_seen_as_failed(google: Google) -> None:
    wanted = instance("too-large", "custom-1-60000")  # within the quota, and more than the machine has
    operation = google.done(google.instances.insert_unary(instance_resource=wanted, **AT))
    assert operation.http_error_status_code == 503
    error = operation.error.errors[0]
    assert error.code == "ZONE_RESOURCE_POOL_EXHAUSTED"
    assert "MiB of memory wanted" in error.message
    with pytest.raises(exceptions.NotFound):
        google.instances.get(instance="too-large", **AT)


@pytest.fixture(scope="module")
def three(google: Google) -> Iterator[list[str]]:
    """Three VMs that run, and are deleted in the end."""
    names = ["list-1", "list-2", "list-3"]
    asked = [
        google.instances.insert_unary(instance_resource=instance(name, labels={"kept": name}), **AT) for name in names
    ]
    assert [google.done(operation).http_error_status_code for operation in asked] == [0, 0, 0]
    yield names
    for operation in [google.instances.delete_unary(instance=name, **AT) for name in names]:
        google.done(operation)


def test_refusals_are_the_librarys_own_exceptions(google: Google, target: Target) -> None:
    with pytest.raises(exceptions.Forbidden) as quota:
        google.instances.insert_unary(instance_resource=instance("many", "custom-64-1024"), **AT)
    assert quota.value.errors[0]["reason"] == "quotaExceeded"
    assert "CPUS" in str(quota.value.details)
    with pytest.raises(exceptions.BadRequest, match="name"):
        google.instances.insert_unary(instance_resource=instance("Bad_Name"), **AT)
    with pytest.raises(exceptions.NotFound):
        google.instances.stop_unary(instance="nothing", **AT)
    with pytest.raises(exceptions.NotFound):
        google.instances.list(project="others", zone=ZONE)
    with pytest.raises(exceptions.NotFound):
        google.operations.get(operation="operation-nothing", **AT)


def test_a_token_that_is_none_and_one_that_only_reads(google: Google, target: Target) -> None:
    with pytest.raises(RefreshError):  # how google-auth takes a 401: it would fetch a new token, and has no way to
        Google(target.url, "vmp_nonsense").instances.list(**AT)
    answer = requests.get(
        f"{target.url}/compute/v1/projects/{PROJECT}/zones",
        headers={"Authorization": "Bearer vmp_nonsense"},
        timeout=30,
    )
    assert answer.status_code == 401
    assert answer.json()["error"]["errors"][0]["reason"] == "authError"
    reading = Google(target.url, target.token_of("--read-only"))
    assert [item.name for item in reading.images.list(project=PROJECT)] == ["tiny"]
    with pytest.raises(exceptions.Forbidden, match="may only read"):
        reading.instances.delete_unary(instance="nothing", **AT)


def test_a_name_that_is_taken_and_a_state_that_does_not_fit_are_conflicts(google: Google, three: list[str]) -> None:
    with pytest.raises(exceptions.Conflict) as taken:
        google.instances.insert_unary(instance_resource=instance(three[0]), **AT)
    assert taken.value.errors[0]["reason"] == "alreadyExists"
    with pytest.raises(exceptions.Conflict):
        google.instances.resume_unary(instance=three[0], **AT)
    assert google.status(three[0]) == "RUNNING"


def test_an_old_fingerprint_is_refused_and_the_new_one_taken(google: Google, three: list[str]) -> None:
    before = google.instances.get(instance=three[0], **AT).metadata

    def set_colour(colour: str, fingerprint: str) -> Any:
        wanted = compute_v1.Metadata(fingerprint=fingerprint, items=[compute_v1.Items(key="colour", value=colour)])
        return google.instances.set_metadata_unary(instance=three[0], metadata_resource=wanted, **AT)

    assert not google.done(set_colour("red", before.fingerprint)).http_error_status_code
    with pytest.raises(exceptions.PreconditionFailed) as refused:
        set_colour("blue", before.fingerprint)
    assert refused.value.message.endswith("Supplied fingerprint does not match current metadata fingerprint.")
    kept = google.instances.get(instance=three[0], **AT).metadata
    assert [(item.key, item.value) for item in kept.items] == [("colour", "red")]


def test_the_same_request_twice_is_one_operation(google: Google, three: list[str]) -> None:
    labels = compute_v1.InstancesSetLabelsRequest(
        labels={"kept": three[1], "again": "no"},
        label_fingerprint=google.instances.get(instance=three[1], **AT).label_fingerprint,
    )
    request = compute_v1.SetLabelsInstanceRequest(
        instance=three[1], instances_set_labels_request_resource=labels, request_id=str(uuid.uuid4()), **AT
    )
    first, again = (
        google.instances.set_labels_unary(request=request),
        google.instances.set_labels_unary(request=request),
    )
    assert first.name == again.name  # though the fingerprint has changed meanwhile
    found = [operation.name for operation in google.operations.list(**AT) if operation.name == first.name]
    assert found == [first.name]


def test_lists_come_in_pages_filtered_and_ordered(google: Google, three: list[str]) -> None:
    def names(**query: Any) -> list[str]:
        request = compute_v1.ListInstancesRequest(**query, **AT)
        return [item.name for item in google.instances.list(request=request)]

    pages = list(google.instances.list(request=compute_v1.ListInstancesRequest(max_results=2, **AT)).pages)
    assert [[item.name for item in page.items] for page in pages] == [three[:2], three[2:]]
    assert names(max_results=1) == three
    assert names(order_by="creationTimestamp desc") == three[::-1]
    assert names(filter=f'name = "{three[1]}" AND status = RUNNING') == [three[1]]
    assert names(filter="name eq list-[13]") == [three[0], three[2]]
    assert names(filter=f"labels.kept = {three[2]}") == [three[2]]
    assert names(filter="status = SUSPENDED") == []
    with pytest.raises(exceptions.BadRequest):
        names(filter="status = (")
    with pytest.raises(exceptions.BadRequest):
        names(page_token="nonsense")


def test_what_is_over_the_whole_project_and_its_quotas(google: Google, three: list[str]) -> None:
    scoped = dict(google.instances.aggregated_list(project=PROJECT))
    assert [item.name for item in scoped[f"zones/{ZONE}"].instances] == three
    assert google.images.get_from_family(project=PROJECT, family="tiny").status == "READY"
    quotas = {quota.metric: quota for quota in google.regions.get(project=PROJECT, region="zone").quotas}
    assert quotas["CPUS"].limit == 40
    assert (quotas["CPUS"].usage, quotas["INSTANCES"].usage) == (3, 3)


def test_the_lines_of_the_readme_stop_a_vm(google: Google, target: Target, three: list[str]) -> None:
    text = (CHECKOUT / "README.md").read_text()
    (lines,) = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "compute_v1" in block]
    lines = lines.replace("http://127.0.0.1:8000", target.url).replace('"web-1"', f'"{three[2]}"')
    folder = target.token_file.parent  # where the file `token` is
    subprocess.run([sys.executable, "-c", lines], cwd=folder, check=True, timeout=400)
    assert google.status(three[2]) == "TERMINATED"


def test_who_asks_too_often_is_told_when_to_come_back(target: Target) -> None:
    hasty = Google(target.url, target.token_of("--read-only"))

    def ask_until_refused() -> None:
        for _call in range(2 * CALLS_PER_MINUTE + 1):  # a minute may end between them
            hasty.operations.list(**AT)

    with pytest.raises(exceptions.TooManyRequests) as refused:
        ask_until_refused()
    assert 0 < int(refused.value.response.headers["Retry-After"]) <= 60
