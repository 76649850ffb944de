"""NDJSON to columns: ordinary lines by `ndjson_scan`, at some 50 ns each, the others one by one as JSON.

Which of the two read a line is not to be seen in what comes out: the law is that both give the same
(`tests/contract/protocols/test_ndjson_twin.py`). A reading's index is its place among the body's lines, blank ones
not counted.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np

from millrace.batch import I64, Bool, DoorReject, ValueKind
from millrace.errors import ProtocolError
from millrace.protocols import form
from millrace.protocols.columns import Columns, no_readings, select
from millrace.protocols.json_columns import columns_of, kinds_of
from millrace.protocols.json_reading import decode_one, encode_one
from millrace.protocols.json_rows import NO_TEXT, Readings, of_rows, one_by_one
from millrace.protocols.limits import Limits
from millrace.protocols.ndjson_scan import SLOW, Rows, cut, line_count, rows_for, scan, survey
from millrace.protocols.text_table import Texts, texts_for

_WHITE: Final = b" \t\r"
_REMEMBER_BYTES_MAX: Final = 65_536
"""Texts of a body that are kept as they are: a sender names the same tags again."""


def decode(body: bytes, *, limits: Limits, received_ts_us: int) -> Columns:
    """Readings and rejects of a body; ProtocolError where it holds more than it may (`too_many_readings`)."""
    if not body.endswith(b"\n"):
        body += b"\n"
    as_bytes = np.frombuffer(body, np.uint8)
    lines = line_count(as_bytes)
    if lines > 2 * limits.readings_max:  # blank lines are free, but not without end
        raise too_many(lines, limits)
    rows, known = rows_for(lines), texts_for(lines)
    count, text_count = scan(as_bytes, rows, known)
    if count > limits.readings_max:
        raise too_many(count, limits)
    rows = cut(rows, slice(count))
    texts = _texts(body, rows, known, text_count)
    if count and (seen := survey(rows)).is_plain and not form.tag_reasons(texts, limits).any():
        first_us, last_us = received_ts_us - limits.past_max_us, received_ts_us + limits.future_max_us
        if first_us <= seen.ts_min_us and seen.ts_max_us <= last_us:
            return _all_good(rows, texts, in_order=seen.in_order)
    return _columns(body, rows, texts, limits, received_ts_us)


def compile_kernels() -> None:
    """Compile what reads JSON, or load what was compiled before: call it while nobody waits. Cold it takes five
    seconds, from numba's cache a quarter of one."""
    lines = (b'{"tag":"a","ts":1,"value":1}', b'{"tag":"\\u0061","ts":"1970-01-01T00:00:00Z","value":1.5}')
    for line in lines:  # the second is not ordinary: its time is parsed as texts are
        decode(line, limits=Limits(), received_ts_us=1)


def too_many(found: int, limits: Limits) -> ProtocolError:
    """What to raise at a body of more readings than a frame holds."""
    return ProtocolError(
        "too_many_readings", f"found {found}, wanted {limits.readings_max} at most in one body"
    )


def _texts(body: bytes, rows: Rows, known: Texts, count: int) -> tuple[str, ...]:
    """The texts by number. A row that names one that is no UTF-8 is left to the slow reader, who says so."""
    begins, lengths = known.begin[:count].tolist(), known.length[:count].tolist()
    found = [body[begin : begin + length] for begin, length in zip(begins, lengths, strict=True)]
    if not found:
        return ()
    joined = b"\n".join(found)  # no text has a line end in it
    try:
        return _remembered(joined) if len(joined) <= _REMEMBER_BYTES_MAX else _split(joined)
    except UnicodeDecodeError:
        texts = tuple(text.decode(errors="surrogateescape") for text in found)
        _leave(rows, np.fromiter(map(_is_escaped, texts), np.bool_, count))
        return texts


def _split(joined: bytes) -> tuple[str, ...]:
    return tuple(joined.decode().split("\n"))


_remembered = lru_cache(maxsize=256)(_split)


def _is_escaped(text: str) -> bool:
    """Whether some of its bytes were no UTF-8."""
    return any("\udc80" <= letter <= "\udcff" for letter in text)


def _leave(rows: Rows, bad: Bool) -> None:
    """Mark the rows that name one of these texts."""
    fast = np.flatnonzero(rows.code != SLOW)
    unit = rows.unit[fast]
    wrong = bad[rows.tag[fast]] | ((unit != NO_TEXT) & bad[unit])
    states = np.flatnonzero(rows.code[fast] == ValueKind.STATE)
    wrong[states] |= bad[rows.value[fast[states]].astype(np.int64)]
    rows.code[fast[wrong]] = SLOW


def _all_good(rows: Rows, texts: tuple[str, ...], *, in_order: bool) -> Columns:
    """Plain readings of which none is refused: what `columns_of` would make of them, with less looking."""
    tag, quality = rows.tag.astype(np.uint32), rows.quality.astype(np.uint8)
    kinds = kinds_of(tag, rows.code, np.zeros(len(texts), np.uint8))
    columns = Columns(texts, kinds, (), tag, rows.ts_us, rows.value, quality)
    return columns if in_order else select(columns, np.zeros(len(tag), np.uint8))


def _columns(body: bytes, rows: Rows, texts: tuple[str, ...], limits: Limits, received_ts_us: int) -> Columns:
    refused: list[DoorReject] = []
    inexact, index = np.zeros(0, np.int64), None
    slow = np.flatnonzero(rows.code == SLOW)
    if len(slow):
        numbers = {text: number for number, text in enumerate(texts)}
        refused, inexact = _read_slow(body, rows, slow, numbers)
        texts = tuple(numbers)
    if refused:
        index = np.flatnonzero(rows.code != SLOW)
        rows, inexact = cut(rows, index), np.searchsorted(index, inexact)
    if not len(rows.code):
        return no_readings(tuple(refused))
    return columns_of(
        Readings(rows.tag, rows.unit, rows.code, rows.ts_us, rows.value, rows.quality, inexact),
        texts,
        index,
        refused,
        lambda row: _payload(body, rows, row),
        limits=limits,
        received_ts_us=received_ts_us,
    )


def _read_slow(body: bytes, rows: Rows, slow: I64, numbers: dict[str, int]) -> tuple[list[DoorReject], I64]:
    """Put the readings of the slow lines into the columns; lines that hold none stay marked and are refused.

    Also the rows whose whole number is beyond 2^53.
    """
    lines = [_line(body, rows, row) for row in slow.tolist()]
    found, places, refused = one_by_one(lines, slow.tolist())
    at = slow[places]
    one = of_rows(found, numbers)
    rows.tag[at], rows.unit[at], rows.code[at] = one.tag, one.unit, one.code
    rows.ts_us[at], rows.value[at], rows.quality[at] = one.ts_us, one.value, one.quality
    return refused, at[one.inexact]


def _line(body: bytes, rows: Rows, row: int) -> bytes:
    return body[rows.begin[row] : rows.end[row]].rstrip(_WHITE)


def _payload(body: bytes, rows: Rows, row: int) -> bytes:
    """The reading in a line, as the quarantine keeps it."""
    reading = decode_one(_line(body, rows, row))
    assert reading is not None, "a line that was read is a reading"
    return encode_one(reading)
