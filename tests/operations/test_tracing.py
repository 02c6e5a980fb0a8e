"""From a click to the calls of libvirt: one trace, through the row of the operation; off, nothing of it is loaded."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from django.core.management import call_command
from django.test import Client
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pytest_django import Settings

from lifecycle import tracing
from lifecycle.domain.errors import Broken
from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action
from lifecycle.models import Operation
from tests.conftest import CHECKOUT
from tests.operations.scene import Scene

pytestmark = [pytest.mark.libvirt]


@pytest.fixture
def spans(settings: Settings) -> Iterator[InMemorySpanExporter]:
    """What is exported. The middleware is that of an installation with traces."""
    exporter = InMemorySpanExporter()
    settings.MIDDLEWARE = ["lifecycle.web.middleware.TraceMiddleware", *settings.MIDDLEWARE]
    tracing.start_with(SimpleSpanProcessor(exporter), "abcdef")
    yield exporter
    tracing.stop()


@pytest.fixture
def browser(scene: Scene) -> Client:
    """The owner's browser."""
    call_command("createcachetable", verbosity=0)
    client = Client()
    client.force_login(scene.owner, backend="django.contrib.auth.backends.ModelBackend")
    return client


def chain(span: ReadableSpan, spans: tuple[ReadableSpan, ...]) -> list[str]:
    """The names of a span and of those around it, the innermost first."""
    by_id = {one.context.span_id: one for one in spans if one.context}
    names, now = [], span
    while True:
        names.append(now.name)
        if now.parent is None:
            return names
        now = by_id[now.parent.span_id]


def test_a_click_and_the_calls_it_leads_to_are_one_trace(
    scene: Scene, browser: Client, spans: InMemorySpanExporter
) -> None:
    scene.bring_to(State.RUNNING)
    spans.clear()
    browser.post(f"/projects/{scene.project.slug}/vms/web-1/stop/")
    operation = Operation.objects.get(vm=scene.vm_id, action=Action.STOP)
    assert set(operation.data["trace"]) == {"traceparent"}
    scene.finish(operation)
    found = spans.get_finished_spans()
    clicked = next(span for span in found if span.name.startswith("POST "))
    assert clicked.context is not None
    mine = [span for span in found if span.context and span.context.trace_id == clicked.context.trace_id]
    call = next(span for span in mine if span.name == "libvirt ask_shutdown")
    assert chain(call, tuple(mine)) == [
        "libvirt ask_shutdown",
        "step ask_guest",
        "operation stop",
        *chain(next(s for s in mine if s.name.startswith("service request_action")), tuple(mine)),
    ]
    assert chain(call, tuple(mine))[-1].startswith("POST /projects/<slug:slug>/vms/<slug:name>/")
    assert dict(clicked.attributes or {})["http.response.status_code"] == 303


def test_what_fails_is_marked_on_its_step(scene: Scene, spans: InMemorySpanExporter) -> None:
    with tracing.span("test", root=True):
        operation = scene.ask(Action.CREATE)
    scene.proxy.fail("define", Broken("no"))
    scene.finish(operation)
    found = {span.name: span for span in spans.get_finished_spans()}
    assert not found["step define_domain"].status.is_ok
    assert found["step reserve_capacity"].status.is_ok or found["step reserve_capacity"].status.is_unset
    assert "undo prepare_disk" in found


def test_a_secret_in_an_address_is_in_no_span(scene: Scene, browser: Client, spans: InMemorySpanExporter) -> None:
    browser.get("/invitations/a-secret-token/?password=hunter2")
    [span] = [span for span in spans.get_finished_spans() if span.name.startswith("GET ")]
    assert span.name == "GET /invitations/<str:token>/"
    assert "secret" not in span.to_json()
    assert "hunter2" not in span.to_json()


def test_a_call_outside_of_any_work_makes_no_span(scene: Scene, spans: InMemorySpanExporter) -> None:
    """The watchers' calls, every few seconds, would drown the rest."""
    scene.proxy.list_domains()
    assert spans.get_finished_spans() == ()


def test_off_no_operation_carries_a_trace(scene: Scene, browser: Client) -> None:
    scene.bring_to(State.RUNNING)
    browser.post(f"/projects/{scene.project.slug}/vms/web-1/stop/")
    assert "trace" not in Operation.objects.get(vm=scene.vm_id, action=Action.STOP).data


LOADED = (
    "import django, sys; django.setup(); print(any(name.startswith('opentelemetry.exporter') for name in sys.modules))"
)


HELLO = """import django; django.setup()
from lifecycle import tracing
with tracing.span('hello', root=True): pass"""


def fresh(code: str, **environment: str) -> str:
    """What a process of its own prints."""
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "vmportal.settings", **environment}
    return subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, env=env, capture_output=True, text=True).stdout


def test_off_nothing_of_it_is_imported() -> None:
    """The exporter, that is: redis imports the library's interfaces by itself where they are installed."""
    assert fresh(LOADED, VMPORTAL_TRACES_URL="").strip() == "False"
    assert fresh(LOADED, VMPORTAL_TRACES_URL="http://127.0.0.1:1/v1/traces").strip() == "True"


def test_spans_arrive_at_a_receiver_on_the_network() -> None:
    received: list[ExportTraceServiceRequest] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the base class's name
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                import gzip

                body = gzip.decompress(body)
            received.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_words: object) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        fresh(HELLO, VMPORTAL_TRACES_URL=f"http://127.0.0.1:{server.server_port}/v1/traces")
    finally:
        server.shutdown()
    [resource] = [one for request in received for one in request.resource_spans]
    assert resource.scope_spans[0].spans[0].name == "hello"
    names = {attribute.key: attribute.value.string_value for attribute in resource.resource.attributes}
    assert names["service.name"] == "vmportal"
