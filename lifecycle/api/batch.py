"""`/batch/compute/v1`: several calls in one multipart request, as gcloud sends them; answered one after the other."""

from email import message_from_bytes
from email.message import Message
from io import BytesIO
from typing import Final
from urllib.parse import unquote, urlsplit

from django.core.exceptions import RequestDataTooBig
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.crypto import get_random_string
from django.views.decorators.csrf import csrf_exempt

from lifecycle.api.errors import ApiError, response_of, too_large
from lifecycle.api.http import dispatch

CALLS_MAX: Final = 100
_PREFIX: Final = "/compute/v1/"
_VERBS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})


@csrf_exempt
def batch(request: HttpRequest) -> HttpResponseBase:
    """Answer every call of the batch. Each is counted, authorised and refused on its own."""
    try:
        parts = _parts(request)
    except ApiError as error:
        return response_of(error)
    except RequestDataTooBig:
        return response_of(too_large())
    boundary = f"batch_{get_random_string(24)}"
    lines: list[bytes] = []
    for part in parts:
        lines += [f"--{boundary}".encode(), *_answered(request, part)]
    lines += [f"--{boundary}--".encode(), b""]
    return HttpResponse(b"\r\n".join(lines), content_type=f"multipart/mixed; boundary={boundary}")


def _parts(request: HttpRequest) -> list[Message]:
    if request.method != "POST":
        raise ApiError(405, "httpMethodNotAllowed", "A batch is a POST.", Allow="POST")
    head = f"Content-Type: {request.headers.get('Content-Type', '')}\r\n\r\n".encode(errors="replace")
    whole = message_from_bytes(head + request.body)
    parts = whole.get_payload() if whole.is_multipart() else []
    if whole.get_content_type() != "multipart/mixed" or not parts or not isinstance(parts, list):
        raise ApiError(400, "parseError", "A batch is multipart/mixed with a call in each part.")
    if len(parts) > CALLS_MAX:
        raise ApiError(400, "batchSizeTooLarge", f"A batch holds at most {CALLS_MAX} calls.")
    return [part for part in parts if isinstance(part, Message)]


def _answered(request: HttpRequest, part: Message) -> list[bytes]:
    """One part of the answer: the call's own id, and its HTTP answer in full."""
    try:
        response = _call(request, part)
    except ApiError as error:
        response = response_of(error)
    identifier = _header(part, "Content-ID").strip().strip("<>").replace("\r", "").replace("\n", "")[:200]
    body = response.content
    return [
        b"Content-Type: application/http",
        f"Content-ID: <response-{identifier}>".encode(errors="replace"),
        b"",
        f"HTTP/1.1 {response.status_code} {response.reason_phrase}".encode(),
        *(f"{name}: {value}".encode() for name, value in response.items()),
        f"Content-Length: {len(body)}".encode(),
        b"",
        body,
    ]


def _call(request: HttpRequest, part: Message) -> HttpResponse:
    raw = part.get_payload(decode=True)
    head, _, rest = (raw if isinstance(raw, bytes) else b"").lstrip().partition(b"\n")
    words = head.decode("latin-1").split()
    try:
        address = urlsplit(words[1]) if len(words) > 1 else urlsplit("")
    except ValueError:  # a bracket that is no IPv6 address
        address = urlsplit("")
    if len(words) < 2 or words[0] not in _VERBS or not address.path.startswith(_PREFIX):
        raise ApiError(400, "parseError", "A part of a batch is an HTTP request to /compute/v1/….")
    inner = message_from_bytes(rest)
    payload = inner.get_payload(decode=True)
    made = _request(
        request, words[0], unquote(address.path), address.query, inner, payload if isinstance(payload, bytes) else b""
    )
    response = dispatch(made, made.path.removeprefix(_PREFIX))
    if not isinstance(response, HttpResponse):
        raise ApiError(500, "internalError", "The call has no answer of its own.")
    return response


def _request(outer: HttpRequest, verb: str, path: str, query: str, headers: Message, body: bytes) -> HttpRequest:
    """The part as a request of its own; what it does not say of who asks, the batch says."""
    environ = {
        "REQUEST_METHOD": verb,
        "PATH_INFO": path.encode(errors="replace").decode("latin-1"),  # as WSGI has it
        "QUERY_STRING": query,
        "SERVER_NAME": outer.META.get("SERVER_NAME", "localhost"),
        "SERVER_PORT": outer.META.get("SERVER_PORT", "80"),
        "HTTP_HOST": outer.get_host(),
        "REMOTE_ADDR": outer.META.get("REMOTE_ADDR", ""),
        "HTTP_USER_AGENT": outer.META.get("HTTP_USER_AGENT", ""),
        "HTTP_AUTHORIZATION": _header(headers, "Authorization") or outer.META.get("HTTP_AUTHORIZATION", ""),
        "CONTENT_TYPE": _header(headers, "Content-Type") or "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": BytesIO(body),
        "wsgi.url_scheme": outer.scheme or "http",
    }
    return WSGIRequest(environ)


def _header(message: Message, name: str) -> str:
    """A header as text; what is no ASCII in it, which no header of ours has, is a question mark."""
    return str(message.get(name, "")).encode("ascii", errors="replace").decode()
