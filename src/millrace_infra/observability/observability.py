"""The watch over one deployment: topics, alarms, events, dashboards, traces, budget, and what they look at.

It is made before the services: their deployments name the alarms that stop them. So what a service is called is
taken from the names, and everything else from the parts that are there already.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from millrace.names import SERVICE_COLLECTOR
from millrace_infra.backup import Backup
from millrace_infra.edge.gateway import Gateway
from millrace_infra.entry import Entry
from millrace_infra.images import NAMES, repository_of
from millrace_infra.network import Network
from millrace_infra.observability.alarms import Alarms
from millrace_infra.observability.budget import Budget
from millrace_infra.observability.dashboards import Dashboards
from millrace_infra.observability.event_table import Ours
from millrace_infra.observability.events import Events
from millrace_infra.observability.logs import Logs
from millrace_infra.observability.topics import Topics
from millrace_infra.observability.tracing import Tracing
from millrace_infra.observability.watched import (
    Watched,
    cache_nodes,
    database_instances,
    service_names,
)
from millrace_infra.secrets import ROTATED, ExistingSecrets
from millrace_infra.security import PURPOSES, Keys
from millrace_infra.services import Cluster
from millrace_infra.settings import Environment
from millrace_infra.shared_storage import SharedStorage
from millrace_infra.sinks.archive import Archive
from millrace_infra.sinks.archive_copy import RULE
from millrace_infra.sinks.aurora import Aurora
from millrace_infra.stream import Stream
from millrace_infra.terraform import Construct, LbTargetGroup, NatGateway


class Observability(Construct):
    """`alarms.stopping(service)` and `topics[severity]` are for others. `functions`, `undelivered`: noun -> name
    of the function, of the queue for what it was not handed.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        environment: Environment,
        keys: Keys,
        logs: Logs,
        network: Network,
        secrets: ExistingSecrets,
        stream: Stream,
        archive: Archive,
        database: Aurora,
        storage: SharedStorage,
        backup: Backup,
        entry: Entry,
        cluster: Cluster,
        gateway: Gateway,
        functions: Mapping[str, str],
        undelivered: Mapping[str, str],
    ) -> None:
        super().__init__(scope, id)
        self.topics = Topics(self, "topics", environment=environment, key=keys["alarms"])
        events = Events(
            self, "events", environment=environment, topics=self.topics, key=keys["alarms"],
            ours=_ours(environment, keys, secrets, cluster, backup),
        )  # fmt: skip
        watched = Watched(
            region=environment.region,
            stream_name=stream.name,
            consumer_name=stream.consumer_name,
            lease_table_name=stream.lease_table_name,
            cluster_name=cluster.name,
            services=service_names(environment),
            load_balancer=entry.alb_arn_suffix,
            network_load_balancer=entry.nlb_arn_suffix,
            network_target_group=_inner_target_group(entry),
            target_groups=_target_groups(entry),
            rest_api_name=gateway.name,
            stage_name=gateway.stage_name,
            web_acl_metric=gateway.firewall.name,
            certificate_arn=environment.settings.edge.certificate_arn,
            database_cluster=database.cluster_identifier,
            database_instances=database_instances(environment),
            cache_nodes=cache_nodes(environment),
            file_system_id=storage.file_system_id,
            backup_vault=backup.vault_name,
            backup_types=backup.resource_types,
            archive_bucket=archive.bucket,
            archive_copy_bucket=archive.copy_bucket,
            archive_copy_rule=RULE,
            collector_log_group=logs.group(SERVICE_COLLECTOR).name,
            topics=self.topics.names,
            event_rules=events.rule_names,
            dead_letter_queues={**events.dead_letter_queues, **undelivered},
            functions=functions,
            nat_gateways=_nat_gateways(network),
        )
        self.alarms = Alarms(self, "alarms", environment=environment, topics=self.topics, watched=watched)
        Dashboards(self, "dashboards", environment=environment, alarms=self.alarms)
        Budget(self, "budget", environment=environment, topics=self.topics)
        Tracing(
            self, "tracing", environment=environment, rest_api_name=gateway.name,
            stage_name=gateway.stage_name, stage_arn=_stage_arn(environment, gateway),
        )  # fmt: skip


def _ours(
    environment: Environment, keys: Keys, secrets: ExistingSecrets, cluster: Cluster, backup: Backup
) -> Ours:
    settings = environment.settings
    services = f"arn:aws:ecs:{settings.region}:{settings.account_id}:service/{cluster.static_name}/*"
    return Ours(
        cluster_services_arn=services,
        deployment_app=environment.names.of("deployment"),
        backup_vault=backup.vault_name,
        secret_arns=[secrets.arn(field) for field in ROTATED],
        repositories=[repository_of(environment, image) for image in NAMES],
        key_arns=[keys[purpose.noun].arn for purpose in PURPOSES],
    )


def _inner_target_group(entry: Entry) -> str:
    """What the network load balancer passes on to."""
    return cast("LbTargetGroup", entry.node.find_child("alb-target")).arn_suffix


def _target_groups(entry: Entry) -> dict[str, str]:
    """`api-blue` and so on."""
    return {
        f"{service}-{colour}": group.arn_suffix
        for service, pair in entry.target_groups.items()
        for colour, group in zip(("blue", "green"), pair, strict=True)
    }


def _nat_gateways(network: Network) -> dict[str, str]:
    """By zone; none where the way out is end points alone."""
    found = [child for child in network.node.find_all() if isinstance(child, NatGateway)]
    return {nat.node.id.removeprefix("nat-"): nat.id for nat in found}


def _stage_arn(environment: Environment, gateway: Gateway) -> str:
    """In API Gateway's own words; the provider's `arn` of a stage is the same."""
    return f"arn:aws:apigateway:{environment.region}::/restapis/{gateway.rest_api_id}/stages/{gateway.stage_name}"
