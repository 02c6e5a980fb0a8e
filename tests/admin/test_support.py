"""What operators see to help people: webhooks and their messages, schedules, tokens, notifications, saved views."""

import re
from collections.abc import Callable
from datetime import time, timedelta

import pytest
from django.contrib import admin
from django.contrib.messages import get_messages
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from lifecycle.domain.states import State
from lifecycle.models import (
    VM,
    ApiToken,
    AuditEntry,
    IdleHint,
    Notification,
    Project,
    SavedView,
    Schedule,
    ScheduleRun,
    User,
    Webhook,
    WebhookDelivery,
)
from lifecycle.services import notifications, saved_views, schedules, tokens, webhooks
from tests import factories
from vmportal.admin_theme import UNFOLD

ROWS: list[type[Model]] = [
    *(Webhook, WebhookDelivery, Schedule, ScheduleRun, IdleHint, ApiToken, Notification, SavedView),
]
ADDRESS = "https://hooks.example.org/a-secret-of-the-receiver?key=another"
#: Reached from the rows that they belong to, and not from the side bar.
BY_THEIR_OWNER = {"webhookdelivery", "schedulerun"}


def listing(model: type[Model], **filters: object) -> str:
    query = "&".join(f"{name}={value}" for name, value in filters.items())
    return f"{reverse(f'admin:lifecycle_{model._meta.model_name}_changelist')}?{query}"


def page(row: Model) -> str:
    return reverse(f"admin:lifecycle_{row._meta.model_name}_change", args=[row.pk])


def shown(client: Client, model: type[Model], **filters: object) -> list[Model]:
    """The rows of a filtered list."""
    return list(client.get(listing(model, **filters)).context["cl"].result_list)


def furnish(project: Project, owner: User, number: int) -> dict[type[Model], Model]:
    """One row of each model, made by the services."""
    vm = factories.make_vm(project, f"vm-{number}", State.TERMINATED)
    hook = webhooks.create(project, ADDRESS, ["repair.opened", "operation.ended"], user=owner)[0]
    message = webhooks.send_test(project, hook.pk, user=owner)
    wish = schedules.Wish("start", time(8, number), (0, 1, 2, 3, 4), "Europe/Berlin")
    schedule = schedules.add(vm, wish, user=owner)
    due = timezone.now() - timedelta(days=2)
    Schedule.objects.filter(pk=schedule.pk).update(next_at=due)
    run = schedules.take(schedule.pk, due, timezone.now())
    assert run is not None
    hint = IdleHint.objects.create(vm=vm, since=due, cpu_percent=0.4, network=120.0)
    token, _secret = tokens.create(owner, f"program-{number}", [project], may_write=True)
    notifications.repair_opened(vm)
    told = Notification.objects.filter(user=owner).latest("pk")
    view = saved_views.save(project, f"Production {number}", "label=env%3Dprod", user=owner)
    return dict(zip(ROWS, (hook, message, schedule, run, hint, token, told, view), strict=True))


@pytest.fixture
def rows(project: Project, owner: User) -> dict[type[Model], Model]:
    return furnish(project, owner, 1)


@pytest.mark.parametrize("model", ROWS, ids=lambda model: model.__name__)
def test_each_has_a_list_a_page_a_search_and_no_form(
    admin_client: Client, rows: dict[type[Model], Model], model: type[Model]
) -> None:
    row = rows[model]
    assert row in shown(admin_client, model)
    assert admin_client.get(listing(model, q="lab")).status_code == 200
    assert admin_client.get(page(row)).status_code == 200
    assert admin_client.get(reverse(f"admin:lifecycle_{model._meta.model_name}_add")).status_code == 403
    assert admin_client.post(page(row), {"name": "other"}).status_code == 403
    delete = reverse(f"admin:lifecycle_{model._meta.model_name}_delete", args=[row.pk])
    assert admin_client.post(delete, {"post": "yes"}).status_code == 403
    assert model._default_manager.filter(pk=row.pk).exists()


