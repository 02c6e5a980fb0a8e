"""Every address, for everybody: owner, operator, viewer, stranger, nobody."""

from typing import NamedTuple

import pytest
from django.test import Client
from django.urls import URLPattern

from lifecycle.models import VM, Budget, ConsoleSession, Membership, Notification, Operation, Project, User
from lifecycle.services import image_imports, keys, projects, tokens, webhooks
from lifecycle.services.image_imports import ImportRequest
from lifecycle.web import urls
from tests import factories
from tests.web.conftest import Browser

WHO = ("owner", "operator", "viewer", "stranger", "nobody")
IN = 302  # redirected to the sign-in page


class Row(NamedTuple):
    """Method, name of the address, and the status for each of WHO."""

    method: str
    name: str
    statuses: tuple[int, int, int, int, int]


ROWS = [
    Row("GET", "home", (200, 200, 200, 200, IN)),
    Row("GET", "search", (200, 200, 200, 200, IN)),
    Row("GET", "projects", (200, 200, 200, 200, IN)),
    Row("GET", "project-new", (200, 200, 200, 200, IN)),
    Row("GET", "vms", (200, 200, 200, 404, IN)),
    Row("GET", "vm-new", (200, 200, 403, 404, IN)),
    Row("POST", "vm-new", (400, 400, 403, 404, IN)),
    Row("GET", "vm-bulk", (405, 405, 405, 405, 405)),
    Row("POST", "vm-bulk", (400, 400, 400, 404, IN)),
    Row("POST", "view-save", (303, 303, 303, 404, IN)),
    Row("POST", "view-remove", (303, 303, 303, 404, IN)),
    Row("GET", "audit", (200, 403, 403, 404, IN)),
    Row("GET", "vm-edit", (200, 200, 403, 404, IN)),
    Row("POST", "vm-edit", (303, 303, 403, 404, IN)),
    Row("GET", "vm", (200, 200, 200, 404, IN)),
    Row("GET", "vm-fragment", (200, 200, 200, 404, IN)),
    Row("POST", "vm-protection", (303, 303, 403, 404, IN)),
    Row("GET", "vm-protection", (405, 405, 405, 405, 405)),
    Row("GET", "vm-confirm", (200, 200, 403, 404, IN)),
    Row("POST", "vm-act", (303, 303, 403, 404, IN)),
    Row("GET", "vm-act", (405, 405, 405, 405, 405)),
    Row("GET", "vm-console", (200, 200, 200, 404, IN)),
    Row("GET", "vm-screen", (200, 200, 200, 404, IN)),
    Row("GET", "vm-console-output", (200, 200, 200, 404, IN)),
    Row("GET", "console-sessions", (200, 200, 200, 404, IN)),
    Row("POST", "console-ticket", (200, 200, 403, 404, IN)),
    Row("GET", "console-ticket", (405, 405, 405, 405, 405)),
    Row("POST", "console-cut", (303, 303, 403, 404, IN)),
    Row("GET", "console-cut", (405, 405, 405, 405, 405)),
    Row("GET", "operations", (200, 200, 200, 404, IN)),
    Row("GET", "operation", (200, 200, 200, 404, IN)),
    Row("GET", "charts", (200, 200, 200, 404, IN)),
    Row("GET", "vm-charts", (200, 200, 200, 404, IN)),
    Row("GET", "vm-timeline", (200, 200, 200, 404, IN)),
    Row("GET", "vm-post-mortem", (400, 400, 400, 404, IN)),
    Row("GET", "metrics", (404, 404, 404, 404, 404)),
    Row("POST", "operation-cancel", (409, 409, 403, 404, IN)),
    Row("GET", "operation-cancel", (405, 405, 405, 405, 405)),
    Row("GET", "host-charts", (403, 403, 403, 403, IN)),
    Row("GET", "keys", (200, 200, 200, 200, IN)),
    Row("POST", "keys", (400, 400, 400, 400, IN)),
    Row("POST", "key-remove", (303, 303, 303, 303, IN)),
    Row("GET", "key-remove", (405, 405, 405, 405, 405)),
    Row("GET", "project-keys", (200, 200, 200, 404, IN)),
    Row("POST", "project-keys", (303, 303, 403, 404, IN)),
    Row("POST", "project-key-remove", (303, 303, 403, 404, IN)),
    Row("GET", "project-key-remove", (405, 405, 405, 405, 405)),
    Row("POST", "vm-keys", (303, 303, 303, 404, IN)),
    Row("POST", "vm-cdrom", (303, 303, 403, 404, IN)),
    Row("GET", "vm-cdrom", (405, 405, 405, 405, 405)),
    Row("GET", "vm-keys", (405, 405, 405, 405, 405)),
    Row("GET", "images", (200, 200, 200, 404, IN)),
    Row("GET", "image-new", (200, 200, 403, 404, IN)),
    Row("POST", "image-new", (400, 400, 403, 404, IN)),
    Row("GET", "image-import", (200, 200, 200, 404, IN)),
    Row("GET", "image-piece", (200, 200, 403, 404, IN)),
    Row("POST", "image-piece", (400, 400, 403, 404, IN)),
    Row("POST", "image-cancel", (303, 303, 403, 404, IN)),
    Row("GET", "image-cancel", (405, 405, 405, 405, 405)),
    Row("POST", "image-deprecate", (303, 303, 403, 404, IN)),
    Row("GET", "image-deprecate", (405, 405, 405, 405, 405)),
    Row("GET", "image-confirm", (200, 200, 403, 404, IN)),
    Row("POST", "image-delete", (303, 303, 403, 404, IN)),
    Row("GET", "image-delete", (405, 405, 405, 405, 405)),
    *(
        Row(method, f"public-{name}", (403, 403, 403, 403, IN))
        for method, name in (
            *(("GET", "images"), ("GET", "image-new"), ("POST", "image-new"), ("GET", "image-import")),
            *(("GET", "image-piece"), ("POST", "image-cancel"), ("POST", "image-deprecate")),
            *(("GET", "image-confirm"), ("POST", "image-delete")),
        )
    ),
    Row("GET", "webhooks", (200, 200, 403, 404, IN)),
    Row("POST", "webhooks", (400, 400, 403, 404, IN)),
    Row("GET", "webhook", (200, 200, 403, 404, IN)),
    Row("POST", "webhook-switch", (303, 303, 403, 404, IN)),
    Row("GET", "webhook-switch", (405, 405, 405, 405, 405)),
    Row("POST", "webhook-test", (303, 303, 403, 404, IN)),
    Row("GET", "webhook-test", (405, 405, 405, 405, 405)),
    Row("POST", "webhook-again", (303, 303, 403, 404, IN)),
    Row("GET", "webhook-again", (405, 405, 405, 405, 405)),
    Row("POST", "webhook-remove", (303, 303, 403, 404, IN)),
    Row("GET", "webhook-remove", (405, 405, 405, 405, 405)),
    Row("GET", "members", (200, 200, 200, 404, IN)),
    Row("POST", "invite", (400, 400, 400, 404, IN)),
    Row("GET", "invite", (405, 405, 405, 405, 405)),
    Row("POST", "member-role", (303, 403, 403, 404, IN)),
    Row("GET", "member-confirm", (200, 403, 200, 404, IN)),
    Row("POST", "member-remove", (303, 403, 303, 404, IN)),
    Row("POST", "invitation-revoke", (303, 403, 403, 404, IN)),
    Row("GET", "billing", (200, 200, 200, 404, IN)),
    Row("GET", "billing-account", (405, 405, 405, 405, 405)),
    Row("POST", "billing-account", (400, 403, 403, 404, IN)),
    Row("POST", "billing-promotion", (400, 403, 403, 404, IN)),
    Row("GET", "billing-preview", (200, 200, 403, 404, IN)),
    Row("GET", "billing-labels", (200, 200, 200, 404, IN)),
    Row("GET", "budgets", (200, 200, 200, 404, IN)),
    Row("GET", "budget-new", (200, 403, 403, 404, IN)),
    Row("POST", "budget-new", (400, 403, 403, 404, IN)),
    Row("GET", "budget", (200, 403, 403, 404, IN)),
    Row("POST", "budget", (400, 403, 403, 404, IN)),
    Row("POST", "budget-remove", (303, 403, 403, 404, IN)),
    Row("GET", "budget-remove", (405, 405, 405, 405, 405)),
    Row("GET", "invoices", (200, 200, 200, 404, IN)),
    Row("GET", "invoice", (200, 200, 200, 404, IN)),
    Row("POST", "invoice-pay", (303, 403, 403, 404, IN)),
    Row("POST", "stripe-hook", (404, 404, 404, 404, 404)),
    Row("GET", "invoice-line", (200, 200, 200, 404, IN)),
    Row("GET", "invoice-download", (200, 200, 200, 404, IN)),
    Row("GET", "vm-costs", (200, 200, 200, 404, IN)),
    Row("GET", "vm-schedules", (200, 200, 200, 404, IN)),
    Row("POST", "vm-schedules", (400, 400, 403, 404, IN)),
    Row("POST", "vm-office-hours", (303, 303, 403, 404, IN)),
    Row("GET", "vm-office-hours", (405, 405, 405, 405, 405)),
    Row("POST", "schedule-skip", (303, 303, 403, 404, IN)),
    Row("GET", "schedule-skip", (405, 405, 405, 405, 405)),
    Row("POST", "schedule-remove", (303, 303, 403, 404, IN)),
    Row("GET", "schedule-remove", (405, 405, 405, 405, 405)),
    Row("POST", "idle-dismiss", (303, 303, 403, 404, IN)),
    Row("GET", "idle-dismiss", (405, 405, 405, 405, 405)),
    Row("GET", "snapshot", (200, 200, 200, 404, IN)),
    Row("GET", "invitation", (200, 200, 200, 200, 200)),
    Row("GET", "preferences", (200, 200, 200, 200, IN)),
    Row("GET", "notification-choices", (200, 200, 200, 200, IN)),
    Row("GET", "notifications", (200, 200, 200, 200, IN)),
    Row("POST", "notifications-read", (303, 303, 303, 303, IN)),
    Row("GET", "notification-open", (405, 405, 405, 405, 405)),
    Row("POST", "notification-open", (303, 404, 404, 404, IN)),
    Row("GET", "tokens", (200, 200, 200, 200, IN)),
    Row("POST", "tokens", (400, 400, 400, 400, IN)),
    Row("POST", "token-revoke", (303, 404, 404, 404, IN)),
    Row("GET", "token-revoke", (405, 405, 405, 405, 405)),
    Row("GET", "operators", (403, 403, 403, 403, IN)),
    Row("GET", "language", (405, 405, 405, 405, 405)),
    Row("POST", "language", (303, 303, 303, 303, 303)),
    Row("POST", "theme", (303, 303, 303, 303, 303)),
]


