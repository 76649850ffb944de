from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import Counter

from millrace import batch, telemetry, tracing
from millrace.batch import Output, Reason

COUNT = """
import sys
from millrace import telemetry
telemetry.SINK_READINGS_APPLIED.inc(int(sys.argv[1]))
telemetry.refused("rate")
telemetry.LATENCY_DURABLE_SECONDS.observe(0.07)
if sys.argv[1] == "1":
    print(telemetry.totals()["sink_readings_applied_total"], telemetry.exposition().decode().count("pid="))
"""


def empty_output(**more: object) -> Output:
    return Output(
        0, 2, 1, 0, 1,
        readings=batch.empty(batch.READING), rollups=batch.empty(batch.ROLLUP),
        anomalies=batch.empty(batch.ANOMALY),
        alarms=batch.empty(batch.ALARM), ledger=batch.empty(batch.LEDGER), **more,  # type: ignore[arg-type]
    )  # fmt: skip


def test_every_counter_names_its_stage_and_ends_in_total() -> None:
    names = [f"{value._name}_total" for value in vars(telemetry).values() if isinstance(value, Counter)]
    assert len(names) > 10
    assert [
        name
        for name in names
        if not re.fullmatch(r"(ingest|process|sink|api|supervisor|log)_[a-z]+(_[a-z]+)*_total", name)
    ] == []


def test_metrics_are_named_nowhere_else() -> None:
    source = Path(telemetry.__file__).parent
    said_in = [
        path.name for path in source.rglob("*.py")
        if re.search(r"prometheus_client|\bget_tracer\(", path.read_text())
    ]  # fmt: skip
    assert sorted(said_in) == ["telemetry.py", "tracing.py"]


@pytest.mark.requirement("S-19")
def test_every_reason_can_be_counted_and_read_back() -> None:
    before = telemetry.totals()
    telemetry.processed([(empty_output(reject_counts={reason: 2 for reason in Reason if reason}), 0.001)])
    after = telemetry.totals()
    for reason in telemetry.REASONS:
        name = f"process_readings_rejected_total{{{reason}}}"
        assert after[name] - before.get(name, 0.0) == 2, reason


def test_a_batch_is_counted_once_in_each_place() -> None:
    before = telemetry.totals()
    output = empty_output(received=7, duplicates=2)
    output.readings = np.zeros(5, batch.READING)
    telemetry.processed([(output, 0.001)])
    after = telemetry.totals()
    grown = {
        name: after[name] - before.get(name, 0.0) for name in after if after[name] != before.get(name, 0.0)
    }
    assert grown["process_batches_total"] == 1
    assert grown["process_readings_received_total"] == 7
    assert grown["process_readings_duplicate_total"] == 2
    assert grown["process_readings_applied_total"] == 5


@pytest.mark.requirement("S-23")
def test_readings_committed_later_than_promised_are_counted_one_by_one() -> None:
    """A stall ends in one large batch: of batches one is late, of readings most are."""
    limit_us, now_us = round(telemetry.PROMISED_S * 1e6), 10_000_000
    before = telemetry.totals()
    outputs = []
    for readings, age_us in ((1, limit_us), (7, limit_us + 1), (3, 0)):
        output = empty_output(newest_received_us=now_us - age_us)
        output.readings = np.zeros(readings, batch.READING)
        outputs.append(output)
    telemetry.committed(outputs, 0.01, now_us)
    after = telemetry.totals()
    assert after["sink_readings_slow_total"] - before["sink_readings_slow_total"] == 7
    assert after["sink_readings_applied_total"] - before["sink_readings_applied_total"] == 11


def test_labels_come_from_closed_sets() -> None:
    telemetry.refused("whatever-a-client-made-up")
    assert "whatever" not in telemetry.exposition().decode()
    assert telemetry.totals()["ingest_requests_refused_total{other}"] >= 1


def test_several_processes_count_into_one_place(tmp_path: Path) -> None:
    environ = {**os.environ, telemetry.METRICS_FOLDER_VARIABLE: str(tmp_path), "PYTHONPATH": "src"}
    for number in ("40", "1"):
        done = subprocess.run(
            [sys.executable, "-c", COUNT, number], env=environ, capture_output=True, text=True, check=True
        )
    assert done.stdout.split() == ["41.0", "0"]
    telemetry.clear_metrics_folder(tmp_path)
    assert list(tmp_path.iterdir()) == []


SPANS = """
import os
from millrace import tracing
tracing.set_up_traces(service="test", environ=os.environ)
with tracing.span(tracing.SPAN_INGEST):
    parent = tracing.trace_parent()
assert len(parent) == 55, parent
with tracing.span(tracing.SPAN_PROCESS, parent=parent, shard=3):
    assert tracing.trace_parent().split("-")[1] == parent.split("-")[1]
"""


def test_a_span_goes_on_where_the_frame_came_from() -> None:
    environ = {**os.environ, "OTEL_TRACES_EXPORTER": "console", "PYTHONPATH": "src"}
    done = subprocess.run(
        [sys.executable, "-c", SPANS], env=environ, capture_output=True, text=True, check=True
    )
    assert '"name": "process"' in done.stderr


def test_traces_that_are_off_cost_no_parent() -> None:
    tracing.set_up_traces(service="test", environ={})
    with tracing.span(tracing.SPAN_INGEST) as span:
        assert span is None
        assert tracing.trace_parent() == ""


@pytest.mark.requirement("S-19")
def test_a_full_disk_under_the_log_stops_no_program() -> None:
    program = """
import logging
from millrace import telemetry
from millrace.local.status import StatusLine
telemetry.set_up_logs()
for _ in range(3):
    telemetry.logger("m").warning("x" * 10_000)
    logging.getLogger("library").error("y" * 10_000)
    StatusLine(open("/dev/full", "w")).say("z" * 10_000)
assert telemetry.LOG_LINES_LOST._value.get() >= 9, telemetry.LOG_LINES_LOST._value.get()
"""
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run([sys.executable, "-c", program], stderr=full, timeout=60, check=False)
    assert ended.returncode == 0
