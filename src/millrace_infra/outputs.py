"""What a deployment tells those who come after it: flat names, in `cfn-outputs/flat-outputs.json`.

`make deploy` starts the migration, the first rotation and the deployments by these, and integration tests find the
platform by them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from millrace.names import SERVICE_API, SERVICE_DASHBOARD, SERVICE_MIGRATE
from millrace_infra.deployment import BlueGreen
from millrace_infra.edge.gateway import Gateway
from millrace_infra.entry import Entry
from millrace_infra.images import NAMES
from millrace_infra.network import API_PORT, DASHBOARD_PORT, Network
from millrace_infra.producers import Producers
from millrace_infra.revision import IMAGE, VARIABLE
from millrace_infra.secrets import ROTATED, ExistingSecrets
from millrace_infra.services import (
    ApiService,
    Cluster,
    DashboardService,
    Images,
    MigrateTask,
    WorkerService,
)
from millrace_infra.shared_storage import SharedStorage
from millrace_infra.sinks.archive import Archive
from millrace_infra.sinks.aurora import Aurora
from millrace_infra.sinks.redis import Redis
from millrace_infra.stack import Stack
from millrace_infra.stream import Stream
from millrace_infra.terraform import Construct, TerraformOutput, TerraformVariable

PORTS = {SERVICE_API: API_PORT, SERVICE_DASHBOARD: DASHBOARD_PORT}
Value = str | int | Sequence[str]
Service = WorkerService | ApiService | DashboardService


def write(stack: Construct, values: Mapping[str, Value]) -> None:
    """One output for each; constructs and outputs share a namespace, hence the prefix of the id."""
    for name, value in values.items():
        TerraformOutput(stack, f"output-{name}", value=value).override_logical_id(name)


def stores(
    stream: Stream, archive: Archive, database: Aurora, cache: Redis, storage: SharedStorage
) -> dict[str, Value]:
    """Where data lies."""
    return {
        "stream_name": stream.name,
        "lease_table_name": stream.lease_table_name,
        "archive_bucket": archive.bucket,
        "database_endpoint": database.endpoint,
        "database_reader_endpoint": database.reader_endpoint,
        "cache_endpoint": cache.endpoint,
        "file_system_id": storage.file_system_id,
    }


def ways_in(entry: Entry, gateway: Gateway) -> dict[str, Value]:
    """Where people and programs reach it, and what integrations are let in by."""
    return {
        "internal_url": entry.url,
        "api_url": gateway.invoke_url,
        "api_public_name": gateway.public_name,
        "usage_plan_id": gateway.usage_plan_id,
    }


def deployed(stack: Stack, images: Images) -> dict[str, Value]:
    """Of which suffix, and what runs, for who has to go back to it."""
    commit = TerraformVariable(
        stack, VARIABLE, type="string", default="", description="commit of the program that deploys"
    )
    running: dict[str, Value] = {IMAGE.format(name=name): images[name] for name in NAMES}
    return {"suffix": stack.environment.suffix, **running, VARIABLE: commit.string_value}


def migration(cluster: Cluster, task: MigrateTask, network: Network) -> dict[str, Value]:
    """What starts the migration."""
    return {
        "cluster_name": cluster.name,
        "migrate_task_definition_arn": task.task_definition_arn,
        "migrate_subnet_ids": network.private_subnet_ids,
        "migrate_security_group_id": network.security_group(SERVICE_MIGRATE),
    }


def producers(who: Producers) -> dict[str, Value]:
    """What a gateway is set up with that puts frames on the stream itself, by the way that the settings chose."""
    told = {
        "producer_role_arn": who.role.arn,
        "producer_profile_arn": who.profile_arn,
        "producer_role_alias": who.role_alias,
    }
    return {name: value for name, value in told.items() if value}


def rotation(secrets: ExistingSecrets, database: Aurora) -> dict[str, Value]:
    """What the first rotation needs: whose, and since when the database is there."""
    return {
        "rotated_secret_arns": [secrets.arn(field) for field in ROTATED],
        "database_cluster": database.cluster_identifier,
    }


def services(
    running: Mapping[str, Service], deployment: BlueGreen, tasks_min: Mapping[str, int]
) -> dict[str, Value]:
    """What starts each service's tasks and its deployment."""
    found: dict[str, Value] = {f"{name}_tasks_min": count for name, count in tasks_min.items()}
    for name, service in running.items():
        found[f"{name}_service_name"] = service.service_name
        found[f"{name}_task_definition_arn"] = service.task_definition_arn
    for name, port in PORTS.items():
        found[f"{name}_container_port"] = port
        found[f"{name}_deployment_application"] = deployment.app_name
        found[f"{name}_deployment_group"] = deployment.group_name(name)
    return found
