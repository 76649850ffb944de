"""The one maker of task definitions: roles, volumes, containers.

Sizes come from the environment's settings. What they are worth, measured (docs/performance.md): a worker's core
processes 250,000 readings/s, so the cores are for peaks and for a neighbour that fails; a worker with four shards
takes 305 MB, to which come the collector's 128 MiB; the API takes 312 MB. Scratch is what a worker holds of the
archive until it is uploaded, a minute a segment, and is far under the least that Fargate lets one ask for, 21 GiB.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from millrace.names import ENV_HOME, ENV_SHARED_FOLDER, SERVICE_COLLECTOR
from millrace_infra.observability.logs import Logs
from millrace_infra.policy import Role, Statement, trust
from millrace_infra.services import container
from millrace_infra.services.collector import OTLP_ENDPOINT, REPORT_EVERY_MS, collector
from millrace_infra.services.container import SCRATCH_FOLDER, SHARED_FOLDER, Program
from millrace_infra.services.image_variables import Images
from millrace_infra.settings import Environment, TaskSize
from millrace_infra.shared_storage import SharedStorage
from millrace_infra.terraform import (
    Construct,
    EcsTaskDefinition,
    EcsTaskDefinitionEphemeralStorage,
    EcsTaskDefinitionRuntimePlatform,
    EcsTaskDefinitionVolume,
    EcsTaskDefinitionVolumeEfsVolumeConfiguration,
    EcsTaskDefinitionVolumeEfsVolumeConfigurationAuthorizationConfig,
)

INTERVAL_VARIABLE: Final = "OTEL_METRIC_EXPORT_INTERVAL"
"""As OpenTelemetry calls it."""
SERVICE_PRINCIPAL: Final = "ecs-tasks.amazonaws.com"


class Task(Construct):
    """A task definition with its two roles: ECS pulls and logs with one, the program calls AWS with the other.

    `image` is the program's, `images["collector"]` runs beside it where `collected`. Only a program that uses
    the shared file system is given `storage`.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        environment: Environment,
        program: Program,
        size: TaskSize,
        image: str,
        images: Images,
        logs: Logs,
        variables: Mapping[str, str],
        storage: SharedStorage | None = None,
        collected: bool = True,
    ) -> None:
        super().__init__(scope, id)
        self._environment, self._images, self._logs, self._storage = environment, images, logs, storage
        self._program = replace(
            program, variables=_told(environment, program, variables, collected=collected)
        )
        self._collected = collected
        self.execution_role = self._role("execution")
        self.task_role = self._role("task")
        self._let_ecs_start(image)
        if collected:
            self._let_the_collector_report()
        self._definition = self._define(size, image)

    @property
    def arn(self) -> str:
        """The newest revision."""
        return self._definition.arn

    @property
    def family(self) -> str:
        return self._definition.family

    # --- roles --------------------------------------------------------------------------------------

    def _role(self, purpose: str) -> Role:
        account = self._environment.settings.account_id
        return Role(
            self,
            f"{purpose}-role",
            names=self._environment.names,
            name=f"{self._program.service}-{purpose}",
            trust_policy=trust(SERVICE_PRINCIPAL, account_id=account),
        )

    def _let_ecs_start(self, image: str) -> None:
        pulled = [image, *([SERVICE_COLLECTOR] if self._collected else [])]
        written = [self._program.service, *([SERVICE_COLLECTOR] if self._collected else [])]
        self.execution_role.allow(
            "images",
            Statement(
                ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"),
                tuple(self._images.repository_arn(name) for name in pulled),
            ),
            Statement(
                ("ecr:GetAuthorizationToken",),
                ("*",),
                reason="a token is for the registry, not for a repository: AWS knows no resource for it",
            ),
        )
        streams = tuple(f"{self._logs.group(noun).arn}:*" for noun in written)
        self.execution_role.allow("logs", Statement(("logs:CreateLogStream", "logs:PutLogEvents"), streams))

    def _let_the_collector_report(self) -> None:
        group = self._logs.group(SERVICE_COLLECTOR).arn
        self.task_role.allow(
            "telemetry",
            Statement(
                ("xray:PutTraceSegments", "xray:PutTelemetryRecords"),
                ("*",),
                reason="X-Ray knows no resource for what is put into it",
            ),
            # metrics are log lines in CloudWatch's embedded format; the group is there already
            Statement(
                ("logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"), (f"{group}:*",)
            ),
        )

    # --- the definition -----------------------------------------------------------------------------

    def _define(self, size: TaskSize, image: str) -> EcsTaskDefinition:
        name = self._environment.names.of(self._program.service)
        return EcsTaskDefinition(
            self,
            "definition",
            family=name,
            requires_compatibilities=["FARGATE"],
            network_mode="awsvpc",
            cpu=str(size.cpu),
            memory=str(size.memory_mib),
            ephemeral_storage=EcsTaskDefinitionEphemeralStorage(size_in_gib=size.storage_gib),
            runtime_platform=EcsTaskDefinitionRuntimePlatform(
                cpu_architecture=self._environment.settings.architecture, operating_system_family="LINUX"
            ),
            execution_role_arn=self.execution_role.arn,
            task_role_arn=self.task_role.arn,
            volume=self._volumes(),
            container_definitions=self._containers(image),
            # a deployment may have to go back to the revision before; `destroy` deregisters them all
            skip_destroy=True,
            tags={"Name": name, "data-class": "critical"},
        )

    def _volumes(self) -> list[EcsTaskDefinitionVolume]:
        scratch = EcsTaskDefinitionVolume(name=container.SCRATCH_VOLUME)
        if self._storage is None:
            return [scratch]
        access = EcsTaskDefinitionVolumeEfsVolumeConfigurationAuthorizationConfig(
            access_point_id=self._storage.access_point_id(self._program.service), iam="ENABLED"
        )
        # no root directory: with an access point it is the access point's
        shared = EcsTaskDefinitionVolumeEfsVolumeConfiguration(
            file_system_id=self._storage.file_system_id,
            transit_encryption="ENABLED",
            authorization_config=access,
        )
        return [
            scratch,
            EcsTaskDefinitionVolume(name=container.SHARED_VOLUME, efs_volume_configuration=shared),
        ]

    def _containers(self, image: str) -> str:
        region = self._environment.region
        found = [
            container.program(
                self._program,
                image=self._images[image],
                log_group=self._logs.group(self._program.service).name,
                region=region,
                collected=self._collected,
            )
        ]
        if self._collected:
            found.append(
                collector(
                    image=self._images[SERVICE_COLLECTOR],
                    log_group=self._logs.group(SERVICE_COLLECTOR).name,
                    suffix=self._environment.suffix,
                    region=region,
                )
            )
        return json.dumps(found, sort_keys=True)


def _told(
    environment: Environment, program: Program, variables: Mapping[str, str], *, collected: bool
) -> dict[str, str]:
    """What every program is told; its own variables win over these, and the caller's over both.

    Not where processes count together: a task has one, and that folder would have to be there before its first import.
    """
    told = {
        "AWS_REGION": environment.region,
        ENV_HOME: f"{SCRATCH_FOLDER}/millrace",
        "MILLRACE_LOG_JSON": "true",
    }
    if program.shared:
        told[ENV_SHARED_FOLDER] = SHARED_FOLDER
    if collected:
        told |= {"OTEL_EXPORTER_OTLP_ENDPOINT": OTLP_ENDPOINT, INTERVAL_VARIABLE: str(REPORT_EVERY_MS)}
    return told | dict(program.variables) | dict(variables)
