"""Logs and metrics: every name that leaves the platform is in this file, those of spans in `tracing`.

Metrics are named `<stage>_<thing>_<unit>_total`, counted per batch, and carry labels out of closed sets
only. Several processes count into one place: the supervisor names a folder in `PROMETHEUS_MULTIPROC_DIR`,
each process maps its counters into files there, and `exposition()` adds them up, whoever asks.

Cost per batch, measured on one shared core: an increment 0.5 us in one process, 1.0 us over mapped files.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, TextIO, cast

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess
from prometheus_client.registry import REGISTRY

from millrace import tracing
from millrace.batch import Output, Reason
from millrace.lossy_output import LossyOutput

METRICS_FOLDER_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"  # read by prometheus_client at its import

REASONS: Final = tuple(reason.name.lower() for reason in Reason if reason is not Reason.OK)
REFUSALS: Final = (
    "stream_full",
    "stream_unavailable",
    "disk_nearly_full",
    "rate",
    "lag",
    "queue_full",
    "too_many_sources",
    "unauthorized",
    "bad_header",
    "body_too_large",
    "other",
)
"""Why a whole request was answered no, the problem's `code`, beside the reasons of `batch.Reason`; an unknown one is
`other`. The last four are found before the door is asked.
"""

SINKS: Final = ("postgres", "redis", "archive", "blackhole")

PROMISED_S: Final = 0.5
"""Of 100 readings 99 are visible, and committed, within this. Those that are not are counted one by one: a stall ends
in one large batch. Two counters say it of any number of processes, which no percentile of each does."""

# 1 ms to 30 s, close together around the promise (visible and durable p99 under 500 ms).
LATENCY_BUCKETS_S: Final = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.125, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5,
    0.75, 1.0, 2.0, 5.0, 10.0, 30.0,
)  # fmt: skip

# --- ingest: the door -----------------------------------------------------------------------------
INGEST_READINGS_ACCEPTED = Counter("ingest_readings_accepted_total", "Readings answered 202.")
INGEST_READINGS_REJECTED = Counter(
    "ingest_readings_rejected_total", "Readings refused one by one at the door.", ["reason"]
)
INGEST_REQUESTS_REFUSED = Counter(
    "ingest_requests_refused_total", "Requests answered 4xx or 503 as a whole.", ["reason"]
)
INGEST_FRAMES_APPENDED = Counter("ingest_frames_appended_total", "Frames that the stream holds durably.")
INGEST_APPEND_SECONDS = Histogram(
    "ingest_append_seconds", "One append to the stream, synced.", buckets=LATENCY_BUCKETS_S
)
INGEST_TICKS_APPENDED = Counter("ingest_ticks_appended_total", "Ticks appended, over all shards.")

# --- stream ---------------------------------------------------------------------------------------
STREAM_BYTES_HELD = Gauge("stream_held_bytes", "Bytes held until trimmed.", multiprocess_mode="mostrecent")

# --- process --------------------------------------------------------------------------------------
PROCESS_BATCHES = Counter("process_batches_total", "Batches processed.")
PROCESS_READINGS_RECEIVED = Counter("process_readings_received_total", "Readings read from the stream.")
PROCESS_READINGS_DUPLICATE = Counter(
    "process_readings_duplicate_total", "Readings of frames that were there already."
)
PROCESS_READINGS_REJECTED = Counter(
    "process_readings_rejected_total", "Readings put into the quarantine.", ["reason"]
)
PROCESS_READINGS_APPLIED = Counter("process_readings_applied_total", "Readings that went on to the sinks.")
PROCESS_READINGS_LATE = Counter(
    "process_readings_late_total", "Applied readings older than their tag's newest."
)
PROCESS_ANOMALIES_OPENED = Counter("process_anomalies_opened_total", "Anomalies opened.")
PROCESS_ALARMS_RAISED = Counter("process_alarms_raised_total", "Alarms raised.")
PROCESS_BATCH_SECONDS = Histogram("process_batch_seconds", "One call of process.", buckets=LATENCY_BUCKETS_S)
PROCESS_LAG_SECONDS = Gauge(
    "process_lag_seconds", "Age of the newest processed record.", ["shard"], multiprocess_mode="mostrecent"
)

# --- sinks ----------------------------------------------------------------------------------------
SINK_READINGS_APPLIED = Counter("sink_readings_applied_total", "Readings whose batch is committed.")
SINK_READINGS_SLOW = Counter("sink_readings_slow_total", "Readings committed later than promised.")
SINK_READINGS_ARCHIVED = Counter("sink_readings_archived_total", "Readings in listed segments.")
SINK_COMMIT_SECONDS = Histogram(
    "sink_commit_seconds", "One transaction or segment.", ["sink"], buckets=LATENCY_BUCKETS_S
)
SINK_RETRIES = Counter("sink_retries_total", "Writes that will be tried again.", ["sink"])
SINK_READINGS_REFUSED = Counter(
    "sink_readings_refused_total", "Readings that a store refused; the others hold them.", ["reason"]
)
SINK_LOSSES = Counter("sink_losses_total", "Fast-path writes given up; the record is elsewhere.", ["sink"])
LATENCY_VISIBLE_SECONDS = Histogram(
    "latency_visible_seconds", "Receipt to fast path.", buckets=LATENCY_BUCKETS_S
)
LATENCY_DURABLE_SECONDS = Histogram(
    "latency_durable_seconds", "Receipt to commit.", buckets=LATENCY_BUCKETS_S
)

# --- api ------------------------------------------------------------------------------------------
API_READINGS_VISIBLE = Counter("api_readings_visible_total", "Fresh readings that the live view took.")
API_READINGS_SLOW = Counter("api_readings_slow_total", "Those that it took later than promised.")

# --- supervisor -----------------------------------------------------------------------------------
LOG_LINES_LOST = Counter("log_lines_lost_total", "Lines of log that the output did not take.")
SUPERVISOR_RESTARTS = Counter("supervisor_restarts_total", "Children started again after a death.")

_REFUSED = {reason: INGEST_REQUESTS_REFUSED.labels(reason) for reason in (*REFUSALS, *REASONS)}
_REJECTED = {reason: PROCESS_READINGS_REJECTED.labels(reason.name.lower()) for reason in Reason if reason}
_DOOR_REJECTED = {reason: INGEST_READINGS_REJECTED.labels(reason.name.lower()) for reason in Reason if reason}

_STORE_REFUSED = SINK_READINGS_REFUSED.labels(Reason.STORE_REFUSED.name.lower())
_RETRIES = {sink: SINK_RETRIES.labels(sink) for sink in SINKS}
_COMMIT = {sink: SINK_COMMIT_SECONDS.labels(sink) for sink in SINKS}


def refused(reason: str) -> None:
    """Count one refused request; a reason outside the closed set counts as `other`."""
    _REFUSED.get(reason, _REFUSED["other"]).inc()


def door_rejected(counts: Mapping[Reason, int]) -> None:
    """Count readings that the door refused one by one."""
    for reason, count in counts.items():
        _DOOR_REJECTED[reason].inc(count)


def processed(batches: Sequence[tuple[Output, float]]) -> None:
    """Count what one turn of a worker processed, over all its shards: outputs with the seconds that each took."""
    outputs = [output for output, _ in batches]
    PROCESS_BATCHES.inc(len(outputs))
    PROCESS_READINGS_RECEIVED.inc(sum(output.received for output in outputs))
    PROCESS_READINGS_APPLIED.inc(sum(len(output.readings) for output in outputs))
    _count(PROCESS_READINGS_DUPLICATE, sum(output.duplicates for output in outputs))
    _count(PROCESS_READINGS_LATE, sum(output.late for output in outputs))
    for output, seconds in batches:
        PROCESS_BATCH_SECONDS.observe(seconds)
        for reason, count in output.reject_counts.items():
            _REJECTED[reason].inc(count)
        if len(output.anomalies):
            PROCESS_ANOMALIES_OPENED.inc(int((output.anomalies["kind"] == 0).sum()))
        if len(output.alarms):
            PROCESS_ALARMS_RAISED.inc(int((output.alarms["kind"] == 0).sum()))
        _trace(tracing.SPAN_PROCESS, output, seconds)


def _count(counter: Counter, amount: int) -> None:
    if amount:
        counter.inc(amount)


@cache
def process_lag(shard: int) -> Gauge:
    """A shard's own gauge; looking a label up costs as much as setting it."""
    return PROCESS_LAG_SECONDS.labels(str(shard))


