"""Messages arrive: signed, once each, after failures, and nothing secret is left behind."""

import base64
import hashlib
import hmac
import json
import logging
import time
from datetime import timedelta
from functools import partial

import pytest
from django.core import mail
from django.utils import timezone
from pytest_django import Settings

from lifecycle import webhooks
from lifecycle.domain.alerts import Condition, Kind
from lifecycle.models import Alert, AlertDelivery, Host
from lifecycle.repair import delivery
from lifecycle.services import alerts
from tests.alerts.receivers import Mailbox, Webhook, mail_server, webhook
from tests.services.tools import at_once
from tests.stack import wait_until

pytestmark = [pytest.mark.bothdb, pytest.mark.django_db]

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
KINDS = {Kind.HOST_DOWN}


@pytest.fixture
def receiver(settings: Settings):  # type: ignore[no-untyped-def]
    settings.MAIL_ENABLED = False
    with webhook() as found:
        settings.ALERT_WEBHOOK_URL, settings.ALERT_WEBHOOK_SECRET = found.url, SECRET
        yield found


@pytest.fixture
def by_mail(settings: Settings) -> None:
    settings.MAIL_ENABLED = True
    settings.ALERT_EMAILS = ["ops@example.org", "night@example.org"]


@pytest.fixture
def mailbox(settings: Settings, by_mail: None):  # type: ignore[no-untyped-def]
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    with mail_server() as found:
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", found.port
        yield found


@pytest.fixture
def down(host: Host) -> Condition:
    return Condition(Kind.HOST_DOWN, "1", {"host": host.name, "reason": "no route"}, host_id=host.pk)


def due_now() -> None:
    AlertDelivery.objects.update(due_at=timezone.now() - timedelta(seconds=1))


