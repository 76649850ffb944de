"""The composition root: which stacks there are, and the platform from left to right."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from millrace import names
from millrace.errors import MillraceError
from millrace_infra import outputs
from millrace_infra.account import Account
from millrace_infra.backup import Backup
from millrace_infra.deployment import BlueGreen
from millrace_infra.edge.gateway import Gateway
from millrace_infra.entry import Entry
from millrace_infra.network import Network
from millrace_infra.observability.logs import Logs
from millrace_infra.observability.observability import Observability
from millrace_infra.registry import Registry
from millrace_infra.rotation import Rotation
from millrace_infra.secrets import ROTATED, ExistingSecrets
from millrace_infra.security import Keys
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
from millrace_infra.settings import Environment, load
from millrace_infra.shared_storage import SharedStorage
from millrace_infra.sinks.archive import Archive
from millrace_infra.sinks.aurora import Aurora
from millrace_infra.sinks.redis import Redis
from millrace_infra.stack import Stack
from millrace_infra.stream import Stream
from millrace_infra.terraform import App


class Platform(Stack):
    """Everything of one suffix, in the order of the flow; grants come last."""

    def __init__(self, scope: App, environment: Environment) -> None:
        super().__init__(
            scope, f"{names.PROJECT}-{environment.suffix}", environment, tags=environment.tags
        )
        self._ground(environment)
        self._stores(environment)
        self._services(environment)
        self._grants()
        self._outputs()

    def _ground(self, e: Environment) -> None:
        self.keys = Keys(self, "keys", environment=e)
        self.logs = Logs(self, "logs", environment=e, key=self.keys["logs"])
        self.network = Network(
            self, "network", environment=e, logs=self.logs,
            transit_gateway_id=e.settings.network.transit_gateway_id,
        )  # fmt: skip
        self.secrets = ExistingSecrets(self, "secrets", environment=e)

    def _stores(self, e: Environment) -> None:
        keys, network = self.keys, self.network
        self.stream = Stream(self, "stream", environment=e, key=keys["stream"])
        self.archive = Archive(self, "archive", environment=e, key=keys["archive"])
        self.database = Aurora(
            self, "aurora", environment=e, key=keys["database"], network=network, secrets=self.secrets,
            log_key=keys["logs"],
        )  # fmt: skip
        self.cache = Redis(
            self, "redis", environment=e, key=keys["cache"], network=network, logs=self.logs
        )
        self.storage = SharedStorage(
            self, "shared-storage", environment=e, key=keys["storage"], network=network
        )
        self.backup = Backup(
            self, "backup", environment=e, key=keys["backup"], database=self.database, storage=self.storage
        )

    def _services(self, e: Environment) -> None:
        self.entry = Entry(self, "entry", environment=e, network=self.network)
        self.cluster = cluster = Cluster(self, "cluster", environment=e, logs=self.logs)
        self.gateway = Gateway(self, "gateway", environment=e, entry=self.entry, logs=self.logs)
        self.rotation = Rotation(
            self, "rotation", environment=e, keys=self.keys, network=self.network, secrets=self.secrets,
            logs=self.logs, database=self.database, usage_plan_id=self.gateway.usage_plan_id,
        )  # fmt: skip
        self.watch = Observability(
            self, "observability", environment=e, keys=self.keys, logs=self.logs, network=self.network,
            secrets=self.secrets, stream=self.stream, database=self.database, storage=self.storage,
            backup=self.backup, entry=self.entry, cluster=cluster, gateway=self.gateway,
            functions=self.rotation.functions, undelivered={"rotation": self.rotation.undelivered},
        )  # fmt: skip
        self.images = images = Images(self, "images", environment=e)
        self.worker = WorkerService(
            self, "worker", environment=e, cluster=cluster, network=self.network, logs=self.logs,
            storage=self.storage, images=images, variables=self._where("worker", secret="database_user"),
            alarm_names=self.watch.alarms.stopping("worker"),
        )
        self.api = ApiService(
            self, "api", environment=e, cluster=cluster, network=self.network, entry=self.entry,
            logs=self.logs, storage=self.storage, images=images, variables=self._where("api", secret="api_signing"),
        )
        self.dashboard = DashboardService(
            self, "dashboard", environment=e, cluster=cluster, network=self.network, entry=self.entry,
            logs=self.logs, images=images, variables=self.secrets.environment("dashboard_oidc"),
        )
        self.migrate = MigrateTask(
            self, "migrate", environment=e, logs=self.logs, images=images,
            variables={
                **self.database.environment(names.DATABASE_MIGRATE), **self.secrets.environment("database_master"),
            },
        )
        WorkerScaling(
            self, "worker-scaling", environment=e, cluster=cluster, worker=self.worker,
            stream_name=self.stream.name, consumer_name=self.stream.consumer_name,
        )
        ApiScaling(self, "api-scaling", environment=e, cluster=cluster, api=self.api, entry=self.entry)
        DashboardScaling(self, "dashboard-scaling", environment=e, cluster=cluster, dashboard=self.dashboard)
        self.deployment = BlueGreen(
            self, "deployment", environment=e, cluster=cluster, entry=self.entry, api=self.api,
            dashboard=self.dashboard,
            alarm_names={service: self.watch.alarms.stopping(service) for service in ("api", "dashboard")},
        )

    def _where(self, service: str, *, secret: str) -> dict[str, str]:
        """What a service is told: where the stream, the stores and its secrets are."""
        return {
            **self.stream.environment(),
            **self.archive.environment(),
            **self.database.environment(),
            **self.cache.environment(service),
            **self.secrets.environment("database_user", secret),
        }

    def _grants(self) -> None:
        worker, api = self.worker.task_role, self.api.task_role
        read = ("database_user", "api_signing")
        worker.allow("stream", *self.stream.read(), *self.stream.leases())
        worker.allow("archive", *self.archive.write())
        worker.allow("secrets", self.secrets.read("database_user"), self.secrets.decrypt("database_user"))
        worker.allow("cache", self.cache.connect("worker"))
        worker.allow("shared-storage", self.storage.mount("worker"))
        api.allow("stream", *self.stream.put())
        api.allow("archive", *self.archive.read())
        api.allow("secrets", self.secrets.read(*read), self.secrets.decrypt(*read))
        api.allow("cache", self.cache.connect("api"))
        api.allow("shared-storage", self.storage.mount("api"))
        self.dashboard.task_role.allow(
            "secrets", self.secrets.read("dashboard_oidc"), self.secrets.decrypt("dashboard_oidc")
        )
        migrate = self.migrate.task_role
        migrate.allow("database", self.database.connect(names.DATABASE_MIGRATE))
        migrate.allow("master", self.secrets.read("database_master"), self.secrets.decrypt("database_master"))
        start_after_grants(self.worker, self.api, self.dashboard)

    def _outputs(self) -> None:
        running: dict[str, outputs.Service] = {"worker": self.worker, "api": self.api, "dashboard": self.dashboard}
        told: dict[str, outputs.Value] = {
            "stream_name": self.stream.name,
            "lease_table_name": self.stream.lease_table_name,
            "archive_bucket": self.archive.bucket,
            "database_endpoint": self.database.endpoint,
            "database_reader_endpoint": self.database.reader_endpoint,
            "cache_endpoint": self.cache.endpoint,
            "file_system_id": self.storage.file_system_id,
            "internal_url": self.entry.url,
            "api_url": self.gateway.invoke_url,
            "api_public_name": self.gateway.public_name,
            "usage_plan_id": self.gateway.usage_plan_id,
            "suffix": self.environment.suffix,
        }
        told |= outputs.deployed(self, self.images)
        told |= outputs.producers(self.stream.producers)
        told |= outputs.migration(self.cluster, self.migrate, self.network)
        told |= outputs.rotation(self.secrets, ROTATED, self.database)
        outputs.write(self, told | outputs.services(running, self.deployment))


def build(environment: Environment, *, outdir: str) -> App:
    """The program of one environment, not yet written."""
    app = App(outdir=outdir)
    Account(app, environment)
    Registry(app, environment)
    Platform(app, environment)
    return app


def main(environ: Mapping[str, str] = os.environ) -> int:
    """For `cdktf synth`: the environment by name, the suffix, the region if it is to be checked."""
    try:
        environment = load(
            environ.get("ENV", "dev"),
            environ.get("ENVIRONMENT_SUFFIX", "dev"),
            region=environ.get("AWS_REGION", ""),
        )
        build(environment, outdir=environ.get("CDKTF_OUTDIR", "cdktf.out")).synth()
    except MillraceError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
