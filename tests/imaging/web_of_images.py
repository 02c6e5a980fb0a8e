"""A web server on loopback that serves a file as publishers do, and breaks off or changes as networks do."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Publisher:
    """What is served at /image; `cut_after` breaks each answer off after so many bytes, `cuts` times."""

    content: bytes
    etag: str = '"one"'
    cut_after: int = 0
    cuts: int = 0
    with_ranges: bool = True
    statuses: list[int] = field(default_factory=list)
    #: (Range, bytes sent) of each answer
    seen: list[tuple[str, int]] = field(default_factory=list)
    redirect_to: str = ""
    port: int = 0

    @property
    def url(self) -> str:
        """The file's address."""
        return f"http://127.0.0.1:{self.port}/image"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    publisher: Publisher

    def do_GET(self) -> None:
        if self.path == "/away":
            self._answer(302, Location=self.publisher.redirect_to)
        elif self.publisher.statuses:
            self._answer(self.publisher.statuses.pop(0))
        else:
            self._send()

    def _send(self) -> None:
        publisher = self.publisher
        wanted = self.headers.get("Range", "")
        start = self._start(wanted)
        body, end = publisher.content[start:], len(publisher.content)
        self.send_response(206 if start else 200)
        self.send_header("ETag", publisher.etag)
        self.send_header("Content-Length", str(len(body)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{end}")
        self.end_headers()
        if publisher.cuts and publisher.cut_after:
            publisher.cuts -= 1
            body = body[: publisher.cut_after]
            self.close_connection = True
        publisher.seen.append((wanted, len(body)))
        self.wfile.write(body)

    def _start(self, wanted: str) -> int:
        if not (self.publisher.with_ranges and wanted and self.headers.get("If-Range") == self.publisher.etag):
            return 0
        return int(wanted.removeprefix("bytes=").rstrip("-"))

    def _answer(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": "0", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@contextmanager
def served(publisher: Publisher) -> Iterator[Publisher]:
    """The publisher, answering on a free port."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"publisher": publisher}))
    publisher.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield publisher
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
