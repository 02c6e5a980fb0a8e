"""What a VM can be made of, and where: zones, regions, machine types, images, disks, networks, the project."""

import pytest

from lifecycle.models import VM, Image, Project, User
from tests import factories
from tests.api import discovery
from tests.api.conftest import Program, Programs

#: Every address that only looks, with a name that exists.
LOOKS = [
    "",
    "/zones",
    "/zones/zone-a",
    "/regions",
    "/regions/zone",
    "/zones/zone-a/machineTypes",
    "/zones/zone-a/machineTypes/tiny-1",
    "/zones/zone-a/machineTypes/custom-2-512",
    "/aggregated/machineTypes",
    "/global/images",
    "/global/images/tiny",
    "/global/images/family/tiny",
    "/zones/zone-a/imageFamilyViews/tiny",
    "/zones/zone-a/disks",
    "/zones/zone-a/disks/web-1",
    "/aggregated/disks",
    "/zones/zone-a/diskTypes",
    "/zones/zone-a/diskTypes/pd-standard",
    "/aggregated/diskTypes",
    "/global/networks",
    "/global/networks/default",
    "/regions/zone/subnetworks",
    "/regions/zone/subnetworks/default",
    "/aggregated/subnetworks",
    "/global/firewalls",
    "/global/firewalls/default-allow-internal",
    "/global/snapshots",
]


@pytest.mark.parametrize("path", LOOKS)
def test_every_answer_fits_googles_own_description(path: str, api: Program, vm: VM) -> None:
    api("GET", path)
    assert api.status == 200


@pytest.mark.parametrize("path", LOOKS)
def test_a_viewer_looks_and_a_stranger_finds_nothing(
    path: str, program: Programs, viewer: User, stranger: User, vm: VM
) -> None:
    looking = program(viewer, may_write=False)
    looking("GET", path)
    assert looking.status == 200
    lost = program(stranger, of=stranger.memberships.get().project)
    lost.project = "lab"
    lost("GET", path)
    assert lost.status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/zones/nowhere",
        "/regions/nowhere",
        "/zones/zone-a/machineTypes/huge-9",
        "/global/images/nothing",
        "/global/images/family/nothing",
        "/zones/zone-a/imageFamilyViews/nothing",
        "/zones/nowhere/imageFamilyViews/tiny",
        "/zones/zone-a/disks/nothing",
        "/zones/zone-a/diskTypes/pd-ssd",
        "/global/networks/nothing",
        "/regions/zone/subnetworks/nothing",
        "/global/firewalls/nothing",
        "/zones/zone-a%00/disks",
        "/global/images/%00",
    ],
)
def test_what_is_not_there_is_not_found(path: str, api: Program, vm: VM) -> None:
    api("GET", path)
    assert api.status == 404


def test_the_quotas_say_what_is_used(api: Program, vm: VM) -> None:
    quotas = {quota["metric"]: quota["usage"] for quota in api("GET", "/regions/zone")["quotas"]}
    assert quotas == {"INSTANCES": 1.0, "CPUS": 1.0, "DISKS_TOTAL_GB": 1.0}
    assert api("GET", "")["quotas"] == api("GET", "/regions/zone")["quotas"]


def test_the_newest_ready_image_stands_for_its_family(api: Program, catalog: None) -> None:
    factories.make_image("tiny-2")
    factories.make_image("tiny-3", status=Image.Status.FAILED)
    factories.make_image("tiny-4", status=Image.Status.DEPRECATED)
    assert api("GET", "/global/images/family/tiny")["name"] == "tiny-2"
    assert api("GET", "/global/images/tiny-4")["deprecated"] == {"state": "DEPRECATED"}


def test_a_custom_machine_type_has_its_shape_and_its_limits(api: Program, catalog: None) -> None:
    shape = api("GET", "/zones/zone-a/machineTypes/custom-2-512")
    assert (shape["guestCpus"], shape["memoryMb"]) == (2, 512)
    api("GET", "/zones/zone-a/machineTypes/custom-900-512")
    assert api.status == 400


@pytest.mark.parametrize("path", ["/global/snapshots", "/zones/zone-a/disks/web-1/createSnapshot"])
def test_there_are_no_snapshots_and_none_is_made(path: str, api: Program, vm: VM) -> None:
    assert "items" not in api("GET", "/global/snapshots")
    api("GET", "/global/snapshots/before")
    assert api.status == 404
    answer = api("POST", path, {"name": "before"})
    assert (api.status, answer["error"]["errors"][0]["reason"]) == (400, "unsupportedOperation")


def test_a_project_is_found_by_its_number(api: Program, project: Project, vm: VM) -> None:
    assert api("GET", f"projects/{project.pk}/zones/zone-a")["name"] == "zone-a"


def test_the_discovery_document_finds_what_is_wrong() -> None:
    schema = {"$ref": "Instance"}
    good = {"id": "1", "name": "web-1", "status": "RUNNING", "labelFingerprint": "AAAAAAAAAAA="}
    assert discovery.violations(good, schema) == []
    wrong: list[dict[str, object]] = [
        {"id": 1},
        {"id": "x"},
        {"status": "ASLEEP"},
        {"colour": "red"},
        {"name": "-"},
        {"disks": {}},
        {"canIpForward": "no"},
        {"labelFingerprint": "***="},
    ]
    for bad in wrong:
        assert discovery.violations({**good, **bad}, schema)


def test_a_types_of_each_zone_are_filtered_by_it(api: Program, vm: VM) -> None:
    factories.make_zone("zone-b")
    scopes = api("GET", "/aggregated/machineTypes", filter="zone=zone-b AND name=tiny-1")["items"]
    assert [item["zone"] for item in scopes["zones/zone-b"]["machineTypes"]] == ["zone-b"]
    assert "machineTypes" not in scopes["zones/zone-a"]


def test_an_image_called_as_one_for_everybody_is_on_a_page_of_its_own(api: Program, project: Project, vm: VM) -> None:
    own = factories.make_image("tiny", project=project)
    first = api("GET", "/global/images", maxResults=1)
    second = api("GET", "/global/images", maxResults=1, pageToken=first["nextPageToken"])
    everybodys = Image.objects.get(name="tiny", project=None)
    assert {first["items"][0]["id"], second["items"][0]["id"]} == {str(own.pk), str(everybodys.pk)}
    assert api("GET", "/global/images/tiny")["id"] == str(own.pk)


@pytest.mark.parametrize("path", ["/global/images", "/zones/zone-a/machineTypes", "/zones/zone-a/disks"])
def test_a_number_stands_for_what_has_it(path: str, api: Program, vm: VM) -> None:
    first = api("GET", path)["items"][0]
    assert api("GET", f"{path}/{first['id']}")["name"] == first["name"]
    api("GET", f"{path}/{'9' * 18}")
    assert api.status == 404


def test_the_number_of_anothers_image_is_not_found(api: Program, vm: VM) -> None:
    theirs = factories.make_image("theirs", project=factories.make_project())
    api("GET", f"/global/images/{theirs.pk}")
    assert api.status == 404


def test_images_of_another_project_are_neither_listed_nor_found(api: Program, project: Project, vm: VM) -> None:
    factories.make_image("ours", project=project)
    factories.make_image("theirs", project=factories.make_project(), family="theirs")
    names = {item["name"] for item in api("GET", "/global/images")["items"]}
    assert {"ours", "tiny"} <= names
    assert "theirs" not in names
    for path in ("/global/images/theirs", "/global/images/family/theirs"):
        api("GET", path)
        assert api.status == 404
    api("GET", "/global/images/ours")
    assert api.status == 200
