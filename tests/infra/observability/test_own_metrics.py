"""Promises about the metrics that we make ourselves: what an alarm names is counted, told, and arrives as named.

A program counts everything that `telemetry.py` knows and reports it to a collector of this test's; the collector's
configuration says what CloudWatch makes of it. What a function puts there itself is added. No row and no metric is left
out of the comparison.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Counter
from prometheus_client.parser import text_string_to_metric_families

from millrace import telemetry
from millrace_infra.observability.alarm_table import ROWS
from millrace_infra.observability.series import OURS
from tests.infra.conftest import SUFFIX
from tests.infra.observability import emf
from tests.infra.observability.alarms import Build, metrics, own_namespace
from tests.infra.observability.functions import told_by_functions
from tests.infra.observability.otlp_server import OtlpServer
from tests.infra.program import Program

pytestmark = pytest.mark.requirement("S-23")
SOURCE = Path(telemetry.__file__).parent
COUNT_EVERYTHING = """
import os
from itertools import product
from millrace import counter_report, telemetry

LABELS = {"sink": telemetry.SINKS, "reason": (*telemetry.REFUSALS, *telemetry.REASONS)}
with counter_report.reporting(service="worker", environ=os.environ):
    counters = telemetry.COUNTERS
    for number, counter in enumerate(counters):
        for values in product(*(LABELS[label] for label in counter._labelnames)):
            (counter.labels(*values) if values else counter).inc(number + 1)
print(telemetry.exposition().decode())
"""
"""As in a task: one process, and the collector beside it."""
OF_THE_LIBRARY = re.compile(r"python_|process_cpu_seconds_total")
"""Counters that prometheus_client adds of itself."""
Counts = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture(scope="module")
def told() -> Iterator[tuple[list[emf.Point], Counts]]:
    """What the collector was told, and what `/metrics` answers, of the same program."""
    with OtlpServer() as collector:
        at_the_end = {"OTEL_METRIC_EXPORT_INTERVAL": "3600000"}  # in one report, however long the counting takes
        environ = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, **at_the_end}
        done = subprocess.run(
            [sys.executable, "-c", COUNT_EVERYTHING], env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        yield [point for request in collector.requests for point in emf.points(request)], counted(done.stdout)


def counted(text: str) -> Counts:
    """Our counters in an exposition, those that counted anything."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        if family.type == "counter"
        for sample in family.samples
        if sample.value and sample.name.endswith("_total") and not OF_THE_LIBRARY.match(sample.name)
    }


def exporter() -> dict[str, Any]:
    """The awsemf exporter of the collector beside a task."""
    pytest.importorskip("constructs")
    from millrace_infra.services.collector import collector

    definition = collector(image="i", log_group="g", suffix=SUFFIX, region="eu-central-1")
    variables = {one["name"]: one["value"] for one in definition["environment"]}
    found: dict[str, Any] = json.loads(variables["AOT_CONFIG_CONTENT"])["exporters"]["awsemf"]
    return found


def named(program: Program) -> set[emf.Pair]:
    """Our own metrics that alarms read, with their dimensions."""
    return {
        (name, frozenset(values.items()))
        for (space, name, _), values in metrics(program)
        if space == own_namespace()
    }


def test_what_metrics_answers_is_what_the_collector_is_told(told: tuple[list[emf.Point], Counts]) -> None:
    found, text = told
    assert len(text) > 40
    assert {(one.name, frozenset(one.attributes.items())): one.value for one in found} == text
    assert {one.scope for one in found} == {""}


def test_a_worker_tells_the_collector_while_it_runs_and_when_it_ends() -> None:
    program = """
from millrace import telemetry, worker
worker._run = lambda *_: telemetry.PROCESS_BATCHES.inc(3)
raise SystemExit(worker.main([]))
"""
    with OtlpServer() as collector:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("MILLRACE_")}
        environ |= {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_TRACES_EXPORTER": "none"}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        found = [point for request in collector.requests for point in emf.points(request)]
    assert [(point.name, point.value) for point in found] == [("process_batches_total", 3)]


def test_every_alarm_of_ours_reads_a_metric_that_arrives_under_that_name(
    told: tuple[list[emf.Point], Counts], watch: Program
) -> None:
    arriving = emf.metrics(exporter(), told[0]) | told_by_functions()
    assert named(watch) - arriving == set()


def test_every_metric_that_arrives_is_read_by_an_alarm(
    told: tuple[list[emf.Point], Counts], watch_of: Build
) -> None:
    """Each costs by the month. Of a row about one label's value, the others may arrive: the words are few."""

    def kinds(pairs: set[emf.Pair]) -> set[tuple[str, frozenset[str]]]:
        return {(name, frozenset(dict(dimensions))) for name, dimensions in pairs}

    arriving = emf.metrics(exporter(), told[0]) | told_by_functions()
    assert kinds(arriving) == kinds(named(watch_of("us-east-1")))
    assert len(arriving) <= 25


def test_each_declaration_of_the_collector_takes_something(told: tuple[list[emf.Point], Counts]) -> None:
    for declaration in exporter()["metric_declarations"]:
        for selector in declaration["metric_name_selectors"]:
            alone = exporter() | {
                "metric_declarations": [declaration | {"metric_name_selectors": [selector]}]
            }
            assert emf.metrics(alone, told[0]), selector


def counters_of_rows() -> list[str]:
    """By their names in `telemetry.py`."""
    wanted = {part.name for row in ROWS for part in row.parts.values() if part.namespace == OURS}
    found = sorted(
        name
        for name, value in vars(telemetry).items()
        if isinstance(value, Counter) and f"{value._name}_total" in wanted
    )
    assert found
    return found


@pytest.mark.parametrize("counter", counters_of_rows())
def test_what_an_alarm_reads_is_counted_somewhere(counter: str) -> None:
    """A counter that no program adds to arrives as nothing, and its alarm is silent for ever."""
    assert counter in read_somewhere(), f"{counter} is named in the table of alarms and added to by nobody"


@cache
def read_somewhere() -> frozenset[str]:
    """Every name and attribute that a module of the programs reads."""
    return frozenset(
        node.id if isinstance(node, ast.Name) else node.attr
        for file in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load)
    )
