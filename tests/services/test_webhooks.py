"""Webhooks: who may have them, and what is written for them in the transaction of what happened."""

import pytest
from django.db import transaction
from pytest_django import Settings

from lifecycle.domain.errors import Forbidden, InvalidInput, NotFound
from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action, Asker
from lifecycle.domain.webhooks import CHOICES, WEBHOOKS_MAX, Kind
from lifecycle.models import VM, AuditEntry, Host, Operation, Project, User, Webhook, WebhookDelivery
from lifecycle.services import operations, webhooks
from lifecycle.services.transitions import move
from lifecycle.services.vms import VMRequest, request_create
from tests import factories
from tests.services.tools import no_change, refusal

pytestmark = [pytest.mark.bothdb, pytest.mark.django_db, pytest.mark.usefixtures("catalog")]

URL = "https://example.org/hook?token=hush"


@pytest.fixture
def hook(project: Project, owner: User) -> Webhook:
    """Of every event."""
    return webhooks.create(project, URL, CHOICES, user=owner)[0]


@pytest.fixture
def vm(project: Project, host: Host) -> VM:
    return factories.make_vm(project, "web-1", State.RUNNING, host=host)


def told(kind: Kind | None = None) -> list[dict[str, object]]:
    """What was written, oldest first."""
    rows = WebhookDelivery.objects.order_by("pk")
    return [row.body for row in (rows.filter(kind=kind) if kind else rows)]


# -- who may -------------------------------------------------------------------------------------


def test_owners_and_operators_make_webhooks_and_the_secret_is_not_kept(
    project: Project, owner: User, operator: User
) -> None:
    made, secret = webhooks.create(project, URL, ["repair.opened"], user=owner)
    _made, others = webhooks.create(project, URL, ["repair.opened"], user=operator)
    assert secret.startswith("whsec_")
    assert secret != others
    assert webhooks.secret_of(Webhook.objects.get(pk=made.pk)) == secret
    assert secret.removeprefix("whsec_") not in str(list(Webhook.objects.values()))
    assert [entry.action for entry in AuditEntry.objects.all()] == ["webhook.create"] * 2
    assert "hush" not in str(list(AuditEntry.objects.values()))


def test_a_viewer_and_a_stranger_do_nothing_with_webhooks(
    project: Project, hook: Webhook, owner: User, viewer: User, stranger: User
) -> None:
    row = webhooks.send_test(project, hook.pk, user=owner)
    for user, error in ((viewer, Forbidden), (stranger, NotFound)):
        with refusal(error):
            webhooks.create(project, URL, CHOICES, user=user)
        with refusal(error):
            webhooks.switch(project, hook.pk, on=False, user=user)
        with refusal(error):
            webhooks.send_test(project, hook.pk, user=user)
        with refusal(error):
            webhooks.send_again(project, hook.pk, row.pk, user=user)
        with refusal(error):
            webhooks.remove(project, hook.pk, user=user)


def test_another_projects_webhook_is_not_found(hook: Webhook, owner: User) -> None:
    other = factories.make_project("other", owner=owner)
    with refusal(NotFound):
        webhooks.remove(other, hook.pk, user=owner)
    with refusal(NotFound):
        webhooks.send_test(other, hook.pk, user=owner)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "Give an address"),
        ("ftp://example.org/", "Give an address"),
        ("https://me:secret@example.org/", "Give an address"),
        ("http://127.0.0.1:8000/", "127.0.0.1 is a private address"),
        ("http://10.1.2.3/", "private address"),
        ("http://[::1]/", "private address"),
        ("http://[::ffff:192.168.0.1]/", "private address"),
        ("http://169.254.169.254/latest/", "private address"),
    ],
)
def test_where_messages_cannot_go_is_said_at_once(project: Project, owner: User, url: str, words: str) -> None:
    with refusal(InvalidInput, words) as refused:
        webhooks.create(project, url, CHOICES, user=owner)
    assert refused.value.field == "url"


def test_the_operators_can_allow_a_private_network(project: Project, owner: User, settings: Settings) -> None:
    settings.WEBHOOK_ALLOWED_NETWORKS = ["10.1.0.0/16"]
    webhooks.create(project, "http://10.1.2.3/", CHOICES, user=owner)
    with refusal(InvalidInput):
        webhooks.create(project, "http://10.2.2.3/", CHOICES, user=owner)


@pytest.mark.parametrize("kinds", [[], ["webhook.test"], ["vm.state_changed", "everything"]])
def test_what_cannot_be_told_is_refused(project: Project, owner: User, kinds: list[str]) -> None:
    with refusal(InvalidInput, "at least one event") as refused:
        webhooks.create(project, URL, kinds, user=owner)
    assert refused.value.field == "kinds"


def test_webhooks_have_an_end(project: Project, owner: User) -> None:
    for _number in range(WEBHOOKS_MAX):
        webhooks.create(project, URL, CHOICES, user=owner)
    with refusal(InvalidInput, "at most 10"):
        webhooks.create(project, URL, CHOICES, user=owner)


# -- what is written -----------------------------------------------------------------------------


def test_a_change_of_state_is_written_with_it(project: Project, hook: Webhook, vm: VM, owner: User) -> None:
    move(vm.pk, Action.STOP, State.RUNNING, State.STOPPING, asked_by=Asker.USER, user=owner, reason="it was asked to")
    (message,) = told()
    assert message["type"] == "vm.state_changed"
    data = message["data"]
    assert isinstance(data, dict)
    assert (data["project"], data["vm"], data["from"], data["to"]) == ("lab", "web-1", "RUNNING", "STOPPING")
    assert (data["action"], data["reason"], data["operation"]) == ("stop", "it was asked to", None)
    assert data["url"].endswith("/projects/lab/vms/web-1/")


