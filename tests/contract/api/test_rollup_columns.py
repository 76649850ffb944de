"""Rollup windows read as columns are those read as rows, gaps and all."""

from __future__ import annotations

from typing import Any

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from millrace.api.reduce import Windows
from millrace.api.rollup_columns import read_windows
from millrace.api.store import Store

TABLE = "rollup_1m"
WIDTH_US = 60_000_000
TAG = 7

values = st.one_of(st.none(), st.floats(allow_nan=False))
windows = st.lists(
    st.tuples(
        st.integers(0, 20).map(lambda number: number * WIDTH_US),
        values, values, st.floats(allow_nan=True), values, values,
        st.integers(0, 2**31 - 1), st.integers(0, 2**30), st.integers(0, 2**30),
    ),
    min_size=4,
    max_size=20,
    unique_by=lambda row: row[0],
)  # fmt: skip


def by_row(connection: psycopg.Connection[Any], from_us: int, to_us: int, rows_max: int) -> Windows:
    """The slow twin: a row at a time, a value at a time."""
    rows = connection.execute(
        f"SELECT window_us, min, max, sum, good + uncertain, first, last, count FROM {TABLE} "
        f"WHERE tag_id = {TAG} AND window_us >= {from_us} AND window_us < {to_us} ORDER BY window_us".encode()
    ).fetchall()[:rows_max]
    columns = [
        [float("nan") if value is None else value for value in column] for column in zip(*rows, strict=True)
    ]
    return Windows(*map(np.array, columns)) if columns else Windows.none()


@pytest.fixture
def connection(postgres: str) -> Any:
    with psycopg.connect(postgres, autocommit=True) as opened:
        opened.execute(f"CREATE TABLE {TABLE}_t PARTITION OF {TABLE} FOR VALUES FROM (0) TO ({10**15})".encode())
        yield opened


@settings(
    max_examples=40,
    derandomize=True,
    phases=[Phase.generate],  # a smaller example is not worth minutes of inserts
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(windows, st.integers(-1, 5), st.integers(0, 22), st.sampled_from([-1, 0, 1]), st.sampled_from([1, 7, 1_000]))
def test_windows_by_column_are_those_by_row(
    postgres: str, connection: Any, rows: list[tuple[Any, ...]], first: int, last: int, off_us: int, rows_max: int
) -> None:
    from_us, to_us = first * WIDTH_US + off_us, last * WIDTH_US + off_us
    connection.execute(f"TRUNCATE {TABLE}".encode())
    with connection.cursor() as cursor:
        for tag_id in (TAG, TAG + 1):  # the other's windows are never in the answer
            cursor.executemany(
                f"INSERT INTO {TABLE} (window_us, min, max, sum, first, last, count, good, uncertain, "
                f"bad, hash, tag_id) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, 0, 0, {tag_id})".encode(),
                rows,
            )
    store = Store(postgres)
    try:
        found = read_windows(store, TABLE, TAG, from_us, to_us, rows_max)
    finally:
        store.close()
    wanted = by_row(connection, from_us, to_us, rows_max)
    for name in Windows.__slots__:
        column = getattr(found, name)
        np.testing.assert_array_equal(column, getattr(wanted, name), err_msg=name)
        assert column.dtype == getattr(Windows.none(), name).dtype, name
