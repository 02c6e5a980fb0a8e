"""Messages to webhooks arrive: signed, in spite of failures and dead workers, and nowhere they may not go."""

import json
import logging
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial

import pytest
from django.utils import timezone
from pytest_django import Settings

from lifecycle.domain.webhooks import CHOICES
from lifecycle.models import Project, User, Webhook, WebhookDelivery
from lifecycle.repair import hooks
from lifecycle.services import retention, webhooks
from tests.alerts.receivers import Webhook as Receiver
from tests.alerts.receivers import webhook
from tests.alerts.test_delivery import signature_of
from tests.services.tools import at_once

pytestmark = [pytest.mark.bothdb, pytest.mark.django_db]


@pytest.fixture
def receiver(settings: Settings) -> Iterator[Receiver]:
    settings.WEBHOOK_ALLOWED_NETWORKS = ["127.0.0.0/8"]
    with webhook() as found:
        yield found


@pytest.fixture
def hook(project: Project, owner: User, receiver: Receiver) -> Webhook:
    return webhooks.create(project, receiver.url, CHOICES, user=owner)[0]


def write(hook: Webhook, owner: User) -> WebhookDelivery:
    return webhooks.send_test(hook.project, hook.pk, user=owner)


def due_now() -> None:
    WebhookDelivery.objects.update(due_at=timezone.now() - timedelta(seconds=1))


def test_a_message_is_signed_with_the_webhooks_secret(hook: Webhook, owner: User, receiver: Receiver) -> None:
    row = write(hook, owner)
    assert hooks.deliver() == 1
    ((path, headers, body),) = receiver.received
    assert path == "/alerts?of=lab"
    names = {name.lower(): value for name, value in headers.items()}
    assert names["webhook-id"] == f"msg_{row.message.hex}"
    assert names["webhook-signature"] == signature_of(webhooks.secret_of(hook), names, body)
    assert abs(time.time() - int(names["webhook-timestamp"])) < 300
    assert json.loads(body) == row.body
    row.refresh_from_db()
    assert (row.status, row.attempts, row.problem) == (200, 1, "")
    assert row.sent_at is not None
    assert hooks.deliver() == 0


def test_a_message_that_failed_is_sent_again_under_its_id_with_growing_pauses(
    hook: Webhook, owner: User, receiver: Receiver
) -> None:
    receiver.answers = [500, 503]
    row = write(hook, owner)
    least, most = [], []
    for _attempt in range(2):
        begin = timezone.now()
        assert hooks.deliver() == 0
        end = timezone.now()
        row.refresh_from_db()
        least.append((row.due_at - end).total_seconds())
        most.append((row.due_at - begin).total_seconds())
        due_now()
    assert most[0] > 5
    assert least[0] < 15 < most[1]
    assert least[1] < 40
    assert (row.problem, row.status) == ("the receiver answered with status 503", 503)
    assert hooks.deliver() == 1
    assert len({headers["webhook-id"] for _path, headers, _body in receiver.received}) == 1


def test_a_worker_that_dies_between_claim_and_answer_loses_nothing(
    hook: Webhook, owner: User, receiver: Receiver
) -> None:
    row = write(hook, owner)
    assert webhooks.claim(row.pk) is not None  # and its worker is gone
    assert hooks.deliver() == 0
    assert receiver.received == []
    due_now()  # its pause is over
    assert hooks.deliver() == 1
    assert len(receiver.received) == 1


