"""Cancelling an operation from its page and from its VM's."""

import json

import pytest
from django.test import Client

from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action
from lifecycle.models import VM, Operation, Project, User
from tests import factories
from tests.web.conftest import Browser

HTMX = {"HX-Request": "true"}


@pytest.fixture
def suspending(vm: VM) -> Operation:
    """`web-1` is being suspended."""
    VM.objects.filter(pk=vm.pk).update(state=State.SUSPENDING)
    return factories.make_operation(vm, Action.SUSPEND, steps=("save_memory",))


def page_of(operation: Operation) -> str:
    return f"/projects/lab/operations/{operation.pk}/"


def test_cancel_without_javascript_leads_to_the_operation(as_owner: Client, suspending: Operation) -> None:
    response = as_owner.post(f"{page_of(suspending)}cancel/", follow=True)
    assert response.redirect_chain == [(page_of(suspending), 303)]
    text = response.content.decode()
    assert "Suspend of web-1 is being cancelled." in text
    assert "It is being cancelled: the step under way ends first." in text
    assert "Cancel the operation" not in text
    suspending.refresh_from_db()
    assert suspending.cancelled_by is not None
    assert suspending.cancelled_by.username == "olivia"


def test_cancel_by_htmx_says_which_vm_changed(as_owner: Client, suspending: Operation) -> None:
    response = as_owner.post(f"{page_of(suspending)}cancel/", headers=HTMX)
    assert response.status_code == 204
    assert json.loads(response["HX-Trigger"]) == {"portal:acted": {"vm": str(suspending.vm_id)}}


def test_who_may(browser: Browser, suspending: Operation, operator: User, viewer: User, stranger: User) -> None:
    path = f"{page_of(suspending)}cancel/"
    assert browser(None).post(path).status_code in {302, 401}
    assert browser(stranger).post(path).status_code == 404
    assert browser(viewer).post(path).status_code == 403
    suspending.refresh_from_db()
    assert suspending.cancel_time is None
    assert browser(operator).post(path).status_code == 303
    suspending.refresh_from_db()
    assert suspending.cancelled_by == operator


def test_the_button_is_offered_to_who_may(
    browser: Browser, suspending: Operation, owner: User, viewer: User, project: Project
) -> None:
    for path in (page_of(suspending), "/projects/lab/vms/web-1/"):
        assert "Cancel the operation" in browser(owner).get(path).content.decode()
        assert "Cancel the operation" not in browser(viewer).get(path).content.decode()


def test_what_cannot_be_cancelled_offers_no_button_and_says_why(as_owner: Client, vm: VM) -> None:
    operation = factories.make_operation(vm, Action.RESET, steps=("reset_domain",))
    assert "Cancel the operation" not in as_owner.get(page_of(operation)).content.decode()
    response = as_owner.post(f"{page_of(operation)}cancel/")
    assert response.status_code == 409
    assert "cannot be cancelled" in response.content.decode()
    refused = as_owner.post(f"{page_of(operation)}cancel/", headers=HTMX)
    assert (refused.status_code, refused["HX-Retarget"]) == (409, "#flash")


def test_a_get_changes_nothing(as_owner: Client, suspending: Operation) -> None:
    assert as_owner.get(f"{page_of(suspending)}cancel/").status_code == 405
    suspending.refresh_from_db()
    assert suspending.cancel_time is None


def test_a_recovered_operation_says_so_with_its_attempt(as_owner: Client, suspending: Operation) -> None:
    Operation.objects.filter(pk=suspending.pk).update(recovered=1, attempt=2)
    for path in (page_of(suspending), "/projects/lab/vms/web-1/"):
        assert "Recovered after worker loss: attempt 2." in as_owner.get(path).content.decode()
