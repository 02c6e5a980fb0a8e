"""Cancelling operations from the admin."""

from collections.abc import Callable

from django.test import Client
from django.urls import reverse

from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action
from lifecycle.models import VM, Operation, User
from lifecycle.services import vms
from tests.admin.answers import messages_of

LIST = "admin:lifecycle_operation_changelist"


def cancel(browser: Client, *rows: Operation) -> list[tuple[str, str]]:
    """Cancel the rows; the messages as (level, text)."""
    data = {"action": "cancel", "_selected_action": [str(row.pk) for row in rows]}
    return messages_of(browser.post(reverse(LIST), data))


def start(vm: VM, user: User) -> Operation:
    """A start under way."""
    return vms.request_action(vm, Action.START, user=user)


def test_each_operation_gets_its_own_answer(
    admin_client: Client, make_vm: Callable[..., VM], owner: User, superuser: User
) -> None:
    open_one = start(make_vm("web-1", State.TERMINATED), owner)
    done = Operation.objects.filter(status="DONE").first()
    assert done is not None
    said = cancel(admin_client, open_one, done)
    assert sorted(level for level, _text in said) == ["error", "success"]
    open_one.refresh_from_db()
    assert open_one.cancelled_by == superuser


def test_who_may_only_look_cancels_nothing(
    as_user: Callable[[User], Client], make_staff: Callable[..., User], make_vm: Callable[..., VM], owner: User
) -> None:
    operation = start(make_vm("web-1", State.TERMINATED), owner)
    cancel(as_user(make_staff("lifecycle.view_operation")), operation)
    operation.refresh_from_db()
    assert operation.cancel_time is None


def test_staff_that_may_act_on_vms_cancels(
    as_user: Callable[[User], Client], make_staff: Callable[..., User], make_vm: Callable[..., VM], owner: User
) -> None:
    operation = start(make_vm("web-1", State.TERMINATED), owner)
    staff = make_staff("lifecycle.view_operation", "lifecycle.change_vm")
    [(level, _text)] = cancel(as_user(staff), operation)
    assert level == "success"
    operation.refresh_from_db()
    assert operation.cancelled_by == staff
