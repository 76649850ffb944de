"""One reading as JSON: the shape that NDJSON, JSON arrays, single events and the quarantine's payloads share.

{"tag": text, "ts": RFC 3339 text or integer microseconds,
 "value": number, bool, text or null, "quality": 0..255 (optional, 192), "unit": text (optional)}
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import msgspec

from millrace.batch import INTEGER_EXACT_MAX, QUALITY_GOOD, Reason, ValueKind
from millrace.protocols.limits import LINE_BYTES_MAX
from millrace.protocols.time_text import NO_TIME, parse_time

DEPTH_MAX = 16
"""Brackets inside each other before we call it nesting and not a wrong type."""

_TIME_SANE_US = 253_402_300_800_000_000  # year 10000


class Reading(msgspec.Struct, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """A reading as sent; nothing in it is judged yet."""

    tag: str
    ts: int | str
    value: float | int | bool | str | None
    quality: int = QUALITY_GOOD
    unit: str = ""


_NEEDED = {"tag", "ts", "value"}
_FIELDS = {*_NEEDED, "quality", "unit"}
_decoder = msgspec.json.Decoder(Reading)
_encoder = msgspec.json.Encoder()
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)


def decode_one(line: bytes) -> Reading | None:
    """The reading in a line, None if there is none; `diagnose` says why."""
    try:
        return _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def encode_one(reading: Reading) -> bytes:
    """The shortest line that is this reading."""
    return _encoder.encode(reading)


def explain(line: bytes) -> str:
    """What is wrong with a line that was refused, naming the field; empty when its form is right."""
    try:
        _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return str(error)
    return ""


def diagnose(line: bytes) -> tuple[Reason, int]:
    """Why a line is no reading, and its time (0: none could be read)."""
    if len(line) > LINE_BYTES_MAX:
        return Reason.RECORD_TOO_LARGE, 0
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return Reason.BAD_ENCODING, 0
    if _depth(line) > DEPTH_MAX:
        return Reason.TOO_DEEP, 0
    try:
        found = json.loads(text, parse_int=_integer)
    except RecursionError:
        return Reason.TOO_DEEP, 0
    except ValueError:
        return Reason.BAD_SYNTAX, 0
    if not isinstance(found, dict) or not _NEEDED <= found.keys() <= _FIELDS:
        return Reason.BAD_SCHEMA, 0
    return _wrong_field(found), _time_of(found["ts"])


def _depth(line: bytes) -> int:
    """Deepest nesting of brackets outside texts."""
    depth = deepest = 0
    for byte in _STRINGS.sub(b"", line):
        if byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest


def _integer(digits: str) -> int | float:
    # int() of many digits is quadratic and refused beyond 4300; any of these is inexact or no time anyway
    return (
        int(digits) if len(digits) <= 24 else float(digits) if len(digits) < 300 else math.copysign(1e300, -1)
    )


def _wrong_field(found: dict[str, Any]) -> Reason:
    tag, ts, value, quality = found["tag"], found["ts"], found["value"], found.get("quality", QUALITY_GOOD)
    if not isinstance(tag, str) or _is_no(ts, int, str) or _is_no(quality, int):
        return Reason.BAD_SCHEMA if not _was_integer(ts) else Reason.BAD_TIME
    if isinstance(value, dict | list) or not isinstance(unit := found.get("unit", ""), str):
        return Reason.BAD_SCHEMA
    if not -(2**63) <= quality < 2**63:
        return Reason.BAD_QUALITY
    if isinstance(ts, int) and not -(2**63) <= ts < 2**63:
        return Reason.BAD_TIME
    if isinstance(value, float) and not math.isfinite(value):
        return Reason.NOT_FINITE
    if isinstance(value, int | float) and abs(value) > INTEGER_EXACT_MAX:
        return Reason.INTEGER_INEXACT
    return Reason.BAD_ENCODING if any(map(_has_surrogate, (tag, value, unit))) else Reason.BAD_SYNTAX


def _is_no(value: object, *kinds: type) -> bool:
    return isinstance(value, bool) or not isinstance(value, kinds)


def _was_integer(ts: object) -> bool:
    """A whole number of so many digits that `_integer` did not keep it as one."""
    return isinstance(ts, float) and abs(ts) >= 1e24


def _has_surrogate(text: object) -> bool:
    return isinstance(text, str) and any("\ud800" <= letter <= "\udfff" for letter in text)


def _time_of(ts: object) -> int:
    return sane_time(parse_time(ts) if isinstance(ts, str) else ts if isinstance(ts, int) else NO_TIME)


def sane_time(ts_us: int) -> int:
    """The time, or 0 where it lies before 1970 or beyond the year 9999: what a reject is counted under."""
    return ts_us if 0 < ts_us < _TIME_SANE_US else 0


def reading_json(
    tag: str, ts_us: int, value: float, kind: int, quality: int, state: str = "", unit: str = ""
) -> bytes:
    """One NDJSON reading, without its line end, that can be sent again. `state` is a STATE value's text."""
    return _encoder.encode(Reading(tag, int(ts_us), plain_value(value, kind, state), int(quality), unit))


def plain_value(value: float, kind: int, state: str = "") -> float | int | bool | str | None:
    """A float64 as the JSON value of its kind; NaN is null."""
    if math.isnan(value):
        return None
    if kind == ValueKind.STATE:
        return state
    if kind == ValueKind.BOOL:
        return bool(value)
    # an infinity never passed a door; a number keeps its own spelling so that the reject can be sent again
    return int(value) if kind == ValueKind.INTEGER and value == math.floor(value) else float(value)
