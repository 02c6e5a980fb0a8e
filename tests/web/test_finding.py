"""Finding one's way: search, lists that are filtered and sorted, saved views, many VMs at once, the audit log."""

import re
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.utils import timezone, translation

from lifecycle.domain.errors import InvalidInput
from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action
from lifecycle.models import VM, AuditEntry, Host, Operation, Project, SavedView, User
from lifecycle.services import audit, saved_views, vm_details
from lifecycle.templatetags.portal import audit_details
from tests import factories
from tests.web.conftest import Browser
from tests.web.test_vm_pages import names_in

LIST = "/projects/lab/vms/"
HTMX = {"HX-Request": "true"}


@pytest.fixture
def fleet(project: Project, host: Host, catalog: None, owner: User) -> list[VM]:
    """Three VMs in three states, one of them labelled."""
    states = {"web-1": State.RUNNING, "web-2": State.TERMINATED, "db-1": State.SUSPENDED}
    vms = [factories.make_vm(project, name, state, host=host) for name, state in states.items()]
    vm_details.set_labels(vms[0], {"env": "prod", "team": "red"}, user=owner)
    return vms


# -- search --------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", ["web-1", "WEB-1", "env=prod", "prod", "web red"])
def test_a_vm_is_found_by_name_and_label(as_owner: Client, fleet: list[VM], words: str) -> None:
    page = as_owner.get("/search/", {"q": words}).content.decode()
    assert 'href="/projects/lab/vms/web-1/"' in page
    assert 'href="/projects/lab/vms/db-1/"' not in page


def test_a_vm_is_found_by_its_address(as_owner: Client, fleet: list[VM]) -> None:
    page = as_owner.get("/search/", {"q": fleet[2].address.ip}).content.decode()
    assert 'href="/projects/lab/vms/db-1/"' in page


@pytest.mark.parametrize("words", ["web-1", "prod", "lab", "host-1"])
def test_a_stranger_finds_nothing_of_it(browser: Browser, stranger: User, fleet: list[VM], words: str) -> None:
    page = browser(stranger).get("/search/", {"q": words}).content.decode()
    assert "/projects/lab/" not in page
    assert "/admin/" not in page


def test_the_palette_knows_the_pages_of_the_project_one_is_in(as_owner: Client, fleet: list[VM]) -> None:
    found = as_owner.get("/search/", {"q": "oper", "in": "lab"}, headers=HTMX).content.decode()
    assert "<html" not in found
    assert 'href="/projects/lab/operations/"' in found
    assert 'href="/projects/lab/operations/"' not in as_owner.get("/search/", {"q": "oper"}).content.decode()


def test_operators_find_hosts(browser: Browser, superuser: User, fleet: list[VM]) -> None:
    assert "/admin/lifecycle/host/" in browser(superuser).get("/search/", {"q": "host-1"}).content.decode()


@pytest.mark.parametrize("words", ["\0", "%", "'", "x" * 500, "a b c d e f g h"])
def test_odd_words_find_nothing_and_break_nothing(as_owner: Client, fleet: list[VM], words: str) -> None:
    assert as_owner.get("/search/", {"q": words}).status_code == 200


# -- the list ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?sort=-name", ["web-2", "web-1", "db-1"]),
        ("?sort=state", ["web-1", "db-1", "web-2"]),
        ("?sort=-created", ["db-1", "web-2", "web-1"]),
        ("?sort=nonsense", ["db-1", "web-1", "web-2"]),
        ("?label=env%3Dprod", ["web-1"]),
        ("?label=env", ["web-1"]),
        ("?label=en", []),
        ("?label=env%3Dpro", []),
        ("?zone=zone-a", ["db-1", "web-1", "web-2"]),
        ("?zone=nowhere", []),
        ("?q=red", ["web-1"]),
        ("?q=web&sort=-name&state=RUNNING", ["web-1"]),
    ],
)
def test_the_list_is_filtered_and_sorted(as_owner: Client, fleet: list[VM], query: str, found: list[str]) -> None:
    assert names_in(as_owner.get(LIST + query).content.decode()) == found


