"""Migrations: to the head once, fast when there is nothing to do, never backwards."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import psycopg
import pytest

import millrace.schema
from millrace import names
from millrace.errors import DataFolderError, StoreUnavailable
from millrace.schema import HEAD, VERSIONS, migrate


def test_many_starts_at_once_migrate_once(server: Any) -> None:
    server.create_database("many")
    did: list[bool] = []
    threads = [threading.Thread(target=lambda: did.append(migrate(server.url("many")))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with psycopg.connect(server.url("many")) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(HEAD,)]
    assert len(did) == 4
    assert migrate(server.url("many")) is False


def test_a_start_with_nothing_to_do_does_not_load_alembic(url: str) -> None:
    program = (
        f"import sys; from millrace.schema import migrate; assert migrate({url!r}) is False; "
        "assert not {'alembic', 'sqlalchemy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_schema_of_a_newer_release_is_refused_and_left_alone(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        with pytest.raises(DataFolderError, match="newer"):
            migrate(url)
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("9999",)


def test_a_migration_that_fails_leaves_nothing_behind(server: Any) -> None:
    server.create_database("halfway")
    url = server.url("halfway")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE segment (x int)")  # in the way of the last step
        with pytest.raises(Exception, match="segment"):
            migrate(url)
        assert connection.execute(
            "SELECT to_regclass('shard'), to_regclass('alembic_version')"
        ).fetchone() == (
            None, None,
        )  # fmt: skip


def test_a_server_that_is_away_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="PostgreSQL"):
        migrate(f"postgresql://x@/x?host={tmp_path}")


def test_every_migration_file_is_in_the_list_of_versions_and_every_table_has_its_name(url: str) -> None:
    files = (Path(millrace.schema.__file__).parent / "migrations" / "versions").glob("[0-9]*.py")
    assert sorted(file.name[:4] for file in files) == list(VERSIONS)
    wanted = {value for name, value in vars(names).items() if name.startswith("TABLE_")}
    with psycopg.connect(url) as connection:
        found = {row[0] for row in connection.execute("SELECT tablename FROM pg_tables").fetchall()}
    assert wanted <= found


def test_wrapping_add_is_addition_modulo_two_to_the_sixty_four(url: str) -> None:
    edges = (0, 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, -1, -(2**63), 0x0123456789ABCDEF)
    with psycopg.connect(url) as connection:
        for a in edges:
            for b in edges:
                row = connection.execute("SELECT wrapping_add(%s::bigint, %s::bigint)", [a, b]).fetchone()
                assert row is not None
                assert (row[0] - a - b) % 2**64 == 0
