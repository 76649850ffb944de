"""The dashboard's service: people watch the plant there.

It signs people in itself (OpenID Connect), its client's secret being the existing secret `dashboard_oidc`. It does not
serve HTTPS yet, nor find the API: docs/deploy.md, "What does not run yet".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from millrace.names import (
    ENV_API_URL,
    ENV_DASHBOARD_HOST,
    ENV_DASHBOARD_PORT,
    ENV_DASHBOARD_URL,
    ENV_OIDC_CLIENT_ID,
    ENV_OIDC_ISSUER,
    ENV_TLS_FOLDER,
    SERVICE_DASHBOARD,
)
from millrace_infra.entry import Entry
from millrace_infra.network import DASHBOARD_PORT, Network
from millrace_infra.observability.logs import Logs
from millrace_infra.services.cluster import Cluster
from millrace_infra.services.container import SCRATCH_FOLDER, Program
from millrace_infra.services.image_variables import Images
from millrace_infra.services.listening import health_of, listening_service
from millrace_infra.services.task import Task
from millrace_infra.settings import Environment
from millrace_infra.terraform import Construct

PROGRAM: Final = Program(
    service=SERVICE_DASHBOARD,
    port=DASHBOARD_PORT,
    health=health_of(DASHBOARD_PORT, "/health"),
    start_s=60,
    stop_s=30,  # a page's web socket is closed and opened again elsewhere
    variables={
        ENV_DASHBOARD_HOST: "0.0.0.0",  # the security group decides who reaches it  # nosec B104
        ENV_DASHBOARD_PORT: str(DASHBOARD_PORT),
        ENV_TLS_FOLDER: f"{SCRATCH_FOLDER}/tls",
    },
)


class DashboardService(Construct):
    """`variables`: the secrets that it reads, as their construct says."""

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
        images: Images,
        variables: Mapping[str, str],
    ) -> None:
        super().__init__(scope, id)
        size = environment.settings.dashboard
        program = replace(PROGRAM, variables={**PROGRAM.variables, **_addresses(environment, entry)})
        self.task = Task(
            self,
            "task",
            environment=environment,
            program=program,
            size=size,
            image=SERVICE_DASHBOARD,
            images=images,
            logs=logs,
            variables=variables,
        )
        self.service = listening_service(
            self,
            environment=environment,
            cluster=cluster,
            network=network,
            entry=entry,
            task=self.task,
            program=program,
        )
        self.task_role = self.task.task_role
        self.execution_role = self.task.execution_role

    @property
    def service_name(self) -> str:
        return self.service.name

    @property
    def task_definition_arn(self) -> str:
        return self.task.arn


def _addresses(environment: Environment, entry: Entry) -> dict[str, str]:
    oidc = environment.settings.edge.oidc
    return {
        ENV_API_URL: entry.url,
        ENV_DASHBOARD_URL: entry.url,
        ENV_OIDC_ISSUER: oidc.issuer,
        ENV_OIDC_CLIENT_ID: oidc.client_id,
    }
