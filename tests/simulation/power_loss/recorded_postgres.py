"""A real PostgreSQL for the recorder: a small cluster, started as a user that it accepts."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import psycopg
from recorded_server import Server, free_port, postgres_folder, server_user

OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "8",
    "shared_buffers": "16MB",
    "checkpoint_timeout": "30s",
    "autovacuum": "off",
}


def give(folder: Path) -> None:
    """Hand a folder to the server's user."""
    if user := server_user():
        for path in [folder, *folder.rglob("*")]:
            shutil.chown(path, user)
    folder.chmod(0o700)


def server_on(folder: Path, environment: dict[str, str] | None = None, **options: str) -> tuple[Server, str]:
    port = free_port()
    settings = {**OPTIONS, **options, "port": str(port)}
    command = [str(postgres_folder() / "postgres"), "-D", str(folder)]
    command += [text for key, value in settings.items() for text in ("-c", f"{key}={value}")]
    url = f"host=127.0.0.1 port={port} user=postgres dbname=postgres"

    def ready() -> bool:
        try:
            psycopg.connect(url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    log = folder.parent / "postgres.log"
    return Server(command, ready, user=server_user(), environment=environment or {}, log=log), url


def new_cluster(root: Path) -> None:
    """Make a cluster in a new folder, not started."""
    root.mkdir()
    give(root)
    command = [postgres_folder() / "initdb", "-D", root, "-U", "postgres", "--wal-segsize=1", "--no-sync"]
    user = server_user()
    subprocess.run([*command, "-A", "trust"], check=True, capture_output=True, user=user, timeout=120)
