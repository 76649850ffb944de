"""The hash that every store sums beside its counts, so that two equal counts cannot hide a swap.

hash(tag, ts, value, quality) is 64 bits; sums are modulo 2^64, so they may be taken in any order and
merged by addition. Source: the finaliser of SplitMix64 (Steele, Lea, Flood 2014).
"""

from __future__ import annotations

import numba
import numpy as np
import xxhash

from millrace.batch import F64, I32, I64, U8, U64

NAN_BITS = np.uint64(0x7FF8000000000000)


def tag_hash(path: str) -> int:
    """64 bits of a tag's path."""
    return xxhash.xxh3_64_intdigest(path.encode())


def payload_hash(payload: bytes) -> int:
    """64 bits for what never became a reading."""
    return xxhash.xxh3_64_intdigest(payload)


@numba.njit(cache=True, inline="always")  # type: ignore[misc]
def mix(x: np.uint64) -> np.uint64:
    """Finaliser of SplitMix64: every input bit moves every output bit."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@numba.njit(cache=True, inline="always")  # type: ignore[misc]
def hash_row(tag_hash: np.uint64, ts_us: np.int64, value_bits: np.uint64, quality: np.uint8) -> np.uint64:
    """One reading's hash. The caller gives `NAN_BITS` for any NaN and 0 for -0.0."""
    x = mix(tag_hash + np.uint64(ts_us))
    x = mix(x ^ value_bits)
    return mix(x + np.uint64(quality))


@numba.njit(cache=True)  # type: ignore[misc]
def _hash_rows(
    tag_hashes: U64, tag: I32, ts_us: I64, value_bits: U64, quality: U8, is_nan: U8, out: U64
) -> None:
    for i in range(len(ts_us)):
        bits = NAN_BITS if is_nan[i] else value_bits[i]
        out[i] = hash_row(tag_hashes[tag[i]], ts_us[i], bits, quality[i])


def hash_rows(tag_hashes: U64, tag: I32, ts_us: I64, value: F64, quality: U8) -> U64:
    """hash(tag, ts, value, quality) of each row.

    `tag_hashes` (k,) by number, the other columns (n,). All NaN hash alike; -0.0 hashes as 0.0.
    """
    value = np.ascontiguousarray(value) + 0.0  # -0.0 + 0.0 is 0.0
    out = np.empty(len(ts_us), np.uint64)
    _hash_rows(
        tag_hashes,
        np.ascontiguousarray(tag, np.int32),
        np.ascontiguousarray(ts_us),
        value.view(np.uint64),
        np.ascontiguousarray(quality),
        np.isnan(value).view(np.uint8),
        out,
    )
    return out
