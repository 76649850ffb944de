"""Merging rollup and ledger rows before they are sent, against an obvious twin."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from millrace.batch import LEDGER, ROLLUP, Rows
from millrace.sinks.postgres.merge import merge_ledger, merge_rollups


def random_rows(rng: np.random.Generator, n: int) -> tuple[Rows, Any]:
    rows = np.zeros(n, ROLLUP)
    rows["window_us"] = rng.integers(0, 3, n)
    for name in ("count", "good", "uncertain", "bad"):
        rows[name] = rng.integers(0, 9, n)
    empty = rng.random(n) < 0.3
    for name in ("min", "max", "first", "last"):
        rows[name] = np.where(empty, np.nan, rng.normal(size=n).round(1))
    rows["sum"] = np.where(empty, 0, rng.normal(size=n))
    rows["first_us"], rows["last_us"] = rng.integers(0, 4, n), rng.integers(0, 4, n)
    rows["hash"] = rng.integers(0, 2**64, n, dtype=np.uint64)
    return rows, rng.integers(1, 4, n)


def slow_merge(rows: Rows, tag_id: Any) -> dict[tuple[int, int], dict[str, Any]]:
    found: dict[tuple[int, int], dict[str, Any]] = {}
    for row, tag in zip(rows, tag_id.tolist(), strict=True):
        key = (tag, int(row["window_us"]))
        new = {name: row[name].item() for name in ROLLUP.names or ()}
        if key not in found:
            found[key] = new
            continue
        old = found[key]
        for name in ("count", "good", "uncertain", "bad", "sum"):
            old[name] += new[name]
        old["hash"] = (old["hash"] + new["hash"]) % 2**64
        if math.isnan(new["first"]):
            continue
        if math.isnan(old["first"]):
            old.update({name: new[name] for name in ("min", "max", "first", "first_us", "last", "last_us")})
            continue
        old["min"], old["max"] = min(old["min"], new["min"]), max(old["max"], new["max"])
        if new["first_us"] < old["first_us"]:
            old["first_us"], old["first"] = new["first_us"], new["first"]
        if new["last_us"] >= old["last_us"]:
            old["last_us"], old["last"] = new["last_us"], new["last"]
    return found


@pytest.mark.parametrize("n", [0, 1, 2, 50, 400])
@pytest.mark.parametrize("seed", range(4))
def test_merged_rollups_equal_the_slow_twin(n: int, seed: int) -> None:
    rows, tag_id = random_rows(np.random.default_rng(seed), n)
    merged, ids = merge_rollups(rows, tag_id)
    wanted = slow_merge(rows, tag_id)
    assert sorted(wanted) == list(zip(ids.tolist(), merged["window_us"].tolist(), strict=True))
    for row, tag in zip(merged, ids.tolist(), strict=True):
        twin = wanted[tag, int(row["window_us"])]
        has_value = not math.isnan(twin["first"])
        for name in ROLLUP.names or ():
            if name in ("slot", "level") or (name in ("first_us", "last_us") and not has_value):
                continue
            assert row[name] == pytest.approx(twin[name], rel=1e-12, nan_ok=True) or row[name] == twin[name]


@pytest.mark.parametrize("n", [0, 1, 300])
def test_merged_ledger_rows_equal_the_slow_twin(n: int) -> None:
    rng = np.random.default_rng(n)
    rows = np.zeros(n, LEDGER)
    rows["hour_us"] = rng.integers(0, 3, n)
    amounts = [name for name in LEDGER.names or () if name not in ("source", "hour_us")]
    for name in amounts:
        rows[name] = rng.integers(0, 2**64 if name.endswith("_hash") else 99, n, dtype=LEDGER[name])
    source, shard = rng.integers(1, 4, n), rng.integers(0, 3, n)
    wanted: dict[Any, dict[str, int]] = {}
    for row, key in zip(rows, zip(shard.tolist(), source.tolist(), strict=True), strict=True):
        total = wanted.setdefault((*key, int(row["hour_us"])), dict.fromkeys(amounts, 0))
        for name in amounts:
            total[name] = (total[name] + int(row[name])) % 2**64
    merged, ids, shards = merge_ledger(rows, source, shard)
    found = {
        (s, i, int(row["hour_us"])): {name: int(row[name]) for name in amounts}
        for row, i, s in zip(merged, ids.tolist(), shards.tolist(), strict=True)
    }
    assert found == wanted
