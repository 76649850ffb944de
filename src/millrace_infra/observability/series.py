"""What an alarm looks at: a metric by its namespace, name and dimensions.

A dimension's value is written out, or it is `Of(field)`: what that field of `Watched` says. A field that holds
several (the services, the instances) makes an alarm for each; `Of(field, key)` picks one of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client import Counter

OURS: Final = "Millrace/{suffix}"
"""Namespace of our own metrics, as `services/collector.py` has it: a suffix has its own."""


@dataclass(frozen=True)
class Of:
    """The identifier in that field of `Watched`; with `key`, the one under that key."""

    field: str
    key: str = ""


@dataclass(frozen=True)
class Series:
    """One metric. `query` in the place of a name: a Metrics Insights query that gives one series."""

    namespace: str
    name: str
    dimensions: Mapping[str, str | Of]
    statistic: str
    query: str = ""


def ours(counter: Counter, **labels: str | Of) -> Series:
    """A counter of `telemetry.py`, under the name and with the labels that it has there.

    It arrives as what was added since the last report, and nothing while nothing is added: its sum is a rate. There
    are counters alone: `counter_report.py` says why.
    """
    (described,) = counter.describe()
    return Series(OURS, f"{described.name}_total", labels, "Sum")


def kinesis(name: str, statistic: str) -> Series:
    return Series("AWS/Kinesis", name, {"StreamName": Of("stream_name")}, statistic)


def fan_out(name: str, statistic: str) -> Series:
    """Of the registered consumer: these exist while somebody subscribes."""
    dimensions = {"StreamName": Of("stream_name"), "ConsumerName": Of("consumer_name")}
    return Series("AWS/Kinesis", name, dimensions, statistic)


def leases(name: str) -> Series:
    return Series("AWS/DynamoDB", name, {"TableName": Of("lease_table_name")}, "Sum")


def tasks(name: str, statistic: str, service: str = "") -> Series:
    """Container Insights' count of tasks; of each service, if none is named."""
    return Series("ECS/ContainerInsights", name, _service(service), statistic)


def ecs(name: str, statistic: str) -> Series:
    return Series("AWS/ECS", name, _service(""), statistic)


def _service(service: str) -> dict[str, str | Of]:
    return {"ClusterName": Of("cluster_name"), "ServiceName": Of("services", service)}


def targets(name: str, statistic: str, target_group: str = "") -> Series:
    """Of a target group behind the application load balancer; of each, if none is named."""
    dimensions = {"LoadBalancer": Of("load_balancer"), "TargetGroup": Of("target_groups", target_group)}
    return Series("AWS/ApplicationELB", name, dimensions, statistic)


def load_balancer(name: str, statistic: str) -> Series:
    return Series("AWS/ApplicationELB", name, {"LoadBalancer": Of("load_balancer")}, statistic)


def network_load_balancer(name: str, statistic: str) -> Series:
    dimensions = {"LoadBalancer": Of("network_load_balancer")}
    return Series("AWS/NetworkELB", name, dimensions, statistic)


def network_target(name: str, statistic: str) -> Series:
    dimensions = {"LoadBalancer": Of("network_load_balancer"), "TargetGroup": Of("network_target_group")}
    return Series("AWS/NetworkELB", name, dimensions, statistic)


def gateway(name: str, statistic: str) -> Series:
    dimensions = {"ApiName": Of("rest_api_name"), "Stage": Of("stage_name")}
    return Series("AWS/ApiGateway", name, dimensions, statistic)


def firewall(name: str) -> Series:
    dimensions: dict[str, str | Of] = {"WebACL": Of("web_acl_metric"), "Region": Of("region"), "Rule": "ALL"}
    return Series("AWS/WAFV2", name, dimensions, "Sum")


def database(name: str, statistic: str) -> Series:
    """Of each instance."""
    return Series("AWS/RDS", name, {"DBInstanceIdentifier": Of("database_instances")}, statistic)


def database_cluster(name: str, statistic: str) -> Series:
    return Series("AWS/RDS", name, {"DBClusterIdentifier": Of("database_cluster")}, statistic)


def cache(name: str, statistic: str) -> Series:
    """Of each node."""
    return Series("AWS/ElastiCache", name, {"CacheClusterId": Of("cache_nodes")}, statistic)


def archive_copy(name: str) -> Series:
    """Of the rule that copies the archive's files."""
    buckets = {"SourceBucket": Of("archive_bucket"), "DestinationBucket": Of("archive_copy_bucket")}
    return Series("AWS/S3", name, {**buckets, "RuleId": Of("archive_copy_rule")}, "Sum")


def backups(name: str) -> Series:
    """Of each store that has a plan: the vault's own sum hides that one of them has none."""
    dimensions = {"BackupVaultName": Of("backup_vault"), "ResourceType": Of("backup_types")}
    return Series("AWS/Backup", name, dimensions, "Sum")


def one(namespace: str, name: str, dimension: str, field: str, statistic: str) -> Series:
    """A metric that one dimension tells apart."""
    return Series(namespace, name, {dimension: Of(field)}, statistic)
