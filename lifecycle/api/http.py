"""The one door of the API: finds the method, the person and the project, calls, and answers JSON."""

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, QueryDict
from django.views.decorators.csrf import csrf_exempt

from lifecycle.api import auth, fields, methods, registry
from lifecycle.api.call import Call
from lifecycle.api.errors import ApiError, invalid, response_of, too_large
from lifecycle.api.links import Links
from lifecycle.api.registry import Method
from lifecycle.api.waiting import asked_before
from lifecycle.domain.errors import DomainError
from lifecycle.models import ApiToken, Project
from lifecycle.services import audit, rates

log = logging.getLogger(__name__)

_DEPTH_MAX: Final = 50
_HALF: Final = re.compile("[\ud800-\udfff]")

methods.load()


@csrf_exempt
def dispatch(request: HttpRequest, path: str) -> HttpResponseBase:
    """Answer a call below /compute/v1/. There is no session here: the token is all that counts."""
    try:
        return _answered(request, path)
    except (ApiError, DomainError) as error:
        return response_of(error)
    except PermissionDenied as error:
        return response_of(ApiError(403, "forbidden", str(error)))
    except RequestDataTooBig:
        return response_of(too_large())
    except SuspiciousOperation:  # more parameters than Django reads
        return response_of(ApiError(400, "invalid", "The request has too many parameters, or is malformed."))
    except Exception as error:
        log.exception("%s %s failed", request.method, path)
        return response_of(error)


def _answered(request: HttpRequest, path: str) -> HttpResponse:
    verb = _verb(request)
    found, values, verbs = registry.find("GET" if verb == "HEAD" else verb, path)
    again = asked_before(request)
    with refusals_noted(request, path, found.id if found else ""):
        if found is None:
            raise _no_method(verb, path, verbs)
        credential = auth.authenticate(request, count=not again)
    query = _query(request, overridden=request.method == "POST" != verb)
    with nullcontext(Note()) if again else noted(found, credential, path) as note:
        return _called(request, path, found, values, credential, query, note)


def _verb(request: HttpRequest) -> str:
    """What a POST stands for where it says so; a GET stands for nothing that changes."""
    verb = request.method or "GET"
    return request.headers.get("X-HTTP-Method-Override", verb).upper() if verb == "POST" else verb


def _called(
    request: HttpRequest,
    path: str,
    found: Method,
    values: dict[str, str],
    credential: auth.Credential,
    query: dict[str, str],
    note: "Note",
) -> HttpResponse:
    mask = fields.parse(query.get("fields", ""), found.answer.__name__)
    place = auth.place_for(credential, found, values["project"])
    note.project = place.project
    host = request.get_host()
    call = Call(
        method=found,
        place=place,
        token=credential.token,
        path=values,
        query=query,
        body=_body(request) if found.body is not None else {},
        links=Links(host, place.project.slug),
        address=f"https://{host}/compute/v1/{quote(path)}",
    )
    response = JsonResponse(fields.apply(mask, dict(found.handler(call))))
    response["Cache-Control"] = "private, no-store"
    return response


@csrf_exempt
def other_version(request: HttpRequest) -> HttpResponseBase:
    """Refused: a call of a version, or a part, of Google's API that is not served."""
    message = f"Nothing is served at {request.path[:200]}, only the API's version v1 at /compute/v1/. See docs/api.md."
    try:
        with refusals_noted(request, request.path, ""):
            raise ApiError(404, "notFound", message)
    except ApiError as error:
        return response_of(error)


@dataclass(slots=True)
class Note:
    """What a call says of itself for the audit log."""

    project: Project | None = None


@contextmanager
def noted(method: Method, credential: auth.Credential, path: str) -> Iterator[Note]:
    """Write the call to the audit log, however it ends: who, by which token, what, and with which status."""
    status, note = 500, Note()
    try:
        yield note
        status = 200
    except ApiError as error:
        status = error.code
        raise
    except DomainError as error:
        status = error.http_status
        raise
    finally:
        details = _details(path, status, credential.token)
        project = note.project or _project_of(credential, path)
        audit.record("api.call", project=project, user=credential.user, target=method.id, details=details)


@contextmanager
def refusals_noted(request: HttpRequest, path: str, target: str) -> Iterator[None]:
    """Write a call that is refused before it is anybody's call of a method to the audit log.

    Of the like ones of a caller in a minute the first stands for all: nobody fills the log from outside.
    """
    try:
        yield
    except ApiError as error:
        token = auth.token_of(request)
        caller = f"token:{token.pk}" if token else f"address:{audit.origin().ip}"
        if rates.first(f"refused:{error.code}:{caller}"):
            user, details = token.user if token else None, _details(path, error.code, token)
            audit.record("api.call", user=user, target=target, details=details)
        raise


def _details(path: str, status: int, token: ApiToken | None) -> dict[str, Any]:
    """What the audit log keeps of a call."""
    beginning = token.beginning if token else ""
    return {"path": path[:200].replace("\0", "?"), "status": status, "token": beginning}


def _project_of(credential: auth.Credential, path: str) -> Project | None:
    """The project a call named, if its person may see it: the log of others is not written to."""
    name = path.split("/")[1].replace("\0", "?")
    return Project.objects.visible_to(credential.user).filter(slug=name).first()


def _no_method(verb: str, path: str, verbs: set[str]) -> ApiError:
    if not verbs:
        return ApiError(404, "notFound", f"There is no method at /compute/v1/{path[:200]}. See docs/api.md.")
    allowed = ", ".join(sorted(verbs))
    return ApiError(405, "httpMethodNotAllowed", f"{verb[:10]} is not possible here, only {allowed}.", Allow=allowed)


def _query(request: HttpRequest, *, overridden: bool) -> dict[str, str]:
    """The query's parameters, the last of each; a client with a long one sends it in a POST's body instead."""
    found = QueryDict(request.body) if overridden else request.GET
    query = {name: str(value) for name, value in found.items()}
    for name, value in query.items():
        if "\0" in value or len(value) > 8000:
            raise invalid(name[:100], value, "It holds a NUL character, or is too long.")
    return query


def _body(request: HttpRequest) -> dict[str, Any]:
    """The JSON of the request without its nulls. No body, and an empty string, are an empty object."""
    text = request.body
    if not text.strip():
        return {}
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        raise ApiError(400, "parseError", "Parse Error: the body is not JSON.") from None
    if body in ("", None):
        return {}
    if not isinstance(body, dict):
        raise ApiError(400, "parseError", "Invalid JSON payload received: the body must be an object.")
    return dict(without_nulls(body))


def without_nulls(value: Any, depth: int = 0) -> Any:
    """`value` without the nulls in it.

    Raises:
        ApiError: it is nested deeper than any resource, or holds half a character, which no database keeps.
    """
    if depth > _DEPTH_MAX:
        raise ApiError(400, "parseError", "Invalid JSON payload received: it is nested too deeply.")
    if isinstance(value, dict):
        return {without_nulls(key): without_nulls(item, depth + 1) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item, depth + 1) for item in value if item is not None]
    if isinstance(value, str) and _HALF.search(value):
        raise ApiError(400, "parseError", "Invalid JSON payload received: it holds half of a surrogate pair.")
    return value
