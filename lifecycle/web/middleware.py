"""Middleware: where a request comes from; people's language and time zone; one-time passwords lead to their form."""

import ipaddress
import zoneinfo
from collections.abc import Callable
from urllib.parse import unquote

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone, translation

from lifecycle import tracing
from lifecycle.services.accounts import time_zones
from lifecycle.services.audit import Channel, Origin, coming_from

TIME_ZONE_COOKIE = "vmportal_time_zone"

Next = Callable[[HttpRequest], HttpResponse]


class TraceMiddleware:
    """A span around each request, named by its route: an address may hold a secret, a route does not."""

    def __init__(self, get_response: Next) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with tracing.span(f"{request.method}", root=True) as span:
            response = self.get_response(request)
            if span is not None:
                route = request.resolver_match.route if request.resolver_match else "unknown"
                span.update_name(f"{request.method} /{route}")
                span.set_attributes({"http.route": f"/{route}", "http.response.status_code": response.status_code})
        return response


class OriginMiddleware:
    """Says where what is done for this request comes from: the audit log keeps it."""

    def __init__(self, get_response: Next) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        origin = Origin(_channel(request.path_info), client_ip(request), request.headers.get("User-Agent", ""))
        with coming_from(origin):
            return self.get_response(request)


def _channel(path: str) -> str:
    first = path.split("/", 2)[1] if path.startswith("/") else ""
    return {
        "admin": Channel.ADMIN,
        "api": Channel.API,
        "batch": Channel.API,
        "compute": Channel.API,
        "token": Channel.API,
    }.get(first, Channel.PORTAL)


def client_ip(request: HttpRequest) -> str | None:
    """The client's address; behind the operator's own proxy, the one that this proxy saw. None when it has none."""
    seen = request.META.get("REMOTE_ADDR", "")
    if settings.TLS_AT_PROXY:
        seen = request.headers.get("X-Forwarded-For", seen).rsplit(",", 1)[-1].strip()
    try:
        return str(ipaddress.ip_address(seen))
    except ValueError:
        return None


class UserPreferencesMiddleware:
    """Activates the user's language and time zone; without a choice, the browser's."""

    def __init__(self, get_response: Next) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        user = request.user
        language = user.language if user.is_authenticated else ""
        if language in dict(settings.LANGUAGES):
            translation.activate(language)
            request.LANGUAGE_CODE = translation.get_language()
        chosen = user.time_zone if user.is_authenticated else ""
        with timezone.override(_zone(chosen or unquote(request.COOKIES.get(TIME_ZONE_COOKIE, "")))):
            return self.get_response(request)


def _zone(name: str) -> zoneinfo.ZoneInfo | None:
    """The zone of that name; None (the site's own) for an empty or unknown one."""
    if not name or name not in time_zones():
        return None
    return zoneinfo.ZoneInfo(name)


class OneTimePasswordMiddleware:
    """A person with a one-time password can change it, sign out, or choose a language: nothing else."""

    def __init__(self, get_response: Next) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        user = request.user
        if not (user.is_authenticated and user.must_change_password) or _is_open(request.path_info):
            return self.get_response(request)
        target = reverse("account_change_password")
        if getattr(request, "htmx", False):
            response = HttpResponse(status=403)
            response["HX-Redirect"] = target
            return response
        return redirect(target)


def _is_open(path: str) -> bool:
    names = ("account_change_password", "account_logout", "web:language", "web:theme", "healthz")
    return path in {reverse(name) for name in names} or path.startswith(f"/{settings.STATIC_URL.strip('/')}/")
