"""Lengths of time as people write them: `100ms`, `1 s`, `10min`, `2h`; a bare number is seconds."""

from __future__ import annotations

import re
from typing import Final

UNIT_US: Final = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "min": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
}
DURATION_US_MAX: Final = 366 * UNIT_US["d"]

_FORM = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(us|ms|s|min|h|d)?\s*")


def duration_us(text: str) -> int:
    """Microseconds out of a text; ValueError says what was wanted."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError("a length of time such as 100ms, 1s, 10min, 2h")
    length_us = round(float(match[1]) * UNIT_US[match[2] or "s"])
    if length_us > DURATION_US_MAX:
        raise ValueError("a length of time of at most 366d")
    return length_us


def shown(length_us: int) -> str:
    """The shortest exact text: the inverse of `duration_us`."""
    for unit, unit_us in reversed(UNIT_US.items()):
        if length_us % unit_us == 0 and length_us:
            return f"{length_us // unit_us}{unit}"
    return "0s"
