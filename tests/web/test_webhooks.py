"""Pages of webhooks: the form, the secret that is shown once, the log and what can be done from it."""

import pytest
from django.test import Client

from lifecycle.domain.webhooks import CHOICES
from lifecycle.models import Project, User, Webhook, WebhookDelivery
from lifecycle.services import webhooks
from lifecycle.web.views.webhooks import PAGE_SIZE
from tests.web.conftest import Browser

URL = "https://example.org/hook"
PAGE = "/projects/lab/webhooks/"


@pytest.fixture
def hook(project: Project, owner: User) -> Webhook:
    return webhooks.create(project, URL, CHOICES, user=owner)[0]


def test_the_secret_is_shown_once_and_not_kept_by_browsers(as_owner: Client, project: Project) -> None:
    response = as_owner.post(PAGE, {"url": URL, "kinds": ["repair.opened", "operation.ended"]})
    made = Webhook.objects.get()
    secret = webhooks.secret_of(made)
    assert secret in response.content.decode()
    assert response["Cache-Control"] == "no-store"
    assert made.kinds == ["operation.ended", "repair.opened"]
    for path in (PAGE, f"{PAGE}{made.pk}/"):
        page = as_owner.get(path).content.decode()
        assert secret not in page
        assert URL in page


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({"url": "", "kinds": CHOICES}, "url"),
        ({"url": "http://10.0.0.1/", "kinds": CHOICES}, "url"),
        ({"url": "javascript:alert(1)", "kinds": CHOICES}, "url"),
        ({"url": URL}, "kinds"),
        ({"url": URL, "kinds": ["webhook.test"]}, "kinds"),
    ],
)
def test_what_is_wrong_is_said_beside_its_field(
    as_owner: Client, project: Project, sent: dict[str, object], field: str
) -> None:
    response = as_owner.post(PAGE, sent)
    assert response.status_code == 400
    assert response.context["form"].errors[field]
    assert not Webhook.objects.exists()


def test_the_tab_is_there_for_those_who_may(browser: Browser, project: Project, operator: User, viewer: User) -> None:
    assert PAGE in browser(operator).get("/projects/lab/vms/").content.decode()
    assert PAGE not in browser(viewer).get("/projects/lab/vms/").content.decode()


def test_a_test_is_written_logged_and_sent_again(as_owner: Client, hook: Webhook) -> None:
    as_owner.post(f"{PAGE}{hook.pk}/test/")
    row = WebhookDelivery.objects.get()
    page = as_owner.get(f"{PAGE}{hook.pk}/").content.decode()
    assert "waiting" in page
    assert "&quot;webhook.test&quot;" in page
    claimed = webhooks.claim(row.pk)
    assert claimed is not None
    webhooks.failed(claimed, "the receiver answered with status 500", 500)
    assert "the receiver answered with status 500" in as_owner.get(f"{PAGE}{hook.pk}/").content.decode()
    webhooks.failed(claimed, "the receiver answered with status 410", 410, for_good=True)
    assert "given up" in as_owner.get(f"{PAGE}{hook.pk}/").content.decode()
    assert "1 given up" in as_owner.get(PAGE).content.decode()
    as_owner.post(f"{PAGE}{hook.pk}/messages/{row.pk}/again/")
    second = webhooks.claim(WebhookDelivery.objects.waiting().get().pk)
    assert second is not None
    assert "1 waits" in as_owner.get(PAGE).content.decode()
    webhooks.delivered(second, 200)
    assert "The last one arrived <time " in as_owner.get(PAGE).content.decode()
    assert [each.message for each in WebhookDelivery.objects.all()] == [row.message] * 2


def test_the_log_comes_in_pages_newest_first(as_owner: Client, hook: Webhook, project: Project, owner: User) -> None:
    for _number in range(PAGE_SIZE + 1):
        webhooks.send_test(project, hook.pk, user=owner)
    first = as_owner.get(f"{PAGE}{hook.pk}/").context["rows"]
    second = as_owner.get(f"{PAGE}{hook.pk}/?page=2").context["rows"]
    assert (len(first), len(second)) == (PAGE_SIZE, 1)
    assert first[0][0].pk > second[0][0].pk


def test_it_is_switched_off_and_on_and_removed(as_owner: Client, hook: Webhook) -> None:
    as_owner.post(f"{PAGE}{hook.pk}/switch/", {"on": "no"})
    assert not Webhook.objects.get().is_active
    page = as_owner.get(f"{PAGE}{hook.pk}/").content.decode()
    assert "Send a test" not in page
    told = as_owner.post(f"{PAGE}{hook.pk}/test/", follow=True).content.decode()
    assert "switched off" in told
    as_owner.post(f"{PAGE}{hook.pk}/switch/", {"on": "yes"})
    assert Webhook.objects.get().is_active
    as_owner.post(f"{PAGE}{hook.pk}/remove/")
    assert not Webhook.objects.exists()


def test_another_projects_webhook_is_not_there(browser: Browser, hook: Webhook, stranger: User) -> None:
    client = browser(stranger)
    for path in (f"/projects/elsewhere/webhooks/{hook.pk}/", f"/projects/elsewhere/webhooks/{hook.pk}/remove/"):
        response = client.get(path) if path.endswith(f"{hook.pk}/") else client.post(path)
        assert response.status_code == 404
    assert Webhook.objects.exists()


def test_the_log_says_in_the_readers_language_what_went_wrong(
    as_owner: Client, hook: Webhook, project: Project, owner: User
) -> None:
    for problem in ("the receiver answered with status 500", "the webhook was switched off"):
        claimed = webhooks.claim(webhooks.send_test(project, hook.pk, user=owner).pk)
        assert claimed is not None
        webhooks.failed(claimed, problem, None, for_good=True)
    page = as_owner.get(f"{PAGE}{hook.pk}/", headers={"accept-language": "fr"}).content.decode()
    assert "le destinataire a répondu avec le statut 500" in page
    assert "le webhook a été désactivé" in page


def test_what_a_receiver_or_a_name_holds_is_shown_as_text(as_owner: Client, project: Project, owner: User) -> None:
    made = webhooks.create(project, "https://example.org/<b>x</b>", CHOICES, user=owner)[0]
    assert "<b>x</b>" not in as_owner.get(f"{PAGE}{made.pk}/").content.decode()
    assert "<b>x</b>" not in as_owner.get(PAGE).content.decode()
