"""What runs on the platform: four programs, what each is told, how many of it run, how a new version takes over.

What each may do is in `grants.py`.
"""

from __future__ import annotations

from millrace.names import DATABASE_MIGRATE, SERVICE_API, SERVICE_DASHBOARD, SERVICE_WORKER
from millrace_infra import grants
from millrace_infra.deployment import BlueGreen
from millrace_infra.entry import Entry
from millrace_infra.network import Network
from millrace_infra.observability.alarms import Alarms
from millrace_infra.observability.logs import Logs
from millrace_infra.secrets import ExistingSecrets
from millrace_infra.services import (
    ApiScaling,
    ApiService,
    Cluster,
    DashboardScaling,
    DashboardService,
    Images,
    MigrateTask,
    WorkerScaling,
    WorkerService,
    start_after_grants,
)
from millrace_infra.settings import Environment
from millrace_infra.shared_storage import SharedStorage
from millrace_infra.sinks.archive import Archive
from millrace_infra.sinks.aurora import Aurora
from millrace_infra.sinks.redis import Redis
from millrace_infra.stream import Stream
from millrace_infra.terraform import Construct


class Programs:
    """The services and the migration, over everything that they stand on; `alarms` stop a bad deployment."""

    def __init__(
        self, stack: Construct, *, environment: Environment, cluster: Cluster, network: Network, entry: Entry,
        logs: Logs, secrets: ExistingSecrets, stream: Stream, archive: Archive, database: Aurora, cache: Redis,
        storage: SharedStorage, alarms: Alarms,
    ) -> None:  # fmt: skip
        self._cluster, self._entry, self._secrets = cluster, entry, secrets
        self._stream, self._archive, self._database, self._cache = stream, archive, database, cache
        e = environment
        self.images = images = Images(stack, "images", environment=e)
        self.worker = WorkerService(
            stack, "worker", environment=e, cluster=cluster, network=network, logs=logs, storage=storage,
            images=images, variables=self._where(SERVICE_WORKER, "database_user"),
            alarm_names=alarms.stopping(SERVICE_WORKER),
        )  # fmt: skip
        self.api = ApiService(
            stack, "api", environment=e, cluster=cluster, network=network, entry=entry, logs=logs, storage=storage,
            images=images, variables=self._where(SERVICE_API, "database_user", "api_signing"),
        )  # fmt: skip
        self.dashboard = DashboardService(
            stack, "dashboard", environment=e, cluster=cluster, network=network, entry=entry, logs=logs,
            images=images, variables=secrets.environment("dashboard_oidc"),
        )  # fmt: skip
        self.migrate = MigrateTask(
            stack, "migrate", environment=e, logs=logs, images=images,
            variables=database.environment(DATABASE_MIGRATE) | secrets.environment("database_master"),
        )  # fmt: skip
        self._scale(stack, e)
        self.deployment = BlueGreen(
            stack, "deployment", environment=e, cluster=cluster, entry=entry, api=self.api, dashboard=self.dashboard,
            alarm_names={service: alarms.stopping(service) for service in (SERVICE_API, SERVICE_DASHBOARD)},
        )  # fmt: skip
        self._grant(storage)

    @property
    def running(self) -> dict[str, WorkerService | ApiService | DashboardService]:
        """The services, by name."""
        return {SERVICE_WORKER: self.worker, SERVICE_API: self.api, SERVICE_DASHBOARD: self.dashboard}

    def _where(self, service: str, *secrets: str) -> dict[str, str]:
        """What a service is told: where the stream, the stores and its secrets are."""
        return {
            **self._stream.environment(),
            **self._archive.environment(),
            **self._database.environment(),
            **self._cache.environment(service),
            **self._secrets.environment(*secrets),
        }

    def _scale(self, stack: Construct, e: Environment) -> None:
        cluster, stream = self._cluster, self._stream
        WorkerScaling(
            stack, "worker-scaling", environment=e, cluster=cluster, worker=self.worker, stream_name=stream.name,
            consumer_name=stream.consumer_name,
        )  # fmt: skip
        ApiScaling(stack, "api-scaling", environment=e, cluster=cluster, api=self.api, entry=self._entry)
        DashboardScaling(stack, "dashboard-scaling", environment=e, cluster=cluster, dashboard=self.dashboard)

    def _grant(self, storage: SharedStorage) -> None:
        """After the last grant, what starts waits for all of them."""
        for grant, service in ((grants.worker, self.worker), (grants.api, self.api)):
            grant(
                service.task_role, stream=self._stream, archive=self._archive, cache=self._cache,
                storage=storage, secrets=self._secrets,
            )  # fmt: skip
        grants.dashboard(self.dashboard.task_role, secrets=self._secrets)
        grants.migrate(self.migrate.task_role, database=self._database, secrets=self._secrets)
        start_after_grants(self.worker, self.api, self.dashboard)
