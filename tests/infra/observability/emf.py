"""What CloudWatch makes of a report: the collector's awsemf exporter, small.

Source: the exporter's metric_translator.go, metric_declaration.go and datapoint.go. A point's labels are its
attributes, and `OTelLib` where its scope has a name. A declaration takes a point by its name and labels and gives it
each of its sets of dimensions of which the point has all; a point that none takes is no metric. A sum of deltas stays
as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Pair = tuple[str, frozenset[tuple[str, str]]]
"""A metric's name and its dimensions with their values."""


@dataclass(frozen=True)
class Point:
    """One number of a report."""

    name: str
    scope: str
    attributes: Mapping[str, str]
    value: float

    @property
    def labels(self) -> dict[str, str]:
        return dict(self.attributes) | ({"OTelLib": self.scope} if self.scope else {})


def points(request: Any) -> list[Point]:
    """Of an OTLP request; they must be sums of deltas, which the exporter passes on unchanged."""
    found = []
    for resource in request.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                assert metric.WhichOneof("data") == "sum", metric.name
                assert metric.sum.is_monotonic, metric.name
                assert metric.sum.aggregation_temporality == 1, f"{metric.name} is no delta"
                for one in metric.sum.data_points:
                    attributes = {pair.key: pair.value.string_value for pair in one.attributes}
                    assert one.start_time_unix_nano < one.time_unix_nano, metric.name
                    found.append(Point(metric.name, scope.scope.name, attributes, one.as_double))
    return found


def metrics(exporter: Mapping[str, Any], found: Iterable[Point]) -> set[Pair]:
    """The metrics that CloudWatch has of these points, under the exporter's configuration."""
    assert exporter["dimension_rollup_option"] == "NoDimensionRollup"
    assert not exporter.get("resource_to_telemetry_conversion", {}).get("enabled")
    return {pair for point in found for pair in _declared(exporter["metric_declarations"], point)}


def _declared(declarations: Iterable[Mapping[str, Any]], point: Point) -> list[Pair]:
    labels = point.labels
    return [
        (point.name, frozenset((name, labels[name]) for name in dimensions))
        for one in declarations
        if _takes(one, point.name, labels)
        for dimensions in one["dimensions"]
        if set(dimensions) <= set(labels)
    ]


def _takes(declaration: Mapping[str, Any], name: str, labels: Mapping[str, str]) -> bool:
    named = any(re.search(selector, name) for selector in declaration["metric_name_selectors"])
    matchers = declaration.get("label_matchers", [])
    matched = [
        re.search(one["regex"], ";".join(labels.get(label, "") for label in one["label_names"]))
        for one in matchers
    ]
    return named and (not matchers or any(matched))
