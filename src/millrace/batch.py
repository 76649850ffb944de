"""What flows: frames, readings, rejects, rollups, anomalies, alarm events. Columns, units, null rules.

Time is integer microseconds UTC (`ts_us`). Quality follows OPC UA: 192 good, 64 uncertain, 0 bad.
A value is a float64 whatever its kind: a bool is 0 or 1, an integer is exact to 2^53, a discrete
state is its code in the asset model. NaN is *no value* (a gap) and is only legal with quality < 64.

A *slot* is the place of a tag in its shard's state: small, dense, the same after a replay.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
F64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]
Rows = npt.NDArray[Any]  # a structured array; its dtype is named where it is used

QUALITY_GOOD: Final = 192
QUALITY_UNCERTAIN: Final = 64
QUALITY_BAD: Final = 0

INTEGER_EXACT_MAX: Final = 2**53

# Law 13: everything has a bound. Door and decoder use these; a larger thing is a reject with a reason.
TAG_LENGTH_MAX: Final = 256  # bytes of UTF-8
SOURCE_LENGTH_MAX: Final = 128
RECORD_BYTES_MAX: Final = 1_000_000  # below Kinesis' 1 MiB, key included
FRAME_READINGS_MAX: Final = 65_536
FRAME_TAGS_MAX: Final = 65_536
REJECT_PAYLOAD_BYTES_MAX: Final = 1_024


class ValueKind(IntEnum):
    """How a tag's float64 is to be read."""

    FLOAT = 0
    BOOL = 1
    INTEGER = 2
    STATE = 3  # on the wire: index into the frame's `states`; after `process`: the model's code


class DataClass(IntEnum):
    """Retention class of a tag."""

    STANDARD = 0
    CRITICAL = 1


class Reason(IntEnum):
    """Why a reading or a record was not accepted: a closed set, used in the API, the metrics and the tables."""

    OK = 0
    # form: judged at the door, or by `process` for a record that came past the door
    BAD_SYNTAX = 1  # not JSON, not Arrow, not a frame
    BAD_ENCODING = 2  # not UTF-8
    BAD_SCHEMA = 3  # a field is missing, unknown or of the wrong type
    BAD_TAG = 4  # empty, control characters, not a path
    TAG_TOO_LONG = 5
    BAD_TIME = 6  # not a time
    TIME_TOO_OLD = 7  # older than 30 days at `received_ts_us`
    TIME_IN_FUTURE = 8  # over 5 s ahead of `received_ts_us`
    NOT_FINITE = 9  # Infinity, or NaN with a quality of 64 or more
    VALUE_MISSING = 10  # null with a quality of 64 or more
    INTEGER_INEXACT = 11  # beyond 2^53
    BAD_QUALITY = 12  # not 0..255
    RECORD_TOO_LARGE = 13
    TOO_MANY_READINGS = 14
    UNKNOWN_FORMAT = 15  # bytes that no decoder knows
    UNKNOWN_VERSION = 16
    CHECKSUM_MISMATCH = 17
    TRUNCATED = 18
    TOO_DEEP = 19  # nested beyond what a reading can be
    COMPRESSION_BOMB = 20  # would inflate beyond the bound
    BAD_SOURCE = 21
    # identity
    SEQUENCE_TOO_OLD = 30
    INCARNATION_TOO_OLD = 31
    IDENTITY_REUSED = 32  # a known identity with other content
    # model
    FOREIGN_SOURCE = 40  # the model gives this tag to another source
    UNKNOWN_STATE = 41
    OUT_OF_RANGE = 42  # beyond the sensor's physical range
    WRONG_UNIT = 43
    WRONG_KIND = 44  # text where the model says number, …
    STUCK_CLOCK = 45  # the source repeats one time stamp
    # bounds
    TOO_MANY_TAGS = 50  # tags per source
    TOO_MANY_NEW_TAGS = 51  # new tags per source and day
    TOO_MANY_SOURCES = 52
    # whole records
    PROCESSING_FAILED = 60
    # stores
    STORE_REFUSED = 70  # PostgreSQL took all but this reading; the archive and the rollups hold it


REASON_NAMES: Final[tuple[str, ...]] = tuple(
    Reason(code).name.lower() if code in set(Reason) else "" for code in range(max(Reason) + 1)
)


