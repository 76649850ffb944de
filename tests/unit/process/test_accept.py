"""What becomes of judged readings: the kernels against loops that anybody can read."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.accounting import hash_rows
from millrace.batch import Reason
from millrace.clock import DAY_US, HOUR_US
from millrace.process import ledger as fate
from millrace.process.accept import Weighed, accept, weigh
from millrace.process.columns import Block
from millrace.process.deduplicate import DUPLICATE

T0 = 1_767_600_000_000_000
PAST_US, FUTURE_US = 30 * DAY_US, 5_000_000
CRITICAL = np.array([True, False, True, False])
LEVELS = np.array([0b111, 0b100, 0b110, 0b110], np.uint8)
TYPES: dict[str, Any] = {
    "slot": np.int32, "ts_us": np.int64, "value": np.float64, "quality": np.uint8, "received_us": np.int64,
    "reason": np.uint8, "hash": np.uint64, "late": np.uint8,
}  # fmt: skip

time_us = st.one_of(
    st.integers(T0 - 2 * HOUR_US, T0 + 10_000_000),
    st.sampled_from([T0 - PAST_US, T0 - PAST_US - 1, T0 + FUTURE_US, T0 + FUTURE_US + 1]),
    st.integers(-(2**61), 2**61),
)
value = st.one_of(st.floats(), st.sampled_from([0.0, -0.0, float("nan"), -float("nan"), float("inf")]))
reason = st.sampled_from([0, 0, 0, 0, DUPLICATE, int(Reason.OUT_OF_RANGE), int(Reason.TIME_TOO_OLD)])
reading = st.tuples(
    st.integers(0, 3), time_us, value, st.sampled_from([192, 192, 64, 63, 0]), st.just(T0), reason,
    st.integers(0, 2**64 - 1), st.sampled_from([0, 0, 1]),
)  # fmt: skip
Reading = tuple[int, int, float, int, int, int, int, int]


def block_of(readings: list[Reading]) -> tuple[Block, Any]:
    """A block of those readings (a refused one may have no slot), and the late flags."""
    found = {
        name: np.array([row[at] for row in readings], kind) for at, (name, kind) in enumerate(TYPES.items())
    }
    late = found.pop("late")
    found["slot"][found["reason"] == int(Reason.OUT_OF_RANGE)] = -1
    rest = {"batch": cast(Any, None), "sources": [], "verdicts": [], "source": np.zeros(len(readings), np.int32)}
    return Block(**found, **rest), late


def weighed(block: Block) -> Weighed:
    return weigh(block, CRITICAL, LEVELS, past_us=PAST_US, future_us=FUTURE_US)


@pytest.mark.requirement("S-19")
@settings(max_examples=80)
@given(st.lists(reading, max_size=60))
def test_each_reading_has_one_fate_one_hour_and_the_accounting_hash(readings: list[Reading]) -> None:
    block, _ = block_of(readings)
    found = weighed(block)
    places = np.arange(len(readings), dtype=np.int32)
    assert found.row_hash.tolist() == hash_rows(
        block.hash, places, block.ts_us, block.value, block.quality
    ).tolist()
    for at, (slot, ts_us, _value, _quality, received_us, why, _hash, _late) in enumerate(readings):
        possible = received_us - PAST_US <= ts_us <= received_us + FUTURE_US
        assert found.hour[at] == min(max((ts_us if possible else received_us) // HOUR_US, 0), 2**31 - 1)
        applied = fate.CRITICAL if CRITICAL[slot] else fate.APPLIED
        applied |= {0b111: fate.HAS_1M | fate.HAS_1S, 0b110: fate.HAS_1M, 0b100: 0}[int(LEVELS[slot])]
        wanted = {0: applied, DUPLICATE: fate.DUPLICATE}
        assert found.fate[at] == wanted.get(why, fate.REJECTED)
    assert found.accepted == sum(row[5] == 0 for row in readings)
    assert found.duplicates == sum(row[5] == DUPLICATE for row in readings)


@pytest.mark.requirement("S-19")
@settings(max_examples=80)
@given(st.lists(reading, max_size=60))
def test_accepted_readings_keep_their_order_and_become_neighbours_by_tag(readings: list[Reading]) -> None:
    block, late = block_of(readings)
    known = weighed(block)
    found = accept(block, known, late)
    kept = [at for at, row in enumerate(readings) if row[5] == 0]
    for name, column in (("slot", block.slot), ("ts_us", block.ts_us), ("value", block.value),
                         ("quality", block.quality), ("late", late), ("hash", known.row_hash)):  # fmt: skip
        np.testing.assert_array_equal(found.rows[name], column[kept])
    assert found.late == sum(readings[at][7] for at in kept)
    ordered = sorted(kept, key=lambda at: readings[at][0])  # stable: arrival stays within a tag
    for name in ("slot", "ts_us", "value", "quality"):
        np.testing.assert_array_equal(getattr(found, name), getattr(block, name)[ordered])
    np.testing.assert_array_equal(found.hash, known.row_hash[ordered])
    fit = [at for at in ordered if not late[at] and block.quality[at] >= 64 and not np.isnan(block.value[at])]
    np.testing.assert_array_equal(found.in_order_slot, block.slot[fit])
    np.testing.assert_array_equal(found.in_order_ts_us, block.ts_us[fit])
    np.testing.assert_array_equal(found.in_order_value, block.value[fit])
