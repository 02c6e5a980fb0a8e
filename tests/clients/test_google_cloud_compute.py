"""google-cloud-compute: the whole life of a real VM, and every way it can be refused."""

import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import compute_v1
from google.oauth2.credentials import Credentials

from tests.clients.conftest import MACHINE_TYPE, PROJECT, ZONE, Target
from tests.e2e.test_story import ssh
from tests.stack import wait_until

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
    wait_until(lambda: "from-metadata" in ssh(address, key, "cat /run/started"), 150, "the startup script", every=2)

    def act(verb: Callable[..., Any], after: str) -> None:
        operation = google.done(verb(instance="life-1", **AT))
        assert (operation.http_error_status_code, google.status("life-1")) == (0, after)

    act(google.instances.suspend_unary, "SUSPENDED")
    act(google.instances.resume_unary, "RUNNING")
    assert "from-metadata" in ssh(address, key, "cat /run/started")  # the memory came back
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


def test_refusals_are_the_librarys_own_exceptions(google: Google, target: Target) -> None:
    with pytest.raises(exceptions.Forbidden, match="quota"):
        google.instances.insert_unary(instance_resource=instance("many", "custom-64-1024"), **AT)
    with pytest.raises(exceptions.BadRequest):
        google.instances.insert_unary(instance_resource=instance("Bad_Name"), **AT)
    with pytest.raises(exceptions.NotFound):
        google.instances.stop_unary(instance="nothing", **AT)
    with pytest.raises(exceptions.NotFound):
        google.instances.list(project="others", zone=ZONE)
    with pytest.raises(exceptions.Unauthorized):
        list(Google(target.url, "vmp_nonsense").instances.list(**AT))
    reading = Google(target.url, target.token_of("--read-only"))
    with pytest.raises(exceptions.Forbidden):
        reading.instances.delete_unary(instance="nothing", **AT)


def test_lists_pages_and_filters(google: Google) -> None:
    assert [zone for zone, _scoped in google.instances.aggregated_list(project=PROJECT)] == [f"zones/{ZONE}"]
    request = compute_v1.ListInstancesRequest(filter="status = RUNNING", max_results=1, **AT)
    assert all(item.status == "RUNNING" for item in google.instances.list(request=request))
    assert google.images.get_from_family(project=PROJECT, family="tiny").status == "READY"
    quotas = {quota.metric: quota.limit for quota in google.regions.get(project=PROJECT, region="zone").quotas}
    assert quotas["CPUS"] == 40
