"""From judged readings to rows: what became of each is told, the accepted ones go on, tag by tag.

Three passes over a block, each one kernel: a batch of one shard often holds some hundred readings only, and forty
NumPy calls on so few cost more than all detectors together (figures in `docs/performance.md`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from millrace.accounting import NAN_BITS, hash_row
from millrace.batch import F64, I32, I64, LEVEL_1M, LEVEL_1S, READING, U8, U64, Bool, Reason, Rows
from millrace.clock import HOUR_US
from millrace.process.columns import Block
from millrace.process.deduplicate import DUPLICATE
from millrace.process.ledger import APPLIED, CRITICAL, HAS_1M, HAS_1S, HOUR_MAX, REJECTED
from millrace.process.ledger import DUPLICATE as COUNTED_DUPLICATE

_OK = int(Reason.OK)
_PLACE = 0xFFFFFFFF


@dataclass(slots=True)
class Weighed:
    """Per reading (n,): hash, the hour it counts under, what became of it (see `ledger`); and how many of which."""

    row_hash: U64
    hour: I64
    fate: U8
    accepted: int
    duplicates: int


@dataclass(slots=True)
class Accepted:
    """Accepted readings (m,): READING `rows` in order of arrival; columns sorted by (slot, arrival).

    The columns `in_order_*` (k,) are those that detectors and alarms look at: in time order inside their tag, good or
    uncertain, with a value.
    """

    rows: Rows
    late: int
    slot: I32
    ts_us: I64
    value: F64
    quality: U8
    hash: U64
    in_order_slot: I32
    in_order_ts_us: I64
    in_order_value: F64


def weigh(block: Block, critical: Bool, levels: U8, *, past_us: int, future_us: int) -> Weighed:
    """Hash each reading and say what became of it. `critical`, `levels` (bits of rollups): (slots,)."""
    n = len(block.slot)
    out = Weighed(np.empty(n, np.uint64), np.empty(n, np.int64), np.empty(n, np.uint8), 0, 0)
    out.accepted, out.duplicates = _weigh(
        block.hash, block.slot, block.ts_us, block.value, np.asarray(block.value).view(np.uint64), block.quality,
        block.received_us, block.reason, critical, levels, past_us, future_us, out.row_hash, out.hour, out.fate,
    )  # fmt: skip
    return out


def accept(block: Block, weighed: Weighed, late: U8) -> Accepted:
    """The accepted readings; `late` (n,) is 1 where a reading is older than its tag's newest."""
    count = weighed.accepted
    rows, key = np.empty(count, READING), np.empty(count, np.int64)
    late_count = _take(
        block.reason, block.slot, block.ts_us, block.value, block.quality, late, weighed.row_hash, rows, key
    )
    key.sort()  # a tag's readings become neighbours, in order of arrival: kernels then load a tag's state once
    slot, ts_us, value = np.empty(count, np.int32), np.empty(count, np.int64), np.empty(count, np.float64)
    quality, hashed = np.empty(count, np.uint8), np.empty(count, np.uint64)
    some = np.empty(count, np.int32), np.empty(count, np.int64), np.empty(count, np.float64)
    fit = _arrange(rows, key, slot, ts_us, value, quality, hashed, *some)
    return Accepted(
        rows, late_count, slot, ts_us, value, quality, hashed, some[0][:fit], some[1][:fit], some[2][:fit]
    )


@numba.njit(cache=True)
def _weigh(
    path_hash: U64, slot: I32, ts_us: I64, value: F64, bits: U64, quality: U8, received_us: I64, reason: U8,
    critical: Bool, levels: U8, past_us: int, future_us: int, row_hash: U64, hour: I64, fate: U8,
) -> tuple[int, int]:  # fmt: skip
    """Fill the last three; (accepted, duplicates).

    A reading counts under the hour of its own time, or of its receipt where its own cannot be (law 13).
    """
    accepted, duplicates = 0, 0
    for i in range(len(slot)):
        pattern = bits[i]
        if np.isnan(value[i]):
            pattern = NAN_BITS
        elif value[i] == 0.0:
            pattern = np.uint64(0)  # -0.0 too
        row_hash[i] = hash_row(path_hash[i], ts_us[i], pattern, quality[i])
        t, received = ts_us[i], received_us[i]
        if t < received - past_us or t > received + future_us:
            t = received
        hour[i] = min(max(t // HOUR_US, 0), HOUR_MAX)
        if reason[i] == _OK:
            accepted += 1
            what = CRITICAL if critical[slot[i]] else APPLIED
            if (levels[slot[i]] >> LEVEL_1M) & 1:
                what |= HAS_1M
            if (levels[slot[i]] >> LEVEL_1S) & 1:
                what |= HAS_1S
            fate[i] = what
        elif reason[i] == DUPLICATE:
            duplicates += 1
            fate[i] = COUNTED_DUPLICATE
        else:
            fate[i] = REJECTED
    return accepted, duplicates


@numba.njit(cache=True)
def _take(
    reason: U8, slot: I32, ts_us: I64, value: F64, quality: U8, late: U8, row_hash: U64, rows: Rows, key: I64
) -> int:
    """Accepted readings as rows, and a key each that sorts by (slot, arrival); how many are late."""
    count, late_count = 0, 0
    for i in range(len(slot)):
        if reason[i] != _OK:
            continue
        row = rows[count]
        row["slot"], row["ts_us"], row["value"] = slot[i], ts_us[i], value[i]
        row["quality"], row["late"], row["hash"] = quality[i], late[i], row_hash[i]
        key[count] = (np.int64(slot[i]) << 32) | count
        late_count += late[i]
        count += 1
    return late_count


@numba.njit(cache=True)
def _arrange(
    rows: Rows, key: I64, slot: I32, ts_us: I64, value: F64, quality: U8, row_hash: U64, in_order_slot: I32,
    in_order_ts_us: I64, in_order_value: F64,
) -> int:  # fmt: skip
    """Columns in order of `key`; how many readings are fit for detectors."""
    fit = 0
    for i in range(len(key)):
        row = rows[key[i] & _PLACE]
        s, t, v, q = row["slot"], row["ts_us"], row["value"], row["quality"]
        slot[i], ts_us[i], value[i], quality[i], row_hash[i] = s, t, v, q, row["hash"]
        if row["late"] == 0 and q >= 64 and not np.isnan(v):
            in_order_slot[fit], in_order_ts_us[fit], in_order_value[fit] = s, t, v
            fit += 1
    return fit
