"""The list and the VM's page: what they show, and their parts that are fetched again."""

import re
from datetime import timedelta

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action, Asker
from lifecycle.models import VM, Host, Operation, OperationStep, Project, SerialLog, Transition, User
from lifecycle.services import maintenance
from lifecycle.services.transitions import move
from tests import factories
from tests.web.conftest import Browser

LIST = "/projects/lab/vms/"
PAGE = f"{LIST}web-1/"
HTMX = {"HX-Request": "true"}


@pytest.fixture
def fleet(project: Project, host: Host, catalog: None) -> list[VM]:
    """Three VMs in three states."""
    states = {"web-1": State.RUNNING, "web-2": State.TERMINATED, "db-1": State.SUSPENDED}
    return [factories.make_vm(project, name, state, host=host) for name, state in states.items()]


def names_in(page: str) -> list[str]:
    """The names of the rows, in their order."""
    return re.findall(r'<tr [^>]*data-name="([^"]+)"', page)


def test_the_list_shows_every_vm_with_its_state(as_owner: Client, fleet: list[VM]) -> None:
    page = as_owner.get(LIST).content.decode()
    assert names_in(page) == ["db-1", "web-1", "web-2"]
    assert re.search(r'class="state state--running[^>]*data-field="state"[^>]*>RUNNING<', page)


def test_the_page_carries_what_the_live_script_needs(as_owner: Client, fleet: list[VM], project: Project) -> None:
    Project.objects.filter(pk=project.pk).update(last_event_number=41)
    page = as_owner.get(LIST).content.decode()
    assert 'data-project="lab" data-number="41" data-ws="/ws/projects/lab/"' in page
    assert "data-live-status=" in page
    assert f'data-vm="{fleet[0].pk}"' in page
    assert "vmportal:listchanged" in page


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?q=web", ["web-1", "web-2"]),
        ("?state=SUSPENDED", ["db-1"]),
        ("?q=web&state=RUNNING", ["web-1"]),
        ("?state=NONSENSE", ["db-1", "web-1", "web-2"]),
        ("?page=99", ["db-1", "web-1", "web-2"]),
        ("?page=x", ["db-1", "web-1", "web-2"]),
        ("?q=%00", ["db-1", "web-1", "web-2"]),
        ("?q=%25", []),
    ],
)
def test_search_filter_and_pages(as_owner: Client, fleet: list[VM], query: str, found: list[str]) -> None:
    response = as_owner.get(LIST + query)
    assert response.status_code == 200
    assert names_in(response.content.decode()) == found


def test_search_by_address(as_owner: Client, fleet: list[VM]) -> None:
    page = as_owner.get(f"{LIST}?q={fleet[2].address.ip}").content.decode()
    assert names_in(page) == ["db-1"]


def test_htmx_gets_the_list_alone(as_owner: Client, fleet: list[VM]) -> None:
    page = as_owner.get(LIST, headers={**HTMX, "HX-Target": "vms"}).content.decode()
    assert "<html" not in page
    assert len(names_in(page)) == 3


def test_the_pages_of_a_vm_share_its_head_and_its_navigation(as_owner: Client, fleet: list[VM]) -> None:
    page = as_owner.get(PAGE).content.decode()
    assert re.search(rf'<a href="{PAGE}" aria-current="page">', page)
    head = as_owner.get(f"{PAGE}fragment/?part=head", headers=HTMX).content.decode()
    assert 'id="vm-head"' in head
    assert 'hx-swap-oob="true"' in head
    assert 'id="vm-details"' not in head


def test_long_lists_have_pages(as_owner: Client, project: Project, host: Host, catalog: None) -> None:
    for number in range(51):
        factories.make_vm(project, f"vm-{number:02}", State.TERMINATED, host=host)
    assert len(names_in(as_owner.get(LIST).content.decode())) == 50
    assert names_in(as_owner.get(f"{LIST}?page=2").content.decode()) == ["vm-50"]


def test_an_empty_project_says_what_to_do(browser: Browser, project: Project, owner: User, viewer: User) -> None:
    assert "Create the first VM" in browser(owner).get(LIST).content.decode()
    assert "Create the first VM" not in browser(viewer).get(LIST).content.decode()


def test_what_has_a_name_of_script_is_only_shown(as_owner: Client, vm: VM) -> None:
    VM.objects.filter(pk=vm.pk).update(state_reason="<script>alert(1)</script>")
    assert "<script>alert" not in as_owner.get(PAGE).content.decode()


def test_the_page_shows_how_to_connect(as_owner: Client, vm: VM) -> None:
    assert f"ssh {vm.image.default_user}@{vm.address.ip}" in as_owner.get(PAGE).content.decode()


