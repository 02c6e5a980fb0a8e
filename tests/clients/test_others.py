"""google-api-python-client, Apache Libcloud, @google-cloud/compute of Node, and gcloud where it is installed."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Protocol

import pytest
from google.oauth2.credentials import Credentials
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError
from libcloud.compute.drivers.gce import GCEConnection, GCENodeDriver

from tests.clients.conftest import MACHINE_TYPE, PROJECT, ZONE, Target
from tests.e2e.test_story import ssh
from tests.stack import wait_until

pytestmark = [pytest.mark.guest, pytest.mark.slow]

AT: Any = {"project": PROJECT, "zone": ZONE}


def test_google_api_python_client(target: Target) -> None:
    compute = build(
        "compute",
        "v1",
        credentials=Credentials(target.token),
        client_options={"api_endpoint": f"{target.url}/compute/v1/"},
        static_discovery=True,
        cache_discovery=False,
    )
    assert compute.zones().list(project=PROJECT).execute()["items"][0]["name"] == ZONE
    part = compute.zones().list(project=PROJECT, fields="items/name,nextPageToken").execute()
    assert part == {"items": [{"name": ZONE}]}
    with pytest.raises(HttpError) as wrong:
        compute.zones().list(project=PROJECT, fields="items(name,colour)").execute()
    assert (wrong.value.status_code, wrong.value.error_details[0]["reason"]) == (400, "invalidParameter")
    body = {
        "name": "discovered",
        "machineType": f"zones/{ZONE}/machineTypes/custom-1-60000",
        "disks": [{"boot": True, "initializeParams": {"sourceImage": "global/images/family/tiny"}}],
        "description": None,
    }
    operation = compute.instances().insert(body=body, **AT).execute()

    def status() -> dict[str, Any]:
        return dict(compute.zoneOperations().wait(operation=operation["name"], **AT).execute())

    wait_until(lambda: status()["status"] == "DONE", 180, "the operation", every=0.5)
    assert status()["error"]["errors"][0]["code"] == "ZONE_RESOURCE_POOL_EXHAUSTED"
    with pytest.raises(HttpError) as refused:
        compute.instances().get(instance="discovered", **AT).execute()
    assert refused.value.status_code == 404
    request, names = compute.machineTypes().list(maxResults=1, orderBy="name", **AT), []
    while request is not None:
        page = request.execute()
        names += [item["name"] for item in page["items"]]
        request = compute.machineTypes().list_next(request, page)
    assert MACHINE_TYPE in names
    assert len(names) > 1
    assert names == sorted(names)
    answers: list[Any] = []
    batch = compute.new_batch_http_request(callback=lambda _id, answer, error: answers.append(answer or error))
    batch._batch_uri = f"{target.url}/batch/compute/v1"
    batch.add(compute.projects().get(project=PROJECT))
    batch.add(compute.instances().get(instance="nothing", **AT))
    batch.execute()
    assert answers[0]["name"] == PROJECT
    assert answers[1].status_code == 404


def test_libcloud_creates_lists_and_destroys(target: Target, tmp_path: Path) -> None:
    class Connection(GCEConnection):
        """Pointed at the installation."""

        host = "127.0.0.1"

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.port = target.stack.port

    class Driver(GCENodeDriver):
        """The driver with that connection."""

        connectionCls = Connection  # noqa: N815  # Libcloud's name

    kept = tmp_path / "token.json"
    kept.write_text(json.dumps({"access_token": target.token, "expire_time": "2099-01-01T00:00:00Z"}))
    driver = Driver(
        "admin", "-", project=PROJECT, datacenter=ZONE, auth_type="IA", credential_file=str(kept), secure=False
    )
    image = driver.list_images(PROJECT)[0]
    assert MACHINE_TYPE in {size.name for size in driver.list_sizes()}
    node = driver.create_node("libcloud-1", MACHINE_TYPE, image.name, external_ip=None)
    assert (node.name, node.state) == ("libcloud-1", "running")
    assert node.private_ips
    assert "libcloud-1" in {found.name for found in driver.list_nodes()}
    assert driver.destroy_node(node)
    assert "libcloud-1" not in {found.name for found in driver.list_nodes()}


def test_node_lists_waits_and_sees_refusals(target: Target, tmp_path: Path) -> None:
    script = tmp_path / "client.cjs"
    script.write_text(NODE)
    done = subprocess.run(
        ["node", str(script)],
        env={**os.environ, "NODE_PATH": os.environ["VMPORTAL_NODE_MODULES"], "TOKEN": target.token,
             "PORT": str(target.stack.port)},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "zones": [ZONE],
        "status": "DONE",
        "error": "ZONE_RESOURCE_POOL_EXHAUSTED",
        "paged": True,
        "quota": 403,
        "missing": 404,
    }


NODE = """
const compute = require('@google-cloud/compute');
const {GoogleAuth, OAuth2Client} = require('google-gax').googleAuthLibrary;
const client = new OAuth2Client();
client.setCredentials({access_token: process.env.TOKEN, expiry_date: Date.now() + 3600e3});
const options = {auth: new GoogleAuth({authClient: client}), apiEndpoint: '127.0.0.1', port: Number(process.env.PORT),
                 protocol: 'http', fallback: true};
