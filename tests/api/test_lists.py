"""Lists: pages, order, filters, fields; and how many queries a list of 500 VMs takes."""

import base64
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action
from lifecycle.models import VM, Host, Operation, Project, User
from tests import factories
from tests.api.conftest import INSTANCES, Program


@pytest.fixture
def vms(project: Project, host: Host, catalog: None) -> list[str]:
    """Five VMs; every other is stopped."""
    names = [f"web-{number}" for number in range(1, 6)]
    for number, name in enumerate(names):
        state = State.TERMINATED if number % 2 else State.RUNNING
        factories.make_vm(project, name, state, host=host, tags=["odd"] if number % 2 else [])
    return names


def names_of(answer: dict[str, Any]) -> list[str]:
    return [item["name"] for item in answer.get("items", [])]


@pytest.mark.parametrize("order", ["", "name", "creationTimestamp desc"])
def test_pages_follow_each_other_without_gap_or_repetition(order: str, api: Program, vms: list[str]) -> None:
    seen: list[str] = []
    token = ""
    for _page in range(3):
        query = {"maxResults": 2, **({"orderBy": order} if order else {}), **({"pageToken": token} if token else {})}
        answer = api("GET", INSTANCES, **query)
        seen += names_of(answer)
        token = answer.get("nextPageToken", "")
    assert token == ""
    assert seen == (vms[::-1] if "desc" in order else vms)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"maxResults": "501"}, "maxResults"),
        ({"maxResults": "-1"}, "maxResults"),
        ({"maxResults": "many"}, "maxResults"),
        ({"orderBy": "status"}, "orderBy"),
        ({"pageToken": "nonsense"}, "pageToken"),
        ({"pageToken": "WyJuYW1lIixbMSwyXV0="}, "pageToken"),
        ({"pageToken": base64.b64encode(b"[" * 3000).decode()}, "pageToken"),
        (
            {
                "orderBy": "creationTimestamp desc",
                "pageToken": base64.b64encode(
                    b'["creationTimestamp desc",["0001-01-01T00:00:00+14:00","11111111-1111-4111-8111-111111111111"]]'
                ).decode(),
            },
            "pageToken",
        ),
        ({"filter": "status"}, "filter"),
        ({"filter": "name eq (a+)+"}, "filter"),
        ({"filter": "name eq ((a{1,20}){1,20}){1,20}b"}, "filter"),
        ({"filter": "name eq " + "a{0,20}" * 20 + "b"}, "filter"),
        ({"filter": "name eq " + "a?" * 60 + "a" * 60}, "filter"),
        ({"filter": r"name eq (a|ab)(\1)*b"}, "filter"),
        ({"filter": "(status=RUNNING"}, "filter"),
        ({"filter": "NOT " * 200 + "status=RUNNING"}, "filter"),
        ({"fields": "items("}, "fields"),
    ],
)
def test_a_wrong_parameter_is_named(query: dict[str, str], field: str, api: Program, vms: list[str]) -> None:
    answer = api("GET", INSTANCES, **query)
    assert api.status == 400
    assert f"'{field}'" in answer["error"]["message"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("name=web-1", ["web-1"]),
        ('name = "web-*"', ["web-1", "web-2", "web-3", "web-4", "web-5"]),
        ("name:web-2", ["web-2"]),
        ("name != web-1", ["web-2", "web-3", "web-4", "web-5"]),
        ("status=RUNNING", ["web-1", "web-3", "web-5"]),
        ("status = RUNNING AND name=web-3", ["web-3"]),
        ("(status = TERMINATED) (name=web-4)", ["web-4"]),
        ("status=TERMINATED name=web-4 OR name=web-1", ["web-4"]),
        ("NOT status=RUNNING", ["web-2", "web-4"]),
        ("-status=RUNNING", ["web-2", "web-4"]),
        ("name eq web-[12]", ["web-1", "web-2"]),
        ('name eq "web-(1|3)"', ["web-1", "web-3"]),
        ("name ne web-.*", []),
        (r'(name eq ".*\bweb-2\b.*")', ["web-2"]),
        ("name eq web-([0-9]?[0-9]){1,3}", ["web-1", "web-2", "web-3", "web-4", "web-5"]),
        ("name eq [a-z]([-a-z0-9]{0,61}[a-z0-9])?", ["web-1", "web-2", "web-3", "web-4", "web-5"]),
        ('name eq "(web-1|db-.*)"', ["web-1"]),
        ("tags.items=odd", ["web-2", "web-4"]),
        ("tags.items:*", ["web-2", "web-4"]),
        ("scheduling.automaticRestart = true", ["web-1", "web-2", "web-3", "web-4", "web-5"]),
        ("scheduling.hostErrorTimeoutSeconds > 90", []),
        ("creationTimestamp > 2020-01-01T00:00:00Z", ["web-1", "web-2", "web-3", "web-4", "web-5"]),
        ("creationTimestamp > 2020-01-01", ["web-1", "web-2", "web-3", "web-4", "web-5"]),
        ("creationTimestamp > 0001-01-01T00:00:00+14:00", ["web-1", "web-2", "web-3", "web-4", "web-5"]),
        ("labels.env:*", []),
        ("nothing.of.the.kind = 1", []),
    ],
)
def test_filters(text: str, found: list[str], api: Program, vms: list[str]) -> None:
    assert names_of(api("GET", INSTANCES, filter=text)) == found


