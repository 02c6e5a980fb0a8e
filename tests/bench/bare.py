"""A Django of its own that does nothing but answer with bytes it was given: the floor of the API's benchmark.

`BARE_FOLDER` names the folder; the answer to `/NAME` is the file NAME in it, read once.
"""

import os
from functools import cache
from pathlib import Path

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

settings.configure(
    SECRET_KEY="nothing is signed with it",  # there is no session and no cookie
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=[],
)


@cache
def _bytes(name: str) -> bytes:
    return (Path(os.environ["BARE_FOLDER"]) / name).read_bytes()


def bare(_request: HttpRequest, name: str) -> HttpResponse:
    """The bytes."""
    return HttpResponse(_bytes(name), content_type="application/json")


urlpatterns = [path("<slug:name>", bare)]
application = get_asgi_application()
