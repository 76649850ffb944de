"""Readings as JSON said them, to columns with a dictionary: which tags of which kind there are, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from millrace.batch import F64, I64, REJECT_PAYLOAD_BYTES_MAX, U8, U32, DoorReject, Reason, ValueKind
from millrace.protocols import form
from millrace.protocols.columns import Columns, select
from millrace.protocols.dictionary import state_ok
from millrace.protocols.json_reading import sane_time
from millrace.protocols.json_rows import NO_TEXT, NULL, Payload, Readings
from millrace.protocols.limits import Limits

_FAMILIES: Final = 4


def columns_of(
    readings: Readings,
    texts: Sequence[str],
    index: I64 | None,
    refused: list[DoorReject],
    payload: Payload,
    *,
    limits: Limits,
    received_ts_us: int,
) -> Columns:
    """Judged columns. `index`: the rows' places in the body, None where they are 0, 1, …"""
    tags, tag, families, units = _tags(readings, texts)
    value, states, value_reasons = _values(readings, texts)
    reasons = form.judge(
        form.tag_reasons(tags, limits, units),
        tag,
        readings.ts_us,
        value,
        readings.quality,
        received_ts_us=received_ts_us,
        limits=limits,
    )
    if value_reasons is not None:
        reasons = np.where(reasons == Reason.OK, value_reasons, reasons).astype(np.uint8)
    kinds = kinds_of(tag, readings.code, families)
    rejects = _rejects(refused, reasons, readings.ts_us, index, payload)
    quality = (readings.quality & 255).astype(np.uint8)
    return select(Columns(tags, kinds, states, tag, readings.ts_us, value, quality, rejects, units), reasons)


def _tags(readings: Readings, texts: Sequence[str]) -> tuple[tuple[str, ...], U32, U8, tuple[str, ...]]:
    """Distinct (tag, family, unit), the rows' indexes into them, the family of each (a number, a bool, a state)
    and its unit; no units where none is said.

    A null belongs to the family that its tag has elsewhere in the body, to the numbers otherwise.
    """
    family = _families(readings, len(texts))
    pairs, row_pair = _in_order(readings.tag.astype(np.int64) * _FAMILIES + family)
    if not (readings.unit != NO_TEXT).any():
        tags, families = tuple(texts[i] for i in (pairs // _FAMILIES).tolist()), (pairs % _FAMILIES).astype(np.uint8)
        return tags, row_pair, families, ()
    keys, tag = _in_order(row_pair.astype(np.int64) * (len(texts) + 1) + readings.unit + 1)
    of_key, unit = pairs[keys // (len(texts) + 1)], keys % (len(texts) + 1) - 1
    return (
        tuple(texts[i] for i in (of_key // _FAMILIES).tolist()),
        tag,
        (of_key % _FAMILIES).astype(np.uint8),
        tuple(texts[i] if i >= 0 else "" for i in unit.tolist()),
    )


def _families(readings: Readings, text_count: int) -> U8:
    family = np.where(readings.code == ValueKind.INTEGER, int(ValueKind.FLOAT), readings.code).astype(np.uint8)
    is_null = readings.code == NULL
    if is_null.any():
        known = np.full(text_count, int(ValueKind.FLOAT), np.uint8)
        known[readings.tag[~is_null]] = family[~is_null]  # of several the last
        family[is_null] = known[readings.tag[is_null]]
    return family


def _in_order(keys: I64) -> tuple[I64, U32]:
    """Distinct keys in the order in which they first come, and each row's place among them."""
    distinct, first, place = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), np.uint32)
    rank[order] = np.arange(len(order), dtype=np.uint32)
    return distinct[order], rank[place]


def kinds_of(tag: U32, code: U8, families: U8) -> U8:
    """A tag whose numbers are all whole is an integer's in this body."""
    kinds = families.copy()
    is_integer = code == ValueKind.INTEGER
    if is_integer.any():
        seen_float, seen_integer = np.zeros((2, len(kinds)), bool)
        seen_float[tag[code == ValueKind.FLOAT]] = True
        seen_integer[tag[is_integer]] = True
        kinds[seen_integer & ~seen_float & (kinds == ValueKind.FLOAT)] = ValueKind.INTEGER
    return kinds


def _values(readings: Readings, texts: Sequence[str]) -> tuple[F64, tuple[str, ...], U8 | None]:
    """Float64 of each value, texts as an index into the states; and what is wrong with some, None: nothing."""
    rows = np.flatnonzero(readings.code == ValueKind.STATE)
    if not len(rows) and not len(readings.inexact):
        return readings.value, (), None
    reasons = np.zeros(len(readings.value), np.uint8)
    reasons[readings.inexact] = Reason.INTEGER_INEXACT
    value = readings.value.copy()
    numbers, of_row = _in_order(value[rows].astype(np.int64))
    found = [texts[number] for number in numbers.tolist()]
    good = np.fromiter(map(state_ok, found), np.bool_, len(found))
    reasons[rows] = np.where(good, Reason.OK, Reason.BAD_SCHEMA)[of_row]
    value[rows] = np.where(good, np.cumsum(good) - 1, 0)[of_row]
    return value, tuple(text for text, is_good in zip(found, good.tolist(), strict=True) if is_good), reasons


def _rejects(
    refused: list[DoorReject], reasons: U8, ts_us: I64, index: I64 | None, payload: Payload
) -> tuple[DoorReject, ...]:
    """The lines that were no reading and the readings that were refused, by index."""
    rejects = list(refused)
    for row in np.flatnonzero(reasons).tolist():
        place = row if index is None else int(index[row])
        reason = Reason(int(reasons[row]))
        rejects.append(DoorReject(place, reason, payload(row)[:REJECT_PAYLOAD_BYTES_MAX], sane_time(int(ts_us[row]))))
    return tuple(sorted(rejects, key=lambda reject: reject.index))
