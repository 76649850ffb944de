"""The constructs under test with what they stand on, composed as the platform composes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from millrace_infra.deployment import BlueGreen
from millrace_infra.entry import Entry
from millrace_infra.network import Network
from millrace_infra.observability.logs import Logs
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
from millrace_infra.settings import Environment
from millrace_infra.shared_storage import SharedStorage
from millrace_infra.stack import Stack
from millrace_infra.terraform import App


def compose(
    environment: Environment,
    *,
    outdir: str,
    consumer: str,
    variables: Mapping[str, str],
    worker_alarms: Sequence[str],
    api_alarms: Sequence[str],
) -> App:
    app = App(outdir=outdir)
    stack = Stack(app, "services", environment, tags=environment.tags)
    e = environment
    keys = Keys(stack, "keys", environment=e)
    logs = Logs(stack, "logs", environment=e, key=keys["logs"])
    network = Network(stack, "network", environment=e, logs=logs)
    storage = SharedStorage(stack, "shared-storage", environment=e, key=keys["storage"], network=network)
    entry = Entry(stack, "entry", environment=e, network=network)
    cluster = Cluster(stack, "cluster", environment=e, logs=logs)
    images = Images(stack, "images", environment=e)
    worker = WorkerService(
        stack,
        "worker",
        environment=e,
        cluster=cluster,
        network=network,
        logs=logs,
        storage=storage,
        images=images,
        variables=variables,
        alarm_names=worker_alarms,
    )
    api = ApiService(
        stack,
        "api",
        environment=e,
        cluster=cluster,
        network=network,
        entry=entry,
        logs=logs,
        storage=storage,
        images=images,
        variables=variables,
    )
    dashboard = DashboardService(
        stack,
        "dashboard",
        environment=e,
        cluster=cluster,
        network=network,
        entry=entry,
        logs=logs,
        images=images,
        variables={},
    )
    MigrateTask(stack, "migrate", environment=e, logs=logs, images=images, variables=variables)
    WorkerScaling(
        stack,
        "worker-scaling",
        environment=e,
        cluster=cluster,
        worker=worker,
        stream_name=e.names.of("stream", "stream"),
        consumer_name=consumer,
    )
    ApiScaling(stack, "api-scaling", environment=e, cluster=cluster, api=api, entry=entry)
    DashboardScaling(stack, "dashboard-scaling", environment=e, cluster=cluster, dashboard=dashboard)
    BlueGreen(
        stack,
        "deployment",
        environment=e,
        cluster=cluster,
        entry=entry,
        api=api,
        dashboard=dashboard,
        alarm_names={"api": api_alarms},
    )
    worker.task_role.allow("shared-storage", storage.mount("worker"))
    api.task_role.allow("shared-storage", storage.mount("api"))
    start_after_grants(worker, api, dashboard)
    return app
