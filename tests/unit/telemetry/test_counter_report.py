"""Promises about what a program tells a collector: only what grew, once, and nothing is lost while nobody listens."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import MetricExportResult

from millrace import counter_report, telemetry
from millrace.counter_report import CounterReport
from millrace.errors import SettingError

SERVICE = "test"
Key = tuple[str, tuple[tuple[str, str], ...]]


class Collector:
    """Takes reports, or is away."""

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.away = False
        self.broken = False

    def export(self, data: Any) -> MetricExportResult:
        if self.broken:
            raise RuntimeError("a bug")
        if self.away:
            return MetricExportResult.FAILURE
        self.taken.append(data)
        return MetricExportResult.SUCCESS

    def points(self, report: int) -> dict[Key, float]:
        """Counter and labels -> growth."""
        (resource,) = self.taken[report].resource_metrics
        (scope,) = resource.scope_metrics
        return {
            (metric.name, tuple(sorted(point.attributes.items()))): point.value
            for metric in scope.metrics
            for point in metric.data.data_points
        }


@pytest.mark.requirement("S-23")
def test_a_report_says_what_grew_since_the_one_before_and_nothing_else() -> None:
    telemetry.PROCESS_BATCHES.inc(5)
    collector = Collector()
    report = CounterReport(collector, service=SERVICE)
    telemetry.PROCESS_BATCHES.inc(2)
    telemetry.refused("rate")
    assert report.send()
    telemetry.PROCESS_BATCHES.inc(3)
    assert report.send()
    assert collector.points(0) == {
        ("process_batches_total", ()): 2,
        ("ingest_requests_refused_total", (("reason", "rate"),)): 1,
    }
    assert collector.points(1) == {("process_batches_total", ()): 3}


@pytest.mark.requirement("S-23")
def test_a_report_that_did_not_arrive_is_part_of_the_next() -> None:
    collector = Collector()
    report = CounterReport(collector, service=SERVICE)
    collector.away = True
    telemetry.PROCESS_BATCHES.inc(2)
    assert not report.send()
    collector.away = False
    telemetry.PROCESS_BATCHES.inc(3)
    assert report.send()
    assert collector.points(0) == {("process_batches_total", ()): 5}


def test_nothing_is_sent_while_nothing_grows() -> None:
    collector = Collector()
    assert CounterReport(collector, service=SERVICE).send()
    assert collector.taken == []


@pytest.mark.requirement("S-23")
def test_what_was_counted_last_is_told_at_the_end_whatever_happened_before() -> None:
    collector, stopping = Collector(), threading.Event()
    report = CounterReport(collector, service=SERVICE)
    collector.broken = True
    thread = threading.Thread(target=report.run, args=(stopping, 0.001))
    thread.start()
    telemetry.PROCESS_BATCHES.inc()
    stopping.wait(0.05)
    collector.broken = False
    telemetry.PROCESS_BATCHES.inc()
    stopping.set()
    thread.join(timeout=30)
    sent = [collector.points(number)["process_batches_total", ()] for number in range(len(collector.taken))]
    assert sum(sent) == 2


def test_without_an_end_point_nothing_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counter_report, "_exporter", lambda kind: pytest.fail(f"{kind} was wanted"))
    for environ in ({}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://nowhere", "OTEL_METRICS_EXPORTER": "none"}):
        with counter_report.reporting(service=SERVICE, environ=environ):
            pass


@pytest.mark.parametrize(
    "environ",
    [
        {"OTEL_METRICS_EXPORTER": "prometheus"},
        {"OTEL_METRICS_EXPORTER": "otlp", "OTEL_METRIC_EXPORT_INTERVAL": "15s"},
        {"OTEL_METRICS_EXPORTER": "otlp", "OTEL_METRIC_EXPORT_INTERVAL": "0"},
    ],
)
def test_a_setting_that_is_none_is_refused(environ: dict[str, str]) -> None:
    with (
        pytest.raises(SettingError, match="OTEL_METRIC"),
        counter_report.reporting(service=SERVICE, environ=environ),
    ):
        pytest.fail("it ran")