def test_a_new_vm_begins_from_nothing(project: Project, hook: Webhook, owner: User) -> None:
    request_create(project, VMRequest("web-9"), user=owner)
    (message,) = told(Kind.STATE_CHANGED)
    assert (message["data"]["from"], message["data"]["to"]) == (None, "PROVISIONING")  # type: ignore[index]


def test_an_operation_that_ended_is_written_with_its_error(hook: Webhook, vm: VM, owner: User) -> None:
    good = factories.make_operation(vm, Action.RESET, user=owner)
    assert told() == []
    operations.close(good.pk)
    assert not operations.close(good.pk)  # twice is once
    bad = factories.make_operation(vm, Action.STOP)
    operations.close(bad.pk, error={"code": "HOST_DOWN", "message": "the host is away", "params": {"x": "y"}})
    first, second = (message["data"] for message in told(Kind.OPERATION_ENDED))
    assert (first["operation"], first["action"], first["user"], first["error"]) == (  # type: ignore[index]
        f"operation-{good.pk}", "reset", "olivia", None,
    )  # fmt: skip
    assert second["error"] == {"code": "HOST_DOWN", "message": "the host is away"}  # type: ignore[index]


def test_what_happened_outside_ended_too(hook: Webhook, vm: VM) -> None:
    made = operations.record_done(vm, Action.GUEST_SHUTDOWN, asked_by=Asker.GUEST)
    assert [message["data"]["operation"] for message in told()] == [f"operation-{made.pk}"]  # type: ignore[index]


def test_a_repair_is_written_with_its_cause(hook: Webhook, vm: VM) -> None:
    move(vm.pk, Action.CRASH, State.RUNNING, State.REPAIRING, asked_by=Asker.OBSERVER, reason="QEMU died")
    (message,) = told(Kind.REPAIR_OPENED)
    data = message["data"]
    assert isinstance(data, dict)
    assert (data["vm"], data["cause"], data["summary"], data["stateBefore"]) == (
        "web-1", "crash", "QEMU died", "RUNNING",
    )  # fmt: skip
    assert len(told(Kind.STATE_CHANGED)) == 1


def test_what_is_rolled_back_is_not_told(hook: Webhook, vm: VM) -> None:
    with no_change(), transaction.atomic():
        move(vm.pk, Action.STOP, State.RUNNING, State.STOPPING, asked_by=Asker.USER)
        assert told()
        transaction.set_rollback(True)


def test_each_webhook_gets_what_it_chose_and_no_other_project_anything(
    project: Project, vm: VM, owner: User, stranger: User
) -> None:
    narrow = webhooks.create(project, URL, ["repair.opened"], user=owner)[0]
    wide = webhooks.create(project, URL, CHOICES, user=owner)[0]
    elsewhere = Project.objects.get(slug="elsewhere")
    webhooks.create(elsewhere, URL, CHOICES, user=stranger)
    off = webhooks.create(project, URL, CHOICES, user=owner)[0]
    webhooks.switch(project, off.pk, on=False, user=owner)
    move(vm.pk, Action.STOP, State.RUNNING, State.STOPPING, asked_by=Asker.USER)
    assert [row.webhook_id for row in WebhookDelivery.objects.all()] == [wide.pk]
    assert narrow.pk != wide.pk


def test_a_project_without_webhooks_costs_a_query_and_no_row(vm: VM) -> None:
    move(vm.pk, Action.STOP, State.RUNNING, State.STOPPING, asked_by=Asker.USER)
    assert told() == []


# -- afterwards ----------------------------------------------------------------------------------


def test_switched_off_what_waits_is_given_up(project: Project, hook: Webhook, owner: User) -> None:
    row = webhooks.send_test(project, hook.pk, user=owner)
    webhooks.switch(project, hook.pk, on=False, user=owner)
    row.refresh_from_db()
    assert row.given_up_at is not None
    with refusal(InvalidInput, "switched off"):
        webhooks.send_test(project, hook.pk, user=owner)
    with refusal(InvalidInput, "switched off"):
        webhooks.send_again(project, hook.pk, row.pk, user=owner)
    webhooks.switch(project, hook.pk, on=True, user=owner)
    assert webhooks.send_again(project, hook.pk, row.pk, user=owner).message == row.message


def test_sending_again_is_the_same_message_once(project: Project, hook: Webhook, owner: User) -> None:
    row = webhooks.send_test(project, hook.pk, user=owner)
    assert webhooks.send_again(project, hook.pk, row.pk, user=owner) == row  # it still waits
    claimed = webhooks.claim(row.pk)
    assert claimed is not None
    webhooks.delivered(claimed, 200)
    again = webhooks.send_again(project, hook.pk, row.pk, user=owner)
    assert (again.message, again.body, again.attempts) == (row.message, row.body, 0)
    assert webhooks.send_again(project, hook.pk, row.pk, user=owner) == again
    assert WebhookDelivery.objects.count() == 2
    with refusal(NotFound):
        webhooks.send_again(project, hook.pk, 0, user=owner)


def test_a_webhook_goes_with_its_log(project: Project, hook: Webhook, owner: User, vm: VM) -> None:
    webhooks.send_test(project, hook.pk, user=owner)
    webhooks.remove(project, hook.pk, user=owner)
    assert not WebhookDelivery.objects.exists()
    assert Operation.objects.count() == 0
