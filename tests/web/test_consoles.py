"""The consoles' pages: what was recorded, found in it, and who has one open."""

from django.test import Client
from django.utils import timezone

from lifecycle.domain.states import State
from lifecycle.models import VM, ConsoleSession, Project, User
from lifecycle.services import observations
from tests.web.conftest import Browser

PAGE = "/projects/lab/vms/web-1/console/"
SCREEN = "/projects/lab/vms/web-1/screen/"
SESSIONS = f"{PAGE}sessions/"


def said(vm: VM, text: str) -> None:
    observations.append_serial(vm.pk, text, read_from=0, read_to=0)


def test_what_was_recorded_is_shown_also_when_the_vm_is_off(as_owner: Client, vm: VM) -> None:
    said(vm, "last words\n")
    VM.objects.filter(pk=vm.pk).update(state=State.TERMINATED)
    assert "last words" in as_owner.get(PAGE).content.decode()


def test_a_search_shows_the_lines_with_their_numbers(as_owner: Client, vm: VM) -> None:
    said(vm, "one\nkernel <Panic> here\nthree\n")
    page = as_owner.get(PAGE, {"q": "panic"}).content.decode()
    assert '<li value="2"><code>kernel &lt;<mark>Panic</mark>&gt; here</code></li>' in page
    assert "1 line holds it." in page
    assert "three" not in page
    none = as_owner.get(PAGE, {"q": "absent"}).content.decode()
    assert "0 lines hold it." in none
    assert as_owner.get(PAGE, {"q": "\0"}).status_code == 200


def test_all_that_is_kept_can_be_saved(as_owner: Client, vm: VM) -> None:
    said(vm, "x" * 200_000)
    response = as_owner.get(f"{PAGE}output.txt")
    assert len(response.content) == 200_000
    assert response["Content-Disposition"] == 'attachment; filename="web-1-serial.txt"'


def test_a_viewer_reads_and_gets_no_console(browser: Browser, viewer: User, vm: VM) -> None:
    said(vm, "for everybody\n")
    client = browser(viewer)
    page = client.get(PAGE).content.decode()
    assert "for everybody" in page
    for content in (page, client.get(SCREEN).content.decode()):
        assert "data-console-" not in content
        assert "js/serial.js" not in content
        assert "js/screen.js" not in content
        assert "Your role may look, not type" in content


def test_a_ticket_is_told_once_and_not_cached(as_owner: Client, vm: VM) -> None:
    response = as_owner.post(f"{PAGE}screen/ticket/", headers={"Origin": "http://testserver"})
    assert response.json()["path"] == f"/ws/consoles/{vm.pk}/screen/"
    assert len(response.json()["ticket"]) > 40
    assert response["Cache-Control"] == "no-store"
    assert as_owner.post(f"{PAGE}telnet/ticket/").status_code == 404


def test_sessions_are_listed_with_their_end(as_owner: Client, vm: VM, project: Project, operator: User) -> None:
    now = timezone.now()
    ConsoleSession.objects.create(vm=vm, project=project, user=operator, kind="serial", address="192.0.2.9")
    ConsoleSession.objects.create(vm=vm, project=project, user=operator, kind="screen", closed_at=now, ending="vm_off")
    page = as_owner.get(SESSIONS).content.decode()
    assert page.count("<strong>otto</strong>") == 2
    assert "192.0.2.9" in page
    assert "the VM was switched off" in page
    assert page.count("/cut/") == 2  # of the open one: the form, with and without scripts


def test_ended_sessions_come_in_pages(as_owner: Client, vm: VM, project: Project, owner: User) -> None:
    now = timezone.now()
    for _ in range(25):
        ConsoleSession.objects.create(vm=vm, project=project, user=owner, kind="serial", closed_at=now, ending="left")
    counts = [as_owner.get(SESSIONS, {"page": str(n)}).content.decode().count("<strong>") for n in (1, 2, 3, 4)]
    assert counts == [10, 10, 5, 0]


def test_a_session_of_another_vm_is_not_cut_here(as_owner: Client, vm: VM, stranger: User) -> None:
    from tests import factories

    elsewhere = Project.objects.get(slug="elsewhere")
    other = factories.make_vm(elsewhere, "web-1", State.RUNNING, host=vm.host)
    theirs = ConsoleSession.objects.create(vm=other, project=elsewhere, user=stranger, kind="serial")
    assert as_owner.post(f"{SESSIONS}{theirs.pk}/cut/").status_code == 404
    theirs.refresh_from_db()
    assert theirs.cut_at is None


def test_cutting_tells_the_list_anew(as_owner: Client, vm: VM, project: Project, operator: User) -> None:
    row = ConsoleSession.objects.create(vm=vm, project=project, user=operator, kind="serial")
    response = as_owner.post(f"{SESSIONS}{row.pk}/cut/", headers={"HX-Request": "true"})
    assert "disabled" in response.content.decode()
    row.refresh_from_db()
    assert row.cut_at is not None
