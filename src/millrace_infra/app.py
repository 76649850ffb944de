"""The composition root: which stacks there are, and the platform from left to right."""

from __future__ import annotations

from millrace.names import PROJECT
from millrace_infra import outputs
from millrace_infra.account import Account
from millrace_infra.backup import Backup
from millrace_infra.edge.gateway import Gateway
from millrace_infra.entry import Entry
from millrace_infra.network import Network
from millrace_infra.observability.logs import Logs
from millrace_infra.observability.observability import Observability
from millrace_infra.programs import Programs
from millrace_infra.registry import Registry
from millrace_infra.rotation import Rotation
from millrace_infra.secrets import ExistingSecrets
from millrace_infra.security import Keys
from millrace_infra.services import Cluster, tasks_min
from millrace_infra.settings import Environment
from millrace_infra.shared_storage import SharedStorage
from millrace_infra.sinks.archive import Archive
from millrace_infra.sinks.aurora import Aurora
from millrace_infra.sinks.redis import Redis
from millrace_infra.stack import Stack
from millrace_infra.stream import Stream
from millrace_infra.terraform import App


class Platform(Stack):
    """Everything of one suffix, in the order of the flow: ground, stores, ways in, watch, what runs."""

    def __init__(self, scope: App, environment: Environment) -> None:
        super().__init__(scope, f"{PROJECT}-{environment.suffix}", environment, tags=environment.tags)
        e = environment

        keys = Keys(self, "keys", environment=e)
        logs = Logs(self, "logs", environment=e, key=keys["logs"])
        network = Network(
            self, "network", environment=e, logs=logs, transit_gateway_id=e.settings.network.transit_gateway_id,
        )  # fmt: skip
        secrets = ExistingSecrets(self, "secrets", environment=e)

        stream = Stream(self, "stream", environment=e, key=keys["stream"])
        archive = Archive(self, "archive", environment=e, key=keys["archive"])
        database = Aurora(
            self, "aurora", environment=e, key=keys["database"], network=network, secrets=secrets, log_key=keys["logs"],
        )  # fmt: skip
        cache = Redis(self, "redis", environment=e, key=keys["cache"], network=network, logs=logs)
        storage = SharedStorage(self, "shared-storage", environment=e, key=keys["storage"], network=network)
        backup = Backup(self, "backup", environment=e, key=keys["backup"], database=database, storage=storage)

        entry = Entry(self, "entry", environment=e, network=network)
        cluster = Cluster(self, "cluster", environment=e, logs=logs)
        gateway = Gateway(self, "gateway", environment=e, entry=entry, logs=logs)
        rotation = Rotation(
            self, "rotation", environment=e, keys=keys, network=network, secrets=secrets, logs=logs,
            database=database, usage_plan_id=gateway.usage_plan_id,
        )  # fmt: skip

        watch = Observability(
            self, "observability", environment=e, keys=keys, logs=logs, network=network, secrets=secrets,
            stream=stream, archive=archive, database=database, storage=storage, backup=backup, entry=entry,
            cluster=cluster, gateway=gateway, functions=rotation.functions,
            undelivered={"rotation": rotation.undelivered},
        )  # fmt: skip

        programs = Programs(
            self, environment=e, cluster=cluster, network=network, entry=entry, logs=logs, secrets=secrets,
            stream=stream, archive=archive, database=database, cache=cache, storage=storage, alarms=watch.alarms,
        )  # fmt: skip
        outputs.write(
            self,
            outputs.stores(stream, archive, database, cache, storage)
            | outputs.ways_in(entry, gateway)
            | outputs.deployed(self, programs.images)
            | outputs.producers(stream.producers)
            | outputs.migration(cluster, programs.migrate, network)
            | outputs.rotation(secrets, database)
            | outputs.services(programs.running, programs.deployment, tasks_min(e)),
        )


def build(environment: Environment, *, outdir: str) -> App:
    """The program of one environment, not yet written."""
    app = App(outdir=outdir)
    Account(app, environment)
    Registry(app, environment)
    Platform(app, environment)
    return app
