"""The API's service: the front door of readings and the query API.

The program does not read yet what it is told here of AWS, nor serves HTTPS: docs/deploy.md, "What does not run yet".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from millrace.names import ENV_API_HOST, ENV_API_PORT, ENV_TLS_FOLDER, SERVICE_API
from millrace_infra.entry import Entry
from millrace_infra.network import API_PORT, Network
from millrace_infra.observability.logs import Logs
from millrace_infra.services.cluster import Cluster
from millrace_infra.services.container import SCRATCH_FOLDER, Program
from millrace_infra.services.image_variables import Images
from millrace_infra.services.listening import health_of, listening_service
from millrace_infra.services.task import Task
from millrace_infra.settings import Environment
from millrace_infra.shared_storage import SharedStorage
from millrace_infra.terraform import Construct

PROGRAM: Final = Program(
    service=SERVICE_API,
    port=API_PORT,
    shared="read",
    health=health_of(API_PORT, "/v1/health/live"),
    start_s=120,  # the live view fills from the real-time store before the API is ready
    stop_s=45,  # open requests get the 29 s that API Gateway waits, then the door empties its buffers
    variables={
        ENV_API_HOST: "0.0.0.0",  # the security group decides who reaches it  # nosec B104
        ENV_API_PORT: str(API_PORT),
        ENV_TLS_FOLDER: f"{SCRATCH_FOLDER}/tls",
    },
)


class ApiService(Construct):
    """`variables`: where the stream, the stores and the secrets are, as their constructs say."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        environment: Environment,
        cluster: Cluster,
        network: Network,
        entry: Entry,
        logs: Logs,
        storage: SharedStorage,
        images: Images,
        variables: Mapping[str, str],
    ) -> None:
        super().__init__(scope, id)
        size = environment.settings.api
        self.task = Task(
            self,
            "task",
            environment=environment,
            program=PROGRAM,
            size=size,
            image=SERVICE_API,
            images=images,
            logs=logs,
            storage=storage,
            variables=variables,
        )
        self.service = listening_service(
            self,
            environment=environment,
            cluster=cluster,
            network=network,
            entry=entry,
            task=self.task,
            program=PROGRAM,
        )
        self.task_role = self.task.task_role
        self.execution_role = self.task.execution_role

    @property
    def service_name(self) -> str:
        return self.service.name

    @property
    def task_definition_arn(self) -> str:
        return self.task.arn
