"""The SQL that sinks write and the API reads: tables, migrations, partitions, ids.

`migrate(url)` brings a database to `HEAD`. Nothing to do costs one connection and one SELECT.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import psycopg

from millrace.errors import DataFolderError, StoreUnavailable

VERSIONS: Final = ("0001", "0002", "0003", "0004")
"""Every version that this release can bring forward, oldest first; one file each in `migrations/versions`."""
HEAD: Final = VERSIONS[-1]

LOCK: Final = 0x6D696C6C72616365  # "millrace": the advisory lock under which one process migrates
LOCK_WAIT_S: Final = 60


def migrate(url: str) -> bool:
    """Bring the schema to HEAD; whether there was something to do.

    One process at a time, under an advisory lock. DataFolderError for a schema of a newer release (nothing is
    changed), StoreUnavailable when the server does not answer or another process migrates for over a minute.
    """
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
            if _checked(version(connection)) == HEAD:
                return False
            connection.execute(f"SET lock_timeout = '{LOCK_WAIT_S}s'")
            connection.execute("SELECT pg_advisory_lock(%s)", [LOCK])
            if _checked(version(connection)) != HEAD:
                _upgrade(url)
            return True
    except psycopg.Error as error:
        raise StoreUnavailable(f"PostgreSQL: the schema could not be brought to {HEAD}: {error}") from error


def version(connection: psycopg.Connection[tuple[object, ...]]) -> str | None:
    """The schema's version; None for an empty database."""
    row = connection.execute("SELECT to_regclass('alembic_version') IS NOT NULL").fetchone()
    if not row or not row[0]:
        return None
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(row[0]) if row else None


def _checked(found: str | None) -> str | None:
    if found is not None and found not in VERSIONS:
        raise DataFolderError(
            f"The database has schema version {found}, this release knows up to {HEAD}: "
            "it was written by a newer "
            "Millrace. Start that release, or use another data folder or database."
        )
    return found


def _upgrade(url: str) -> None:
    # Imported here: a start with nothing to do must not pay 0.3 s for alembic and SQLAlchemy.
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(url), poolclass=NullPool)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, HEAD)
