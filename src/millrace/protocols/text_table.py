"""The distinct texts of a body: each kept once, as a place in the body, and known by its number.

A sender names its tags in the same order again and again, so the text that followed the last row's tag the time
before is compared first; only if it is another is it hashed. A body made so that its texts collide costs its own
lines the slow way, nobody else anything.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from millrace.batch import I32, I64, U8
from millrace.protocols.byte_kernel import byte, inline, kernel
from millrace.protocols.json_rows import NO_TEXT
from millrace.protocols.number_text import NO_NUMBER

FAILED: Final = NO_NUMBER
"""The place behind what could not be read."""
QUOTE: Final = 34
_BACKSLASH: Final = 92
_PROBES_MAX: Final = 32


class Texts(NamedTuple):
    """Distinct texts by number: where each stands in the body, and which tag came after it the last time.

    `slot` is an open-addressing table of numbers, -1 where free, its size a power of two, twice the others'.
    """

    slot: I32
    begin: I64
    length: I64
    hash: I64
    after: I32


def texts_for(lines: int) -> Texts:
    """Room for as many different texts as there are lines, at least."""
    size = max(64, 1 << (2 * lines - 1).bit_length())
    kinds = (np.int64, np.int64, np.int64, np.int32)
    return Texts._make((np.full(size, NO_TEXT, np.int32), *(np.empty(size // 2, kind) for kind in kinds)))


@inline
def text_end(body: U8, at: int) -> int:
    """The closing quote of the text there, without escapes and control characters."""
    if byte(body, at) != QUOTE:
        return FAILED
    at += 1
    while byte(body, at) != QUOTE:
        if byte(body, at) < 32 or byte(body, at) == _BACKSLASH:
            return FAILED
        at += 1
    return at


@inline
def is_quoted(body: U8, at: int, begin: int, length: int) -> bool:
    """Whether the text there is the one that begins at `begin`."""
    end = at + length + 1
    if byte(body, at) != QUOTE or end >= len(body) or byte(body, end) != QUOTE:
        return False
    return _same(body, at + 1, begin, length)


@inline
def _same(body: U8, a: int, b: int, length: int) -> bool:
    """Without a way out in the middle, so that it compiles to sixteen bytes at a time."""
    differ = np.uint8(0)
    for i in range(length):
        differ |= byte(body, a + i) ^ byte(body, b + i)
    return bool(differ == 0)


@kernel
def number_of(
    body: U8, at: int, end: int, known: int, slot: I32, text_begin: I64, text_length: I64, text_hash: I64,
    text_after: I32,
) -> int:  # fmt: skip
    """The number of a quoted text, `known` if it is new; `NO_TEXT` if it is none or its place is crowded."""
    if end == FAILED:
        return NO_TEXT
    begin, length = at + 1, end - at - 1
    mixed = _hash(body, begin, length)
    for probe in range(_PROBES_MAX):
        place = (mixed + probe) & (len(slot) - 1)
        found = slot[place]
        if found == NO_TEXT and known < len(text_begin):
            slot[place], text_after[known], text_hash[known] = known, NO_TEXT, mixed
            text_begin[known], text_length[known] = begin, length
            return known
        if found == NO_TEXT:
            return NO_TEXT
        if text_hash[found] == mixed and text_length[found] == length and _same(body, begin, text_begin[found], length):
            return int(found)
    return NO_TEXT


@kernel
def _hash(body: U8, begin: int, length: int) -> int:
    """31 bits of FNV-1a."""
    mixed = np.uint64(0xCBF29CE484222325)
    for i in range(begin, begin + length):
        mixed = (mixed ^ np.uint64(byte(body, i))) * np.uint64(0x100000001B3)
    return int((mixed ^ (mixed >> np.uint64(32))) & np.uint64(0x7FFFFFFF))