def signature_of(secret: str, names: dict[str, str], body: bytes) -> str:
    """As the Standard Webhooks specification tells a receiver to make it, written from its text."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{names['webhook-id']}.{names['webhook-timestamp']}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def verify(headers: dict[str, str], body: bytes) -> None:
    """It is signed, just now."""
    names = {name.lower(): value for name, value in headers.items()}
    assert signature_of(SECRET, names, body) in names["webhook-signature"].split(" ")
    assert abs(time.time() - int(names["webhook-timestamp"])) < 300


def test_the_signature_is_that_of_the_specifications_example() -> None:
    # The example of the reference implementations (standard-webhooks, libraries/*/tests).
    secret = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    signed = webhooks.signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_webhook_is_signed_and_says_what_it_is_about(receiver: Webhook, down: Condition) -> None:
    alerts.sync(KINDS, [down])
    assert delivery.deliver() == 1
    path, headers, body = receiver.received[0]
    verify(headers, body)
    assert path == "/alerts?of=lab"
    message = json.loads(body)
    assert message["type"] == "alert.opened"
    assert message["data"]["text"] == "The host host-1 does not answer: no route"
    assert (message["data"]["host"], message["data"]["resolvedAt"]) == ("host-1", None)


def test_each_message_is_sent_once_and_the_end_after_the_beginning(receiver: Webhook, down: Condition) -> None:
    alerts.sync(KINDS, [down])
    alerts.sync(KINDS, [])
    for _time in range(3):
        due_now()
        delivery.deliver()
    kinds = [json.loads(body)["type"] for _path, _headers, body in receiver.received]
    assert kinds == ["alert.opened", "alert.resolved"]


def test_a_message_that_failed_is_sent_again_under_its_id(receiver: Webhook, down: Condition) -> None:
    receiver.answers = [500, 503]
    alerts.sync(KINDS, [down])
    begin = timezone.now()
    assert delivery.deliver() == 0
    waiting = AlertDelivery.objects.get()
    assert (waiting.attempts, waiting.problem) == (1, "the receiver answered with status 500")
    assert waiting.due_at > begin + timedelta(seconds=5)
    assert delivery.deliver() == 0  # not before its time
    assert len(receiver.received) == 1
    for expected in (0, 1):
        due_now()
        assert delivery.deliver() == expected
    assert len({headers["webhook-id"] for _path, headers, _body in receiver.received}) == 1
    assert AlertDelivery.objects.get().sent_at is not None


def test_a_receiver_that_hangs_holds_a_message_up_for_a_bounded_time(
    receiver: Webhook, down: Condition, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.answers = [0]
    alerts.sync(KINDS, [down])
    started = time.monotonic()
    with monkeypatch.context() as impatient:
        impatient.setattr(webhooks, "TIMEOUT_SECONDS", 0.3)
        assert delivery.deliver() == 0
    assert time.monotonic() - started < 20  # the receiver hangs for 30
    assert AlertDelivery.objects.get().problem.startswith("TimeoutError")
    wait_until(lambda: not receiver.answers, 60, "the receiver to have begun to hang")
    due_now()
    assert delivery.deliver() == 1


def test_a_redirect_is_not_followed(receiver: Webhook, down: Condition) -> None:
    receiver.answers = [302]
    alerts.sync(KINDS, [down])
    assert delivery.deliver() == 0
    assert [path for path, _headers, _body in receiver.received] == ["/alerts?of=lab"]


def test_a_receiver_that_wants_no_more_is_not_asked_again(receiver: Webhook, down: Condition) -> None:
    receiver.answers = [410]
    alerts.sync(KINDS, [down])
    delivery.deliver()
    due_now()
    assert delivery.deliver() == 0
    assert AlertDelivery.objects.get().given_up_at is not None
    assert len(receiver.received) == 1


def test_a_message_is_given_up_after_a_day(receiver: Webhook, down: Condition) -> None:
    receiver.answers = [500, 500]
    alerts.sync(KINDS, [down])
    delivery.deliver()
    assert AlertDelivery.objects.get().given_up_at is None
    Alert.objects.update(opened_at=timezone.now() - timedelta(hours=25))
    due_now()
    delivery.deliver()
    assert AlertDelivery.objects.get().given_up_at is not None
    alerts.sync(KINDS, [])
    assert delivery.deliver() == 1  # that it is over is told all the same


def test_nobody_there_is_a_failure_like_any_other(settings: Settings, down: Condition, receiver: Webhook) -> None:
    settings.ALERT_WEBHOOK_URL = "http://127.0.0.1:9/x?token=hush"
    alerts.sync(KINDS, [down])
    assert delivery.deliver() == 0
    assert AlertDelivery.objects.get().problem.startswith("ConnectionRefusedError")


def test_neither_secret_nor_address_is_logged_or_kept(
    settings: Settings, receiver: Webhook, down: Condition, caplog: pytest.LogCaptureFixture
) -> None:
    settings.ALERT_WEBHOOK_URL += "&token=hush"
    receiver.answers = [500]
    alerts.sync(KINDS, [down])
    with caplog.at_level(logging.DEBUG):
        delivery.deliver()
    assert "did not arrive" in caplog.text
    kept = caplog.text + str(list(AlertDelivery.objects.values()))
    assert "hush" not in kept
    assert SECRET[6:] not in kept


def test_a_way_that_was_switched_off_is_given_up(settings: Settings, receiver: Webhook, down: Condition) -> None:
    alerts.sync(KINDS, [down])
    settings.ALERT_WEBHOOK_URL = ""
    assert delivery.deliver() == 0
    assert AlertDelivery.objects.get().problem == "this way was switched off"
    assert AlertDelivery.objects.get().given_up_at is not None


@pytest.mark.django_db(transaction=True)
def test_many_that_deliver_at_once_send_each_message_once(receiver: Webhook, host: Host) -> None:
    many = [Condition(Kind.HOST_DOWN, str(n), {"host": str(n), "reason": "x"}) for n in range(6)]
    alerts.sync(KINDS, many)
    outcomes = at_once([partial(delivery.deliver)] * 5)
    assert sum(outcomes) == 6
    assert len(receiver.received) == 6


# -- mail ----------------------------------------------------------------------------------------


def test_a_mail_goes_to_every_address(by_mail: None, down: Condition) -> None:
    alerts.sync(KINDS, [down])
    alerts.sync(KINDS, [])
    assert delivery.deliver() == 1
    assert delivery.deliver() == 1
    opened, over = mail.outbox
    assert opened.to == ["ops@example.org", "night@example.org"]
    assert opened.subject == "Alert: The host host-1 does not answer: no route"
    assert over.subject == "Over: The host host-1 does not answer: no route"
    assert "/operators/" in over.body


def test_a_mail_reaches_a_mail_server_after_it_was_unable(mailbox: Mailbox, down: Condition) -> None:
    mailbox.refusals = 1
    alerts.sync(KINDS, [down])
    assert delivery.deliver() == 0
    assert AlertDelivery.objects.get().problem.startswith("SMTPDataError")
    due_now()
    assert delivery.deliver() == 1
    ((to, text),) = mailbox.mails
    assert to == ["ops@example.org", "night@example.org"]
    assert "host-1 does not answer" in text


def test_a_reason_of_several_lines_makes_no_header(by_mail: None, host: Host) -> None:
    alerts.sync(KINDS, [Condition(Kind.HOST_DOWN, "1", {"host": "h", "reason": "one\nBcc: two@example.org"})])
    assert delivery.deliver() == 1
    assert "\n" not in mail.outbox[0].subject
