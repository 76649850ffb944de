"""What the tests of the watch look for: alarms by the row that made them, and the metrics that they name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from millrace_infra.observability.alarm_row import Row
from millrace_infra.observability.alarm_table import ROWS
from tests.infra.conftest import FOLDER, SUFFIX
from tests.infra.program import Program, Resource

Build = Callable[..., Program]
RUNBOOKS = FOLDER.parent / "docs" / "runbooks"
_ROWS = sorted(ROWS, key=lambda row: -len(row.name))
Metric = tuple[str, str, frozenset[str]]
"""Namespace, name, names of the dimensions."""


OF_SOME: Mapping[str, str] = {
    "way-out-of-ports": "aws_nat_gateway",
    "archive-copy-fails": "aws_s3_bucket_replication_configuration",
}
"""Rows whose subject only some environments have -> its kind of resource."""


def rows_of(program: Program) -> set[str]:
    """The rows that have something to watch there."""
    return {row.name for row in ROWS if row.name not in OF_SOME or program.of(OF_SOME[row.name])}


def alarms(program: Program) -> list[Resource]:
    """Those of the table: scaling has alarms of its own, which tell nobody (`services/test_scaling_alarms.py`)."""
    return [one for one in program.of("aws_cloudwatch_metric_alarm") if "/alarms/" in one.path]


def noun_of(alarm: Resource) -> str:
    return alarm.path.rpartition("/")[2]


def row_of(alarm: Resource) -> Row:
    """The row with the longest name that the alarm's begins with."""
    noun = noun_of(alarm)
    return next(row for row in _ROWS if noun == row.name or noun.startswith(f"{row.name}-"))


def alarm(program: Program, noun: str) -> Resource:
    (found,) = [one for one in alarms(program) if noun_of(one) == noun]
    return found


def of_row(program: Program, name: str) -> list[Resource]:
    return [one for one in alarms(program) if row_of(one).name == name]


def queries(alarm: Resource) -> dict[str, dict[str, object]]:
    """The queries of an alarm over an expression, by their id."""
    return {query["id"]: query for query in alarm.get("metric_query", [])}


def result(alarm: Resource) -> str:
    """The id of the query that an alarm looks at; empty where it names its one metric itself."""
    found = [name for name, query in queries(alarm).items() if query.get("return_data")]
    return found[0] if found else ""


def expression(alarm: Resource) -> str:
    """Empty where the alarm looks at one metric as it is."""
    return str(queries(alarm)[result(alarm)].get("expression", "")) if queries(alarm) else ""


def metrics(program: Program) -> Iterator[tuple[Metric, dict[str, str]]]:
    """Each metric that an alarm names, with the values of its dimensions."""
    for one in alarms(program):
        yield from metrics_of(one)


def metrics_of(alarm: Resource) -> Iterator[tuple[Metric, dict[str, str]]]:
    """Those that one alarm names."""
    if alarm.get("metric_name"):
        yield _metric(alarm.body)
    for query in alarm.get("metric_query", []):
        if "metric" in query:
            yield _metric(query["metric"])
        elif query["expression"].startswith("SELECT"):
            yield _selected(query["expression"])


def _metric(body: object) -> tuple[Metric, dict[str, str]]:
    assert isinstance(body, dict)
    dimensions = dict(body.get("dimensions", {}))
    return (body["namespace"], body["metric_name"], frozenset(dimensions)), dimensions


def _selected(query: str) -> tuple[Metric, dict[str, str]]:
    """What a Metrics Insights query reads: SELECT f(metric) FROM SCHEMA("namespace", dimensions) WHERE d = 'v'."""
    match = re.match(r'SELECT \w+\((\w+)\) FROM SCHEMA\("([^"]+)", ([^)]+)\)', query)
    assert match, query
    values = dict(re.findall(r"(\w+) = '([^']+)'", query))
    return (match[2], match[1], frozenset(match[3].split(", "))), values


def own_namespace() -> str:
    return f"Millrace/{SUFFIX}"


def runbooks() -> set[str]:
    return {file.stem for file in Path(RUNBOOKS).glob("*.md")}
