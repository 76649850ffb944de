"""A service behind the load balancer, moved from one version to the next by CodeDeploy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from millrace_infra.entry import Entry
from millrace_infra.network import Network
from millrace_infra.policy import Role
from millrace_infra.services.cluster import Cluster
from millrace_infra.services.container import Program
from millrace_infra.services.task import Task
from millrace_infra.settings import Environment
from millrace_infra.terraform import (
    Construct,
    EcsService,
    EcsServiceDeploymentController,
    EcsServiceLoadBalancer,
    EcsServiceNetworkConfiguration,
    TerraformResourceLifecycle,
)

PLATFORM_VERSION: Final = "1.4.0"
"""The first with EFS, and named so that AWS does not choose. Source: Fargate platform versions for Linux."""
MOVED_BY_A_DEPLOYMENT: Final = (
    "task_definition", "load_balancer", "network_configuration", "platform_version", "desired_count",
)  # fmt: skip
"""CodeDeploy and scaling change these. A Terraform that put them back would undo a deployment."""


TASKS_AT_FIRST: Final = 0
"""Of a service that Terraform makes: before the migration and the first rotation a task could only fail. `deploy`
starts `tasks_min` of them afterwards (rollout.py), and scaling has the count from then on. Scaling does not raise a
count that is below its least before a rule of it calls for more. Source: Amazon ECS, service auto scaling."""


class Granted(Protocol):
    """A service whose tasks work with a role."""

    service: EcsService
    task_role: Role


def listening_service(
    scope: Construct,
    *,
    environment: Environment,
    cluster: Cluster,
    network: Network,
    entry: Entry,
    task: Task,
    program: Program,
) -> EcsService:
    """At first on its blue target group. Fargate spreads the tasks over the zones of the subnets by itself."""
    blue, _green = entry.target_groups[program.service]
    name = environment.names.of(program.service)
    return EcsService(
        scope,
        "service",
        name=name,
        cluster=cluster.arn,
        launch_type="FARGATE",
        platform_version=PLATFORM_VERSION,
        task_definition=task.arn,
        desired_count=TASKS_AT_FIRST,
        deployment_controller=EcsServiceDeploymentController(type="CODE_DEPLOY"),
        load_balancer=[
            EcsServiceLoadBalancer(
                target_group_arn=blue.arn, container_name=program.service, container_port=program.port
            )
        ],
        network_configuration=private(network, program.service),
        health_check_grace_period_seconds=program.start_s,
        enable_execute_command=False,
        enable_ecs_managed_tags=True,
        propagate_tags="SERVICE",
        force_delete=True,
        tags={"Name": name},
        lifecycle=TerraformResourceLifecycle(ignore_changes=list(MOVED_BY_A_DEPLOYMENT)),
        depends_on=[*entry.rules(program.service), *task.execution_role.policies],
    )


def private(network: Network, party: str) -> EcsServiceNetworkConfiguration:
    """No public address: what a task calls lies behind end points or a NAT gateway."""
    return EcsServiceNetworkConfiguration(
        subnets=network.private_subnet_ids,
        security_groups=[network.security_group(party)],
        assign_public_ip=False,
    )


def health_of(port: int, path: str) -> Sequence[str]:
    """Asks the program itself, over TLS with its own certificate, with what the image has."""
    asked = (
        "import ssl,urllib.request as u;"
        f"u.urlopen('https://127.0.0.1:{port}{path}',timeout=5,context=ssl._create_unverified_context())"
    )
    return ("python", "-c", asked)


def start_after_grants(*services: Granted) -> None:
    """For the composition root, after its last grant: tasks that start sooner fail their first calls.

    On the way down it is the other way round: a task may do its work until it has ended.
    """
    for one in services:
        granted = [
            f"{policy.terraform_resource_type}.{policy.friendly_unique_id}"
            for policy in one.task_role.policies
        ]
        one.service.depends_on = [*(one.service.depends_on or ()), *granted]
