"""The embedded PostgreSQL: made once, started durable, reached over a unix socket with a password."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
from pathlib import Path
from typing import Final
from urllib.parse import quote

import psycopg

from millrace.errors import DataFolderError, StoreUnavailable
from millrace.local.binaries import postgres_programs
from millrace.local.child import Child, User, wait_until
from millrace.local.folder import DataFolder

PORT: Final = 5432  # names the socket file; nothing listens on TCP
ROLE: Final = "millrace"
INIT_WAIT_S: Final = 60.0
START_WAIT_S: Final = 120.0  # crash recovery of up to max_wal_size included

# 10,000 readings/s write about 5 MB/s of WAL: a checkpoint by time, not by size. The shared buffers hold the
# open partitions; max_wal_size bounds both the disk and the recovery after a kill (2 GB replay in some 20 s).
SETTINGS: Final = {
    "listen_addresses": "''",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "50",
    "password_encryption": "scram-sha-256",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "2GB",
    "min_wal_size": "256MB",
    "wal_buffers": "16MB",
    "checkpoint_timeout": "15min",
    "checkpoint_completion_target": "0.9",
    "shared_buffers": "256MB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "temp_file_limit": "4GB",
    "max_locks_per_transaction": "256",  # one per partition that a query touches
    "jit": "off",
    "timezone": "'UTC'",
    "log_timezone": "'UTC'",
    "log_min_messages": "warning",
    "log_checkpoints": "off",
    "cluster_name": "'millrace'",
}


class EmbeddedPostgres:
    """PostgreSQL in `<home>/postgres`. `start()` and `stop()` from one thread."""

    def __init__(self, folder: DataFolder, sockets: Path) -> None:
        self._data = folder.path / "postgres"
        self._sockets = sockets
        self._password = folder.secret("postgres")
        self._programs = postgres_programs()
        self._home = folder.path
        self._user = _unprivileged(self._data, self._programs)
        host = quote(str(sockets), safe="")
        self.url = f"postgresql://{ROLE}:{quote(self._password)}@/{ROLE}?host={host}&port={PORT}"
        self.child = Child(
            "postgres",
            [self._programs / "postgres", "-D", self._data, "-k", sockets],
            home=folder.path,
            environ=_environ(),
            user=self._user,
            death_signal=signal.SIGINT,  # fast shutdown: ends sessions, writes a checkpoint
            stop_signal=signal.SIGINT,
            stop_wait_s=30.0,
        )

    def launch(self) -> None:
        """Start it without waiting, made first where there is none."""
        if not self._data.exists():
            self._init()
        self._configure()
        self._own(self._sockets)
        self.child.start()

    def wait_ready(self) -> None:
        """Until it answers a query; crash recovery may come first."""
        if not wait_until(self.answers, wait_s=START_WAIT_S, child=self.child, pace_s=0.05):
            self._explain()
        self._create_database()

    def stop(self) -> None:
        self.child.stop()

    def _init(self) -> None:
        """Made aside and renamed, so that a kill in the middle leaves nothing that looks whole."""
        aside = self._data.with_name("postgres.new")
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(mode=0o700)
        password_file = self._data.with_name("postgres.password")
        password_file.touch(mode=0o600)
        password_file.write_text(self._password)
        for path in (aside, password_file):
            self._own(path)
        options = ("--encoding=UTF8", "--locale=C", "--data-checksums", "--no-instructions")
        command: list[str | Path] = [
            self._programs / "initdb",
            "-D",
            aside,
            "-U",
            ROLE,
            "-A",
            "scram-sha-256",
        ]
        command += [f"--pwfile={password_file}", *options]
        child = Child("initdb", command, home=self._home, environ=_environ(), user=self._user)
        child.start()
        wait_until(lambda: not child.pid, wait_s=INIT_WAIT_S)
        code = child.exit_code
        child.stop()
        password_file.unlink()
        if code != 0:
            raise DataFolderError(f"PostgreSQL could not be set up in {self._data}: {child.last_lines(3)}")
        os.replace(aside, self._data)

    def _configure(self) -> None:
        if not (self._data / "PG_VERSION").exists():
            raise DataFolderError(
                f"{self._data} is no PostgreSQL data folder (PG_VERSION is missing). Restore it from a copy, "
                "or give the data folder up with `millrace reset`."
            )
        lines = [f"{name} = {value}" for name, value in SETTINGS.items()]
        (self._data / "postgresql.conf").write_text(
            "# written at each start by Millrace\n" + "\n".join(lines) + "\n"
        )
        (self._data / "pg_hba.conf").write_text("local all all scram-sha-256\n")

    def _own(self, path: Path) -> None:
        if self._user is not None:
            os.chown(path, self._user.uid, self._user.gid)

    def answers(self) -> bool:
        """Whether it answers a query now."""
        try:
            with psycopg.connect(self._admin_url(), connect_timeout=2) as connection:
                connection.execute("SELECT 1")
            return True
        except psycopg.Error:
            return False

    def _create_database(self) -> None:
        with psycopg.connect(self._admin_url(), autocommit=True) as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (ROLE,)).fetchone() is None:
                with contextlib.suppress(psycopg.errors.DuplicateDatabase):
                    connection.execute(f"CREATE DATABASE {ROLE}")

    def _admin_url(self) -> str:
        return self.url.replace(f"@/{ROLE}?", "@/postgres?")

    def _explain(self) -> None:
        said = self.child.last_lines(6)
        if "incompatible" in said or "not compatible" in said:
            raise DataFolderError(
                f"{self._data} was made by another version of PostgreSQL:\n{said}\nUse the Millrace that "
                f"made it."
            )
        raise StoreUnavailable(f"PostgreSQL does not start; its log ({self.child.log}) ends with:\n{said}")


def _environ() -> dict[str, str]:
    """Nothing of ours: a PGDATA or PGOPTIONS of the caller must not reach the server."""
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "UTC"}


def _unprivileged(data: Path, programs: Path) -> User | None:
    """Whom the server runs as when we are root: the owner of the folder, else `nobody`; None when we are
    not.
    """
    if os.geteuid() != 0:
        return None
    if data.exists() and data.stat().st_uid != 0:
        entry = pwd.getpwuid(data.stat().st_uid)
    else:
        entry = pwd.getpwnam("nobody")
    closed = any(
        not folder.stat().st_mode & 0o001
        for path in (data, programs)
        for folder in path.parents
        if folder.exists()
    )
    return User(
        entry.pw_uid, entry.pw_gid, search=closed or not (programs / "postgres").stat().st_mode & 0o001
    )