@dataclass(frozen=True, slots=True, order=True)
class Incarnation:
    """One life of a source's producer; ordered by its start."""

    start_us: int
    nonce: int


@dataclass(frozen=True, slots=True)
class DoorReject:
    """A reading that the door refused; it travels in the record of the readings that it came with.

    `index` is its place in the sender's body (0-based), `payload` the sender's bytes cut to
    `REJECT_PAYLOAD_BYTES_MAX`, `ts_us` its time, or 0 where no time could be read.
    """

    index: int
    reason: Reason
    payload: bytes
    ts_us: int = 0


def no_kinds() -> U8:
    return np.zeros(0, np.uint8)


@dataclass(slots=True)
class Frame:
    """The readings of one source that travel as one stream record.

    `tags` (k,) and `kinds` (k,) uint8 are the frame's dictionary. Columns, all of length n:
    `tag` uint32 index into `tags`, `ts_us` int64, `value` float64, `quality` uint8.
    `states` holds the texts of discrete states: where `kinds[tag]` is STATE, `value` is an index into it.
    `units` is what the sender said of each entry of `tags`, "" where nothing; empty: no unit was said at all.
    `replay` marks the quarantine's own series of identities.
    `received_ts_us` is 0 until an ingest process stamps it.
    `key` is the sender's Idempotency-Key (empty: none). `content_hash` covers all but the stamp and identity.
    `anonymous` frames have no identity of their own (a record put past the door): the position is theirs.
    """

    source: str
    incarnation: Incarnation
    seq: int
    received_ts_us: int
    tags: tuple[str, ...]
    kinds: U8
    tag: U32
    ts_us: I64
    value: F64
    quality: U8
    states: tuple[str, ...] = ()
    rejects: tuple[DoorReject, ...] = ()
    key: bytes = b""
    replay: bool = False
    anonymous: bool = False
    content_hash: int = 0
    dictionary: bytes = b""  # the dictionary's own bytes, equal for equal dictionaries: a cache key
    trace: str = ""  # W3C trace parent of a sampled frame (55 characters), or empty
    units: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Readings that the sender sent: accepted at the door or refused there."""
        return len(self.ts_us) + len(self.rejects)


@dataclass(frozen=True, slots=True)
class Record:
    """One entry of a shard's log as a worker reads it.

    `position` orders records within a shard (any integer up to 60 digits, strictly rising).
    `arrival_us` is the stream's own stamp, `partition_key` what it was put under.
    """

    position: int
    arrival_us: int
    partition_key: str
    data: bytes


# --- structured rows that leave `process` --------------------------------------------------------

READING: Final = np.dtype(
    [
        ("slot", np.int32),
        ("ts_us", np.int64),
        ("value", np.float64),
        ("quality", np.uint8),
        ("late", np.uint8),  # 1: older than the tag's newest when it came
        ("hash", np.uint64),
    ]
)
"""An applied reading, in order of arrival."""

LEVEL_1S: Final = 0
LEVEL_1M: Final = 1
LEVEL_1H: Final = 2
LEVEL_US: Final = (1_000_000, 60_000_000, 3_600_000_000)

ROLLUP: Final = np.dtype(
    [
        ("slot", np.int32),
        ("level", np.uint8),
        ("window_us", np.int64),  # start of the window
        ("count", np.int64),  # all readings, whatever their quality
        ("good", np.int64),
        ("uncertain", np.int64),
        ("bad", np.int64),
        ("min", np.float64),  # min … last: good and uncertain values only, NaN when there is none
        ("max", np.float64),
        ("sum", np.float64),  # 0 when there is none
        ("first_us", np.int64),
        ("first", np.float64),
        ("last_us", np.int64),
        ("last", np.float64),
        ("hash", np.uint64),  # sum of the readings' hashes, modulo 2^64
    ]
)
"""An additive part of a window: merging is adding counts, sums and hashes, min, max, earliest, latest."""

ANOMALY: Final = np.dtype(
    [
        ("slot", np.int32),  # -1: the whole source, see `source`
        ("source", np.int32),
        ("detector", np.uint8),  # index into DETECTORS
        ("kind", np.uint8),  # OPENED or CLOSED
        ("start_us", np.int64),
        ("end_us", np.int64),  # newest abnormal reading so far; at CLOSED the interval's end
        ("score", np.float64),  # peak so far; 1.0 is the detector's limit
        ("value", np.float64),  # value at the peak
        ("expected", np.float64),  # what the detector held for normal then; NaN if it has no such notion
    ]
)
OPENED: Final = 0
CLOSED: Final = 1
CLOSED_DETECTOR_CHANGED: Final = 2

ALARM: Final = np.dtype(
    [
        ("slot", np.int32),  # -1: the whole source
        ("source", np.int32),
        ("rule", np.uint8),  # index into ALARMS
        ("kind", np.uint8),  # OPENED (raised) or CLOSED (returned to normal)
        ("start_us", np.int64),  # when the condition began: part of the alarm's id
        ("ts_us", np.int64),  # time of this event
        ("value", np.float64),
        ("limit", np.float64),
    ]
)

LEDGER: Final = np.dtype(
    [
        ("source", np.int32),
        ("hour_us", np.int64),  # event hour; received hour where no time could be read
        ("received", np.int64),
        ("received_hash", np.uint64),
        ("duplicate", np.int64),
        ("duplicate_hash", np.uint64),
        ("rejected", np.int64),
        ("rejected_hash", np.uint64),
        ("applied", np.int64),
        ("applied_hash", np.uint64),
        ("critical", np.int64),
        ("critical_hash", np.uint64),
        ("applied_1m", np.int64),  # applied while the tag had 1 min rollups: what `rollup_1m` must add up to
        ("applied_1m_hash", np.uint64),
        ("applied_1s", np.int64),
        ("applied_1s_hash", np.uint64),
    ]
)


class CountedAs(NamedTuple):
    """Where the ledger counts a reject, and with which hash: what recounts the quarantine adds up the same.

    `source` is the ledger's name for it: `unknown` where there was no room for one. `hour_us` is of the reading's own
    time, or of its receipt where its own cannot be.
    """

    source: str
    hour_us: int
    hash: int


@dataclass(frozen=True, slots=True)
class Reject:
    """A row of the quarantine.

    `source` is empty where it could not be read. `tag` is the sender's spelling or empty.
    `payload` is one NDJSON reading that can be sent again, or the sender's bytes (cut) where it never was one.
    `ts_us` is 0 where no time could be read. `value` is NaN where none could be read.
    `count` is how many readings the row stands for (a whole record: all that it held).
    `counted`: None only where nothing counted it.
    """

    position: int
    index: int
    source: str
    reason: Reason
    received_ts_us: int
    ts_us: int
    tag: str
    payload: bytes
    count: int = 1
    counted: CountedAs | None = None


@dataclass(frozen=True, slots=True)
class TagInfo:
    """A tag as the stores need to know it, announced by the batch that first applies it."""

    slot: int
    path: str
    source: str
    kind: ValueKind
    data_class: DataClass
    modelled: bool
    period_us: int
    unit: str
    criticality: int = 3
    limits: tuple[float, ...] = ()  # range_low, low_low, low, high, high_high, range_high; NaN: none; empty: no model
    states: tuple[str, ...] = ()
    description: str = ""


@dataclass(slots=True)
class Output:
    """What `process` made of one batch of one shard's records, up to and with `position`.

    `tags` are the slots first applied or changed by this batch. `sources` maps new source numbers to names.
    `mark` is the number of the newest accounting mark in the batch (0: none); a batch ends at a mark.
    `traces` are (trace parent, first position) of sampled frames.
    """

    shard: int
    position: int
    first_position: int
    time_us: int  # the shard's time after the batch: its newest tick
    records: int
    readings: Rows  # READING
    rollups: Rows  # ROLLUP
    anomalies: Rows  # ANOMALY
    alarms: Rows  # ALARM
    ledger: Rows  # LEDGER
    rejects: list[Reject] = field(default_factory=list)
    reject_counts: dict[Reason, int] = field(default_factory=dict)
    tags: list[TagInfo] = field(default_factory=list)
    sources: dict[int, str] = field(default_factory=dict)
    received: int = 0
    duplicates: int = 0
    late: int = 0
    mark: int = 0
    model_number: int = 0
    newest_received_us: int = 0
    traces: list[tuple[str, int]] = field(default_factory=list)


def empty(dtype: np.dtype[Any]) -> Rows:
    """No rows of that kind."""
    return np.zeros(0, dtype)
