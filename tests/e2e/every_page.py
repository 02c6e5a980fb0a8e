"""The addresses of every page, walked from the portal's own URL patterns: what is added later is looked at, too."""

import re
from collections.abc import Iterator

from django.urls import NoReverseMatch, URLPattern, reverse
from playwright.sync_api import APIRequestContext

from lifecycle.web import urls

#: What stands in an address -> what it is in the gallery. `None` is found on the page named below.
SAMPLES: dict[str, str] = {"slug": "default", "name": "web-1", "action": "delete", "token": "wrong", "kind": "serial"}
#: Where a number is found: the part of the address -> a page, and how the number stands in it.
FOUND_ON: dict[str, tuple[str, str]] = {
    "operation_id": ("/projects/default/operations/", r"/operations/([0-9a-f-]{36})/"),
    "member_id": ("/projects/default/members/", r"/members/(\d+)/confirm/"),
    "invitation_id": ("/projects/default/members/", r"/invitations/(\d+)/revoke/"),
    "notification_id": ("/notifications/", r"/notifications/(\d+)/open/"),
    "image_id": ("/projects/default/images/", r"/images/(\d+)/confirm/"),
    "import_id": ("/projects/default/images/", r"/imports/([0-9a-f-]{36})/"),
    "number": ("/projects/default/billing/invoices/", r"/invoices/(\d+)/"),
    "webhook_id": ("/projects/default/webhooks/", r"/webhooks/(\d+)/"),
    "budget_id": ("/projects/default/billing/budgets/", r"/budgets/(\d+)/"),
    "view_id": ("/projects/default/vms/", r"/views/(\d+)/remove/"),
}
#: Where a post-mortem's address is found: it names a moment.
TIMELINE = "/projects/default/vms/web-2/timeline/"
#: The operators' side.
ADMIN = (
    "/admin/",
    "/admin/lifecycle/vm/",
    "/admin/lifecycle/host/",
    "/admin/lifecycle/operation/",
    "/admin/lifecycle/repair/",
    "/admin/lifecycle/finding/",
    "/admin/lifecycle/auditentry/",
    "/admin/lifecycle/image/",
    "/admin/lifecycle/sshkey/",
    "/admin/lifecycle/revenueday/",
    "/admin/lifecycle/budget/",
    "/admin/lifecycle/webhook/",
    "/admin/lifecycle/webhookdelivery/",
    "/admin/lifecycle/schedule/",
    "/admin/lifecycle/schedulerun/",
    "/admin/lifecycle/idlehint/",
    "/admin/lifecycle/apitoken/",
    "/admin/lifecycle/notification/",
    "/admin/lifecycle/savedview/",
    "/admin/lifecycle/webhookdelivery/1/change/",
    "/admin/lifecycle/apitoken/1/change/",
)
#: Names whose sample differs: a host is not called as a VM is.
DIFFERENT: dict[str, dict[str, str]] = {"host-charts": {"name": "host-1"}}
#: Beside the portal's own: the pages of accounts.
ACCOUNTS = (
    "/docs/api",
    "/accounts/password/change/",
    "/accounts/logout/",
    "/accounts/2fa/",
    "/accounts/reauthenticate/",
    "/search/?q=web",
    "/search/?q=nothing-like-this",
    "/projects/default/vms/?q=nothing-like-this",
    "/projects/default/vms/?label=env%3Dprod&sort=-name",
    "/projects/empty/vms/",
    "/projects/default/vms/web-2/",
    "/projects/nowhere/vms/",
)


def walk(client: APIRequestContext) -> Iterator[str]:
    """Addresses that answer a GET with a page."""
    numbers = {name: _number(client, *place) for name, place in FOUND_ON.items()}
    for path in dict.fromkeys(_address(pattern, numbers) for pattern in urls.urlpatterns):
        answer = client.get(path, max_redirects=0)
        if answer.status == 200 and "<main" in answer.text():
            yield path
    yield from ACCOUNTS
    moment = re.search(r'href="([^"]*/post-mortem/[^"]*)"', client.get(TIMELINE).text())
    if moment:
        yield moment[1].replace("&amp;", "&")


def _number(client: APIRequestContext, path: str, expression: str) -> str:
    found = re.search(expression, client.get(path).text())
    return found[1] if found else "1"


def _address(pattern: URLPattern, numbers: dict[str, str]) -> str:
    names = pattern.pattern.regex.groupindex
    values = {**SAMPLES, **numbers, **DIFFERENT.get(pattern.name or "", {})}
    for sample in ("1", "00000000-0000-0000-0000-000000000000", "suspend"):
        try:
            return reverse(f"web:{pattern.name}", kwargs={n: values.get(n, sample) for n in names})
        except NoReverseMatch:
            continue
    values = {**values, "action": "suspend"}
    try:
        return reverse(f"web:{pattern.name}", kwargs={n: values.get(n, "1") for n in names})
    except NoReverseMatch:
        return "/projects/"