def test_a_filter_that_passes_many_still_fills_its_pages(api: Program, vms: list[str]) -> None:
    first = api("GET", INSTANCES, filter="status=TERMINATED", maxResults=1)
    second = api("GET", INSTANCES, filter="status=TERMINATED", maxResults=1, pageToken=first["nextPageToken"])
    assert names_of(first) + names_of(second) == ["web-2", "web-4"]
    assert "nextPageToken" not in second


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("2026-03-01T12:00:00Z", False),
        ("2026-03-01T11:59:59.999Z", True),
        ("2026-03-01T13:30:00+02:00", True),  # as text it would be later
        ("2026-03-01T10:30:00-02:00", False),
        ("2026-03-01", True),
        ("2026-03-02", False),
    ],
)
def test_times_are_compared_as_times(text: str, passes: bool, api: Program, vms: list[str]) -> None:
    VM.objects.filter(name="web-1").update(created_at=datetime(2026, 3, 1, 12, tzinfo=UTC))
    found = api("GET", INSTANCES, filter=f'name=web-1 AND creationTimestamp > "{text}"')
    assert names_of(found) == (["web-1"] if passes else [])


def test_a_filter_that_passes_many_asks_no_more_for_a_small_page(
    api: Program, project: Project, host: Host, vms: list[str]
) -> None:
    for number in range(10, 40):
        factories.make_vm(project, f"web-{number}", State.TERMINATED, host=host)

    def queries(most: int) -> int:
        with CaptureQueriesContext(connection) as captured:
            api("GET", INSTANCES, filter="tags.items=odd", maxResults=most)
        return len(captured)

    queries(1)  # writes the token's use
    assert queries(1) == queries(500)


@pytest.mark.parametrize("mask", ["items(name,status),kind", "items/name,items/status,kind"])
def test_fields_leave_out_the_rest(mask: str, api: Program, vms: list[str]) -> None:
    answer = api("GET", INSTANCES, fields=mask, maxResults=1)
    assert answer == {"kind": "compute#instanceList", "items": [{"name": "web-1", "status": "RUNNING"}]}
    assert api("GET", f"{INSTANCES}/web-1", fields="name") == {"name": "web-1"}


def test_an_empty_list_has_no_items(api: Program, catalog: None) -> None:
    assert "items" not in api("GET", INSTANCES)


def test_unknown_parameters_are_ignored(api: Program, vms: list[str]) -> None:
    api("GET", INSTANCES, **{"alt": "json", "prettyPrint": "false", "$.xgafv": "2", "sillyParameter": "1"})
    assert api.status == 200


def test_an_aggregated_list_names_every_zone(api: Program, vms: list[str]) -> None:
    factories.make_zone("zone-b")
    scopes = api("GET", "/aggregated/instances")["items"]
    assert names_of({"items": scopes["zones/zone-a"]["instances"]}) == vms
    assert scopes["zones/zone-b"]["warning"]["code"] == "NO_RESULTS_ON_PAGE"


def test_a_list_takes_as_many_queries_for_many_vms_as_for_one(
    api: Program, project: Project, host: Host, catalog: None
) -> None:
    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            api("GET", INSTANCES)
        return len(captured)

    factories.make_vm(project, "web-0", State.RUNNING, host=host)
    api("GET", INSTANCES)  # writes the token's use
    one = queries()
    for number in range(1, 500):
        factories.make_vm(project, f"web-{number}", State.TERMINATED, host=host)
    assert queries() == one <= 12
    with CaptureQueriesContext(connection) as captured:
        assert len(api("GET", INSTANCES)["items"]) == 500
    (rows,) = [query["sql"] for query in captured if '"lifecycle_vm"."name"' in query["sql"]]
    for not_shown in ('"lifecycle_host"', '"lifecycle_image"', '"lifecycle_vm"."notes"'):
        assert not_shown not in rows, "each VM's row is read with what a list shows of it"


def test_one_vm_takes_six_queries(api: Program, vms: list[str]) -> None:
    api("GET", f"{INSTANCES}/web-1")  # writes the token's use
    with CaptureQueriesContext(connection) as captured:
        assert api("GET", f"{INSTANCES}/web-1")["name"] == "web-1"
    assert len(captured) <= 6, [query["sql"][:100] for query in captured]


def test_what_others_have_is_in_no_list(api: Program, vms: list[str], stranger: User) -> None:
    elsewhere = stranger.memberships.get().project
    hidden = factories.make_vm(elsewhere, "hidden", State.RUNNING)
    factories.make_operation(hidden, Action.STOP)
    for path in (INSTANCES, "/aggregated/instances", "/zones/zone-a/operations", "/aggregated/operations",
                 "/zones/zone-a/disks", "/aggregated/disks"):  # fmt: skip
        assert "hidden" not in str(api("GET", path))


def test_operations_are_listed_and_filtered(api: Program, vms: list[str]) -> None:
    for name in ("web-1", "web-3"):
        api("POST", f"{INSTANCES}/{name}/stop")
    answer = api("GET", "/zones/zone-a/operations", filter="operationType=stop", orderBy="creationTimestamp desc")
    assert [item["targetLink"].rpartition("/")[2] for item in answer["items"]] == ["web-3", "web-1"]
    first = api("GET", "/zones/zone-a/operations", maxResults=1)
    second = api("GET", "/zones/zone-a/operations", maxResults=1, pageToken=first["nextPageToken"])
    assert {first["items"][0]["name"], second["items"][0]["name"]} == {
        f"operation-{pk}" for pk in Operation.objects.values_list("pk", flat=True)
    }
