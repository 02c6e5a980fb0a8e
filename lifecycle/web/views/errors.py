"""Pages for what went wrong before a view could answer."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import render

R = TypeVar("R", bound=HttpRequest)


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """400, or 413 with the limit when the form was too large to be read."""
    too_big = isinstance(exception, RequestDataTooBig)
    limit_mib = (settings.DATA_UPLOAD_MAX_MEMORY_SIZE or 0) // 2**20
    context = {"too_big": too_big, "limit_mib": limit_mib}
    return render(request, "400.html", context, status=413 if too_big else 400)


def too_many_requests(request: HttpRequest) -> HttpResponse:
    """429: django-allauth's rate limits."""
    response = render(request, "429.html", status=429)
    response["Retry-After"] = "60"
    return response


def post_only(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Nothing changes by GET: 405, with a page for the person who followed an old link."""

    @wraps(view)
    def run(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.method == "POST":
            return view(request, *args, **kwargs)
        response = HttpResponseNotAllowed(["POST"])
        response.content = render(request, "405.html").content
        return response

    return run
