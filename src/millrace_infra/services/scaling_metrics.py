"""The metrics that the number of tasks follows: which exist, and how they are put together."""

# ruff: noqa: E501 (the names that the binding generates)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from millrace_infra.terraform import (
    AppautoscalingPolicyTargetTrackingScalingPolicyConfigurationCustomizedMetricSpecificationMetrics,
    AppautoscalingPolicyTargetTrackingScalingPolicyConfigurationCustomizedMetricSpecificationMetricsMetricStat,
    AppautoscalingPolicyTargetTrackingScalingPolicyConfigurationCustomizedMetricSpecificationMetricsMetricStatMetric,
    AppautoscalingPolicyTargetTrackingScalingPolicyConfigurationCustomizedMetricSpecificationMetricsMetricStatMetricDimensions,
    CloudwatchMetricAlarmMetricQuery,
    CloudwatchMetricAlarmMetricQueryMetric,
)

# Target tracking's own words for a series, shortened
Tracked: TypeAlias = (
    AppautoscalingPolicyTargetTrackingScalingPolicyConfigurationCustomizedMetricSpecificationMetrics
)
TrackedStatistic = (
    AppautoscalingPolicyTargetTrackingScalingPolicyConfigurationCustomizedMetricSpecificationMetricsMetricStat
)
TrackedMetric = AppautoscalingPolicyTargetTrackingScalingPolicyConfigurationCustomizedMetricSpecificationMetricsMetricStatMetric
TrackedDimension = AppautoscalingPolicyTargetTrackingScalingPolicyConfigurationCustomizedMetricSpecificationMetricsMetricStatMetricDimensions

PERIOD_S: Final = 60


@dataclass(frozen=True)
class Metric:
    """One series of CloudWatch, under the id that expressions call it by."""

    id: str
    namespace: str
    name: str
    statistic: str
    dimensions: dict[str, str]


def lag(stream_name: str, consumer_name: str) -> Metric:
    """How far the slowest shard is behind, ms. A fan-out consumer calls no GetRecords, so it has no iterator
    age; polling has no subscription. Each mode has its own metric and never the other's.
    """
    if consumer_name:
        dimensions = {"StreamName": stream_name, "ConsumerName": consumer_name}
        return Metric("lag", "AWS/Kinesis", "SubscribeToShardEvent.MillisBehindLatest", "Maximum", dimensions)
    return Metric(
        "lag", "AWS/Kinesis", "GetRecords.IteratorAgeMilliseconds", "Maximum", {"StreamName": stream_name}
    )


def incoming_bytes(stream_name: str) -> Metric:
    """Bytes of a minute, as they are on the wire."""
    return Metric("incoming", "AWS/Kinesis", "IncomingBytes", "Sum", {"StreamName": stream_name})


def running(cluster_name: str, service_name: str) -> Metric:
    """Tasks that run, those of both colours during a deployment."""
    dimensions = {"ClusterName": cluster_name, "ServiceName": service_name}
    return Metric("running", "ECS/ContainerInsights", "RunningTaskCount", "Average", dimensions)


def alone(metric: Metric) -> CloudwatchMetricAlarmMetricQuery:
    """An alarm's only series."""
    return _query(metric, returned=True)


def part(metric: Metric) -> CloudwatchMetricAlarmMetricQuery:
    """A series that an expression uses."""
    return _query(metric, returned=False)


def expression(id: str, text: str, label: str) -> CloudwatchMetricAlarmMetricQuery:
    """What the alarm looks at."""
    return CloudwatchMetricAlarmMetricQuery(id=id, expression=text, label=label, return_data=True)


def requests_per_task(*, load_balancer: str, target_groups: Sequence[str], running: Metric) -> list[Tracked]:
    """Requests of a minute for each task. A colour without traffic has no series, so it is filled with 0."""
    counts = [
        Metric(
            f"requests{number}",
            "AWS/ApplicationELB",
            "RequestCount",
            "Sum",
            {"LoadBalancer": load_balancer, "TargetGroup": group},
        )
        for number, group in enumerate(target_groups)
    ]
    total = " + ".join(f"FILL({count.id}, 0)" for count in counts)
    result = Tracked(
        id="per_task",
        expression=f"({total}) / {running.id}",
        label="requests/min and task",
        return_data=True,
    )
    return [*(_tracked(metric) for metric in (*counts, running)), result]


def _query(metric: Metric, *, returned: bool) -> CloudwatchMetricAlarmMetricQuery:
    return CloudwatchMetricAlarmMetricQuery(
        id=metric.id,
        return_data=returned,
        metric=CloudwatchMetricAlarmMetricQueryMetric(
            namespace=metric.namespace,
            metric_name=metric.name,
            dimensions=metric.dimensions,
            period=PERIOD_S,
            stat=metric.statistic,
        ),
    )


def _tracked(
    metric: Metric,
) -> Tracked:
    """The same series in the words of target tracking, which always looks at minutes."""
    dimensions = [TrackedDimension(name=name, value=value) for name, value in metric.dimensions.items()]
    what = TrackedMetric(namespace=metric.namespace, metric_name=metric.name, dimensions=dimensions)
    stat = TrackedStatistic(metric=what, stat=metric.statistic)
    return Tracked(id=metric.id, metric_stat=stat, return_data=False)