#: What is sent where an empty form is none.
DATA = {"member-role": {"role": "viewer"}, "project-keys": {"key": factories.SSH_KEY}}


def images_of(project: Project | None, user: User, base: str, prefix: str) -> dict[str, str]:
    """The addresses of an image and an import of a project, or of everybody."""
    image = factories.make_image(project=project)
    row = image_imports.request_import(project, ImportRequest("coming", total_bytes=5), user=user, file_max=10)
    one, coming = f"{base}/{image.pk}", f"{base}/imports/{row.pk}"
    names = {
        "images": f"{base}/",
        "image-new": f"{base}/new/",
        "image-import": f"{coming}/",
        "image-piece": f"{coming}/piece/",
        "image-cancel": f"{coming}/cancel/",
        "image-deprecate": f"{one}/deprecate/",
        "image-confirm": f"{one}/confirm/",
        "image-delete": f"{one}/delete/",
    }
    return {prefix + name: path for name, path in names.items()}


@pytest.fixture
def addresses(project: Project, vm: VM, owner: User, viewer: User) -> dict[str, str]:
    """A real address for each name; the member concerned is the viewer."""
    base = f"/projects/{project.slug}"
    member = Membership.objects.get(project=project, user=viewer)
    invitation, token = projects.invite(project, "new@example.org", "viewer", user=owner)
    operation = Operation.objects.get(vm=vm)
    notification = Notification.objects.create(user=owner, kind="invited", text="x")
    session = ConsoleSession.objects.create(vm=vm, project=project, user=owner, kind="serial")
    key = keys.add_project_key(project, factories.make_public_key(), user=owner)
    bill = factories.make_draft_invoice(vm)
    hook = webhooks.create(project, "https://example.org/", ["repair.opened"], user=owner)[0]
    sent = webhooks.send_test(project, hook.pk, user=owner)
    budget = Budget.objects.create(project=project, name="all", amount=10, thresholds=[50])
    access_token, _secret = tokens.create(owner, "laptop", [project], may_write=False)
    return {
        "tokens": "/account/tokens/",
        "token-revoke": f"/account/tokens/{access_token.pk}/revoke/",
        "home": "/",
        "search": "/search/",
        "vm-bulk": f"{base}/vms/bulk/",
        "view-save": f"{base}/views/",
        "view-remove": f"{base}/views/1/remove/",
        "audit": f"{base}/audit/",
        "vm-edit": f"{base}/vms/web-1/edit/",
        "notification-choices": "/account/notifications/",
        "notifications": "/notifications/",
        "notifications-read": "/notifications/read/",
        "notification-open": f"/notifications/{notification.pk}/open/",
        "projects": "/projects/",
        "project-new": "/projects/new/",
        "vms": f"{base}/vms/",
        "vm-new": f"{base}/vms/new/",
        "vm": f"{base}/vms/web-1/",
        "vm-fragment": f"{base}/vms/web-1/fragment/",
        "vm-protection": f"{base}/vms/web-1/protection/",
        "vm-confirm": f"{base}/vms/web-1/confirm/stop/",
        "vm-act": f"{base}/vms/web-1/suspend/",
        "vm-console": f"{base}/vms/web-1/console/",
        "vm-screen": f"{base}/vms/web-1/screen/",
        "vm-console-output": f"{base}/vms/web-1/console/output.txt",
        "console-sessions": f"{base}/vms/web-1/console/sessions/",
        "console-ticket": f"{base}/vms/web-1/console/serial/ticket/",
        "console-cut": f"{base}/vms/web-1/console/sessions/{session.pk}/cut/",
        "operations": f"{base}/operations/",
        "operation": f"{base}/operations/{operation.pk}/",
        "charts": f"{base}/charts/",
        "vm-charts": f"{base}/vms/web-1/charts/",
        "vm-timeline": f"{base}/vms/web-1/timeline/",
        "vm-post-mortem": f"{base}/vms/web-1/post-mortem/",
        "metrics": "/metrics",
        "operation-cancel": f"{base}/operations/{operation.pk}/cancel/",
        "host-charts": "/operators/hosts/host-1/charts/",
        "keys": "/account/keys/",
        "key-remove": "/account/keys/1/remove/",
        "project-keys": f"{base}/keys/",
        "project-key-remove": f"{base}/keys/{key.pk}/remove/",
        "vm-cdrom": f"{base}/vms/web-1/cdrom/",
        "vm-keys": f"{base}/vms/web-1/keys/",
        **images_of(project, owner, f"{base}/images", ""),
        **images_of(None, factories.make_user(is_staff=True), "/images", "public-"),
        "webhooks": f"{base}/webhooks/",
        "webhook": f"{base}/webhooks/{hook.pk}/",
        "webhook-switch": f"{base}/webhooks/{hook.pk}/switch/",
        "webhook-test": f"{base}/webhooks/{hook.pk}/test/",
        "webhook-again": f"{base}/webhooks/{hook.pk}/messages/{sent.pk}/again/",
        "webhook-remove": f"{base}/webhooks/{hook.pk}/remove/",
        "members": f"{base}/members/",
        "invite": f"{base}/members/invite/",
        "member-role": f"{base}/members/{member.pk}/role/",
        "member-confirm": f"{base}/members/{member.pk}/confirm/",
        "member-remove": f"{base}/members/{member.pk}/remove/",
        "invitation-revoke": f"{base}/members/invitations/{invitation.pk}/revoke/",
        "billing": f"{base}/billing/",
        "billing-account": f"{base}/billing/account/",
        "billing-promotion": f"{base}/billing/promotion/",
        "billing-preview": f"{base}/billing/preview/",
        "billing-labels": f"{base}/billing/labels/",
        "budgets": f"{base}/billing/budgets/",
        "budget-new": f"{base}/billing/budgets/new/",
        "budget": f"{base}/billing/budgets/{budget.pk}/",
        "budget-remove": f"{base}/billing/budgets/{budget.pk}/remove/",
        "invoices": f"{base}/billing/invoices/",
        "invoice": f"{base}/billing/invoices/{bill.pk}/",
        "invoice-pay": f"{base}/billing/invoices/{bill.pk}/pay/",
        "stripe-hook": "/billing/stripe/",
        "invoice-line": f"{base}/billing/invoices/{bill.pk}/lines/1/",
        "invoice-download": f"{base}/billing/invoices/{bill.pk}/csv/",
        "vm-costs": f"{base}/vms/web-1/costs/",
        "vm-schedules": f"{base}/vms/web-1/schedules/",
        "vm-office-hours": f"{base}/vms/web-1/schedules/office-hours/",
        "schedule-skip": f"{base}/vms/web-1/schedules/1/skip/",
        "schedule-remove": f"{base}/vms/web-1/schedules/1/remove/",
        "idle-dismiss": f"{base}/vms/web-1/idle/dismiss/",
        "snapshot": f"{base}/snapshot.json",
        "invitation": f"/invitations/{token}/",
        "preferences": "/account/preferences/",
        "operators": "/operators/",
        "language": "/account/language/",
        "theme": "/account/theme/",
    }


