"""The workers' service: from the stream to the stores.

No load balancer, so no traffic to shift: the new generation runs beside the old one, takes shards over under
the leases that both share, and writes are idempotent. Terraform makes the new revision and `deploy` starts
it, after the migration; the circuit breaker and the alarms take it back.

This is what the service is made for. The program holds no leases yet and touches no heartbeat: docs/deploy.md, "What
does not run yet".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from millrace.names import ENV_HEARTBEAT_FILE, SERVICE_WORKER
from millrace_infra.network import Network
from millrace_infra.observability.logs import Logs
from millrace_infra.services.cluster import Cluster
from millrace_infra.services.container import SCRATCH_FOLDER, STOP_S_MAX, Program
from millrace_infra.services.image_variables import Images
from millrace_infra.services.listening import PLATFORM_VERSION, TASKS_AT_FIRST, private
from millrace_infra.services.task import Task
from millrace_infra.settings import Environment
from millrace_infra.shared_storage import SharedStorage
from millrace_infra.terraform import (
    Construct,
    EcsService,
    EcsServiceAlarms,
    EcsServiceDeploymentCircuitBreaker,
    EcsServiceDeploymentController,
    TerraformResourceLifecycle,
)

HEARTBEAT_FILE: Final = f"{SCRATCH_FOLDER}/heartbeat"
HEARTBEAT_S_MAX: Final = 60
"""A turn of the loop takes 20 ms; a store that is away holds none up. A minute of silence is a hung process."""
_HEALTH: Final = (
    "import os,sys,time;"
    f"sys.exit(time.time()-os.stat('{HEARTBEAT_FILE}').st_mtime>{HEARTBEAT_S_MAX})"
)  # fmt: skip

PROGRAM: Final = Program(
    service=SERVICE_WORKER,
    shared="write",
    health=("python", "-c", _HEALTH),
    start_s=180,  # kernels are compiled and snapshots read before the first turn
    stop_s=STOP_S_MAX,  # it closes its segments, commits, and hands its shards over
    variables={ENV_HEARTBEAT_FILE: HEARTBEAT_FILE},
)


class WorkerService(Construct):
    """`variables`: where the stream, the stores and the secrets are. `alarm_names`: what stops a bad deployment."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        environment: Environment,
        cluster: Cluster,
        network: Network,
        logs: Logs,
        storage: SharedStorage,
        images: Images,
        variables: Mapping[str, str],
        alarm_names: Sequence[str] = (),
    ) -> None:
        super().__init__(scope, id)
        self.task = Task(
            self,
            "task",
            environment=environment,
            program=PROGRAM,
            size=environment.settings.worker,
            image=SERVICE_WORKER,
            images=images,
            logs=logs,
            storage=storage,
            variables=variables,
        )
        self.task_role = self.task.task_role
        self.execution_role = self.task.execution_role
        self.service = self._service(environment, cluster, network, alarm_names)

    @property
    def service_name(self) -> str:
        return self.service.name

    @property
    def task_definition_arn(self) -> str:
        return self.task.arn

    def _service(
        self, environment: Environment, cluster: Cluster, network: Network, alarm_names: Sequence[str]
    ) -> EcsService:
        name = environment.names.of(SERVICE_WORKER)
        alarms = EcsServiceAlarms(alarm_names=list(alarm_names), enable=True, rollback=True)
        return EcsService(
            self,
            "service",
            name=name,
            cluster=cluster.arn,
            launch_type="FARGATE",
            platform_version=PLATFORM_VERSION,
            task_definition=self.task.arn,
            desired_count=TASKS_AT_FIRST,
            deployment_controller=EcsServiceDeploymentController(type="ECS"),
            # side by side: the old generation works until the new one is healthy
            deployment_minimum_healthy_percent=100,
            deployment_maximum_percent=200,
            deployment_circuit_breaker=EcsServiceDeploymentCircuitBreaker(enable=True, rollback=True),
            alarms=alarms if alarm_names else None,
            availability_zone_rebalancing="ENABLED",
            network_configuration=private(network, SERVICE_WORKER),
            enable_execute_command=False,
            enable_ecs_managed_tags=True,
            propagate_tags="SERVICE",
            force_delete=True,
            tags={"Name": name},
            # scaling moves the count; a revision runs when the database is migrated, not when it is made
            lifecycle=TerraformResourceLifecycle(ignore_changes=["task_definition", "desired_count"]),
            depends_on=list(self.task.execution_role.policies),
        )
