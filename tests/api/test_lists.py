"""Lists: pages, order, filters, fields; and how many queries a list of 500 VMs takes."""

import base64
import re
from datetime import UTC, datetime
from typing import Any

import hypothesis
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import strategies as st

from lifecycle.api import filters
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


TERMS = st.sampled_from(
    [
        "name=web-1", "name=web-2", "name=WEB-1", 'name="web-*"', "name=nothing", "name!=web-1", "name:web-3",
        "-name=web-1",
        "name eq web-4", "name eq web-.", "name ne web-4", "status=RUNNING", "status=TERMINATED", "status=running",
        "status eq TERMINATED", "status!=RUNNING", "tags.items=odd", "zone:zone-a", "name>web-2", "name=true",
    ]
)  # fmt: skip
FILTERS = st.recursive(
    TERMS,
    lambda inner: st.one_of(
        st.builds("{} AND {}".format, inner, inner),
        st.builds("({}) ({})".format, inner, inner),
        st.builds("{} OR {}".format, inner, inner),
        st.builds("({} OR {})".format, inner, inner),
        st.builds("NOT ({})".format, inner),
    ),
    max_leaves=5,
)


def test_what_the_database_looks_up_is_what_a_filter_lets_through(api: Program, vms: list[str]) -> None:
    """Whatever the filter: the same as when every VM is looked at, on a whole page and on small ones."""
    everything = api("GET", INSTANCES)["items"]

    @hypothesis.settings(max_examples=50, deadline=None, database=None)
    @hypothesis.given(FILTERS)
    def run(text: str) -> None:
        passes = filters.parse(text).passes
        plain = [item["name"] for item in everything if passes(item)]
        assert names_of(api("GET", INSTANCES, filter=text)) == plain
        first = api("GET", INSTANCES, filter=text, maxResults=2)
        assert names_of(first) == plain[:2]
        assert ("nextPageToken" in first) is (len(plain) > 2)

    run()


@pytest.mark.parametrize(
    ("text", "looked_up"),
    [
        ("name=web-3", ["\"name\" = 'web-3'"]),
        ("name eq web-3", ["\"name\" = 'web-3'"]),
        ("(status=TERMINATED) (name=web-4)", ["\"name\" = 'web-4'", "\"state\" = 'TERMINATED'"]),
        ("name=web-3 OR name=web-4", []),
        ("NOT name=web-3", []),
        ("name=web-*", []),
    ],
)
def test_the_database_is_asked_for_what_may_pass_alone(
    text: str, looked_up: list[str], api: Program, vms: list[str]
) -> None:
    with CaptureQueriesContext(connection) as captured:
        assert names_of(api("GET", INSTANCES, filter=text))
    (rows,) = [query["sql"] for query in captured if '"lifecycle_vm"."mac"' in query["sql"]]
    conditions = re.findall(r'"lifecycle_vm"\.("(?:name|state)" = \S+?)[)\s]', rows)
    assert sorted(conditions) == looked_up


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/zones/zone-a/disks", "name=web-2"),
        ("/zones/zone-a/machineTypes", "name=tiny-1"),
        ("/zones", "name=zone-a"),
        ("/global/images", "name=tiny AND family=tiny"),
    ],
)
def test_other_lists_are_looked_up_by_name(path: str, text: str, api: Program, vms: list[str]) -> None:
    factories.make_image("other", family="tiny")
    passes = filters.parse(text).passes
    wanted = [item["name"] for item in api("GET", path)["items"] if passes(item)]
    assert names_of(api("GET", path, filter=text)) == wanted
    assert len(wanted) == 1


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
    api("GET", INSTANCES, maxResults=1)  # writes it again, where making them took a minute
    assert queries() == one <= 12
    with CaptureQueriesContext(connection) as captured:
        assert len(api("GET", INSTANCES)["items"]) == 500
    (rows,) = [query["sql"] for query in captured if '"lifecycle_vm"."name"' in query["sql"]]
    for not_shown in ('"lifecycle_host"', '"lifecycle_image"', '"lifecycle_vm"."notes"'):
        assert not_shown not in rows, "each VM's row is read with what a list shows of it"


@pytest.mark.parametrize(
    "path", ["/zones/zone-a/operations", "/aggregated/operations", "/zones/zone-a/disks", "/aggregated/disks"]
)
def test_lists_of_what_belongs_to_vms_take_the_same_few_queries_and_read_no_texts(
    path: str, api: Program, project: Project, host: Host, vms: list[str]
) -> None:
    def queries() -> list[str]:
        with CaptureQueriesContext(connection) as captured:
            api("GET", path)
        return [query["sql"] for query in captured]

    api("POST", f"{INSTANCES}/web-1/setScheduling", {"automaticRestart": False})
    api("POST", f"{INSTANCES}/web-1/stop")
    few = queries()
    for name in vms[2:]:
        api("POST", f"{INSTANCES}/{name}/setScheduling", {"automaticRestart": False})
    for number in range(10, 30):
        factories.make_operation(factories.make_vm(project, f"web-{number}", State.RUNNING, host=host), Action.STOP)
    many = queries()
    assert len(many) == len(few) <= 10
    assert not [sql for sql in many if "user_data" in sql or '"notes"' in sql]


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
