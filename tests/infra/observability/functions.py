"""What our functions tell CloudWatch themselves, not through a collector."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from millrace_rotation import secret_age
from tests.infra.observability.emf import Pair

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


class Manager:
    """Secrets Manager, of secrets that were all rotated on one day."""

    def describe_secret(self, **_: Any) -> dict[str, Any]:
        return {
            "LastRotatedDate": datetime(2026, 1, 1, tzinfo=UTC),
            "CreatedDate": datetime(2025, 1, 1, tzinfo=UTC),
        }


class Metrics:
    """CloudWatch: what was put into it."""

    def __init__(self) -> None:
        self.put: list[dict[str, Any]] = []

    def put_metric_data(self, **what: Any) -> None:
        self.put.append(what)

    def pairs(self) -> set[Pair]:
        return {
            (datum["MetricName"], frozenset((one["Name"], one["Value"]) for one in datum["Dimensions"]))
            for call in self.put
            for datum in call["MetricData"]
        }


def told_by_functions() -> set[Pair]:
    metrics = Metrics()
    arns = {secret: f"arn:{secret}" for secret in secret_age.SECRETS}
    secret_age.report(arns, manager=Manager(), metrics=metrics, namespace="any", now=NOW)
    return metrics.pairs()