def test_the_operation_under_way_is_shown_with_its_steps(as_owner: Client, vm: VM) -> None:
    operation = factories.make_operation(vm, Action.STOP, steps=("ask_guest", "await_shutdown"), progress=40)
    OperationStep.objects.filter(operation=operation, index=0).update(status="done")
    page = as_owner.get(PAGE).content.decode()
    assert "Under way" in page
    assert 'value="40"' in page
    assert "Ask the guest to shut down" in page
    assert "step--waiting" in page


def test_the_timeline_says_who_what_why(as_owner: Client, vm: VM, operator: User) -> None:
    for number in range(12):
        Transition.objects.create(
            vm=vm,
            number=number,
            from_state="RUNNING",
            to_state="STOPPING",
            action=Action.STOP,
            asked_by=Asker.USER,
            user=operator,
            reason=f"reason {number}.",
            occurred_at=timezone.now(),
        )
    page = as_owner.get(PAGE).content.decode()
    assert "reason 11." in page
    assert "reason 1." not in page
    assert "otto" in page
    assert "reason 1." in as_owner.get(f"{PAGE}?timeline=2").content.decode()


def test_the_panel_for_htmx_holds_all_parts(as_owner: Client, vm: VM) -> None:
    page = as_owner.get(f"{PAGE}fragment/?part=panel", headers=HTMX).content.decode()
    assert "<html" not in page
    assert page.count('hx-swap-oob="true"') == 8
    assert 'id="vm-head"' in page


def test_the_cells_of_a_row_alone(as_owner: Client, vm: VM) -> None:
    page = as_owner.get(f"{PAGE}fragment/?part=row", headers=HTMX).content.decode()
    assert "<tr" not in page  # the row stays, its cells are swapped
    assert 'href="/projects/lab/vms/web-1/"' in page


def test_serial_output_is_shown_without_escape_sequences(as_owner: Client, vm: VM) -> None:
    SerialLog.objects.create(vm=vm, text="\x1b[32mok\x1b[0m <login>\r\n", read_bytes=20)
    page = as_owner.get(PAGE).content.decode()
    assert "<pre>ok &lt;login&gt;\n</pre>" in page


def test_serial_output_that_was_seen_is_not_sent_again(as_owner: Client, vm: VM) -> None:
    SerialLog.objects.create(vm=vm, text="hello", read_bytes=5)
    url = f"{PAGE}fragment/?part=serial"
    assert as_owner.get(f"{url}&seen=5", headers=HTMX).status_code == 204
    assert "hello" in as_owner.get(f"{url}&seen=3", headers=HTMX).content.decode()


def test_no_serial_output_yet_is_said(as_owner: Client, vm: VM) -> None:
    assert "Nothing was recorded yet." in as_owner.get(PAGE).content.decode()


def test_a_vm_whose_create_failed_tells_why(as_owner: Client, vm: VM) -> None:
    error = {
        "code": "ZONE_RESOURCE_POOL_EXHAUSTED",
        "message": "No host has room.",
        "reasons": {"host-1": "it is full"},
    }
    Operation.objects.filter(vm=vm).update(error=error)
    VM.objects.filter(pk=vm.pk).update(deleted_at=timezone.now())
    response = as_owner.get(PAGE)
    assert response.status_code == 410
    page = response.content.decode()
    assert "could not be created" in page
    assert "it is full" in page
    assert "could not be created" in as_owner.get(f"{PAGE}fragment/?part=panel", headers=HTMX).content.decode()
    assert as_owner.get(f"{PAGE}fragment/?part=row", headers=HTMX)["HX-Reswap"] == "delete"


def test_the_snapshot_is_what_realtime_says(as_owner: Client, vm: VM) -> None:
    answer = as_owner.get("/projects/lab/snapshot.json").json()
    assert [v["name"] for v in answer["vms"]] == ["web-1"]
    assert answer["number"] == Project.objects.get(slug="lab").last_event_number


def test_an_operation_s_page_shows_each_host_s_reason(as_owner: Client, vm: VM) -> None:
    error = {
        "code": "ZONE_RESOURCE_POOL_EXHAUSTED",
        "message": "No room.",
        "reasons": {"host-1": "full", "host-2": "off"},
    }
    operation = Operation.objects.get(vm=vm)
    Operation.objects.filter(pk=operation.pk).update(error=error)
    page = as_owner.get(f"/projects/lab/operations/{operation.pk}/").content.decode()
    assert "host-1" in page
    assert "host-2" in page
    assert "ZONE_RESOURCE_POOL_EXHAUSTED" in page


