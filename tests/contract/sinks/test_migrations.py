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
from millrace.api import raw_history, rollup_columns
from millrace.errors import DataFolderError, StoreUnavailable
from millrace.schema import HEAD, VERSIONS, migrate, partitions


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


@pytest.mark.parametrize("table", [names.TABLE_ROLLUP_1M, names.TABLE_ROLLUP_1H])
@pytest.mark.requirement("S-18")
def test_long_histories_are_read_from_the_key_alone(url: str, table: str) -> None:
    """A row of the table lies on a page of its own for each window: a history must not go there."""
    tag_id, windows = 7, 200
    with psycopg.connect(url, autocommit=True) as connection:
        partitions.ensure(connection, [(table, 0)])
        connection.execute(
            f"INSERT INTO {table} (window_us, sum, hash, tag_id, count, good, uncertain, bad) "
            f"SELECT w, 1, 0, t, 1, 1, 0, 0 FROM generate_series(1, {windows}) w, generate_series(1, 50) t".encode()
        )
        connection.execute(f"VACUUM ANALYZE {table}".encode())
        query = rollup_columns.QUERY.format(table=table, limit=1_000)
        plan = connection.execute(f"EXPLAIN (ANALYZE) {query}".encode(), [tag_id, 0, windows + 1]).fetchall()
    said = "\n".join(line for (line,) in plan)
    assert "Index Only Scan" in said, said
    assert "Heap Fetches: 0" in said, said


def test_rollups_of_an_older_schema_are_kept_and_merged_into(server: Any) -> None:
    server.create_database("older")
    url = server.url("older")
    with pytest.MonkeyPatch.context() as older:
        older.setattr(millrace.schema, "HEAD", "0001")
        older.setattr(millrace.schema, "VERSIONS", ("0001",))
        assert migrate(url)
    insert = (
        b"INSERT INTO rollup_1m AS r (window_us, sum, hash, tag_id, count, good, uncertain, bad) "
        b"VALUES (1, 1, 0, 7, 1, 1, 0, 0) ON CONFLICT (tag_id, window_us) DO UPDATE SET count = r.count + 1"
    )
    with psycopg.connect(url, autocommit=True) as connection:
        partitions.ensure(connection, [(names.TABLE_ROLLUP_1M, 0)])
        connection.execute(insert)
        assert migrate(url)
        connection.execute(insert)
        partitions.ensure(connection, [(names.TABLE_ROLLUP_1M, partitions.WIDTH_US[names.TABLE_ROLLUP_1M])])
        assert connection.execute("SELECT window_us, tag_id, count FROM rollup_1m").fetchall() == [(1, 7, 2)]


@pytest.mark.requirement("S-19")
def test_segments_of_a_span_and_retired_ones_are_found_without_walking_all_years(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("INSERT INTO shard (shard) SELECT generate_series(0, 7) ON CONFLICT DO NOTHING")
        connection.execute(
            "INSERT INTO segment SELECT 'file ' || s || '-' || n, 'readings', s, 1, n, n, 1, n * 60, n * 60 + 61, "
            "1, '', '[]', 'listed' FROM generate_series(0, 7) s, generate_series(1, 5000) n"
        )
        connection.execute("VACUUM ANALYZE segment")

        def plan(sql: str, parameters: list[Any]) -> str:
            rows = connection.execute(f"EXPLAIN (ANALYZE) {sql}".encode(), parameters).fetchall()
            return "\n".join(line for (line,) in rows)

        span = plan(raw_history.MANIFEST, [60 * 10, 60 * 20, 3])
        assert "segment_shard_time" in span, span
        assert "Filter: (max_ts_us" not in span, span
        retired = "SELECT file FROM segment WHERE shard = %s AND retired_at < now() - %s * interval '1 second'"
        assert "segment_retired" in plan(retired, [3, 600.0])
