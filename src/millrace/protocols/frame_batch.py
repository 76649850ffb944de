"""Records of many sources decoded together: one set of columns instead of a frame's worth of objects each.

A thousand sources send frames of five readings: decoded one by one, such a frame costs 15 us of Python for
nothing but its shape. Here compiled code reads all heads and all columns, and Python does per frame only what
needs a dictionary: the content's hash, the source's name, the parsed dictionary by its bytes.
What is not plain (`frame_read`), not proven or not known yet goes through the decode of single records; that is the
slow twin, and the only one that says what is wrong with a record.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

import numpy as np
import xxhash

from millrace.batch import F64, I64, U8, U32, U64, Frame, Incarnation, Record, Rows
from millrace.protocols import dictionary
from millrace.protocols.dictionary import Parsed
from millrace.protocols.frame_read import ENVELOPE, HEAD, SCALE_MAX, read_bodies, read_heads
from millrace.protocols.tag_path import source_ok

Decode = Callable[[Record], Sequence[Frame]]

SOURCES_KNOWN_MAX: Final = 65_536
_POWERS: Final = np.array([10.0**scale for scale in range(SCALE_MAX + 1)])

_sources: dict[bytes, str] = {}  # names that the decode of single records has taken, by their bytes


@dataclass(slots=True)
class FrameBatch:
    """Frames in order of arrival. Lists and identities (f,), columns (n,) as in `batch.Frame`.

    `starts` (f + 1,) are the frames' places in the columns. `whole` holds those that were decoded one by one; of
    the others `dictionaries` has the dictionary, and they carry no key, no rejects and no trace.
    """

    positions: list[int]
    sources: list[str]
    dictionaries: list[Parsed | None]
    whole: dict[int, Frame]
    starts: I64
    received_us: I64
    start_us: U64
    nonce: U64
    seq: U64
    content_hash: U64
    tag: U32
    ts_us: I64
    value: F64
    quality: U8

    def __len__(self) -> int:
        return len(self.positions)

    def frame(self, place: int) -> Frame:
        """One of them by itself; its columns are views."""
        known = self.dictionaries[place]
        if known is None:
            return self.whole[place]
        rows = slice(int(self.starts[place]), int(self.starts[place + 1]))
        return Frame(
            source=self.sources[place],
            incarnation=Incarnation(int(self.start_us[place]), int(self.nonce[place])),
            seq=int(self.seq[place]),
            received_ts_us=int(self.received_us[place]),
            tags=known.tags,
            kinds=known.kinds,
            tag=self.tag[rows],
            ts_us=self.ts_us[rows],
            value=self.value[rows],
            quality=self.quality[rows],
            states=known.states,
            content_hash=int(self.content_hash[place]),
            dictionary=known.block,
            units=known.units,
        )


def decode_batch(records: Sequence[Record], decode: Decode) -> FrameBatch:
    """The frames of records that are no control records; never raises.

    `decode` takes one record, and is to give of a frame of our own format what `decode_record` gives.
    """
    data = np.frombuffer(b"".join([record.data for record in records]), np.uint8)
    starts = _sums([len(record.data) for record in records])
    heads = np.zeros(len(records), HEAD)
    read_heads(data, starts, heads)
    draft = _draft(records, heads, decode)
    refused = draft.read(data, starts, heads)
    if len(refused):  # proven bytes that are no frame: the decode of single records says why
        heads["plain"][refused] = 0
        draft = _draft(records, heads, decode)
        draft.read(data, starts, heads)
    return draft.batch()


def _sums(lengths: Sequence[int]) -> I64:
    return np.fromiter(accumulate(lengths, initial=0), np.int64, len(lengths) + 1)


@dataclass(slots=True)
class _Draft:
    """A batch whose columns are still to be read. `record` is each frame's number among the records."""

    record: list[int]
    positions: list[int]
    sources: list[str]
    dictionaries: list[Parsed | None]
    whole: dict[int, Frame]
    starts: I64
    tag: U32
    ts_us: I64
    value: F64
    quality: U8
    heads: Rows

    def read(self, data: U8, starts: I64, heads: Rows) -> I64:
        """Fill the columns; the numbers of the records whose bodies cannot be."""
        record = np.array(self.record, np.int64)
        self.heads = heads[record]
        tags = np.array([-1 if known is None else len(known.tags) for known in self.dictionaries], np.int64)
        good = np.ones(len(record), np.uint8)
        read_bodies(
            data, starts[record], self.heads, tags, _POWERS, self.starts,
            self.tag, self.ts_us, self.value, self.value.view(np.uint64), self.quality, good,
        )  # fmt: skip
        refused: I64 = record[good == 0]
        return refused

    def batch(self) -> FrameBatch:
        heads = self.heads
        received_us = np.ascontiguousarray(heads["received_us"])
        for place, frame in self.whole.items():
            rows = slice(self.starts[place], self.starts[place + 1])
            self.tag[rows], self.ts_us[rows] = frame.tag, frame.ts_us
            self.value[rows], self.quality[rows] = frame.value, frame.quality
            received_us[place] = frame.received_ts_us
        return FrameBatch(
            self.positions, self.sources, self.dictionaries, self.whole, self.starts, received_us,
            np.ascontiguousarray(heads["start_us"]), np.ascontiguousarray(heads["nonce"]),
            np.ascontiguousarray(heads["seq"]), np.ascontiguousarray(heads["content_hash"]),
            self.tag, self.ts_us, self.value, self.quality,
        )  # fmt: skip