def visible(readings: int, latency_s: float) -> None:
    """Count readings of one batch that the live view took; the latency is that of the newest receipt."""
    LATENCY_VISIBLE_SECONDS.observe(max(0.0, latency_s))
    API_READINGS_VISIBLE.inc(readings)
    _count(API_READINGS_SLOW, readings if latency_s > PROMISED_S else 0)


def committed(outputs: Sequence[Output], seconds: float, now_us: int) -> None:
    """Count one transaction of the operational store; the latency is that of each output's newest receipt."""
    _COMMIT["postgres"].observe(seconds)
    promised_us = now_us - round(PROMISED_S * 1e6)
    slow = [len(output.readings) for output in outputs if 0 < output.newest_received_us < promised_us]
    _count(SINK_READINGS_SLOW, sum(slow))
    SINK_READINGS_APPLIED.inc(sum(len(output.readings) for output in outputs))
    for output in outputs:
        if output.newest_received_us:
            LATENCY_DURABLE_SECONDS.observe(max(0.0, (now_us - output.newest_received_us) / 1e6))
        _trace(tracing.SPAN_SINK_POSTGRES, output, seconds)


def archived(shard: int, rows: int, seconds: float, traces: Iterable[tuple[str, int]]) -> None:
    """Count one listed segment; `traces` are those of the outputs in it."""
    _COMMIT["archive"].observe(seconds)
    SINK_READINGS_ARCHIVED.inc(rows)
    for parent, position in traces:
        tracing.record_span(tracing.SPAN_SINK_ARCHIVE, parent, seconds, shard=shard, position=position)


