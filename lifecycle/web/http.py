"""What every view needs: a typed request, the door, and the way back."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import resolve_url
from django.utils.http import url_has_allowed_host_and_scheme
from django_htmx.middleware import HtmxDetails

from lifecycle.models import User

P = ParamSpec("P")


class Request(HttpRequest):
    """A request that passed `signed_in`: somebody is there, and htmx's headers are parsed."""

    user: User
    htmx: HtmxDetails


class SeeOther(HttpResponseRedirect):
    """After a POST: fetch the next page with GET, whatever the browser's habits."""

    status_code = 303


def signed_in(
    view: Callable[Concatenate[Request, P], HttpResponse],
) -> Callable[Concatenate[HttpRequest, P], HttpResponse]:
    """Let only signed-in people through; others are led to the sign-in page and back.

    An htmx request is told to navigate there: a sign-in form inside a table row helps nobody.
    """

    @wraps(view)
    def run(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if request.user.is_authenticated:
            return view(request, *args, **kwargs)  # type: ignore[arg-type]
        after = request.get_full_path() if request.method in {"GET", "HEAD"} else page_before(request)
        if getattr(request, "htmx", False):
            response = HttpResponse(status=401)
            response["HX-Redirect"] = redirect_to_login(page_before(request)).url
            return response
        return redirect_to_login(after)

    return run


def page_before(request: HttpRequest, fallback: str = "/") -> str:
    """The path of the page the request was made from, if it is one of ours."""
    here = request.headers.get("HX-Current-URL") or request.headers.get("Referer", "")
    parts = urlsplit(here)
    if parts.netloc and parts.netloc != request.get_host():
        return fallback
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    return path if safe_path(request, path) else fallback


def safe_path(request: HttpRequest, url: str) -> bool:
    """Whether a redirect to `url` stays on this site."""
    return bool(url) and url_has_allowed_host_and_scheme(url, {request.get_host()}, require_https=request.is_secure())


def next_or(request: HttpRequest, fallback: str) -> str:
    """Where the form wants to go (`next`), when that is on this site."""
    wanted = request.POST.get("next", "")
    return wanted if safe_path(request, wanted) else resolve_url(fallback)


def text_param(request: HttpRequest, name: str, most: int = 100) -> str:
    """A word of the query, cut to `most` characters; a NUL, which PostgreSQL refuses, is taken out."""
    return request.GET.get(name, "").replace("\0", "").strip()[:most]


def page_param(request: HttpRequest, name: str) -> int:
    """A page's number of the query; 1 for anything that is none."""
    text = request.GET.get(name, "")
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 6 else 1


def absolute(path: str) -> str:
    """A link that works outside of this browser: with the installation's public address."""
    return f"{settings.PUBLIC_URL}{path}"
