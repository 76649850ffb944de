"""XXH32 inside compiled code: the check of a frame's envelope, for kernels that read or write many frames.

Source: the XXH32 algorithm as the xxHash specification 0.1.1 gives it (Collet); seed 0. Twin: `xxhash.xxh32`.
"""

from __future__ import annotations

import numba
import numpy as np

from millrace.batch import U8

# Arithmetic in 64 bits, masked: numba would widen a 32-bit product behind our back.
_MASK = np.uint64(0xFFFFFFFF)
_PRIME_1 = np.uint64(0x9E3779B1)
_PRIME_2 = np.uint64(0x85EBCA77)
_PRIME_3 = np.uint64(0xC2B2AE3D)
_PRIME_4 = np.uint64(0x27D4EB2F)
_PRIME_5 = np.uint64(0x165667B1)
_FIRST_LANE = np.uint64(0x24234428)  # PRIME_1 + PRIME_2 modulo 2^32
_LAST_LANE = np.uint64(0x61C8864F)  # -PRIME_1 modulo 2^32


@numba.njit(cache=True, inline="always")  # type: ignore[misc]
def _turned(x: np.uint64, bits: int) -> np.uint64:
    """Rotated left by that many of 32 bits."""
    return ((x << np.uint64(bits)) | (x >> np.uint64(32 - bits))) & _MASK


@numba.njit(cache=True, inline="always")  # type: ignore[misc]
def word(data: U8, at: int) -> np.uint64:
    """Four bytes, little endian."""
    return (
        np.uint64(data[at])
        | (np.uint64(data[at + 1]) << np.uint64(8))
        | (np.uint64(data[at + 2]) << np.uint64(16))
        | (np.uint64(data[at + 3]) << np.uint64(24))
    )


@numba.njit(cache=True, inline="always")  # type: ignore[misc]
def _round(lane: np.uint64, data: U8, at: int) -> np.uint64:
    return (_turned((lane + word(data, at) * _PRIME_2) & _MASK, 13) * _PRIME_1) & _MASK


@numba.njit(cache=True)  # type: ignore[misc]
def xxh32(data: U8, size: int) -> np.uint64:
    """Hash of the first `size` bytes, in the low 32 bits."""
    at = 0
    if size >= 16:
        one, two, three, four = _FIRST_LANE, _PRIME_2, np.uint64(0), _LAST_LANE
        while at <= size - 16:
            one = _round(one, data, at)
            two = _round(two, data, at + 4)
            three = _round(three, data, at + 8)
            four = _round(four, data, at + 12)
            at += 16
        x = _turned(one, 1) + _turned(two, 7) + _turned(three, 12) + _turned(four, 18)
    else:
        x = _PRIME_5
    x = (x + np.uint64(size)) & _MASK
    while at <= size - 4:
        x = (_turned((x + word(data, at) * _PRIME_3) & _MASK, 17) * _PRIME_4) & _MASK
        at += 4
    while at < size:
        x = (_turned((x + np.uint64(data[at]) * _PRIME_5) & _MASK, 11) * _PRIME_1) & _MASK
        at += 1
    x = ((x ^ (x >> np.uint64(15))) * _PRIME_2) & _MASK
    x = ((x ^ (x >> np.uint64(13))) * _PRIME_3) & _MASK
    return x ^ (x >> np.uint64(16))
