"""The hash beside every count, against plain Python: whole numbers, no arrays, no kernels."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from millrace import accounting
from millrace.accounting import hash_rows, tag_hash

MASK = 2**64 - 1
Row = tuple[int, int, float, int]  # tag, ts_us, value, quality

row = st.tuples(
    st.integers(0, 2),
    st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(1_767_600_000_000_000, 1_767_600_000_000_100)),
    st.one_of(st.floats(), st.sampled_from([0.0, -0.0, math.nan, -math.nan, math.inf, -math.inf])),
    st.integers(0, 255),
)
hashes = st.lists(st.integers(0, MASK), min_size=3, max_size=3)


def mix(x: int) -> int:
    """SplitMix64's finaliser: Steele, Lea, Flood 2014, figure 15."""
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def bits_of(value: float) -> int:
    """A float64's bits: one pattern for every NaN, one for both zeros."""
    if math.isnan(value):
        return 0x7FF8_0000_0000_0000
    found: int = struct.unpack("<Q", struct.pack("<d", value))[0]
    return 0 if value == 0.0 else found


def slow_hash(tag: int, ts_us: int, value: float, quality: int) -> int:
    return mix((mix(mix((tag + ts_us) & MASK) ^ bits_of(value)) + quality) & MASK)


def fast(tags: Sequence[int], rows: Sequence[Row]) -> list[int]:
    tag, ts_us, value, quality = ([one[at] for one in rows] for at in range(4))
    hashed = hash_rows(
        np.array(tags, np.uint64), np.array(tag, np.int32), np.array(ts_us, np.int64),
        np.array(value, np.float64), np.array(quality, np.uint8),
    )  # fmt: skip
    return [int(one) for one in hashed]


@contextmanager
def interpreted() -> Iterator[None]:
    """The kernels as plain Python."""
    kernels = {name: found for name, found in vars(accounting).items() if hasattr(found, "py_func")}
    try:
        for name, kernel in kernels.items():
            setattr(accounting, name, kernel.py_func)
        with np.errstate(over="ignore"):
            yield
    finally:
        for name, kernel in kernels.items():
            setattr(accounting, name, kernel)


@pytest.mark.requirement("S-19")
@settings(max_examples=200)
@given(hashes, st.lists(row, max_size=20))
@example([1, 2, 3], [])
@example([MASK, 0, 1], [(0, -1, math.nan, 0)])
@example([0, 0, 0], [(0, 0, -0.0, 0), (1, 0, 0.0, 0)])
def test_the_hash_of_a_reading_is_the_slow_twins(tags: list[int], rows: list[Row]) -> None:
    assert fast(tags, rows) == [slow_hash(tags[tag], *rest) for tag, *rest in rows]


@pytest.mark.requirement("S-19")
@settings(max_examples=60)
@given(hashes, st.lists(row, max_size=10))
@example([1, 2, 3], [])
@example([MASK, 0, 1], [(0, -1, math.nan, 0)])
def test_the_kernel_means_the_same_interpreted(tags: list[int], rows: list[Row]) -> None:
    with interpreted():
        slow = fast(tags, rows)
    assert slow == [slow_hash(tags[tag], *rest) for tag, *rest in rows]


@pytest.mark.requirement("S-19")
def test_the_hash_is_the_one_that_is_stored_already() -> None:
    """Ledgers and archives hold sums of it: another hash, however good, would say that everything is lost."""
    assert tag_hash("acme/lyon/press-07/temp") == 1_338_589_437_223_352_982
    assert fast([1], [(0, 1_767_600_000_000_000, 71.25, 192)]) == [10_036_941_308_911_571_380]


@given(hashes, row, row)
def test_two_rows_with_equal_sums_are_the_same_rows(tags: list[int], one: Row, other: Row) -> None:
    """No swap of values between two readings leaves the sum as it was."""
    swapped = [(*one[:2], other[2], one[3]), (*other[:2], one[2], other[3])]
    same = {repr(x) for x in plain([one, other], tags)} == {repr(x) for x in plain(swapped, tags)}
    assert (sum(fast(tags, [one, other])) % 2**64 == sum(fast(tags, swapped)) % 2**64) == same


def plain(rows: Sequence[Row], tags: Sequence[int]) -> list[tuple[int, int, int]]:
    return [((tags[tag] + ts_us) & MASK, bits_of(value), quality) for tag, ts_us, value, quality in rows]
