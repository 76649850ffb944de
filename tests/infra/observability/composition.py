"""The watch with what it watches, composed as the platform composes them: the edge and the functions by name alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from millrace_infra.backup import Backup
from millrace_infra.entry import Entry
from millrace_infra.network import Network
from millrace_infra.observability.logs import Logs
from millrace_infra.observability.observability import Observability
from millrace_infra.secrets import ExistingSecrets
from millrace_infra.security import Keys
from millrace_infra.services import Cluster
from millrace_infra.settings import Environment
from millrace_infra.shared_storage import SharedStorage
from millrace_infra.sinks.archive import Archive
from millrace_infra.sinks.aurora import Aurora
from millrace_infra.stack import Stack
from millrace_infra.stream import Stream
from millrace_infra.terraform import App, TerraformOutput

GATEWAY: Any = SimpleNamespace(
    name="millrace-gateway-t1",
    rest_api_id="abc123",
    stage_name="millrace-stage-t1",
    firewall=SimpleNamespace(name="millrace-firewall-t1"),
)
FUNCTIONS = {"rotate-database-user": "millrace-rotate-database-user-t1"}


def compose(environment: Environment, *, outdir: str) -> App:
    app = App(outdir=outdir)
    stack = Stack(app, "watch", environment, tags=environment.tags)
    e: dict[str, Any] = {"environment": environment}
    keys = Keys(stack, "keys", **e)
    logs = Logs(stack, "logs", **e, key=keys["logs"])
    network = Network(stack, "network", **e, logs=logs)
    secrets = ExistingSecrets(stack, "secrets", **e)
    database = Aurora(
        stack, "aurora", **e, key=keys["database"], network=network, secrets=secrets, log_key=keys["logs"]
    )
    storage = SharedStorage(stack, "shared-storage", **e, key=keys["storage"], network=network)
    watch = Observability(
        stack,
        "observability",
        **e,
        keys=keys,
        logs=logs,
        network=network,
        secrets=secrets,
        stream=Stream(stack, "stream", **e, key=keys["stream"]),
        archive=Archive(stack, "archive", **e, key=keys["archive"]),
        database=database,
        storage=storage,
        backup=Backup(stack, "backup", **e, key=keys["backup"], database=database, storage=storage),
        entry=Entry(stack, "entry", **e, network=network),
        cluster=Cluster(stack, "cluster", **e, logs=logs),
        gateway=GATEWAY,
        functions=FUNCTIONS,
        undelivered={"rotation": "millrace-rotation-undelivered-t1"},
    )
    for service in ("worker", "api", "dashboard"):
        TerraformOutput(stack, f"{service}-stops", value=watch.alarms.stopping(service))
    return app