@pytest.mark.parametrize("who", range(len(WHO)), ids=WHO)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.method}-{row.name}")
def test_everybody_gets_what_their_role_allows(
    row: Row, who: int, addresses: dict[str, str], browser: Browser, request: pytest.FixtureRequest
) -> None:
    user = None if WHO[who] == "nobody" else request.getfixturevalue(WHO[who])
    client: Client = browser(user)
    data = DATA.get(row.name, {}) if row.method == "POST" else {}
    response = client.generic(row.method, addresses[row.name]) if not data else client.post(addresses[row.name], data)
    assert response.status_code == row.statuses[who]
    if response.status_code == IN and WHO[who] == "nobody":
        assert response["Location"].startswith("/accounts/login/?next=")


def test_no_address_is_forgotten_above() -> None:
    named = {p.name for p in urls.urlpatterns if isinstance(p, URLPattern)}
    assert named == {row.name for row in ROWS}


def test_what_a_stranger_asks_for_looks_like_what_does_not_exist(browser: Browser, stranger: User, vm: VM) -> None:
    client = browser(stranger)
    there = client.get("/projects/lab/vms/web-1/")
    nowhere = client.get("/projects/nowhere/vms/web-1/")
    assert there.status_code == nowhere.status_code == 404
    assert "web-1" not in there.content.decode().replace("/projects/lab/vms/web-1/", "")


def test_an_htmx_request_without_a_session_is_told_to_navigate(browser: Browser, vm: VM) -> None:
    headers = {"HX-Request": "true", "HX-Current-URL": "http://testserver/projects/lab/vms/"}
    response = browser(None).get("/projects/lab/vms/web-1/fragment/", headers=headers)
    assert response.status_code == 401
    assert response["HX-Redirect"] == "/accounts/login/?next=/projects/lab/vms/"


def test_an_operation_of_another_project_is_not_found_in_mine(browser: Browser, vm: VM, stranger: User) -> None:
    operation = Operation.objects.get(vm=vm)
    assert browser(stranger).get(f"/projects/elsewhere/operations/{operation.pk}/").status_code == 404


def test_the_operators_page_is_for_staff(browser: Browser, superuser: User, vm: VM) -> None:
    response = browser(superuser).get("/operators/")
    assert response.status_code == 200
    assert "host-1" in response.content.decode()
