"""Arrow IPC streams of readings, to columns and back.

Columns: `tag` (string or dictionary of strings), `ts` (timestamp of any unit, UTC, or int64 microseconds),
`value` (float, integer, bool, or string for discrete states), optional `quality` (integer) and `unit` (as `tag`;
null: not said). One column has one type, so one stream carries one kind of value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from millrace.batch import (
    F64,
    I64,
    INTEGER_EXACT_MAX,
    QUALITY_GOOD,
    U8,
    U32,
    DoorReject,
    Frame,
    Reason,
    ValueKind,
)
from millrace.errors import ProtocolError
from millrace.protocols import arrow_bounds, form
from millrace.protocols.columns import Columns, no_readings, select
from millrace.protocols.dictionary import state_ok
from millrace.protocols.json_reading import reading_json, sane_time
from millrace.protocols.limits import Limits
from millrace.protocols.time_text import NO_TIME

Array = Any  # pyarrow's stubs know a column only by its exact type

_COLUMNS: Final = {"tag", "ts", "value", "quality", "unit"}
_UNIT_PER_S: Final = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_FAILED: Final = (
    pa.ArrowException,
    OSError,
    ValueError,
    KeyError,
    TypeError,
    OverflowError,
    NotImplementedError,
)


@dataclass(slots=True)
class _Part:
    """One record batch; `unit` is 0 where none is said, `missing` are values that were null, `wrong` reasons
    already known per row."""

    tag: U32
    unit: U32
    ts_us: I64
    value: F64
    quality: I64
    missing: np.ndarray[tuple[int], np.dtype[np.bool_]]
    wrong: U8


def decode(body: bytes, *, limits: Limits, received_ts_us: int) -> Columns:
    """Readings and rejects of a stream; ProtocolError if it is damaged, holds other columns or too much."""
    if len(body) > limits.bytes_max:
        raise ProtocolError("record_too_large", f"found {len(body)} bytes, wanted {limits.bytes_max} at most")
    try:
        batches = _batches(body, limits)
        return _columns(batches, limits, received_ts_us)
    except _FAILED as error:
        text = str(error)[:200]
        raise ProtocolError("bad_encoding" if "UTF8" in text else "bad_syntax", f"Arrow: {text}") from None


def encode(frame: Frame) -> bytes:
    """A frame of one kind of value as an Arrow stream, zstd inside; ProtocolError for mixed kinds."""
    kinds = set(frame.kinds.tolist()) or {int(ValueKind.FLOAT)}
    if len(kinds) > 1:
        raise ProtocolError(
            "bad_schema", "one Arrow column has one type: send each kind in a stream of its own"
        )
    value = _arrow_value(frame, ValueKind(kinds.pop()))
    index: Array = pa.array(frame.tag.astype(np.int32))
    tag = pa.DictionaryArray.from_arrays(index, pa.array(list(frame.tags), pa.string()))
    ts = pa.array(frame.ts_us).cast(pa.timestamp("us", "UTC"))
    columns: dict[str, Array] = {"tag": tag, "ts": ts, "value": value, "quality": pa.array(frame.quality)}
    if frame.units:
        units = [frame.units[entry] or None for entry in frame.tag.tolist()]
        columns["unit"] = pa.array(units, pa.string()).dictionary_encode()
    batch = pa.record_batch(list(columns.values()), names=list(columns))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())


def _arrow_value(frame: Frame, kind: ValueKind) -> Array:
    gap = np.isnan(frame.value)
    if kind is ValueKind.FLOAT:
        return pa.array(frame.value, mask=gap)
    whole = np.where(gap, 0, frame.value)
    if kind is ValueKind.STATE:
        texts = [
            None if g else frame.states[int(v)] for g, v in zip(gap.tolist(), whole.tolist(), strict=True)
        ]
        return pa.array(texts, pa.string())
    return pa.array(whole.astype(bool if kind is ValueKind.BOOL else np.int64), mask=gap)


def _batches(body: bytes, limits: Limits) -> list[pa.RecordBatch]:
    arrow_bounds.check(body, limits)
    reader = pa.ipc.open_stream(pa.py_buffer(body))
    _check_schema(reader.schema)
    batches = list(reader)
    for batch in batches:
        batch.validate(full=True)  # the offsets inside are the sender's: an unproven one reads foreign memory
        columns: list[Array] = batch.columns
        for column in columns:
            if pa.types.is_dictionary(column.type):
                column.dictionary.validate(full=True)
    return batches


def _check_schema(schema: pa.Schema) -> None:
    names = schema.names
    if len(set(names)) != len(names) or not {"tag", "ts", "value"} <= set(names) <= _COLUMNS:
        raise ProtocolError(
            "bad_schema", f"found columns {names[:8]}, wanted tag, ts, value and maybe quality, unit"
        )
    wanted: dict[str, Callable[[Any], bool]] = {
        "tag": _is_text,
        "ts": lambda t: pa.types.is_timestamp(t) or pa.types.is_int64(t),
        "value": lambda t: _is_text(t) or _is_number(t) or pa.types.is_boolean(t),
        "quality": pa.types.is_integer,
        "unit": _is_text,
    }
    for column in schema:
        if not wanted[column.name](column.type):
            raise ProtocolError("bad_schema", f"column {column.name} is {str(column.type)[:60]}")


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _columns(batches: list[pa.RecordBatch], limits: Limits, received_ts_us: int) -> Columns:
    tags: dict[str | None, int] = {}
    units: dict[str | None, int] = {None: 0}
    states: dict[str | None, int] = {}
    parts = [_part(batch, tags, units, states) for batch in batches if batch.num_rows]
    if not parts:
        return no_readings()
    part = _Part(*(np.concatenate([getattr(p, name) for p in parts]) for name in _Part.__slots__))
    names, said = _entries(part, [name or "" for name in tags], [unit or "" for unit in units])
    kinds = np.full(len(names), _kind(batches[0].schema.field("value").type), np.uint8)
    reasons = _reasons(part, form.tag_reasons(names, limits, said), limits, received_ts_us)
    texts = tuple(text or "" for text in states)
    quality = (part.quality & 255).astype(np.uint8)
    found = Columns(names, kinds, texts, part.tag, part.ts_us, part.value, quality, units=said)
    found.rejects = _rejects(found, reasons)
    return select(found, reasons, prune=True)


def _entries(part: _Part, tags: list[str], units: list[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Tag and unit of each entry of the dictionary; `part.tag` becomes an index into both."""
    if not any(units):
        return tuple(tags), ()
    unit = np.array([number if text else 0 for number, text in enumerate(units)])[part.unit]
    pairs, entry = np.unique(part.tag.astype(np.int64) * len(units) + unit, return_inverse=True)
    part.tag = entry.astype(np.uint32)
    numbers = [divmod(pair, len(units)) for pair in pairs.tolist()]
    return tuple(tags[tag] for tag, _ in numbers), tuple(units[unit] for _, unit in numbers)