def test_operations_narrow_to_a_vm(as_owner: Client, vm: VM, project: Project, host: Host, owner: User) -> None:
    other = factories.make_vm(project, "db-1", State.TERMINATED, host=host)
    factories.make_operation(other, Action.START)
    assert "db-1" in as_owner.get("/projects/lab/operations/").content.decode()
    assert "db-1" not in as_owner.get("/projects/lab/operations/?vm=web-1").content.decode()


# -- repairs, and what a silent host leaves unknown --------------------------------------------------


def test_a_page_tells_minutes_in_repair_as_unbilled_and_outside_of_the_sla(
    as_owner: Client, project: Project, host: Host, catalog: None
) -> None:
    now = timezone.now()
    vm = factories.make_vm(project, "web-1", host=host, state_since=now - timedelta(hours=3))
    factories.give_history(vm, now - timedelta(hours=3))
    page = as_owner.get(PAGE).content.decode()
    assert "not billed" not in page
    assert "Repairs" not in page
    with time_machine.travel(now - timedelta(minutes=60), tick=False):
        move(vm.pk, Action.CRASH, State.RUNNING, State.REPAIRING, asked_by=Asker.OBSERVER, reason="Its QEMU died.")
    with time_machine.travel(now - timedelta(minutes=40), tick=False):
        move(vm.pk, Action.CRASH, State.REPAIRING, State.RUNNING, asked_by=Asker.OBSERVER, reason="The guest runs.")
    page = as_owner.get(PAGE).content.decode()
    assert re.search(r"<dt>In repair</dt><dd>20\sminutes <span[^>]*>not billed, and outside of the SLA", page)
    assert "<dt>Available</dt><dd>100 %</dd>" in page
    assert "The QEMU process died" in page
    assert re.search(r"20\sminutes</small>", page)


def test_a_vm_in_repair_says_that_it_is_under_way(as_owner: Client, fleet: list[VM]) -> None:
    factories.give_history(fleet[0])
    move(fleet[0].pk, Action.CRASH, State.RUNNING, State.REPAIRING, asked_by=Asker.OBSERVER, reason="Its QEMU died.")
    assert "under way</span>" in as_owner.get(f"{PAGE}fragment/?part=panel").content.decode()


def test_what_is_shown_of_a_vm_on_a_silent_host_is_told_to_be_what_was_last_known(
    as_owner: Client, fleet: list[VM], host: Host
) -> None:
    VM.objects.update(power_seen_at=timezone.now() - timedelta(minutes=7))
    page = as_owner.get(PAGE).content.decode() + as_owner.get(LIST).content.decode()
    assert "does not answer" not in page
    Host.objects.filter(pk=host.pk).update(health=Host.Health.DOWN)
    assert re.search(
        r"Its host host-1 does not answer: this is what was last known of it\..*7\sminutes",
        as_owner.get(PAGE).content.decode(),
    )
    page = as_owner.get(LIST).content.decode()
    assert len(re.findall(r">seen <time[^>]*>7\sminutes ago</time> · its host does not answer<", page)) == 3


def test_a_suspended_vm_says_when_its_suspension_ends(as_owner: Client, fleet: list[VM]) -> None:
    VM.objects.update(state_since=timezone.now() - timedelta(days=54))
    page = as_owner.get(f"{LIST}db-1/").content.decode()
    assert re.search(r"<dt>Suspension ends</dt><dd><time[^>]*>in 5\sdays</time>", page)
    assert "Suspension ends" not in as_owner.get(PAGE).content.decode()


def test_announced_maintenance_of_its_host_is_told_on_every_page_of_a_vm(
    as_owner: Client, fleet: list[VM], host: Host
) -> None:
    """The next one, until it is over; not a cancelled one, not another host's."""
    now = timezone.now()
    other = factories.make_host("other")
    reasons = {"next": (host, 30), "later": (host, 60), "cancelled": (host, 26), "elsewhere": (other, 25)}
    made = {
        reason: maintenance.announce(on, now + timedelta(hours=h), now + timedelta(hours=h + 2), reason, user=None)
        for reason, (on, h) in reasons.items()
    }
    maintenance.cancel(made["cancelled"], user=None)
    start = timezone.localtime(made["next"].starts_at)
    for path in (PAGE, f"{PAGE}timeline/", f"{PAGE}fragment/?part=head"):
        page = as_owner.get(path).content.decode()
        assert f"Maintenance of its host {host.name} (next) from " in page
        assert f"{start:%H:%M} {start.tzname()}" in page
        assert not re.search(r"\((later|cancelled|elsewhere)\)", page)
    with time_machine.travel(now + timedelta(hours=31)):
        assert "(next)" in as_owner.get(PAGE).content.decode()
    with time_machine.travel(now + timedelta(hours=33)):
        assert "(later)" in as_owner.get(PAGE).content.decode()