@pytest.mark.parametrize("model", ROWS, ids=lambda model: model.__name__)
def test_an_owner_of_a_project_is_no_operator(
    client: Client, owner: User, rows: dict[type[Model], Model], model: type[Model]
) -> None:
    client.force_login(owner)
    assert client.get(listing(model), follow=True).status_code == 403
    assert client.get(page(rows[model]), follow=True).status_code == 403


@pytest.mark.parametrize("model", ROWS, ids=lambda model: model.__name__)
def test_staff_see_what_they_were_given_the_right_to_see(
    as_user: Callable[[User], Client],
    make_staff: Callable[..., User],
    rows: dict[type[Model], Model],
    model: type[Model],
) -> None:
    name = model._meta.model_name
    browser = as_user(make_staff("lifecycle.view_vm"))
    assert browser.get(listing(model)).status_code == 403
    assert f"/{name}/" not in browser.get(reverse("admin:index")).content.decode()


def test_lists_ask_the_same_number_of_questions_for_more_rows(
    admin_client: Client, project: Project, owner: User, rows: dict[type[Model], Model]
) -> None:
    def questions() -> list[int]:
        counts = []
        for model in ROWS:
            with CaptureQueriesContext(
                connection,
            ) as asked:
                assert admin_client.get(listing(model)).status_code == 200
            counts.append(len(asked))
        return counts

    questions()  # what is cached by a first request
    before = questions()
    for number in range(2, 6):
        furnish(project, owner, number)
    assert questions() == before


# -- webhooks ------------------------------------------------------------------------------------


def test_of_a_webhook_s_address_the_host_alone_is_shown(admin_client: Client, rows: dict[type[Model], Model]) -> None:
    hook, message = rows[Webhook], rows[WebhookDelivery]
    assert isinstance(hook, Webhook)
    for address in (listing(Webhook), page(hook), listing(WebhookDelivery), page(message)):
        text = admin_client.get(address).content.decode()
        assert "hooks.example.org" in text
        for secret in ("a-secret-of-the-receiver", hook.salt, webhooks.secret_of(hook)):
            assert secret not in text
    assert reverse("web:webhook", args=["lab", hook.pk]) in admin_client.get(page(hook)).content.decode()


def test_messages_are_told_apart_by_what_became_of_them(
    admin_client: Client, project: Project, owner: User, rows: dict[type[Model], Model]
) -> None:
    hook = rows[Webhook]
    waiting = rows[WebhookDelivery]
    arrived, lost = (webhooks.send_test(project, hook.pk, user=owner) for _number in range(2))
    for message, end in ((arrived, None), (lost, "the receiver answered with status 410")):
        claimed = webhooks.claim(message.pk)
        assert claimed is not None
        if end is None:
            webhooks.delivered(claimed, 200)
        else:
            webhooks.failed(claimed, end, 410, for_good=True)
    assert shown(admin_client, WebhookDelivery, outcome="waiting") == [waiting]
    assert shown(admin_client, WebhookDelivery, outcome="arrived") == [arrived]
    assert shown(admin_client, WebhookDelivery, outcome="given_up") == [lost]
    assert "the receiver answered with status 410" in admin_client.get(page(lost)).content.decode()
    text = admin_client.get(listing(Webhook)).content.decode()
    assert "1 waiting, 1 given up" in text
    assert f"webhook__id__exact={hook.pk}" in text
    assert len(shown(admin_client, WebhookDelivery, webhook__id__exact=hook.pk)) == 3


# -- schedules -----------------------------------------------------------------------------------


def test_a_schedule_and_what_became_of_its_times_are_shown_in_words(
    admin_client: Client, rows: dict[type[Model], Model]
) -> None:
    schedule, run = rows[Schedule], rows[ScheduleRun]
    assert isinstance(run, ScheduleRun)
    text = admin_client.get(listing(Schedule)).content.decode()
    assert "Mon – Fri" in text
    assert "Europe/Berlin" in text
    assert shown(admin_client, ScheduleRun, schedule__id__exact=schedule.pk) == [run]
    assert run.outcome == ScheduleRun.Outcome.MISSED
    assert "missed" in admin_client.get(page(run)).content.decode()
    assert reverse("web:vm-schedules", args=["lab", "vm-1"]) in admin_client.get(page(schedule)).content.decode()