def _kind(kind: pa.DataType) -> ValueKind:
    if _is_text(kind):
        return ValueKind.STATE
    if pa.types.is_boolean(kind):
        return ValueKind.BOOL
    return ValueKind.INTEGER if pa.types.is_integer(kind) else ValueKind.FLOAT


def _reasons(part: _Part, of_tags: U8, limits: Limits, received_ts_us: int) -> U8:
    reasons = form.judge(
        of_tags, part.tag, part.ts_us, part.value, part.quality, received_ts_us=received_ts_us, limits=limits
    )
    reasons[(reasons == Reason.VALUE_MISSING) & ~part.missing] = Reason.NOT_FINITE  # NaN was sent, not null
    return np.where(reasons == Reason.OK, part.wrong, reasons).astype(np.uint8)


def _part(
    batch: pa.RecordBatch,
    tags: dict[str | None, int],
    units: dict[str | None, int],
    states: dict[str | None, int],
) -> _Part:
    n = batch.num_rows
    value, missing, wrong = _value(batch.column("value"), states)
    quality = np.full(n, QUALITY_GOOD, np.int64)
    if "quality" in batch.schema.names:
        quality = _clipped(batch.column("quality"), fill=QUALITY_GOOD)
    unit = np.zeros(n, np.uint32)
    if "unit" in batch.schema.names:
        unit = _texts(batch.column("unit"), units)
    tag, ts_us = _texts(batch.column("tag"), tags), _time_us(batch.column("ts"))
    return _Part(tag, unit, ts_us, value, quality, missing, wrong)


