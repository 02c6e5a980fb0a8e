"""One's own access tokens: made, shown once, revoked."""

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from lifecycle.domain.errors import DomainError, NotFound
from lifecycle.models import ApiToken, Project
from lifecycle.services import service_keys, tokens
from lifecycle.web.forms import TokenForm
from lifecycle.web.http import Request, SeeOther, absolute, page_param, signed_in
from lifecycle.web.views.errors import post_only

PAGE_SIZE = 25


@require_http_methods(["GET", "POST"])
@signed_in
def index(request: Request) -> HttpResponse:
    """The tokens, and a form for another. The new one's secret stands on this answer and on no other."""
    projects = list(Project.objects.visible_to(request.user).order_by("slug"))
    if request.method == "GET":
        return _page(request, TokenForm(projects=projects))
    form = TokenForm(request.POST, projects=projects)
    if not form.is_valid():
        return _page(request, form, status=400)
    data = form.cleaned_data
    chosen = [project for project in projects if project.slug in data["projects"]]
    if data["kind"] == "key":
        return _key_file(request, form, chosen)
    try:
        token, secret = tokens.create(
            request.user, data["name"], chosen, may_write=data["access"] == "write", days=data["days"]
        )
    except DomainError as error:
        form.refuse(error)
        return _page(request, form, status=error.http_status)
    response = _page(request, TokenForm(projects=projects), token=token, secret=secret)
    response["Cache-Control"] = "no-store"
    return response


@post_only
@signed_in
def revoke(request: Request, token_id: int) -> HttpResponse:
    """Take a token back: it opens nothing from now on."""
    try:
        tokens.revoke(request.user, token_id)
    except NotFound:
        raise Http404(_("There is no such token.")) from None
    messages.success(request, _("The token was revoked. It opens nothing any more."))
    return SeeOther(reverse("web:tokens"))


def _key_file(request: Request, form: TokenForm, chosen: list[Project]) -> HttpResponse:
    """The JSON file, which is handed out once."""
    data = form.cleaned_data
    if len(chosen) != 1:
        form.add_error("projects", _("A key is for one project."))
        return _page(request, form, status=400)
    try:
        token, text = service_keys.create(
            request.user,
            data["name"],
            chosen[0],
            may_write=data["access"] == "write",
            days=data["days"],
            token_uri=absolute("/token"),
        )
    except DomainError as error:
        form.refuse(error)
        return _page(request, form, status=error.http_status)
    response = HttpResponse(text, content_type="application/json")
    response["Content-Disposition"] = f'attachment; filename="{chosen[0].slug}-{token.pk}.json"'
    response["Cache-Control"] = "no-store"
    return response


def _page(request: Request, form: TokenForm, status: int = 200, **more: object) -> HttpResponse:
    mine = ApiToken.objects.visible_to(request.user).prefetch_related("projects")
    page = Paginator(mine, PAGE_SIZE).get_page(page_param(request, "page"))
    context = {"form": form, "page": page, "endpoint": absolute("/compute/v1/"), **more}
    return render(request, "account/tokens.html", context, status=status)