def test_the_schedule_of_a_deleted_vm_leads_nowhere(admin_client: Client, rows: dict[type[Model], Model]) -> None:
    VM.objects.filter(name="vm-1").update(deleted_at=timezone.now(), state="TERMINATED")
    for model in (Schedule, ScheduleRun, IdleHint):
        answer = admin_client.get(page(rows[model]))
        assert answer.status_code == 200
        assert reverse("web:vm-schedules", args=["lab", "vm-1"]) not in answer.content.decode()


# -- people's ------------------------------------------------------------------------------------


def test_a_token_that_leaked_is_revoked_and_that_is_audited(
    admin_client: Client, superuser: User, owner: User, project: Project
) -> None:
    token, secret = tokens.create(owner, "ci", [project], may_write=True)

    def revoke() -> str:
        chosen = {"action": "revoke", "_selected_action": token.pk}
        answer = admin_client.post(listing(ApiToken), chosen, follow=True)
        return " ".join(str(message) for message in get_messages(answer.wsgi_request)) or answer.content.decode()

    text = admin_client.get(page(token)).content.decode()
    assert secret not in text
    assert token.token_sha256 not in text
    assert "lab" in text
    assert "was revoked." in revoke()
    assert tokens.find(secret) is None
    entry = AuditEntry.objects.get(action="token.revoke")
    assert (entry.who, entry.target) == (superuser.get_username(), "ci (olivia)")
    assert "was revoked before." in revoke()
    assert AuditEntry.objects.filter(action="token.revoke").count() == 1


def test_staff_who_may_only_look_revoke_nothing(
    as_user: Callable[[User], Client], make_staff: Callable[..., User], owner: User, project: Project
) -> None:
    token, secret = tokens.create(owner, "ci", [project], may_write=True)
    browser = as_user(make_staff("lifecycle.view_apitoken"))
    assert token in shown(browser, ApiToken)
    browser.post(listing(ApiToken), {"action": "revoke", "_selected_action": token.pk})
    assert tokens.find(secret) is not None


def test_tokens_are_told_apart_by_whether_they_open_anything(
    admin_client: Client, owner: User, project: Project
) -> None:
    usable, revoked, expired = (tokens.create(owner, name, [project], may_write=False)[0] for name in ("a", "b", "c"))
    tokens.revoke(owner, revoked.pk)
    ApiToken.objects.filter(pk=expired.pk).update(expires_at=timezone.now() - timedelta(days=1))
    assert shown(admin_client, ApiToken, status="usable") == [usable]
    assert set(shown(admin_client, ApiToken, status="over")) == {revoked, expired}


def test_a_notification_tells_what_became_of_its_mail(admin_client: Client, rows: dict[type[Model], Model]) -> None:
    told = rows[Notification]
    now = timezone.now()
    for fields, status in (
        ({"mail_due_at": now}, "waiting"),
        ({"mail_due_at": now, "mailed_at": now}, "mailed"),
        ({"mail_due_at": now, "mailed_at": None, "given_up_at": now}, "given_up"),
    ):
        Notification.objects.filter(pk=told.pk).update(**fields)
        for filtered in ("waiting", "mailed", "given_up"):
            assert (told in shown(admin_client, Notification, mail=filtered)) == (filtered == status)
    text = admin_client.get(page(told)).content.decode()
    assert "vm-1 in the project lab is in repair." in text
    assert "given up" in text


def test_a_saved_view_leads_to_what_its_person_sees(admin_client: Client, rows: dict[type[Model], Model]) -> None:
    text = admin_client.get(page(rows[SavedView])).content.decode()
    assert f"{reverse('web:vms', args=['lab'])}?label=env%3Dprod" in text


# -- the way to them -----------------------------------------------------------------------------


def test_every_list_of_ours_is_reached_from_the_side_bar(db: None) -> None:
    ways = [str(item["link"]) for group in UNFOLD["SIDEBAR"]["navigation"] for item in group["items"]]
    there = {found[1] for way in ways if (found := re.search(r"/lifecycle/(\w+)/", way))}
    ours = {model._meta.model_name for model in admin.site._registry if model._meta.app_label == "lifecycle"}
    assert ours - there == BY_THEIR_OWNER
