"""NDJSON and JSON arrays of readings, to columns.

All lines are decoded in one call (msgspec); only if that fails is each line decoded alone, and only a line
that fails alone is looked at closely. So one bad line costs the others nothing but a second pass.
A reading's index is its place among the body's readings, blank lines not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

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
    Frame,
    Reason,
    ValueKind,
)
from millrace.errors import ProtocolError
from millrace.protocols import form
from millrace.protocols.columns import Columns, no_readings, select
from millrace.protocols.dictionary import state_ok
from millrace.protocols.json_reading import Reading, decode_one, diagnose, reading_json, sane_time
from millrace.protocols.limits import Limits
from millrace.protocols.time_text import NO_TIME, parse_times

Content = Literal["ndjson", "json"]

_lines = msgspec.json.Decoder(Reading)
_array = msgspec.json.Decoder(list[Reading])
_raw_array = msgspec.json.Decoder(list[msgspec.Raw])
_encode_reading = msgspec.json.Encoder().encode

_NULL: Final = 4
_CODES: Final[dict[type, int]] = {
    float: int(ValueKind.FLOAT),
    bool: int(ValueKind.BOOL),
    int: int(ValueKind.INTEGER),
    str: int(ValueKind.STATE),
    type(None): _NULL,
}
_COMMAS_PER_READING: Final = 8
_FAILED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def decode(body: bytes, *, content: Content, limits: Limits, received_ts_us: int) -> Columns:
    """Readings and rejects of a body; ProtocolError where it is not even a list of things (`bad_syntax`), or
    holds more than it may (`record_too_large`, `too_many_readings`)."""
    if len(body) > limits.bytes_max:
        raise ProtocolError("record_too_large", f"found {len(body)} bytes, wanted {limits.bytes_max} at most")
    rows, refused = _rows_of_lines(body, limits) if content == "ndjson" else _rows_of_array(body, limits)
    if len(rows) + len(refused) > limits.readings_max:
        raise _too_many(len(rows) + len(refused), limits)
    if not rows:
        return no_readings(tuple(refused))
    return _columns(rows, refused, limits, received_ts_us)


def encode_ndjson(frame: Frame) -> bytes:
    """A frame's readings as NDJSON, one a line: what `decode` reads back bit for bit."""
    lines = [
        reading_json(
            frame.tags[tag],
            ts_us,
            value,
            kind,
            quality,
            _state(frame, kind, value),
            frame.units[tag] if frame.units else "",
        )
        for tag, ts_us, value, kind, quality in zip(
            frame.tag.tolist(),
            frame.ts_us.tolist(),
            frame.value.tolist(),
            frame.kinds[frame.tag].tolist(),
            frame.quality.tolist(),
            strict=True,
        )
    ]
    return b"".join(line + b"\n" for line in lines)


def encode_json(frame: Frame) -> bytes:
    """The same as a JSON array."""
    return b"[" + encode_ndjson(frame).rstrip().replace(b"\n", b",") + b"]"


def _state(frame: Frame, kind: int, value: float) -> str:
    return frame.states[int(value)] if kind == ValueKind.STATE and value == value else ""


def _too_many(found: int, limits: Limits) -> ProtocolError:
    return ProtocolError(
        "too_many_readings", f"found {found}, wanted {limits.readings_max} at most in one body"
    )


def _rows_of_lines(body: bytes, limits: Limits) -> tuple[list[Reading], list[DoorReject]]:
    line_count = body.count(b"\n") + (not body.endswith(b"\n"))
    if line_count > 2 * limits.readings_max:  # blank lines are free, but not without end
        raise _too_many(line_count, limits)
    try:
        rows = _lines.decode_lines(body)
        if len(rows) == line_count == 1 + body.count(b"}\n{") + body.count(b"}\r\n{"):
            return rows, []  # one to a line; msgspec would also take two on a line, or one on two
    except _FAILED:
        pass
    return _one_by_one([stripped for line in body.split(b"\n") if (stripped := line.strip(b" \t\r"))])


def _rows_of_array(body: bytes, limits: Limits) -> tuple[list[Reading], list[DoorReject]]:
    try:
        return _array.decode(body), []
    except _FAILED:
        pass
    if body.count(b",") > _COMMAS_PER_READING * limits.readings_max:
        raise _too_many(body.count(b","), limits)
    try:
        return _one_by_one([bytes(item) for item in _raw_array.decode(body)])
    except _FAILED as error:
        raise ProtocolError("bad_syntax", f"wanted a JSON array of readings: {error}") from None


def _one_by_one(lines: Sequence[bytes]) -> tuple[list[Reading], list[DoorReject]]:
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
    quality = _integers([row.quality for row in rows], -1)
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
    kinds = set(map(type, times))
    if kinds == {str}:
        return parse_times(times)  # type: ignore[arg-type]
    if kinds == {int}:
        return _integers(times, NO_TIME)  # type: ignore[arg-type]
    texts = parse_times([ts if isinstance(ts, str) else "" for ts in times])
    numbers = _integers([ts if isinstance(ts, int) else 0 for ts in times], NO_TIME)
    is_text = np.fromiter((isinstance(ts, str) for ts in times), bool, len(times))
    return np.where(is_text, texts, numbers)


def _integers(numbers: list[int], beyond: int) -> I64:
    """The numbers as int64; one that does not fit becomes `beyond`."""
    try:
        return np.array(numbers, np.int64)
    except OverflowError:
        return np.array([n if -(2**63) < n < 2**63 else beyond for n in numbers], np.int64)


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
