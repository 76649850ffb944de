"""A year of 1 h rollups and a week of 1 min rollups, as the sink would have left them.

Rows lie in the order in which the sink writes them: window by window, all tags of a window together. That is what
makes a year of one tag expensive to read, so a benchmark must not make it kinder. Partitions that are past get what
the product's upkeep does to them, by the product's own code.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any, Final

import numpy as np
import psycopg
from psycopg import sql

from benchmarks.workloads import Workload
from millrace.accounting import tag_hash
from millrace.assets.tag import CLASSES
from millrace.batch import I64, DataClass, Rows
from millrace.schema.partitions import WIDTH_US, existing, name_of, start_of
from millrace.sinks.postgres.rollups import ROLLUP
from millrace.stream.contract import shard_of

READINGS_PER_WINDOW: Final = 60
BUILDING: Final = "-c maintenance_work_mem=512MB -c max_parallel_maintenance_workers=0 -c synchronous_commit=off"
"""Only while building: a key of a partition is sorted in memory, and the pool has a process a core already."""

INSERT_TAGS: Final = """
INSERT INTO tag (path, source, tag_hash, shard, kind, data_class, modelled, period_us, unit)
SELECT path, source, tag_hash, shard, 0, data_class, true, period_us, unit
FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::int[], %s::smallint[], %s::bigint[], %s::text[])
    AS n (path, source, tag_hash, shard, data_class, period_us, unit)
ON CONFLICT (path, source) DO NOTHING
"""


def insert_tags(connection: psycopg.Connection[Any], workload: Workload, shards: int) -> I64:
    """All tags of the workload; (tags,) their ids, by number."""
    tags = workload.model.tags
    connection.execute(
        INSERT_TAGS,
        [
            [tag.path for tag in tags],
            [tag.source for tag in tags],
            [signed(tag_hash(tag.path)) for tag in tags],
            [shard_of(tag.source, shards) for tag in tags],
            [int(DataClass(CLASSES.index(tag.data_class))) for tag in tags],
            [tag.period_us for tag in tags],
            [tag.unit for tag in tags],
        ],
    )
    rows = connection.execute("SELECT path, id FROM tag").fetchall()
    ids = dict(rows)
    return np.array([ids[path] for path in workload.paths], np.int64)


def signed(bits: int) -> int:
    return bits - 2**64 if bits >= 2**63 else bits


def fill(
    url: str, table: str, tag_ids: I64, from_us: int, to_us: int, width_us: int, pool: ProcessPoolExecutor
) -> int:
    """Windows [from_us, to_us) of every tag; how many rows. A partition is a task of the pool's."""
    task = partial(_fill_partition, url, table, tag_ids, from_us, to_us, width_us)
    return sum(pool.map(task, range(start_of(table, from_us), to_us, WIDTH_US[table])))


def _fill_partition(
    url: str, table: str, tag_ids: I64, from_us: int, to_us: int, width_us: int, start_us: int
) -> int:
    """One partition's windows; one that is not there yet is made aside and attached."""
    begin_us, end_us = max(start_us, from_us), min(start_us + WIDTH_US[table], to_us)
    windows = range(begin_us, end_us, width_us)
    with psycopg.connect(url, autocommit=True, options=BUILDING) as connection:
        is_there = (table, start_us) in existing(connection)
        with connection.transaction():
            if is_there:
                _copy(connection, table, tag_ids, windows, width_us)
            else:
                _make(connection, table, start_us, tag_ids, windows, width_us)
    return len(windows) * len(tag_ids)


def _make(
    connection: psycopg.Connection[Any], table: str, start_us: int, tag_ids: I64, windows: range, width_us: int
) -> None:
    """A whole partition: rows first, its key afterwards, which is several times faster than row by row."""
    parts = {
        "parent": sql.Identifier(table),
        "child": sql.Identifier(name_of(table, start_us)),
        "from_us": sql.Literal(start_us),
        "to_us": sql.Literal(start_us + WIDTH_US[table]),
    }
    for statement in (
        sql.SQL("CREATE TABLE {child} (LIKE {parent} INCLUDING ALL EXCLUDING INDEXES)").format(**parts),
        None,
        sql.SQL("ALTER TABLE {child} ADD {key}").format(**parts, key=sql.SQL(_key(connection, table))),
        sql.SQL(
            "ALTER TABLE {parent} ATTACH PARTITION {child} FOR VALUES FROM ({from_us}) TO ({to_us})"
        ).format(**parts),
    ):
        if statement is None:
            _copy(connection, name_of(table, start_us), tag_ids, windows, width_us, frozen=True)
        else:
            connection.execute(statement)


def _key(connection: psycopg.Connection[Any], table: str) -> Any:
    """The primary key as the product's schema defines it."""
    row = connection.execute(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'p'", [table]
    ).fetchone()
    return row[0] if row else ""


def _copy(
    connection: psycopg.Connection[Any],
    table: str,
    tag_ids: I64,
    windows: range,
    width_us: int,
    *,
    frozen: bool = False,
) -> None:
    """`frozen`: as vacuum leaves rows that everybody sees, which only a table made in the same transaction can take."""
    options = "FORMAT BINARY, FREEZE" if frozen else "FORMAT BINARY"
    statement = sql.SQL(f"COPY {{}} ({ROLLUP.columns}) FROM STDIN ({options})").format(sql.Identifier(table))
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for number, rows in enumerate(_windows(tag_ids, windows, width_us)):
            whole = ROLLUP.encode(rows) if number == 0 else b""
            copy.write(whole[:-2] or rows.tobytes())


def _windows(tag_ids: I64, windows: range, width_us: int) -> Iterator[Rows]:
    """One window's rows of all tags at a time: a level a tag, a daily swing, noise."""
    rng = np.random.Generator(np.random.Philox(key=[2, width_us]))
    order = np.argsort(tag_ids, kind="stable")
    rows = ROLLUP.rows(len(tag_ids))
    rows["tag_id"] = tag_ids[order]
    rows["count"] = rows["good"] = READINGS_PER_WINDOW
    level = rng.uniform(10, 90, len(tag_ids))
    noise = rng.standard_normal((64, len(tag_ids)))
    for window_us in windows:
        middle = level + 3 * np.sin(window_us / 86_400e6 * 2 * np.pi) + noise[window_us // width_us % 64]
        rows["window_us"] = rows["first_us"] = window_us
        rows["last_us"] = window_us + width_us - 1
        rows["min"], rows["max"] = middle - 1, middle + 1
        rows["first"] = rows["last"] = middle
        rows["sum"] = middle * READINGS_PER_WINDOW
        yield rows
