"""Acting on VMs from the admin: through the services, with an answer for each VM."""

from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from lifecycle.domain.states import State
from lifecycle.models import VM, Operation, User
from tests.admin.answers import messages_of

LIST = "admin:lifecycle_vm_changelist"


def run(browser: Client, action: str, *rows: VM, **more: str) -> list[tuple[str, str]]:
    """Run a list action on the rows; the messages as (level, text)."""
    data = {"action": action, "_selected_action": [str(vm.pk) for vm in rows], **more}
    response = browser.post(reverse(LIST), data)
    return messages_of(response)


@pytest.mark.parametrize(
    ("action", "state", "after"),
    [
        ("start", State.TERMINATED, State.PROVISIONING),
        ("stop", State.RUNNING, State.STOPPING),
        ("reset", State.RUNNING, State.RUNNING),
        ("suspend", State.RUNNING, State.SUSPENDING),
    ],
)
def test_an_action_asks_the_service(
    admin_client: Client, make_vm: Callable[..., VM], superuser: User, action: str, state: State, after: State
) -> None:
    vm = make_vm("web-1", state)
    [(level, _text)] = run(admin_client, action, vm)
    assert level == "success"
    asked = Operation.objects.exclude(status="DONE").get()
    assert (asked.vm_id, asked.action, asked.user) == (vm.pk, action, superuser)
    vm.refresh_from_db()
    assert vm.state == after


def test_each_vm_gets_its_own_answer(admin_client: Client, make_vm: Callable[..., VM]) -> None:
    on, off = make_vm("on", State.RUNNING), make_vm("off", State.TERMINATED)
    said = run(admin_client, "start", on, off)
    assert [level for level, _text in said] == ["success", "error"]  # by name: off, on
    assert said[1][1].startswith("on: ")
    assert "RUNNING" in said[1][1]
    assert Operation.objects.exclude(status="DONE").get().vm == off


def test_deleting_asks_first_and_names_what_is_lost(admin_client: Client, make_vm: Callable[..., VM]) -> None:
    vm = make_vm("web-1")
    question = admin_client.post(reverse(LIST), {"action": "delete_vms", "_selected_action": [str(vm.pk)]})
    assert question.status_code == 200
    assert "web-1" in question.content.decode()
    assert "1 GiB" in question.content.decode()
    assert not Operation.objects.exclude(status="DONE").exists()
    run(admin_client, "delete_vms", vm, confirmed="yes")
    assert Operation.objects.exclude(status="DONE").get().action == "delete"


def test_a_protected_vm_is_not_deleted(admin_client: Client, make_vm: Callable[..., VM]) -> None:
    vm = make_vm("web-1")
    run(admin_client, "protect", vm)
    [(level, text)] = run(admin_client, "delete_vms", vm, confirmed="yes")
    assert level == "error"
    assert "protected" in text
    run(admin_client, "unprotect", vm)
    [(level, _text)] = run(admin_client, "delete_vms", vm, confirmed="yes")
    assert level == "success"


def test_who_may_only_look_is_offered_no_action(
    as_user: Callable[[User], Client], make_staff: Callable[..., User], make_vm: Callable[..., VM]
) -> None:
    vm = make_vm("web-1", State.RUNNING)
    browser = as_user(make_staff("lifecycle.view_vm"))
    assert browser.get(reverse(LIST)).status_code == 200
    run(browser, "stop", vm)
    run(browser, "delete_vms", vm, confirmed="yes")
    assert not Operation.objects.exclude(status="DONE").exists()


def test_staff_with_the_permission_act_on_any_projects_vm_by_their_name(
    as_user: Callable[[User], Client], make_staff: Callable[..., User], make_vm: Callable[..., VM]
) -> None:
    vm = make_vm("web-1", State.RUNNING)
    staff = make_staff("lifecycle.view_vm", "lifecycle.change_vm")
    [(level, _text)] = run(as_user(staff), "stop", vm)
    assert level == "success"
    assert Operation.objects.exclude(status="DONE").get().user == staff


def test_changing_does_not_include_deleting(
    as_user: Callable[[User], Client], make_staff: Callable[..., User], make_vm: Callable[..., VM]
) -> None:
    vm = make_vm("web-1")
    run(as_user(make_staff("lifecycle.change_vm")), "delete_vms", vm, confirmed="yes")
    assert not Operation.objects.exclude(status="DONE").exists()


def test_deleted_vms_are_listed_when_asked_for(admin_client: Client, make_vm: Callable[..., VM], host: object) -> None:
    make_vm("here")
    make_vm("gone", deleted_at=timezone.now())

    def names(**query: str) -> list[str]:
        return [vm.name for vm in admin_client.get(reverse(LIST), query).context["cl"].result_list]

    assert names() == ["here"]
    assert names(existence="deleted") == ["gone"]
    assert names(existence="all") == ["gone", "here"]


def test_the_page_leads_into_the_portal(admin_client: Client, make_vm: Callable[..., VM]) -> None:
    vm = make_vm("web-1")
    page = admin_client.get(reverse("admin:lifecycle_vm_change", args=[vm.pk])).content.decode()
    assert reverse("web:vm", args=["lab", "web-1"]) in page