def test_a_column_says_how_it_is_sorted_and_turns_round(as_owner: Client, fleet: list[VM]) -> None:
    page = as_owner.get(f"{LIST}?q=web").content.decode()
    assert re.search(r'class="vms__name"[^>]*aria-sort="ascending"><a class="sort" href="[^"]*sort=-name', page)


def test_a_view_is_saved_shown_and_removed(as_owner: Client, fleet: list[VM]) -> None:
    data = {"name": " Mine  here ", "query": "q=web&sort=-name&evil=1"}
    response = as_owner.post("/projects/lab/views/", data)
    assert response["Location"] == f"{LIST}?q=web&sort=-name"
    view = SavedView.objects.get()
    assert (view.name, view.query) == ("Mine here", "q=web&sort=-name")
    assert "Mine here" in as_owner.get(LIST).content.decode()
    as_owner.post(f"/projects/lab/views/{view.pk}/remove/")
    assert not SavedView.objects.exists()


@pytest.mark.parametrize("data", [{"name": "", "query": "q=x"}, {"name": "x" * 41, "query": "q=x"}, {"name": "x"}])
def test_a_view_without_a_name_or_a_search_is_refused(as_owner: Client, fleet: list[VM], data: dict[str, str]) -> None:
    as_owner.post("/projects/lab/views/", data)
    assert not SavedView.objects.exists()


def test_views_are_their_owner_s_alone(browser: Browser, owner: User, viewer: User, fleet: list[VM]) -> None:
    view = saved_views.save(fleet[0].project, "mine", "q=web", user=owner)
    client = browser(viewer)
    assert "mine" not in re.findall(r"name=view-remove|>mine<", client.get(LIST).content.decode())
    client.post(f"/projects/lab/views/{view.pk}/remove/")
    assert SavedView.objects.filter(pk=view.pk).exists()


def test_there_are_not_views_without_end(project: Project, owner: User) -> None:
    for number in range(saved_views.MOST):
        saved_views.save(project, f"v{number}", "q=x", user=owner)
    saved_views.save(project, "v1", "q=y", user=owner)
    with pytest.raises(InvalidInput):
        saved_views.save(project, "one more", "q=x", user=owner)


# -- many at once --------------------------------------------------------------------------------


def test_each_vm_of_many_gets_its_own_answer(as_owner: Client, fleet: list[VM]) -> None:
    data = {"action": "suspend", "vm": [str(vm.pk) for vm in fleet], "bulk_id": str(uuid4())}
    page = as_owner.post(f"{LIST}bulk/", data).content.decode()
    assert list(Operation.objects.values_list("target_name", "action")) == [("web-1", "suspend")]
    assert page.count("result--bad") == 2
    assert "web-2 is TERMINATED" in page
    as_owner.post(f"{LIST}bulk/", data)
    assert Operation.objects.count() == 1


@pytest.mark.parametrize("action", ["stop", "reset", "delete"])
def test_what_loses_something_asks_first(as_owner: Client, fleet: list[VM], action: str) -> None:
    data = {"action": action, "vm": [str(fleet[0].pk)]}
    page = as_owner.post(f"{LIST}bulk/", data).content.decode()
    assert 'name="confirmed" value="yes"' in page
    assert not Operation.objects.exists()
    as_owner.post(f"{LIST}bulk/", {**data, "confirmed": "yes"})
    assert Operation.objects.get().action == action


def test_vms_of_others_are_left_alone(as_owner: Client, fleet: list[VM], stranger: User) -> None:
    theirs = factories.make_vm(Project.objects.get(slug="elsewhere"), "theirs", State.RUNNING)
    data = {"action": "suspend", "vm": [str(theirs.pk), str(fleet[0].pk)]}
    as_owner.post(f"{LIST}bulk/", data)
    assert list(Operation.objects.values_list("target_name", flat=True)) == ["web-1"]


