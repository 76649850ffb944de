"""What was counted, told to an OpenTelemetry collector: how much each counter has grown since the last report.

`/metrics` waits to be asked, and a task on AWS has nobody who asks. Counters alone are told: they add up over any
number of processes. A collector makes least, most, sum and count of a histogram, and of those there is no percentile.

A report that did not arrive is part of the next one: a collector that starts again loses nothing. Its points carry the
labels of the counter and no name of a scope, which some exporters would make a label of its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from millrace import telemetry
from millrace.errors import SettingError

VARIABLE: Final = "OTEL_METRICS_EXPORTER"
INTERVAL_VARIABLE: Final = "OTEL_METRIC_EXPORT_INTERVAL"
INTERVAL_MS: Final = "60000"
SEND_TIMEOUT_S: Final = 5.0
"""The collector is beside the process. While it is away, nobody waits longer for it, not even the end."""

Key = tuple[str, tuple[tuple[str, str], ...]]
"""A counter's name, and its labels with their values in the order of their names."""

log = telemetry.logger(__name__)


@contextmanager
def reporting(*, service: str, environ: Mapping[str, str]) -> Iterator[None]:
    """Report while the block runs, and once more at its end.

    In OpenTelemetry's own words: `OTEL_METRICS_EXPORTER` = none (default), otlp (default where there is an
    `OTEL_EXPORTER_OTLP_ENDPOINT`), every `OTEL_METRIC_EXPORT_INTERVAL` milliseconds.
    """
    kind = environ.get(VARIABLE, "otlp" if "OTEL_EXPORTER_OTLP_ENDPOINT" in environ else "none")
    if kind == "none":
        yield
        return
    report = CounterReport(_exporter(kind), service=service)
    stopping = threading.Event()
    every_s = _interval_s(environ)
    thread = threading.Thread(target=report.run, args=(stopping, every_s), name="counter-report", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(timeout=2 * SEND_TIMEOUT_S)


def counted() -> dict[Key, float]:
    """What this process alone has counted, by the names that `/metrics` has."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for counter in telemetry.COUNTERS
        for family in counter.collect()
        for sample in family.samples
        if sample.name.endswith("_total")
    }


class CounterReport:
    """The growth of this process's counters, sent with `exporter` (OpenTelemetry's, of metrics)."""

    def __init__(self, exporter: Any, *, service: str) -> None:
        from opentelemetry.sdk.resources import Resource

        self._exporter = exporter
        self._resource = Resource.create({"service.name": f"millrace-{service}"})
        self._told = counted()
        self._told_ns = time.time_ns()

    def run(self, stopping: threading.Event, every_s: float) -> None:
        """Until `stopping`, and then a last time."""
        ending = False
        while not ending:
            ending = stopping.wait(every_s)
            try:
                self.send()
            except Exception:  # a bug here must not blind the alarms for ever
                log.exception("counters_not_reported")

    def send(self) -> bool:
        """One report; False where it did not arrive."""
        from opentelemetry.sdk.metrics.export import MetricExportResult

        now, now_ns = counted(), time.time_ns()
        grown = {key: value - self._told.get(key, 0.0) for key, value in now.items()}
        told = {key: growth for key, growth in grown.items() if growth > 0}
        if told and self._exporter.export(self._data(told, now_ns)) is not MetricExportResult.SUCCESS:
            log.warning("counters_not_reported", counters=len(told))
            return False
        self._told, self._told_ns = now, now_ns
        return True

    def _data(self, grown: Mapping[Key, float], now_ns: int) -> Any:
        """A delta sum for each counter, a point for each of its labels."""
        from opentelemetry.sdk.metrics import export as to
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        points: dict[str, list[to.NumberDataPoint]] = {}
        for (name, labels), growth in grown.items():
            points.setdefault(name, []).append(
                to.NumberDataPoint(dict(labels), self._told_ns, now_ns, growth)
            )
        metrics = [
            to.Metric(name, None, None, to.Sum(of_name, to.AggregationTemporality.DELTA, is_monotonic=True))
            for name, of_name in points.items()
        ]
        scope = to.ScopeMetrics(InstrumentationScope(name=""), metrics, schema_url="")
        return to.MetricsData([to.ResourceMetrics(self._resource, [scope], schema_url="")])


def _exporter(kind: str) -> Any:
    if kind != "otlp":
        raise SettingError(VARIABLE, got=kind, want="none or otlp")
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    except ImportError:
        want = "the package opentelemetry-exporter-otlp-proto-http"
        raise SettingError(VARIABLE, got="otlp", want=want) from None
    return OTLPMetricExporter(timeout=SEND_TIMEOUT_S)


def _interval_s(environ: Mapping[str, str]) -> float:
    value = environ.get(INTERVAL_VARIABLE, INTERVAL_MS)
    if not value.isdigit() or int(value) == 0:
        raise SettingError(INTERVAL_VARIABLE, got=value, want="milliseconds, 1 or more")
    return int(value) / 1000