const at = {project: 'default', zone: 'zone-a'};
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
(async () => {
  const [zones] = await new compute.ZonesClient(options).list({project: 'default'});
  const instances = new compute.InstancesClient(options), operations = new compute.ZoneOperationsClient(options);
  const [started] = await instances.insert({...at, instanceResource: {
    name: 'node-1', machineType: 'zones/zone-a/machineTypes/custom-1-60000',
    disks: [{boot: true, autoDelete: true, initializeParams: {sourceImage: 'global/images/family/tiny'}}]}});
  let operation = started.latestResponse;
  while (operation.status !== 'DONE') {
    await sleep(300);
    [operation] = await operations.wait({...at, operation: operation.name});
  }
  const kinds = [];
  for await (const kind of new compute.MachineTypesClient(options).listAsync({...at, maxResults: 1})) {
    kinds.push(kind.name);
  }
  let quota = 0, missing = 0;
  try {
    await instances.insert({...at, instanceResource: {
      name: 'many', machineType: 'zones/zone-a/machineTypes/custom-64-1024',
      disks: [{boot: true, initializeParams: {sourceImage: 'global/images/family/tiny'}}]}});
  } catch (error) { quota = error.code; }
  try { await instances.get({...at, instance: 'nothing'}); } catch (error) { missing = error.code; }
  console.log(JSON.stringify({zones: zones.map((zone) => zone.name), status: operation.status,
    error: operation.error.errors[0].code, paged: kinds.includes('tiny-1') && kinds.length > 1, quota, missing}));
})().catch((error) => { console.error(error); process.exit(1); });
"""


class Gcloud(Protocol):
    """`gcloud compute instances` with words; its output, or, where it is to fail, what it complains of."""

    def __call__(self, *words: str, ok: bool = True) -> str: ...


@pytest.fixture(scope="module")
def gcloud(target: Target) -> Gcloud:
    """gcloud with what `./portal gcloud` sets for it."""
    if shutil.which("gcloud") is None:
        pytest.skip("gcloud is not installed here: its part of the API is not tested")

    def run(*words: str, ok: bool = True) -> str:
        done = subprocess.run(
            ["gcloud", "compute", "instances", *words],
            env={
                **os.environ,
                "CLOUDSDK_CONFIG": str(target.token_file.parent / "gcloud"),
                "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(target.token_file),
                "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": f"{target.url}/compute/v1/",
                "CLOUDSDK_CORE_PROJECT": PROJECT,
                "CLOUDSDK_COMPUTE_ZONE": ZONE,
                "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
                "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1",
                "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "1",
            },
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert (done.returncode == 0) is ok, done.stderr
        return done.stdout if ok else done.stderr

    return run


def test_gcloud_as_the_readme_says_from_create_to_delete(gcloud: Gcloud, target: Target, tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    keys = f"ssh-keys=root:{key.with_suffix('.pub').read_text().strip()}"
    gcloud("create", "cloud-1", "--image-family=tiny", f"--machine-type={MACHINE_TYPE}", f"--metadata={keys}")
    assert "RUNNING" in gcloud("list")
    address = gcloud("describe", "cloud-1", "--format=value(networkInterfaces[0].networkIP)").strip()
    wait_until(lambda: "reached" in ssh(address, key, "echo reached > /run/mark; cat /run/mark"), 120, "ssh", every=1)
    gcloud("suspend", "cloud-1")
    assert "SUSPENDED" in gcloud("list", "--filter=name=cloud-1")
    gcloud("resume", "cloud-1")
    wait_until(lambda: "reached" in ssh(address, key, "cat /run/mark"), 120, "the guest with its memory", every=1)
    gcloud("add-labels", "cloud-1", "--labels=colour=red")
    described = json.loads(gcloud("describe", "cloud-1", "--format=json"))
    assert (described["status"], described["labels"]) == ("RUNNING", {"colour": "red"})
    gcloud("delete", "cloud-1")
    assert "cloud-1" not in gcloud("list")


def test_gcloud_shows_refusals_and_calls_many_at_once(gcloud: Gcloud) -> None:
    small = ["--image-family=tiny", f"--machine-type={MACHINE_TYPE}"]
    gcloud("create", "pair-1", "pair-2", *small)
    refused = gcloud("create", "pair-1", *small, ok=False)
    assert "already" in refused
    assert "not found" in gcloud("stop", "nothing", ok=False)
    gcloud("delete", "pair-1", "pair-2")
    assert "pair" not in gcloud("list")
