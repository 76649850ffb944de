"""Two dashboards out of the alarm table: is it well, and if not, where along the flow.

`overview` is the screen on the wall: the promises, and the state of every alarm by stage. `detail` draws each row
under its stage with its limit, so that what is added to the table is on the screen too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Final

from millrace_infra.observability.alarm_row import STAGES, Row, Watch
from millrace_infra.observability.alarms import Alarms
from millrace_infra.settings import Environment
from millrace_infra.terraform import CloudwatchDashboard, Construct

Widget = dict[str, Any]
WIDTH: Final = 24
"""Columns of a dashboard."""
GRAPH: Final = (8, 6)
HEADING_HEIGHT: Final = 1
STATES_HEIGHT: Final = 4


class Dashboards(Construct):
    """`alarms` has the table as it is in this deployment."""

    def __init__(self, scope: Construct, id: str, *, environment: Environment, alarms: Alarms) -> None:
        super().__init__(scope, id)
        self._environment, self._alarms = environment, alarms
        self._dashboard("overview", self._overview())
        self._dashboard("detail", self._detail())

    def _dashboard(self, noun: str, rows: Iterator[list[Widget]]) -> None:
        CloudwatchDashboard(
            self,
            noun,
            dashboard_name=self._environment.names.in_account(noun, "other"),  # dashboards know no region
            dashboard_body=json.dumps({"widgets": laid_out(rows)}),
        )

    def _overview(self) -> Iterator[list[Widget]]:
        whole = [self._alarms.unhealthy.arn]
        yield [_states("Is the platform well?", whole)]
        yield from _in_rows([self._graph(row, found) for row, found in self._rows("promises")])
        for stage, title in STAGES.items():
            arns = [self._alarms.arn(watch.noun) for _, found in self._rows(stage) for watch in found]
            if arns:
                yield [_states(title, arns)]

    def _detail(self) -> Iterator[list[Widget]]:
        for stage, title in STAGES.items():
            graphs = [self._graph(row, found) for row, found in self._rows(stage)]
            if graphs:
                yield [_heading(title)]
                yield from _in_rows(graphs)

    def _rows(self, stage: str) -> list[tuple[Row, list[Watch]]]:
        """The table's rows of that stage with what each became."""
        grouped = groupby(self._alarms.watches, key=lambda watch: watch.row.name)
        rows = [list(found) for _, found in grouped]
        return [(found[0].row, found) for found in rows if found[0].row.stage == stage]

    def _graph(self, row: Row, watches: Sequence[Watch]) -> Widget:
        limit = {"value": row.threshold(self._environment), "label": f"{row.severity} {row.compare} {row.unit}"}
        lines = [line for number, watch in enumerate(watches) for line in _lines(watch, number)]
        return {
            "type": "metric",
            "width": GRAPH[0],
            "height": GRAPH[1],
            "properties": {
                "title": f"{row.name} ({row.unit})",
                "region": self._environment.region,
                "view": "timeSeries",
                "stacked": False,
                "period": row.period_s,
                "metrics": lines,
                "annotations": {"horizontal": [limit]},
            },
        }


def laid_out(rows: Iterator[list[Widget]]) -> list[Widget]:
    """The widgets with their places: rows below each other, each from the left."""
    placed: list[Widget] = []
    y = 0
    for row in rows:
        x = 0
        for widget in row:
            placed.append(widget | {"x": x, "y": y})
            x += widget["width"]
        y += max(widget["height"] for widget in row)
    return placed


def _in_rows(widgets: list[Widget]) -> Iterator[list[Widget]]:
    across = WIDTH // GRAPH[0]
    yield from (widgets[at : at + across] for at in range(0, len(widgets), across))


def _heading(text: str) -> Widget:
    return {
        "type": "text",
        "width": WIDTH,
        "height": HEADING_HEIGHT,
        "properties": {"markdown": f"## {text}"},
    }


def _states(title: str, alarm_arns: list[str]) -> Widget:
    return {
        "type": "alarm",
        "width": WIDTH,
        "height": STATES_HEIGHT,
        "properties": {"title": title, "alarms": alarm_arns},
    }


def _lines(watch: Watch, number: int) -> list[list[Any]]:
    """One line of a graph; the parts of an expression are there and not drawn."""
    label = watch.key or watch.row.name
    if watch.row.expression:
        renamed = {name: f"{name}{number}" for name in watch.parts}
        text = re.sub(r"\b[a-z]+\b", lambda match: renamed.get(match[0], match[0]), watch.row.expression)
        hidden: list[list[Any]] = [
            [*_named(watch, name), {"id": id_, "stat": watch.parts[name].statistic, "visible": False}]
            for name, id_ in renamed.items()
        ]
        return [*hidden, [{"id": f"line{number}", "expression": text, "label": label}]]
    if query := watch.parts["value"].query:
        return [[{"id": f"line{number}", "expression": query, "label": label}]]
    return [[*_named(watch, "value"), {"stat": watch.parts["value"].statistic, "label": label}]]


def _named(watch: Watch, name: str) -> list[str]:
    """A metric in a dashboard's words: namespace, name, then dimensions by name and value."""
    part = watch.parts[name]
    return [part.namespace, part.name, *(str(word) for pair in part.dimensions.items() for word in pair)]
