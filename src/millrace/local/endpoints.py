"""`run/endpoints.json`: where the running platform answers, for the CLI, the simulator and tests. Holds
passwords, so 0600.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from millrace.errors import DataFolderError
from millrace.local.folder import running_pid, write_private
from millrace.settings import Settings


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Everything that a tool needs to talk to the platform that runs on a data folder."""

    pid: int
    home: str
    identity: str
    shards: int
    api_url: str
    dashboard_url: str  # empty: no page
    postgres_url: str
    stream_url: str
    cache_url: str
    token_file: str
    ready: bool = False
    pids: dict[str, int] = field(default_factory=dict)

    @property
    def token(self) -> str:
        return Path(self.token_file).read_text().strip()


def path_of(home: Path) -> Path:
    return home.absolute() / "run" / "endpoints.json"


def write(endpoints: Endpoints) -> None:
    write_private(path_of(Path(endpoints.home)), json.dumps(asdict(endpoints), indent=2) + "\n")


def find(home: Path) -> Endpoints | None:
    """The running platform's, None when none runs on that folder (a killed one's file does not count)."""
    pid = running_pid(home)
    try:
        endpoints = Endpoints(**json.loads(path_of(home).read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return endpoints if endpoints.pid == pid else None


def need(home: Path) -> Endpoints:
    """The running platform's; DataFolderError says how to start one."""
    endpoints = find(home)
    if endpoints is None:
        raise DataFolderError(
            f"No Millrace is running on {home.absolute()}. Start one with `millrace up` (or `make run`), "
            "or name another data folder with MILLRACE_HOME."
        )
    return endpoints


def page_to_open(settings: Settings, endpoints: Endpoints) -> str:
    """What a person opens to see the page: with the token, which opens nothing where they sign in by name."""
    if settings.oidc_issuer:
        return settings.dashboard_url or endpoints.dashboard_url
    return f"{endpoints.dashboard_url}/?token={endpoints.token}"


def attached(settings: Settings, endpoints: Endpoints) -> Settings:
    """The settings of a tool that works on the running platform: its servers, its token, its shards."""
    return settings.model_copy(
        update={
            "home": Path(endpoints.home),
            "postgres_url": endpoints.postgres_url,
            "stream_url": endpoints.stream_url,
            "cache_url": endpoints.cache_url,
            "api_token": endpoints.token,
            "shards": endpoints.shards,
        }
    )
