"""Suspensions end after 60 days; their people are told a week before, once."""

import re
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.core import mail
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action
from lifecycle.models import VM, Operation, Project, User
from lifecycle.repair import expiry
from lifecycle.services import expiry as services
from tests import factories
from tests.alerts.receivers import mail_server
from tests.services.tools import at_once

pytestmark = [pytest.mark.bothdb, pytest.mark.django_db, pytest.mark.usefixtures("host")]


@pytest.fixture(autouse=True)
def _mail(settings: Settings) -> None:
    settings.MAIL_ENABLED = True


def suspended(project: Project, days: float, **fields: Any) -> VM:
    since = timezone.now() - timedelta(days=days)
    return factories.make_vm(project, state=State.SUSPENDED, state_since=since, **fields)


def test_a_suspension_ends_after_sixty_days_and_not_before(project: Project) -> None:
    old, young = suspended(project, 60.01), suspended(project, 59.9)
    assert expiry.expire_and_tell()[0] == 1
    operation = Operation.objects.get()
    assert (operation.vm, operation.action, operation.asked_by) == (old, Action.EXPIRE, "timer")
    assert factories.reload_vm(old.pk).state == State.STOPPING
    assert factories.reload_vm(young.pk).state == State.SUSPENDED
    assert expiry.expire_and_tell()[0] == 0


def test_what_is_worked_on_or_gone_is_left_alone(project: Project) -> None:
    factories.make_operation(suspended(project, 61), Action.RESUME)
    assert services.expired(limit=10) == []  # or those that are worked on would keep others from their turn
    suspended(project, 61, deleted_at=timezone.now())
    factories.make_vm(project, state=State.TERMINATED, state_since=timezone.now() - timedelta(days=100))
    assert expiry.expire_and_tell()[0] == 0


@pytest.mark.django_db(transaction=True)
def test_many_that_look_at_once_ask_for_one_operation(project: Project) -> None:
    suspended(project, 61)
    outcomes = at_once([partial(expiry.expire_and_tell)] * 6)
    assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    assert Operation.objects.count() == 1


def test_people_are_told_a_week_before_once(project: Project, owner: User, operator: User, viewer: User) -> None:
    vm = suspended(project, 53.01)
    suspended(project, 52.9)
    assert expiry.expire_and_tell() == (0, 1)
    assert expiry.expire_and_tell() == (0, 0)
    assert {address for message in mail.outbox for address in message.to} == {owner.email, operator.email}
    assert len(mail.outbox) == 2
    assert factories.reload_vm(vm.pk).expiry_noticed_at is not None


def test_the_notice_says_when_and_where(project: Project) -> None:
    vm = suspended(project, 55)
    expiry.expire_and_tell()
    ends = services.expires_at(vm)
    assert ends == vm.state_since + timedelta(days=60)
    text = mail.outbox[0].body
    assert vm.name in mail.outbox[0].subject
    assert re.search(rf"https?://\S+{reverse('web:vm', args=[project.slug, vm.name])}\n", str(text))


def test_a_later_suspension_is_told_of_again(project: Project) -> None:
    suspended(project, 54, expiry_noticed_at=timezone.now() - timedelta(days=100))
    assert expiry.expire_and_tell() == (0, 1)


def test_without_mail_the_notice_is_in_the_data(project: Project, settings: Settings) -> None:
    settings.MAIL_ENABLED = False
    vm = suspended(project, 54)
    before = Project.objects.get(pk=project.pk).last_event_number
    assert expiry.expire_and_tell() == (0, 1)
    assert mail.outbox == []
    assert factories.reload_vm(vm.pk).expiry_noticed_at is not None
    assert Project.objects.get(pk=project.pk).last_event_number == before + 1  # open pages are told


def test_a_mail_server_that_is_unable_is_asked_again(project: Project, settings: Settings, operator: User) -> None:
    operator.delete()
    vm = suspended(project, 54)
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    with mail_server() as box:
        settings.EMAIL_HOST, settings.EMAIL_PORT, box.refusals = "127.0.0.1", box.port, 1
        assert expiry.expire_and_tell() == (0, 0)
        assert factories.reload_vm(vm.pk).expiry_noticed_at is None
        assert expiry.expire_and_tell() == (0, 1)
    assert len(box.mails) == 1
