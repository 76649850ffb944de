from __future__ import annotations

from pathlib import Path

from millrace.local.endpoints import Endpoints
from millrace.local.processes import environment, roles, worker_count
from millrace.settings import load


def endpoints(home: Path) -> Endpoints:
    (home / "token").write_text("secret-token\n")
    return Endpoints(
        pid=1, home=str(home), identity="x:1", shards=4, api_url="http://127.0.0.1:8080", dashboard_url="",
        postgres_url="postgresql://…", stream_url="unix:///s", cache_url="unix:///c",
        token_file=str(home / "token"),
    )  # fmt: skip


def test_children_read_the_settings_that_the_supervisor_read(tmp_path: Path) -> None:
    told = {
        "MILLRACE_DISK_MAX": "3GB",
        "MILLRACE_HOME": str(tmp_path),
        "MILLRACE_WORKERS": "3",
        "MILLRACE_LOG_JSON": "1",
    }
    ours = load(told)
    theirs = load(environment(ours, endpoints(tmp_path), {}))
    assert theirs.disk_max_bytes == 3_000_000_000
    assert (theirs.workers, theirs.log_json, theirs.home) == (3, True, tmp_path)


def test_children_are_told_where_the_servers_are(tmp_path: Path) -> None:
    theirs = load(environment(load({}), endpoints(tmp_path), {"PATH": "/bin"}))
    assert (theirs.stream_url, theirs.cache_url, theirs.postgres_url) == (
        "unix:///s",
        "unix:///c",
        "postgresql://…",
    )
    assert (theirs.api_token, theirs.shards) == ("secret-token", 4)


def test_there_are_never_more_workers_than_shards() -> None:
    assert worker_count(load({"MILLRACE_WORKERS": "16"}), shards=4) == 4
    assert worker_count(load({}), shards=1) == 1


def test_workers_start_first_and_the_plant_last() -> None:
    named = [role.name for role in roles(load({"MILLRACE_WORKERS": "2"}), 8, simulate=True)]
    assert named == ["worker-0", "worker-1", "api", "dashboard", "simulator"]
    assert [
        role.name
        for role in roles(load({"MILLRACE_WORKERS": "1", "MILLRACE_DASHBOARD": "0"}), 8, simulate=False)
    ] == [
        "worker-0",
        "api",
    ]
