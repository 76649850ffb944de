"""The platform's own processes: what each is called, how it is started, what it is told through its
environment.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from millrace.local.child import Child
from millrace.local.endpoints import Endpoints
from millrace.names import ENV_PREFIX, SERVICE_API, SERVICE_DASHBOARD, SERVICE_WORKER
from millrace.settings import Settings
from millrace.telemetry import METRICS_FOLDER_VARIABLE

SIMULATOR = "simulator"
OPTIONAL = frozenset({SERVICE_DASHBOARD, SIMULATOR})
"""Without these the flow goes on, so their deaths do not stop the platform."""

STOP_WAIT_S = {SERVICE_WORKER: 20.0, SERVICE_API: 10.0}


@dataclass(frozen=True, slots=True)
class Role:
    """One process of the platform."""

    name: str
    module: str
    arguments: tuple[str, ...] = ()

    @property
    def service(self) -> str:
        return self.name.split("-")[0]

    @property
    def optional(self) -> bool:
        return self.service in OPTIONAL


def worker_count(settings: Settings, shards: int) -> int:
    """As set, else one per core that we may use; never more than there are shards."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(settings.workers or cores, shards)


def roles(settings: Settings, shards: int, *, simulate: bool) -> list[Role]:
    """In the order in which they start; they stop in reverse."""
    count = worker_count(settings, shards)
    workers = [
        Role(f"{SERVICE_WORKER}-{index}", "millrace.worker", ("--index", str(index), "--of", str(count)))
        for index in range(count)
    ]
    rest = [Role(SERVICE_API, "millrace.api")]
    if settings.dashboard:
        rest.append(Role(SERVICE_DASHBOARD, "millrace.dashboard"))
    if simulate:
        rest.append(Role(SIMULATOR, "millrace.devices"))
    return workers + rest


def child_of(role: Role, home: Path, environ: Mapping[str, str]) -> Child:
    return Child(
        role.name,
        [sys.executable, "-m", role.module, *role.arguments],
        home=home,
        environ=environ,
        stop_wait_s=STOP_WAIT_S.get(role.service, 5.0),
    )


def environment(settings: Settings, endpoints: Endpoints, environ: Mapping[str, str]) -> dict[str, str]:
    """What the children see: the supervisor's own settings spelled out, and where the servers are."""
    told = {ENV_PREFIX + key.upper(): str(value) for key, value in _set_by_hand(settings).items()}
    return {
        **environ,
        **told,
        "MILLRACE_HOME": endpoints.home,
        "MILLRACE_SHARDS": str(endpoints.shards),
        "MILLRACE_API_TOKEN": endpoints.token,
        "MILLRACE_POSTGRES_URL": endpoints.postgres_url,
        "MILLRACE_STREAM_URL": endpoints.stream_url,
        "MILLRACE_CACHE_URL": endpoints.cache_url,
        METRICS_FOLDER_VARIABLE: str(metrics_folder(Path(endpoints.home))),
        "PYTHONUNBUFFERED": "1",
    }


def metrics_folder(home: Path) -> Path:
    return home / "run" / "metrics"


def _set_by_hand(settings: Settings) -> dict[str, object]:
    """Settings that differ from the defaults, by the name that the environment gives them."""
    fields = type(settings).model_fields
    return {
        fields[name].alias or name: getattr(settings, name)
        for name in sorted(settings.model_fields_set)
        if getattr(settings, name) is not None
    }