def said_at_once(outputs: Sequence[Output], seconds: float) -> None:
    """Trace what the fast path was given; whether the real-time store took it is counted in `SINK_LOSSES`."""
    for output in outputs:
        _trace(tracing.SPAN_SINK_REDIS, output, seconds)


def _trace(span_name: str, output: Output, seconds: float) -> None:
    for parent, position in output.traces:
        tracing.record_span(span_name, parent, seconds, shard=output.shard, position=position)


def will_retry(sink: str) -> None:
    """Count one write that a store did not take and that is offered again."""
    _RETRIES[sink].inc()


def store_refused(count: int) -> None:
    """Count readings that the operational store refused one by one."""
    _STORE_REFUSED.inc(count)


# --- reading them back ----------------------------------------------------------------------------

COUNTERS: Final = tuple(
    value for name, value in list(globals().items()) if isinstance(value, Counter) and name[0] != "_"
)


def _registry() -> CollectorRegistry:
    """The metrics of all processes where a folder is named, else of this one."""
    if METRICS_FOLDER_VARIABLE not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry


def exposition() -> bytes:
    """What `/metrics` answers, in the Prometheus text format."""
    return generate_latest(_registry())


def totals() -> dict[str, float]:
    """Every counter and gauge since the platform started, over all processes.

    A labelled metric is there once per label value as `name{value}` and once, summed, as `name`.
    Histograms give `name_count`, `name_sum` and `name_bucket{upper bound}`.
    """
    out: dict[str, float] = {}
    for metric in _registry().collect():
        for sample in metric.samples:
            labels = ",".join(value for name, value in sorted(sample.labels.items()) if name != "pid")
            out[sample.name] = out.get(sample.name, 0.0) + sample.value
            if labels:
                out[f"{sample.name}{{{labels}}}"] = out.get(f"{sample.name}{{{labels}}}", 0.0) + sample.value
    return out


def forget_process(pid: int) -> None:
    """A process is dead: its gauges of the living go, its counters stay."""
    if METRICS_FOLDER_VARIABLE in os.environ:
        multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]


# --- logs -----------------------------------------------------------------------------------------


def set_up_logs(*, level: str = "info", json_lines: bool = False, service: str = "") -> None:
    """Structured logs on stderr: readable lines, or one JSON object a line. Call once, in `main`."""
    number = logging.getLevelNamesMapping()[level.upper()]
    out = LossyOutput(sys.stderr, LOG_LINES_LOST.inc)
    logging.basicConfig(stream=out, level=max(number, logging.WARNING), format="%(name)s: %(message)s")
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if json_lines
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(file=cast(TextIO, out)),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.clear_contextvars()
    if service:
        structlog.contextvars.bind_contextvars(service=service, pid=os.getpid())


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger for one module: `log.info("segment listed", shard=3, rows=n)`."""
    bound: structlog.stdlib.BoundLogger = structlog.get_logger(module=name)
    return bound


def clear_metrics_folder(folder: Path) -> None:
    """Start counting from zero: remove what an earlier run of the platform counted."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.glob("*.db"):
        file.unlink(missing_ok=True)
