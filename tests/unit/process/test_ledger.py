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
    st.sampled_from([1, 2, 3, 4, 3 | fate.HAS_1M, 3 | fate.HAS_1M | fate.HAS_1S, 4 | fate.HAS_1S]),
    st.integers(0, 2**64 - 1),
)


def naive(rows: list[tuple[int, int, int, int]]) -> dict[tuple[int, int], list[int]]:
    table: dict[tuple[int, int], list[int]] = defaultdict(lambda: [0] * 14)
    for source, ts_us, what, row_hash in rows:
        cell = table[source, min(max(ts_us // HOUR_US, 0), 2**31 - 1) * HOUR_US]
        columns = [0, min(what & 7, 3)] + ([4] if what & 7 == fate.CRITICAL else [])
        columns += ([5] if what & fate.HAS_1M else []) + ([6] if what & fate.HAS_1S else [])
        for column in columns:
            cell[2 * column] += 1
            cell[2 * column + 1] = (cell[2 * column + 1] + row_hash) % 2**64
    return table


def columns(rows: list[tuple[int, int, int, int]]) -> tuple[np.ndarray, ...]:
    kinds = (np.int32, np.int64, np.uint8, np.uint64)
    return tuple(np.array([r[i] for r in rows], kind) for i, kind in enumerate(kinds))


@pytest.mark.requirement("S-19")
@settings(max_examples=60)
@given(st.lists(row, max_size=600), st.integers(1, 5))
def test_counts_and_hash_sums_equal_the_slow_twin_for_any_cut(rows: list, parts: int) -> None:
    ledger = Ledger(capacity=16)
    for part in range(parts):
        piece = rows[part::parts]
        ledger.add(*columns(piece))
        ledger.restore(ledger.snapshot())
    names = ("received", "duplicate", "rejected", "applied", "critical", "applied_1m", "applied_1s")
    found = {
        (int(r["source"]), int(r["hour_us"])): [int(r[n + s]) for n in names for s in ("", "_hash")]
        for r in ledger.drain()
    }
    assert found == naive(rows)
    assert len(ledger.drain()) == 0


def test_a_ledger_of_an_older_release_is_taken_without_what_it_did_not_count() -> None:
    ledger = Ledger()
    ledger.add(*columns([(1, HOUR_US, fate.APPLIED | fate.HAS_1M, 7)]))
    rows = ledger.rows()
    older = rows[[name for name in rows.dtype.names or () if not name.startswith("applied_1")]]
    ledger.restore({"ledger": older})
    (row,) = ledger.drain()
    assert (row["applied"], row["applied_hash"], row["applied_1m"]) == (1, 7, 0)
