"""The ledger's kernel against a dictionary."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.clock import HOUR_US
from millrace.process import ledger as fate
from millrace.process.ledger import Ledger

row = st.tuples(
    st.integers(0, 40),
    st.one_of(st.integers(0, 60 * HOUR_US), st.integers(-(2**62), 2**62)),
    st.integers(1, 4),
    st.integers(0, 2**64 - 1),
)


def naive(rows: list[tuple[int, int, int, int]]) -> dict[tuple[int, int], list[int]]:
    table: dict[tuple[int, int], list[int]] = defaultdict(lambda: [0] * 10)
    for source, ts_us, what, row_hash in rows:
        cell = table[source, min(max(ts_us // HOUR_US, 0), 2**31 - 1) * HOUR_US]
        columns = [0, min(what, 3)] + ([4] if what == fate.CRITICAL else [])
        for column in columns:
            cell[2 * column] += 1
            cell[2 * column + 1] = (cell[2 * column + 1] + row_hash) % 2**64
    return table


def columns(rows: list[tuple[int, int, int, int]]) -> tuple[np.ndarray, ...]:
    kinds = (np.int32, np.int64, np.uint8, np.uint64)
    return tuple(np.array([r[i] for r in rows], kind) for i, kind in enumerate(kinds))


@pytest.mark.requirement("S-19")
@settings(max_examples=60, deadline=None)
@given(st.lists(row, max_size=600), st.integers(1, 5))
def test_counts_and_hash_sums_equal_the_slow_twin_for_any_cut(rows: list, parts: int) -> None:
    ledger = Ledger(capacity=16)
    for part in range(parts):
        piece = rows[part::parts]
        ledger.add(*columns(piece))
        ledger.restore(ledger.snapshot())
    names = ("received", "duplicate", "rejected", "applied", "critical")
    found = {
        (int(r["source"]), int(r["hour_us"])): [int(r[n + s]) for n in names for s in ("", "_hash")]
        for r in ledger.drain()
    }
    assert found == naive(rows)
    assert len(ledger.drain()) == 0