@pytest.mark.parametrize("data", [{}, {"action": "explode"}, {"action": "start"}, {"action": "start", "vm": "x"}])
def test_a_request_for_nothing_says_what_is_missing(as_owner: Client, fleet: list[VM], data: dict[str, str]) -> None:
    response = as_owner.post(f"{LIST}bulk/", data)
    assert response.status_code == 400
    assert "Nothing was done" in response.content.decode()


# -- labels and notes ----------------------------------------------------------------------------


def test_labels_and_notes_are_written_and_shown(as_owner: Client, fleet: list[VM]) -> None:
    form = as_owner.get(f"{LIST}web-1/edit/").context["form"].initial
    data = {**form, "labels": "env=test\nrole=front", "notes": "<b>Ask Ada</b>"}
    assert as_owner.post(f"{LIST}web-1/edit/", data)["Location"] == f"{LIST}web-1/"
    page = as_owner.get(f"{LIST}web-1/").content.decode()
    assert "env=test" in page
    assert "&lt;b&gt;Ask Ada&lt;/b&gt;" in page


def test_labels_that_somebody_changed_meanwhile_are_not_overwritten(
    as_owner: Client, fleet: list[VM], operator: User
) -> None:
    form = as_owner.get(f"{LIST}web-1/edit/").context["form"].initial
    vm_details.set_labels(fleet[0], {"env": "stage"}, user=operator)
    response = as_owner.post(f"{LIST}web-1/edit/", {**form, "labels": "env=test"})
    assert response.status_code == 409
    assert "Somebody changed the labels" in response.content.decode()


@pytest.mark.parametrize("labels", ["Env=prod", "env=prod\nenv=test", "a=" + "x" * 64])
def test_wrong_labels_are_said_beside_the_field(as_owner: Client, fleet: list[VM], labels: str) -> None:
    response = as_owner.post(f"{LIST}web-1/edit/", {"labels": labels, "notes": "x"})
    assert response.status_code == 400
    assert "id_labels_error" in response.content.decode()
    assert VM.objects.get(name="web-1").notes == ""


def test_a_new_vm_may_have_labels(as_owner: Client, project: Project, host: Host, catalog: None) -> None:
    as_owner.post(f"{LIST}new/", {"name": "web-9", "labels": "env=prod"})
    assert VM.objects.get(name="web-9").labels == {"env": "prod"}
    wrong = as_owner.post(f"{LIST}new/", {"name": "web-8", "labels": "ENV"})
    assert wrong.status_code == 400


# -- the audit log -------------------------------------------------------------------------------


def test_the_log_says_who_did_what_from_where(as_owner: Client, fleet: list[VM]) -> None:
    as_owner.post(f"{LIST}web-1/suspend/", REMOTE_ADDR="192.0.2.9", headers={"User-Agent": "Firefox"})
    entry = AuditEntry.objects.first()
    assert entry is not None
    assert (entry.who, entry.action, entry.target, entry.channel) == ("olivia", "vm.suspend", "web-1", "portal")
    assert (entry.ip, entry.agent) == ("192.0.2.9", "Firefox")
    page = as_owner.get("/projects/lab/audit/?action=vm.suspend").content.decode()
    assert "192.0.2.9" in page
    assert "VM suspended" in page


def test_the_log_is_narrowed_and_has_pages(as_owner: Client, fleet: list[VM], project: Project, owner: User) -> None:
    for number in range(45):
        audit.record("vm.reset", project=project, user=owner, target=f"box-{number}")
    first = as_owner.get("/projects/lab/audit/").content.decode()
    assert "box-44" in first
    assert "box-1<" not in first
    assert "box-1<" in as_owner.get("/projects/lab/audit/?page=2").content.decode()
    assert "box-44" not in as_owner.get("/projects/lab/audit/?q=web-1").content.decode()
    assert "No line matches" in as_owner.get("/projects/lab/audit/?channel=api").content.decode()


