"""What people do with a VM from its page: with and without JavaScript, allowed and refused."""

import json
import re
import uuid
from datetime import timedelta

import pytest
from django.test import Client

from lifecycle.domain.access import RIGHTS, Right, Role
from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action, allowed_actions
from lifecycle.models import VM, Host, Operation, Project, User
from tests import factories
from tests.web.conftest import Browser

PAGE = "/projects/lab/vms/web-1/"
HTMX = {"HX-Request": "true"}


def reload_state(vm: VM) -> str:
    """The VM's state now."""
    return VM.objects.values_list("state", flat=True).get(pk=vm.pk)


def test_suspend_without_javascript_leads_back_to_the_page(as_owner: Client, vm: VM) -> None:
    response = as_owner.post(f"{PAGE}suspend/", follow=True)
    assert response.redirect_chain == [(PAGE, 303)]
    assert "Suspending web-1." in response.content.decode()
    assert reload_state(vm) == "SUSPENDING"


def test_a_row_s_button_leads_back_to_the_list(as_owner: Client, vm: VM) -> None:
    response = as_owner.post(f"{PAGE}suspend/", {"next": "/projects/lab/vms/"})
    assert response["Location"] == "/projects/lab/vms/"


def test_a_foreign_next_is_not_followed(as_owner: Client, vm: VM) -> None:
    response = as_owner.post(f"{PAGE}suspend/", {"next": "https://evil.example/"})
    assert response["Location"] == PAGE


def test_an_action_by_htmx_says_which_vm_changed(as_owner: Client, vm: VM) -> None:
    response = as_owner.post(f"{PAGE}suspend/", headers=HTMX)
    assert response.status_code == 204
    assert json.loads(response["HX-Trigger"]) == {"portal:acted": {"vm": str(vm.pk)}}


def test_delete_by_htmx_leads_to_the_list(as_owner: Client, vm: VM) -> None:
    response = as_owner.post(f"{PAGE}delete/", headers=HTMX)
    assert response["HX-Redirect"] == "/projects/lab/vms/"
    assert reload_state(vm) == "STOPPING"


def test_start_of_a_running_vm_is_refused_on_its_page(as_owner: Client, vm: VM) -> None:
    response = as_owner.post(f"{PAGE}start/")
    assert response.status_code == 409
    page = response.content.decode()
    assert "web-1 is RUNNING" in page
    assert 'role="alert"' in page
    assert 'data-action="stop"' in page


def test_a_refusal_by_htmx_is_a_message_and_nothing_else(as_owner: Client, vm: VM) -> None:
    response = as_owner.post(f"{PAGE}start/", headers=HTMX)
    assert response.status_code == 409
    assert response["HX-Retarget"] == "#flash"
    assert "<html" not in response.content.decode()


@pytest.mark.parametrize("action", ["start", "stop", "reset", "suspend", "resume", "delete"])
def test_no_get_changes_anything(as_owner: Client, vm: VM, action: str) -> None:
    response = as_owner.get(f"{PAGE}{action}/")
    assert (response.status_code, response["Allow"]) == (405, "POST")
    assert "never changes anything" in response.content.decode()
    assert reload_state(vm) == "RUNNING"
    assert Operation.objects.filter(vm=vm).count() == 1


def test_a_post_without_csrf_token_is_refused(vm: VM, owner: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(owner, backend="django.contrib.auth.backends.ModelBackend")
    response = client.post(f"{PAGE}stop/")
    assert response.status_code == 403
    assert "too old" in response.content.decode()
    assert reload_state(vm) == "RUNNING"


def test_the_same_form_sent_twice_asks_once(as_owner: Client, vm: VM) -> None:
    data = {"request_id": str(uuid.uuid4())}
    statuses = [as_owner.post(f"{PAGE}stop/", data).status_code for _ in range(2)]
    assert statuses == [303, 303]
    assert Operation.objects.filter(vm=vm, action="stop").count() == 1


def test_an_old_page_s_form_is_a_new_wish(as_owner: Client, vm: VM) -> None:
    data = {"request_id": str(uuid.uuid4())}
    as_owner.post(f"{PAGE}suspend/", data)
    operation = Operation.objects.get(vm=vm, action="suspend")
    then = operation.insert_time - timedelta(hours=1)
    Operation.objects.filter(pk=operation.pk).update(insert_time=then, status="DONE", end_time=then)
    VM.objects.filter(pk=vm.pk).update(state=State.RUNNING)
    assert as_owner.post(f"{PAGE}suspend/", data).status_code == 303
    assert Operation.objects.filter(vm=vm, action="suspend").count() == 2


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("state", list(State))
def test_the_page_offers_what_table_and_role_allow(
    browser: Browser, project: Project, host: Host, catalog: None, state: State, role: Role
) -> None:
    factories.make_vm(project, "web-1", state, host=host)
    user = factories.make_user("rita")
    factories.add_member(project, user, role)
    page = browser(user).get(PAGE).content.decode()
    offered = set(re.findall(r'data-action="(\w+)"', page))
    able = allowed_actions(state) if Right.USE_VMS in RIGHTS[role] else ()
    assert offered == {a.value for a in able}


def test_while_an_operation_runs_only_what_may_preempt_it_is_offered(as_owner: Client, vm: VM) -> None:
    factories.make_operation(vm, Action.SUSPEND)
    VM.objects.filter(pk=vm.pk).update(state=State.SUSPENDING)
    assert "data-action=" not in as_owner.get(PAGE).content.decode()


def test_a_protected_vm_offers_no_delete_and_refuses_it(as_owner: Client, vm: VM) -> None:
    assert as_owner.post(f"{PAGE}protection/", {"protection": "on"}).status_code == 303
    page = as_owner.get(PAGE).content.decode()
    assert 'data-action="delete"' not in page
    assert 'aria-checked="true"' in page
    refused = as_owner.post(f"{PAGE}delete/")
    assert refused.status_code == 409
    assert "Switch the protection off first" in refused.content.decode()
    assert "is protected" in as_owner.get(f"{PAGE}confirm/delete/").content.decode()
    as_owner.post(f"{PAGE}protection/", {"protection": "off"})
    assert as_owner.post(f"{PAGE}delete/").status_code == 303


def test_the_confirmation_names_what_is_lost(as_owner: Client, vm: VM) -> None:
    page = as_owner.get(f"{PAGE}confirm/delete/").content.decode()
    assert "The disk web-1 (1 GiB) with everything on it." in page
    assert vm.address.ip in page
    assert f'action="{PAGE}delete/"' in page
    assert "saved memory" not in page


def test_deleting_a_suspended_vm_names_its_memory(as_owner: Client, vm: VM) -> None:
    VM.objects.filter(pk=vm.pk).update(state=State.SUSPENDED)
    assert "The saved memory." in as_owner.get(f"{PAGE}confirm/delete/").content.decode()


def test_the_confirmation_for_htmx_is_the_sheet_s_content(as_owner: Client, vm: VM) -> None:
    page = as_owner.get(f"{PAGE}confirm/stop/", headers=HTMX).content.decode()
    assert "<html" not in page
    assert 'id="sheet-title"' in page


def test_what_cannot_be_done_is_said_before_it_is_confirmed(as_owner: Client, vm: VM) -> None:
    VM.objects.filter(pk=vm.pk).update(state=State.TERMINATED)
    response = as_owner.get(f"{PAGE}confirm/stop/")
    assert response.status_code == 409
    assert "Not possible now" in response.content.decode()