def _texts(column: Array, known: dict[str | None, int]) -> U32:
    """Each row's number among the distinct texts known so far; new ones are added."""
    encoded: Array = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    texts = encoded.dictionary.to_pylist()
    numbers = np.fromiter((known.setdefault(text, len(known)) for text in texts), np.uint32, len(texts))
    index = encoded.indices
    if index.null_count:
        nothing = known.setdefault(None, len(known))
        numbers = np.append(numbers, np.uint32(nothing))
        index = index.cast(pa.int64()).fill_null(len(texts))
    places: I64 = index.to_numpy(zero_copy_only=False).astype(np.int64)
    return numbers[places]


def _time_us(column: Array) -> I64:
    per_s = 1_000_000
    if pa.types.is_timestamp(column.type):
        per_s = _UNIT_PER_S[column.type.unit]
        column = column.view(pa.int64())
    missing = column.is_null().to_numpy(zero_copy_only=False)
    ticks = column.fill_null(0).to_numpy(zero_copy_only=False)
    if per_s > 1_000_000:
        ticks = ticks // (per_s // 1_000_000)
    elif per_s < 1_000_000:
        factor = 1_000_000 // per_s
        beyond = 2**62 // factor  # far outside any limit, and still an int64 as microseconds
        ticks = np.clip(ticks, -beyond, beyond) * factor
    times: I64 = np.where(missing, NO_TIME, ticks)
    return times


def _clipped(column: Array, fill: int) -> I64:
    """Integers of any width as int64; what an int64 cannot hold becomes its largest."""
    numbers = column.fill_null(fill).to_numpy(zero_copy_only=False)
    if numbers.dtype == np.uint64:
        numbers = np.minimum(numbers, np.uint64(2**63 - 1))
    whole: I64 = numbers.astype(np.int64)
    return whole


def _value(column: Array, states: dict[str | None, int]) -> tuple[F64, Any, U8]:
    missing = column.is_null().to_numpy(zero_copy_only=False)
    wrong = np.zeros(len(column), np.uint8)
    if _is_text(column.type):
        codes = _texts(column, states)
        bad = np.fromiter((not state_ok(text or "") for text in states), bool, len(states))
        wrong[bad[codes]] = Reason.BAD_SCHEMA
        missing = missing | np.isin(codes, states.get(None, -1))
        return np.where(missing, np.nan, codes.astype(np.float64)), missing, wrong
    if pa.types.is_integer(column.type):
        whole = column.fill_null(0).to_numpy(zero_copy_only=False)
        inexact = (whole > INTEGER_EXACT_MAX) | (
            whole < -INTEGER_EXACT_MAX if whole.dtype.kind == "i" else False
        )
        wrong[inexact] = Reason.INTEGER_INEXACT
        return np.where(missing, np.nan, whole.astype(np.float64)), missing, wrong
    zero: Any = False if pa.types.is_boolean(column.type) else 0.0
    plain = column.fill_null(pa.scalar(zero, column.type)).to_numpy(zero_copy_only=False).astype(np.float64)
    return np.where(missing, np.nan, plain), missing, wrong


def _rejects(found: Columns, reasons: U8) -> tuple[DoorReject, ...]:
    rejects = []
    for row in np.flatnonzero(reasons).tolist():
        tag, ts_us, value = int(found.tag[row]), int(found.ts_us[row]), float(found.value[row])
        kind = int(found.kinds[tag])
        state = found.states[int(value)] if kind == ValueKind.STATE and value == value else ""
        unit = found.units[tag][:64] if found.units else ""
        payload = reading_json(
            found.tags[tag][:512], ts_us, value, kind, int(found.quality[row]), state[:512], unit
        )
        rejects.append(DoorReject(row, Reason(int(reasons[row])), payload, sane_time(ts_us)))
    return tuple(rejects)
