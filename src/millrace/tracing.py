"""Traces: one per sampled frame, from who sends it to every sink, as OpenTelemetry spans.

Which spans there are stands here and nowhere else. Without an exporter (`set_up_traces`) each call costs nothing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final

from millrace.errors import SettingError

if TYPE_CHECKING:
    from opentelemetry.trace import Span

SPAN_SEND: Final = "send"
SPAN_INGEST: Final = "ingest"
SPAN_PROCESS: Final = "process"
SPAN_SINK_POSTGRES: Final = "sink.postgres"
SPAN_SINK_REDIS: Final = "sink.redis"
SPAN_SINK_ARCHIVE: Final = "sink.archive"

_tracer: Any = None


def set_up_traces(*, service: str, environ: Mapping[str, str]) -> None:
    """Where spans go, in OpenTelemetry's own words: `OTEL_TRACES_EXPORTER` = none (default), console, otlp.

    Whether a frame is traced is decided once, by its producer or at the door (`trace_ratio`), and travels in the
    frame.
    """
    global _tracer
    kind = environ.get("OTEL_TRACES_EXPORTER", "otlp" if "OTEL_EXPORTER_OTLP_ENDPOINT" in environ else "none")
    if kind == "none":
        _tracer = None
        return
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": f"millrace-{service}"}))
    provider.add_span_processor(BatchSpanProcessor(_exporter(kind)))
    _tracer = provider.get_tracer("millrace")


def _exporter(kind: str) -> Any:
    if kind == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter(out=sys.stderr)
    if kind != "otlp":
        raise SettingError("OTEL_TRACES_EXPORTER", got=kind, want="none, console or otlp")
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:
        raise SettingError(
            "OTEL_TRACES_EXPORTER", got="otlp", want="the package opentelemetry-exporter-otlp-proto-http"
        ) from None
    return OTLPSpanExporter()


def span(
    name: str, *, parent: str = "", **attributes: str | int | float
) -> AbstractContextManager[Span | None]:
    """A span, a child of the W3C trace parent where one is given. Costs nothing while traces are off."""
    if _tracer is None:
        return nullcontext(None)
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    context = TraceContextTextMapPropagator().extract({"traceparent": parent}) if parent else None
    opened: AbstractContextManager[Span | None] = _tracer.start_as_current_span(
        name, context=context, attributes=attributes
    )
    return opened


def begin_span(name: str, **attributes: str | int | float) -> tuple[Span, str] | None:
    """A span that somebody else ends, and its W3C trace parent; None while traces are off."""
    if _tracer is None:
        return None
    from opentelemetry.trace import set_span_in_context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    begun: Span = _tracer.start_span(name, attributes=attributes)
    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier, set_span_in_context(begun))
    return begun, carrier["traceparent"]


def record_span(name: str, parent: str, seconds: float, **attributes: str | int | float) -> None:
    """A span that ends now and lasted that long: for work on a batch, whose frames are known only inside it."""
    if _tracer is None:
        return
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    end_ns = time.time_ns()
    context = TraceContextTextMapPropagator().extract({"traceparent": parent})
    span_ = _tracer.start_span(
        name, context=context, start_time=end_ns - round(seconds * 1e9), attributes=attributes
    )
    span_.end(end_ns)


def trace_parent() -> str:
    """The current span as a W3C trace parent (55 characters), to be carried in a frame; empty without one."""
    if _tracer is None:
        return ""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent", "")
