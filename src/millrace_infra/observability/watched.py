"""What there is to watch: the identifiers by which AWS's metrics know the platform's parts.

Names that the program itself gives are written as names, not as references: alarms are then made before the
services whose deployments they stop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from millrace.names import SERVICE_API, SERVICE_DASHBOARD, SERVICE_WORKER
from millrace_infra.secrets import ROTATED
from millrace_infra.settings import Environment

SERVICES: Final = (SERVICE_WORKER, SERVICE_API, SERVICE_DASHBOARD)
SINKS: Final = ("postgres", "redis", "archive")
"""The sinks of `telemetry.SINKS` that a deployment has."""


def _same(names: tuple[str, ...]) -> dict[str, str]:
    return {name: name for name in names}


@dataclass(frozen=True)
class Watched:
    """Strings, or key -> string where there are several. What an environment has not is empty: it has no alarm."""

    region: str
    stream_name: str
    consumer_name: str
    lease_table_name: str
    cluster_name: str
    services: Mapping[str, str]
    """Service -> name of its ECS service."""
    load_balancer: str
    """The part of the ARN that CloudWatch takes: `app/name/id`."""
    network_load_balancer: str
    network_target_group: str
    target_groups: Mapping[str, str]
    """`api-blue` -> `targetgroup/name/id`."""
    rest_api_name: str
    stage_name: str
    web_acl_metric: str
    """The metric name in the web ACL's visibility configuration."""
    certificate_arn: str
    database_cluster: str
    database_instances: Mapping[str, str]
    cache_nodes: Mapping[str, str]
    file_system_id: str
    backup_vault: str
    backup_types: Mapping[str, str]
    """What the vault's plans are for -> AWS Backup's word for its kind; a vault has one of each."""
    archive_bucket: str
    archive_copy_bucket: str
    """Empty where the settings want no second copy."""
    archive_copy_rule: str
    collector_log_group: str
    topics: Mapping[str, str]
    """`page`, `ticket` -> name of the topic."""
    event_rules: Mapping[str, str] = field(default_factory=dict)
    dead_letter_queues: Mapping[str, str] = field(default_factory=dict)
    functions: Mapping[str, str] = field(default_factory=dict)
    """Noun -> name of the Lambda function."""
    nat_gateways: Mapping[str, str] = field(default_factory=dict)
    sinks: Mapping[str, str] = field(default_factory=lambda: _same(SINKS))
    secrets: Mapping[str, str] = field(default_factory=lambda: _same(ROTATED))

    def values(self, field_: str) -> Mapping[str, str]:
        """Key -> identifier; under the key "" where the field holds one alone; empty where there is none."""
        value = getattr(self, field_)
        if isinstance(value, str):
            return {"": value} if value else {}
        found: Mapping[str, str] = value
        return found


def service_names(environment: Environment) -> dict[str, str]:
    return {service: environment.names.of(service) for service in SERVICES}


def database_instances(environment: Environment) -> dict[str, str]:
    """As `sinks/aurora.py` names them; any of them may be the writer."""
    count = 1 + environment.settings.database.readers
    return {f"{number}": environment.names.of(f"aurora-{number}", "database") for number in range(count)}


def cache_nodes(environment: Environment) -> dict[str, str]:
    """ElastiCache numbers the nodes of a replication group with one shard: `{group}-001` and so on."""
    group = environment.names.of("cache", "cache")
    count = 1 + environment.settings.cache.replicas
    return {f"{number:03d}": f"{group}-{number:03d}" for number in range(1, count + 1)}