def test_a_receiver_that_hangs_costs_one_timeout_a_pause_and_holds_up_no_other(
    project: Project, hook: Webhook, owner: User, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lifecycle.webhooks.TIMEOUT_SECONDS", 3.0)  # the swift one answers within that on any machine
    receiver.answers = [0]
    with webhook() as swift:
        other = webhooks.create(project, swift.url, CHOICES, user=owner)[0]
        for _number in range(3):
            write(hook, owner)
        write(other, owner)
        assert hooks.deliver() == 1
        assert len(swift.received) == 1
        assert len(receiver.received) == 1
    assert WebhookDelivery.objects.waiting().filter(due_at__gt=timezone.now()).count() == 3
    due_now()
    assert hooks.deliver() == 3


def test_when_it_is_back_what_waited_is_sent_at_once(hook: Webhook, owner: User, receiver: Receiver) -> None:
    receiver.answers = [500]
    first = write(hook, owner)
    for _number in range(2):
        write(hook, owner)
    assert hooks.deliver() == 0
    WebhookDelivery.objects.filter(pk=first.pk).update(due_at=timezone.now())
    assert hooks.deliver() == 3


def test_a_redirect_is_not_followed(hook: Webhook, owner: User, receiver: Receiver) -> None:
    receiver.answers = [302]
    write(hook, owner)
    assert hooks.deliver() == 0
    assert [path for path, _headers, _body in receiver.received] == ["/alerts?of=lab"]


def test_a_receiver_that_wants_no_more_is_not_asked_again(hook: Webhook, owner: User, receiver: Receiver) -> None:
    receiver.answers = [410]
    write(hook, owner)
    hooks.deliver()
    due_now()
    assert hooks.deliver() == 0
    assert WebhookDelivery.objects.get().given_up_at is not None
    assert len(receiver.received) == 1


def test_a_message_is_given_up_after_a_day(hook: Webhook, owner: User, receiver: Receiver) -> None:
    receiver.answers = [500]
    write(hook, owner)
    WebhookDelivery.objects.update(created_at=timezone.now() - timedelta(hours=25))
    hooks.deliver()
    assert WebhookDelivery.objects.get().given_up_at is not None


@pytest.mark.parametrize("host", ["localhost", "127.1", "2130706433"])
def test_a_name_that_leads_to_a_private_address_is_not_asked(
    host: str, project: Project, owner: User, receiver: Receiver, settings: Settings
) -> None:
    settings.WEBHOOK_ALLOWED_NETWORKS = []
    made = webhooks.create(project, receiver.url.replace("127.0.0.1", host), CHOICES, user=owner)[0]
    write(made, owner)
    assert hooks.deliver() == 0
    row = WebhookDelivery.objects.get()
    assert "private address" in row.problem
    assert row.given_up_at is not None
    assert receiver.received == []


def test_what_was_allowed_once_is_judged_at_each_message(
    hook: Webhook, owner: User, receiver: Receiver, settings: Settings
) -> None:
    settings.WEBHOOK_ALLOWED_NETWORKS = []
    write(hook, owner)
    assert hooks.deliver() == 0
    assert receiver.received == []


def test_nobody_there_is_a_failure_like_any_other(project: Project, owner: User, receiver: Receiver) -> None:
    made = webhooks.create(project, "http://127.0.0.1:9/x", CHOICES, user=owner)[0]
    write(made, owner)
    assert hooks.deliver() == 0
    row = WebhookDelivery.objects.get()
    assert "does not answer" in row.problem
    assert row.is_waiting


def test_neither_secret_nor_the_addresss_own_secret_is_logged(
    project: Project, owner: User, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    made, secret = webhooks.create(project, f"{receiver.url}&token=hush", CHOICES, user=owner)
    receiver.answers = [500]
    write(made, owner)
    with caplog.at_level(logging.DEBUG):
        hooks.deliver()
    assert "did not arrive" in caplog.text
    kept = caplog.text + str(list(WebhookDelivery.objects.values()))
    assert "hush" not in kept
    assert secret.removeprefix("whsec_") not in kept


@pytest.mark.django_db(transaction=True)
def test_many_that_deliver_at_once_send_each_message_once(hook: Webhook, owner: User, receiver: Receiver) -> None:
    for _number in range(6):
        write(hook, owner)
    assert sum(at_once([partial(hooks.deliver)] * 5)) == 6
    assert len(receiver.received) == 6


def test_old_messages_go_and_waiting_ones_stay(hook: Webhook, owner: User, settings: Settings) -> None:
    old, waiting = write(hook, owner), write(hook, owner)
    long_ago = timezone.now() - timedelta(days=settings.KEEP_CLOSED_DAYS + 1)
    WebhookDelivery.objects.update(created_at=long_ago)
    WebhookDelivery.objects.filter(pk=old.pk).update(sent_at=long_ago)
    assert sum(retention.batches()) >= 1
    assert list(WebhookDelivery.objects.all()) == [waiting]
