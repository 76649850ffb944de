"""What may be said of a tag in a file: key, attributes that it sets, how it is read. One table for YAML and
CSV.

A parser gets a text, or a list of texts where the file had one, and raises ValueError with what was wanted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from millrace.assets.duration import duration_us
from millrace.assets.tag import CLASSES, KINDS
from millrace.errors import nearest

Written = str | list[str]


@dataclass(frozen=True, slots=True)
class Field:
    """One key: the attributes of `TagModel` that it sets, and its parser (one value per attribute)."""

    attributes: tuple[str, ...]
    parse: Callable[[Written], tuple[Any, ...]]


def _text(written: Written) -> str:
    if isinstance(written, list):
        raise ValueError("one value, not a list")
    return written


def _plain(written: Written) -> tuple[str]:
    return (_text(written).strip(),)


def _number(written: Written) -> tuple[float]:
    try:
        number = float(_text(written))
    except ValueError:
        raise ValueError("a number") from None
    if not math.isfinite(number):
        raise ValueError("a finite number")
    return (number,)


def _duration(written: Written) -> tuple[int]:
    return (duration_us(_text(written)),)


def _criticality(written: Written) -> tuple[int]:
    text = _text(written).strip()
    if text not in {"1", "2", "3", "4", "5"}:
        raise ValueError("a whole number from 1 (highest) to 5")
    return (int(text),)


def _choice(known: tuple[str, ...]) -> Callable[[Written], tuple[str]]:
    def parse(written: Written) -> tuple[str]:
        text = _text(written).strip().lower()
        if text not in known:
            raise ValueError(f"one of {', '.join(known)}{nearest(text, known)}")
        return (text,)

    return parse


def _list(written: Written) -> tuple[tuple[str, ...]]:
    parts = written if isinstance(written, list) else written.split("|")
    return (tuple(part.strip() for part in parts if part.strip()),)


def _range(written: Written) -> tuple[float | None, float | None]:
    if not isinstance(written, list) or len(written) != 2:
        raise ValueError("a list of two numbers, [low, high]; null for no bound")
    low, high = (None if end in ("", "~", "null") else _number(end)[0] for end in written)
    return (low, high)


FIELDS: Final[dict[str, Field]] = {
    "source": Field(("source",), _plain),
    "kind": Field(("kind",), _choice(KINDS)),
    "unit": Field(("unit",), _plain),
    "class": Field(("data_class",), _choice(CLASSES)),
    "criticality": Field(("criticality",), _criticality),
    "period": Field(("period_us",), _duration),
    "range": Field(("range_low", "range_high"), _range),
    "range_low": Field(("range_low",), _number),
    "range_high": Field(("range_high",), _number),
    "low_low": Field(("low_low",), _number),
    "low": Field(("low",), _number),
    "high": Field(("high",), _number),
    "high_high": Field(("high_high",), _number),
    "deadband": Field(("deadband",), _number),
    "on_delay": Field(("on_delay_us",), _duration),
    "off_delay": Field(("off_delay_us",), _duration),
    "silence": Field(("silence_us",), _duration),
    "states": Field(("states",), _list),
    "detectors": Field(("detectors",), _list),
    "description": Field(("description",), _plain),
}

INHERITED: Final = ("source", "criticality", "class", "period")
"""Keys that may stand at any level of the hierarchy and hold for everything below."""