@pytest.mark.parametrize(
    ("details", "english", "french"),
    [
        ({"role": "viewer"}, "role: viewer", "rôle : lecteur"),
        ({"before": "viewer", "after": "owner"}, "viewer → owner", "lecteur → propriétaire"),
        ({"before": {}, "after": {"b": "2", "a": "1"}}, "– → a=1, b=2", "– → a=1, b=2"),
        ({"operation": "5e", "state": "RUNNING"}, "state: RUNNING", "état : EN MARCHE"),
        ({"action": "stop", "days": "01234"}, "action: stop, days: Mon – Fri", "action : arrêter, jours : lun – ven"),
        (
            {"events": ["repair.opened"]},
            "events: a VM went into repair",
            "événements : une VM est entrée en réparation",
        ),
        (
            {"thresholds": "[50, 90]", "webhook": False},
            "thresholds: 50, 90, webhook: no",
            "seuils : 50, 90, webhook : non",
        ),
        ({"forbid_at": "None", "unheard_of": 3}, "no new VMs from: –, unheard_of: 3", None),
    ],
)
def test_what_stands_beside_a_line_is_said_in_words(
    details: dict[str, object], english: str, french: str | None
) -> None:
    assert audit_details(details) == english
    with translation.override("fr"):
        assert french is None or audit_details(details).replace("\u00a0", " ") == french


@pytest.mark.parametrize(
    ("tls", "forwarded", "seen"),
    [
        (False, "198.51.100.1", "127.0.0.1"),
        (True, "203.0.113.9, 198.51.100.1", "198.51.100.1"),
        (True, "nonsense", None),
    ],
)
def test_only_the_operator_s_own_proxy_says_where_somebody_is(
    as_owner: Client, fleet: list[VM], settings: object, tls: bool, forwarded: str, seen: str | None
) -> None:
    settings.TLS_AT_PROXY = tls  # type: ignore[attr-defined]
    as_owner.post(f"{LIST}web-1/suspend/", headers={"X-Forwarded-For": forwarded})
    assert AuditEntry.objects.first().ip == seen  # type: ignore[union-attr]


# -- the first page ------------------------------------------------------------------------------


def test_the_first_page_says_what_waits(as_owner: Client, fleet: list[VM], project: Project, owner: User) -> None:
    now = timezone.now()
    failed: dict[str, Any] = {"insert_time": now, "end_time": now, "error": {"code": "X", "message": "x"}}
    factories.make_operation(fleet[1], Action.START, user=owner, status="DONE", **failed)
    factories.make_vm(project, "sick", State.REPAIRING)
    VM.objects.filter(name="db-1").update(state_since=now - timedelta(days=55))
    page = as_owner.get("/").content.decode()
    assert "sick is in repair" in page
    assert "The suspension of db-1 ends" in page
    assert "Start: web-2 failed" in page


def test_a_failure_that_was_repeated_well_waits_no_more(as_owner: Client, fleet: list[VM], owner: User) -> None:
    now = timezone.now()
    failed: dict[str, Any] = {"status": "DONE", "end_time": now, "insert_time": now - timedelta(hours=1)}
    factories.make_operation(fleet[1], Action.START, user=owner, error={"code": "X", "message": "x"}, **failed)
    assert "web-2 failed" in as_owner.get("/").content.decode()
    factories.make_operation(fleet[1], Action.START, user=owner, status="DONE", end_time=now, insert_time=now)
    assert "web-2 failed" not in as_owner.get("/").content.decode()


def test_operators_see_the_installation_and_tenants_do_not(
    browser: Browser, superuser: User, as_owner: Client, fleet: list[VM]
) -> None:
    assert "The installation" in browser(superuser).get("/").content.decode()
    assert "The installation" not in as_owner.get("/").content.decode()


def test_a_stranger_s_first_page_tells_nothing_of_others(browser: Browser, stranger: User, fleet: list[VM]) -> None:
    page = browser(stranger).get("/").content.decode()
    assert "web-1" not in page
    assert "lab" not in re.findall(r">(lab)<", page)
