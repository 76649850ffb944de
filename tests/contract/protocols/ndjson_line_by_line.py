"""The slow twin of the NDJSON decoder: each line alone through msgspec, then one Python loop a column."""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from millrace.batch import (
    F64,
    I64,
    INTEGER_EXACT_MAX,
    REJECT_PAYLOAD_BYTES_MAX,
    U8,
    U32,
    DoorReject,
    Reason,
    ValueKind,
)
from millrace.protocols import Limits, form
from millrace.protocols.columns import Columns, no_readings, select
from millrace.protocols.dictionary import state_ok
from millrace.protocols.json_reading import Reading, decode_one, diagnose, sane_time
from millrace.protocols.time_text import NO_TIME, parse_time

_encode_reading = msgspec.json.Encoder().encode
_NULL: Final = 4
_CODES: Final[dict[type, int]] = {
    float: int(ValueKind.FLOAT),
    bool: int(ValueKind.BOOL),
    int: int(ValueKind.INTEGER),
    str: int(ValueKind.STATE),
    type(None): _NULL,
}


def decode_line_by_line(body: bytes, *, limits: Limits, received_ts_us: int) -> Columns:
    """What `json_text.decode(body, content="ndjson")` has to give."""
    lines = [stripped for line in body.split(b"\n") if (stripped := line.strip(b" \t\r"))]
    rows, refused = _one_by_one(lines)
    return _columns(rows, refused, limits, received_ts_us) if rows else no_readings(tuple(refused))


def _one_by_one(lines: list[bytes]) -> tuple[list[Reading], list[DoorReject]]:
    """Each line alone. Readings stand at their index minus the refused before them."""
    rows: list[Reading] = []
    refused: list[DoorReject] = []
    for index, line in enumerate(lines):
        row = decode_one(line)
        if row is not None:
            rows.append(row)
            continue
        reason, ts_us = diagnose(line)
        refused.append(DoorReject(index, reason, line[:REJECT_PAYLOAD_BYTES_MAX], ts_us))
    return rows, refused


def _columns(rows: list[Reading], refused: list[DoorReject], limits: Limits, received_ts_us: int) -> Columns:
    codes = _codes([row.value for row in rows])
    tags, tag, codes_of_tags, units = _tags([row.tag for row in rows], [row.unit for row in rows], codes)
    value, states, value_reasons = _values([row.value for row in rows], codes)
    ts_us = _times([row.ts for row in rows])
    quality = np.array([_integer(row.quality, -1) for row in rows], np.int64)
    reasons = form.judge(
        form.tag_reasons(tags, limits, units),
        tag,
        ts_us,
        value,
        quality,
        received_ts_us=received_ts_us,
        limits=limits,
    )
    reasons = np.where(reasons == Reason.OK, value_reasons, reasons).astype(np.uint8)
    kinds = _kinds(tag, codes, codes_of_tags)
    rejects = _rejects(rows, refused, reasons, ts_us)
    columns = Columns(
        tags, kinds, states, tag, ts_us, value, (quality & 255).astype(np.uint8), rejects, units
    )
    return select(columns, reasons)


def _codes(values: list[float | int | bool | str | None]) -> U8:
    """What JSON said each value is: a ValueKind, or `_NULL`."""
    return np.fromiter(map(_CODES.__getitem__, map(type, values)), np.uint8, len(values))


def _tags(
    names: list[str], units: list[str], codes: U8
) -> tuple[tuple[str, ...], U32, list[int], tuple[str, ...]]:
    """Distinct (tag, family, unit), the rows' indexes into them, the family of each (a number, a bool, a state)
    and its unit; no units where none is said.

    A null belongs to the family that its tag has elsewhere in the body, to the numbers otherwise.
    """
    has_units = any(units)
    if not has_units and not ((codes == ValueKind.BOOL) | (codes == ValueKind.STATE)).any():
        index = {name: i for i, name in enumerate(dict.fromkeys(names))}
        tag = np.fromiter(map(index.__getitem__, names), np.uint32, len(names))
        return tuple(index), tag, [int(ValueKind.FLOAT)] * len(index), ()
    families = np.where(codes == ValueKind.INTEGER, int(ValueKind.FLOAT), codes).tolist()
    known = {name: family for name, family in zip(names, families, strict=True) if family != _NULL}
    keys = [
        (name, known.get(name, int(ValueKind.FLOAT)) if family == _NULL else family, unit)
        for name, family, unit in zip(names, families, units, strict=True)
    ]
    places = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    tag = np.fromiter(map(places.__getitem__, keys), np.uint32, len(keys))
    tags, of_tags, said = zip(*places, strict=True)
    return tags, tag, list(of_tags), said if has_units else ()


def _kinds(tag: U32, codes: U8, families: list[int]) -> U8:
    """A tag whose numbers are all whole is an integer's in this body."""
    kinds = np.array(families, np.uint8)
    seen_float, seen_integer = np.zeros((2, len(kinds)), bool)
    seen_float[tag[codes == ValueKind.FLOAT]] = True
    seen_integer[tag[codes == ValueKind.INTEGER]] = True
    kinds[seen_integer & ~seen_float & (kinds == ValueKind.FLOAT)] = ValueKind.INTEGER
    return kinds


def _values(values: list[float | int | bool | str | None], codes: U8) -> tuple[F64, tuple[str, ...], U8]:
    """Float64 of each value, texts as an index into the states; and what is wrong with some."""
    reasons = np.zeros(len(values), np.uint8)
    states: dict[str, int] = {}
    texts = np.flatnonzero(codes == ValueKind.STATE).tolist()
    for row in texts:
        text = values[row]
        assert isinstance(text, str)
        if not state_ok(text):
            reasons[row], values[row] = Reason.BAD_SCHEMA, 0.0
        else:
            values[row] = states.setdefault(text, len(states))
    column = np.array(values, np.float64)
    large = np.flatnonzero((np.abs(column) >= INTEGER_EXACT_MAX) & (codes == ValueKind.INTEGER))
    for row in large.tolist():
        whole = values[row]
        if isinstance(whole, int) and abs(whole) > INTEGER_EXACT_MAX:
            reasons[row] = Reason.INTEGER_INEXACT
    return column, tuple(states), reasons


def _times(times: list[int | str]) -> I64:
    return np.array([parse_time(ts) if isinstance(ts, str) else _integer(ts, NO_TIME) for ts in times], np.int64)


def _integer(number: int, beyond: int) -> int:
    return number if -(2**63) < number < 2**63 else beyond


def _rejects(
    rows: list[Reading], refused: list[DoorReject], reasons: U8, ts_us: I64
) -> tuple[DoorReject, ...]:
    """The lines that were no reading and the readings that were refused, by index."""
    wrong = np.flatnonzero(reasons).tolist()
    if not wrong:
        return tuple(refused)
    places = np.delete(np.arange(len(rows) + len(refused)), [reject.index for reject in refused])
    rejects = list(refused)
    for row in wrong:
        payload = _encode_reading(rows[row])[:REJECT_PAYLOAD_BYTES_MAX]
        reason = Reason(int(reasons[row]))
        rejects.append(DoorReject(int(places[row]), reason, payload, sane_time(int(ts_us[row]))))
    return tuple(sorted(rejects, key=lambda reject: reject.index))
