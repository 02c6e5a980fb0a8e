"""Traces from the click to the hypervisor's call, for an OpenTelemetry collector; off, it costs one comparison.

Beside the layers, because requests, services, operations and drivers all open spans. OpenTelemetry is imported by
`start` alone. What is asked of the portal and by whom is not in a span: names and numbers are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import Tracer

#: Where an operation's data keeps the context of the request that opened it.
KEY: Final = "trace"

_tracer: Tracer | None = None


def on() -> bool:
    """Whether traces are made."""
    return _tracer is not None


def start(url: str, installation: str) -> None:
    """Send spans to the OTLP/HTTP address `url` from now on, in the background; one that is lost harms nothing."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    start_with(BatchSpanProcessor(OTLPSpanExporter(endpoint=url)), installation)


def start_with(processor: SpanProcessor, installation: str) -> None:
    """Hand spans to a processor."""
    global _tracer
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    resource = Resource.create({"service.name": "vmportal", "vmportal.installation": installation})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(processor)
    _tracer = provider.get_tracer("vmportal")


def stop() -> None:
    """Make no more spans; for tests."""
    global _tracer
    _tracer = None


@contextmanager
def span(name: str, *, root: bool = False, **attributes: str | int) -> Iterator[Any]:
    """A span around the block, inside the one that is open; without an open one only when it is a `root`.

    An exception that leaves the block is noted on the span. Yields the span, or None.
    """
    if _tracer is None:
        yield None
        return
    from opentelemetry import trace

    if not root and not trace.get_current_span().get_span_context().is_valid:
        yield None
        return
    with _tracer.start_as_current_span(name, attributes=attributes) as opened:
        yield opened


def carrier() -> dict[str, str]:
    """The open span in the words of W3C's trace context, as JSON values; empty when there is none."""
    if _tracer is None:
        return {}
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    found: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(found)
    return found


@contextmanager
def continued(kept: Mapping[str, str] | None, name: str, **attributes: str | int) -> Iterator[None]:
    """A span that goes on where `carrier` was asked, in another process, later."""
    if _tracer is None:
        yield
        return
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    before = TraceContextTextMapPropagator().extract(dict(kept or {}))
    with _tracer.start_as_current_span(name, context=before, attributes=attributes):
        yield
