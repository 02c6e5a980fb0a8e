"""Fetching a file by http or https into a local one: streamed, resumed, and only from where it may come.

Where it may come from is judged by `lifecycle.outbound`, for each redirect anew.
Ranges by RFC 9110: a file goes on where it stopped only while its validator (ETag or Last-Modified) is the same.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urljoin

from lifecycle import outbound
from lifecycle.domain.errors import InvalidInput
from lifecycle.domain.imports import Network, check_url
from lifecycle.services.image_imports import check_file_size

CHUNK_BYTES: Final = 1024 * 1024
TIMEOUT_SECONDS: Final = 30.0
REDIRECTS_MAX: Final = 5
_MOVED: Final = frozenset({301, 302, 303, 307, 308})
#: Answers after which the same request may succeed.
_PASSING: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_RANGE: Final = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


class Interrupted(Exception):
    """The transfer ended before its end; what came is kept, and it may go on later."""


@dataclass(frozen=True, slots=True)
class Rules:
    """From which networks beside the public ones, and how many bytes at most."""

    allowed: Sequence[Network]
    file_max: int


#: Told after each chunk: bytes so far, bytes in all (None: unknown), the file's validator. May raise to stop.
Told = Callable[[int, int | None, str], None]


def fetch(address: str, into: Path, validator: str, rules: Rules, told: Told) -> None:
    """Fetch all of `address` into `into`, which may hold its beginning already (as of `validator`).

    Raises:
        InvalidInput: it is refused, for good. Interrupted: it may go on later.
    """
    start = into.stat().st_size if into.exists() and validator else 0
    with _asked(address, start, validator, rules) as response:
        start, total = _where(response, start)
        found = _validator(response)
        if total is not None:
            check_file_size(total, rules.file_max)
        told(start, total, found)
        _receive(response, into, start, total, rules.file_max, lambda done: told(done, total, found))


@contextmanager
def _asked(address: str, start: int, validator: str, rules: Rules) -> Iterator[HTTPResponse]:
    """The answer of the last address in a row of redirects."""
    secure = False
    for _ in range(REDIRECTS_MAX + 1):
        url = check_url(address)
        if secure and url.scheme != "https":
            raise InvalidInput("The address leads from https to http: that is refused.", field="url")
        secure = url.scheme == "https"
        with closing(_connected(url, rules.allowed)) as connection:
            response = _request(connection, url, start, validator)
            if response.status not in _MOVED:
                _refuse_status(response)
                yield response
                return
            address = urljoin(url.geturl(), response.getheader("Location") or "")
    raise InvalidInput("The address leads from one to the next without end.", field="url")


def _connected(url: SplitResult, allowed: Sequence[Network]) -> HTTPConnection:
    """A connection to an address of the host that was judged."""
    try:
        return outbound.connected(url, allowed, TIMEOUT_SECONDS)
    except outbound.NotAllowed as error:
        raise InvalidInput(
            "%(host)s is at a private address (%(address)s). Images are not fetched from there, unless the operators "
            "of this site allow it.",
            field="url",
            host=error.host,
            address=", ".join(error.addresses),
        ) from error
    except outbound.BadCertificate as error:
        raise InvalidInput("The certificate of %(host)s is not valid.", field="url", host=url.hostname) from error
    except outbound.Unreachable as error:
        raise Interrupted(str(error)) from error


def _request(connection: HTTPConnection, url: SplitResult, start: int, validator: str) -> HTTPResponse:
    headers = {"User-Agent": "vmportal", "Accept": "*/*", "Accept-Encoding": "identity", "Connection": "close"}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": validator}
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    try:
        connection.request("GET", target, headers=headers)
        return connection.getresponse()
    except (OSError, HTTPException) as error:
        raise Interrupted(f"{url.hostname} gave no answer ({type(error).__name__})") from error


def _refuse_status(response: HTTPResponse) -> None:
    if response.status in {200, 206}:
        return
    if response.status in _PASSING or response.status == 416:
        raise Interrupted(f"the server answered with status {response.status}")
    raise InvalidInput("The server answered with status %(status)s.", field="url", status=response.status)


def _where(response: HTTPResponse, start: int) -> tuple[int, int | None]:
    """Where the body begins in the file, and how long the file is (None: the server does not say)."""
    if response.status == 206:
        found = _RANGE.fullmatch(response.getheader("Content-Range") or "")
        if not found or int(found[1]) != start:
            raise Interrupted("the server sent another part than it was asked for")
        return start, None if found[2] == "*" else int(found[2])
    return 0, None if response.length is None else int(response.length)


def _validator(response: HTTPResponse) -> str:
    """By what a later request can say "go on only if it is the same"; empty when the server gives nothing."""
    etag = response.getheader("ETag") or ""
    if etag.startswith('"') and len(etag) <= 200:  # a weak one compares nothing
        return etag
    return (response.getheader("Last-Modified") or "")[:200]


def _receive(
    response: HTTPResponse, into: Path, start: int, total: int | None, most: int, told: Callable[[int], None]
) -> None:
    done = start
    with into.open("r+b" if start else "wb") as file:
        file.truncate(start)
        file.seek(start)
        while True:
            try:
                chunk = response.read(CHUNK_BYTES)
            except (OSError, HTTPException) as error:
                raise Interrupted(f"the transfer broke off ({type(error).__name__})") from error
            if not chunk:
                break
            done += len(chunk)
            check_file_size(done, most)
            file.write(chunk)
            told(done)
    if total is not None and done != total:
        raise Interrupted(f"the transfer ended after {done} of {total} bytes")