def _draft(records: Sequence[Record], heads: Rows, decode: Decode) -> _Draft:
    """Which frames there are, in order, and how long; those that are not plain are decoded here."""
    record_of: list[int] = []
    sources: list[str] = []
    dictionaries: list[Parsed | None] = []
    lengths: list[int] = []
    whole: dict[int, Frame] = {}
    names = ("plain", "content_hash", "content_at", "block_at", "body_at", "readings")
    columns = (heads[name].tolist() for name in names)
    for number, (record, plain, *said, readings) in enumerate(zip(records, *columns, strict=True)):
        known = _proven(record, *said) if plain else None
        if known is not None:
            record_of.append(number)
            sources.append(record.partition_key)
            dictionaries.append(known)
            lengths.append(readings)
            continue
        for frame in decode(record):
            whole[len(record_of)] = frame
            record_of.append(number)
            sources.append(frame.source)
            dictionaries.append(None)
            lengths.append(len(frame.ts_us))
        if plain:
            _learn(record, said[1])
    starts = _sums(lengths)
    n = int(starts[-1])
    return _Draft(
        record_of, [records[number].position for number in record_of], sources, dictionaries, whole, starts,
        np.empty(n, np.uint32), np.empty(n, np.int64), np.empty(n), np.empty(n, np.uint8), heads,
    )  # fmt: skip


def _proven(record: Record, content_hash: int, content_at: int, block_at: int, body_at: int) -> Parsed | None:
    """The frame's dictionary; None where the record is to be decoded by itself."""
    data = record.data
    if _sources.get(data[ENVELOPE:content_at]) != record.partition_key:
        return None
    if xxhash.xxh3_64_intdigest(data[content_at:]) != content_hash:
        return None
    known = dictionary.known(data[block_at:body_at])
    return None if known is None or known.has_states else known  # states: their values are checked by text


def _learn(record: Record, content_at: int) -> None:
    """A source that the decode of single records let through is known by its bytes from now on."""
    name = record.data[ENVELOPE:content_at]
    if name == record.partition_key.encode(errors="replace") and source_ok(record.partition_key):
        if len(_sources) >= SOURCES_KNOWN_MAX:
            _sources.clear()
        _sources[name] = record.partition_key
