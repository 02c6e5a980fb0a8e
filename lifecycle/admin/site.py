"""The admin site: signed in through the portal's own door, under a policy of its own, with a dashboard."""

from collections.abc import Callable
from typing import Any

from allauth.account.decorators import secure_admin_login
from csp.decorators import csp_update
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext_lazy as _
from unfold.sites import UnfoldAdminSite

from lifecycle.admin.dashboard import dashboard

#: What the theme needs beyond the portal's policy: Alpine compiles the expressions of its attributes. Inline scripts
#: and styles stay forbidden (docs/decisions/0011).
POLICY = {"script-src": ["'unsafe-eval'"]}

View = Callable[..., HttpResponseBase]


class OperatorSite(UnfoldAdminSite):
    """The one admin site of the product."""

    site_title = _("vmportal operators")
    site_header = _("vmportal")
    index_title = _("Overview")
    index_template = "admin/dashboard.html"

    def admin_view(self, view: View, cacheable: bool = False) -> View:
        """Every page of the admin, and no other, gets the theme's policy."""
        return csp_update(POLICY)(super().admin_view(view, cacheable))

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """Without the theme's inline style sheet: its colours are in a static file."""
        return {**super().each_context(request), "colors": None}

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Through allauth: its rate limits hold here, too. A signed-in person who is not staff gets 403."""
        return secure_admin_login(super().login)(request, extra_context)  # type: ignore[no-any-return]

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """One form changes passwords, the portal's: it also ends one-time passwords."""
        return redirect("account_change_password")

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """The dashboard, with what the user may view."""
        page: TemplateResponse = super().index(request, {**dashboard(request), **(extra_context or {})})
        return page
