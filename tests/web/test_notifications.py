"""Notifications: who is told of what, by which way, and who reads it."""

import pytest
from django.core import mail
from django.test import Client

from lifecycle.domain.notifications import DEFAULTS, Kind, Way, ways_of
from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action, Asker
from lifecycle.labels import NOTIFICATIONS
from lifecycle.models import VM, Host, Notification, Project, User
from lifecycle.repair import notices
from lifecycle.services import notifications, operations, projects
from lifecycle.services.transitions import move
from tests import factories
from tests.web.conftest import Browser


@pytest.fixture(autouse=True)
def _mail_on(settings: object) -> None:
    settings.MAIL_ENABLED = True  # type: ignore[attr-defined]


@pytest.fixture
def running(project: Project, host: Host, catalog: None) -> VM:
    return factories.give_history(factories.make_vm(project, "web-1", State.RUNNING, host=host))


def told(kind: Kind) -> list[str]:
    found = Notification.objects.filter(kind=kind).order_by("user__username")
    return list(found.values_list("user__username", flat=True))


def fail(vm: VM, user: User | None, code: str = "X") -> None:
    operation = factories.make_operation(vm, Action.RESET, user=user)
    operations.close(operation.pk, error={"code": code, "message": "no"})


def test_every_kind_has_words_and_a_default() -> None:
    assert set(NOTIFICATIONS) == set(DEFAULTS) == {kind.value for kind in Kind}


def test_who_asked_for_it_is_told_that_it_failed(running: VM, operator: User) -> None:
    fail(running, operator)
    assert told(Kind.OPERATION_FAILED) == ["otto"]
    assert User.objects.get(pk=operator.pk).unread_notifications == 1


def test_nobody_is_told_of_what_was_taken_over_or_went_well(running: VM, operator: User) -> None:
    fail(running, operator, code="OPERATION_PREEMPTED")
    operations.close(factories.make_operation(running, Action.RESET, user=operator).pk)
    fail(running, None)
    assert told(Kind.OPERATION_FAILED) == []


def test_those_who_can_act_are_told_of_a_repair_and_of_its_end(running: VM) -> None:
    move(running.pk, Action.CRASH, State.RUNNING, State.REPAIRING, asked_by=Asker.OBSERVER)
    assert told(Kind.REPAIR_OPENED) == ["olivia", "otto"]
    move(running.pk, Action.CRASH, State.REPAIRING, State.RUNNING, asked_by=Asker.OBSERVER)
    assert told(Kind.REPAIR_CLOSED) == ["olivia", "otto"]
    assert Notification.objects.filter(kind=Kind.REPAIR_CLOSED, mail_due_at__isnull=False).count() == 0


def test_a_person_is_told_of_an_invitation_and_of_a_role(project: Project, owner: User, operator: User) -> None:
    guest = factories.make_user("gina")
    _invitation, token = projects.invite(project, "GINA@example.org", "viewer", user=owner)
    projects.set_role(project, operator, "viewer", user=owner)
    projects.remove_member(project, operator, user=owner)
    assert told(Kind.INVITED) == [guest.username]
    assert told(Kind.MEMBERSHIP) == ["otto", "otto"]
    assert token not in str(list(Notification.objects.values()))


def test_a_choice_is_followed(running: VM, operator: User) -> None:
    notifications.choose(operator, {Kind.OPERATION_FAILED: []})
    fail(running, operator)
    notifications.choose(operator, {Kind.OPERATION_FAILED: [Way.MAIL]})
    fail(running, operator)
    found = Notification.objects.get()
    assert (found.in_portal, found.mail_due_at is not None) == (False, True)
    assert User.objects.get(pk=operator.pk).unread_notifications == 0


def test_what_is_not_chosen_is_as_the_product_says() -> None:
    assert ways_of({}, Kind.REPAIR_CLOSED) == {Way.PORTAL}
    assert ways_of({"repair_closed": ["mail", "pigeon"]}, Kind.REPAIR_CLOSED) == {Way.MAIL}


def test_a_mail_is_sent_once_in_the_reader_s_language(running: VM, operator: User) -> None:
    User.objects.filter(pk=operator.pk).update(language="fr")
    fail(running, operator)
    assert notices.deliver() == 1
    assert notices.deliver() == 0
    sent = mail.outbox[0]
    assert sent.to == ["otto@example.org"]
    assert "web-1" in sent.subject
    assert "failed" not in sent.subject
    assert "/projects/lab/operations/" in sent.body


def test_a_mail_server_that_refuses_is_asked_again_later(
    running: VM, operator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr("django.core.mail.EmailMessage.send", refuse)
    fail(running, operator)
    assert notices.deliver() == 0
    found = Notification.objects.get()
    assert (found.mail_attempts, found.mailed_at, found.given_up_at) == (1, None, None)
    assert notifications.due(10) == []


def test_no_mail_is_written_while_mail_is_off(running: VM, operator: User, settings: object) -> None:
    settings.MAIL_ENABLED = False  # type: ignore[attr-defined]
    fail(running, operator)
    assert Notification.objects.get().mail_due_at is None


def test_the_bell_counts_and_reading_empties_it(running: VM, operator: User, browser: Browser) -> None:
    for _time in range(2):
        fail(running, operator)
    client = browser(operator)
    assert "2 unread" in client.get("/notifications/").content.decode()
    first = Notification.objects.first()
    assert first is not None
    response = client.post(f"/notifications/{first.pk}/open/")
    assert response["Location"] == first.path
    assert "1 unread" in client.get("/notifications/").content.decode()
    client.post("/notifications/read/")
    assert "unread" not in client.get("/notifications/").content.decode()


def test_the_choice_is_made_on_a_page(as_owner: Client, owner: User) -> None:
    assert "repair_opened:mail" in as_owner.get("/account/notifications/").content.decode()
    as_owner.post("/account/notifications/", {"way": ["repair_opened:portal", "invited:pigeon"]})
    chosen = User.objects.get(pk=owner.pk).notification_choices
    assert chosen["repair_opened"] == ["portal"]
    assert chosen["invited"] == []
