"""The float64 nearest to a decimal: `mantissa * 10**power`, without a slow case for what sensors send.

Eisel and Lemire: the leading 64 bits of the mantissa times the leading 128 bits of the power of five, of which 55
decide. Source: Lemire 2021, "Number parsing at a gigabyte per second", Software: Practice and Experience 51(8);
that the product always decides: Mushtak, Lemire 2023, "Fast number parsing without fallback".
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from millrace.batch import U64
from millrace.protocols.byte_kernel import kernel

POWER_MAX: Final = 60
"""Powers of ten from minus this to this: far from what a float64 ends at, so nothing here is subnormal or infinite."""

_U32_MASK: Final = 0xFFFFFFFF
_UNDECIDED: Final = 0x1FF
"""Low bits of the product's upper half; all set, the lower half of the power may still carry into the rest."""


def _leading_bits(power: int) -> int:
    """The leading 128 bits of 5**power; of a reciprocal rounded up, as the proof wants it."""
    if power >= 0:
        five: int = 5**power
        return five << 128 - five.bit_length() if five.bit_length() <= 128 else five >> five.bit_length() - 128
    five = 5**-power
    bits = (five - 1).bit_length()
    found = (1 << bits + 127 if power >= -27 else 1 << 2 * bits + 128) // five + 1
    return found >> max(0, found.bit_length() - 128)


FIVES: Final[npt.NDArray[np.uint64]] = np.array(
    [(bits >> 64, bits & 2**64 - 1) for bits in map(_leading_bits, range(-POWER_MAX, POWER_MAX + 1))], np.uint64
)
"""Upper and lower half of each power's leading bits."""


@kernel
def nearest_float(mantissa: int, power: int, fives: U64) -> float:
    """`mantissa` from 1 to 2^63 - 1, `power` at most POWER_MAX either way."""
    shift = _leading_zeros(np.uint64(mantissa))
    wide = np.uint64(mantissa) << np.uint64(shift)
    high, low = _product(wide, fives[power + POWER_MAX, 0])
    if high & np.uint64(_UNDECIDED) == np.uint64(_UNDECIDED):
        carried = _product(wide, fives[power + POWER_MAX, 1])[0]
        low += carried
        if low < carried:
            high += np.uint64(1)
    upper = high >> np.uint64(63)
    drop = upper + np.uint64(9)
    bits = high >> drop
    halfway = low <= np.uint64(1) and -4 <= power <= 23 and bits & np.uint64(3) == np.uint64(1)
    if halfway and bits << drop == high:
        bits &= ~np.uint64(1)  # to even
    bits = (bits + (bits & np.uint64(1))) >> np.uint64(1)
    return math.ldexp(float(bits), int((217706 * power >> 16) + 63 + np.int64(upper) - shift - 52))


@kernel
def _product(a: np.uint64, b: np.uint64) -> tuple[np.uint64, np.uint64]:
    """Upper and lower 64 bits of the product of two unsigned 64 bit numbers."""
    half, mask = np.uint64(32), np.uint64(_U32_MASK)
    low = (a & mask) * (b & mask)
    first = (a >> half) * (b & mask) + (low >> half)
    second = (a & mask) * (b >> half) + (first & mask)
    high = (a >> half) * (b >> half) + (first >> half) + (second >> half)
    return high, second << half | low & mask


@kernel
def _leading_zeros(number: np.uint64) -> int:
    zeros = 0
    for step in (32, 16, 8, 4, 2, 1):
        if number >> np.uint64(64 - step - zeros) == 0:
            zeros += step
    return zeros
