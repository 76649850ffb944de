"""Live blobs: what the worker writes is what the API reads, whatever the values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.batch import CLOSED, OPENED, READING, DataClass, TagInfo, ValueKind
from millrace.errors import ProtocolError
from millrace.schema import live
from millrace.schema.live import AlarmEvent, AnomalyEvent, Latest, LiveBlob
from millrace.schema.live_columns import columns_of

NAMES = ("slot", "ts_us", "value", "quality", "late")

TAGS = [
    TagInfo(0, "acme/lyon/x/y/z/temp", "gw-1", ValueKind.FLOAT, DataClass.CRITICAL, True, 100_000, "°C"),
    TagInfo(70_000, "état", "gw", ValueKind.STATE, DataClass.STANDARD, False, 1, ""),
]
ANOMALY = AnomalyEvent(
    id="i", path="p", source="s", detector="ewma", kind=OPENED, start_us=1, end_us=2, score=3.5, value=None,
    expected=1.0,
)  # fmt: skip
ALARM = AlarmEvent(
    id="j", path="", source="s", rule="silence", kind=CLOSED, start_us=1, ts_us=2, value=1.0, limit=None
)

rows = st.lists(
    st.tuples(
        st.integers(0, 200_000),
        st.integers(0, 4_000_000_000_000_000),
        st.one_of(st.floats(width=32), st.floats()),
        st.sampled_from([192, 64, 0, 192, 192]),
        st.sampled_from([0, 0, 1]),
    ),
    max_size=40,
)
position = st.integers(0, 10**60 - 1)


def blob_of(given_rows: list[tuple[int, int, float, int, int]], first: int, newest: int) -> LiveBlob:
    columns = list(zip(*given_rows, strict=True)) or [(), (), (), (), ()]
    types = (np.int32, np.int64, np.float64, np.uint8, np.uint8)
    return LiveBlob(
        3, 12, first, newest, 5, 1_000, 2_000,
        *(np.array(column, kind) for column, kind in zip(columns, types, strict=True)),
        tags=TAGS, anomalies=[ANOMALY], alarms=[ALARM], part=7,
    )  # fmt: skip


def same(a: LiveBlob, b: LiveBlob) -> None:
    for name in LiveBlob.__slots__:
        x, y = getattr(a, name), getattr(b, name)
        if isinstance(x, np.ndarray):
            assert x.dtype == y.dtype, name
            np.testing.assert_array_equal(x, y, err_msg=name)
        else:
            assert x == y, name


@given(rows, position, position)
def test_a_blob_comes_back_as_it_was(
    given_rows: list[tuple[int, int, float, int, int]], first: int, newest: int
) -> None:
    blob = blob_of(given_rows, first, newest)
    same(live.decode(live.encode(blob)), blob)


def test_columns_are_as_narrow_as_is_exact() -> None:
    narrow = blob_of([(1, 1_000_000 + i, 0.5 * i, 192, 0) for i in range(1_000)], 1, 2)
    wide = blob_of([(70_000, i * 10**11, 0.1 * i, 64, 1) for i in range(1_000)], 1, 2)
    rare = len(live.encode(blob_of([], 1, 2)))
    assert len(live.encode(narrow)) - rare == 1_000 * (2 + 4 + 4)
    assert len(live.encode(wide)) - rare == 1_000 * (4 + 8 + 8 + 1 + 1)


def test_every_truncation_and_every_tail_is_a_protocol_error() -> None:
    data = live.encode(blob_of([(1, 2, 3.0, 192, 0)], 1, 2))
    with pytest.raises(ProtocolError):
        live.decode(data + b"x")
    for length in range(len(data)):
        with pytest.raises(ProtocolError):
            live.decode(data[:length])
    for kind in (live.decode, live.decode_latest, live.decode_tags):
        with pytest.raises(ProtocolError):
            kind(b"MRXX" + data[4:])


def test_latest_values_and_tag_tables_come_back() -> None:
    latest = Latest.of_size(2).grown(70)
    slot = np.array([5, 69, 5], np.int32)
    quality = np.array([192, 0, 64], np.uint8)
    latest.take(slot, np.array([1, 2, 3]), np.array([1.5, math.nan, 2.5]), quality, np.zeros(3, np.uint8))
    blob = live.decode_latest(live.encode_latest(4, 2, 10**59, 77, latest, 70))
    assert (blob.shard, blob.epoch, blob.position, blob.time_us) == (4, 2, 10**59, 77)
    assert (blob.latest.ts_us[5], blob.latest.value[5], blob.latest.quality[5]) == (3, 2.5, 64)
    assert blob.latest.ts_us[0] == 0
    assert live.decode_tags(live.encode_tags(TAGS)) == TAGS


@given(st.integers(0, 2**62), position, st.integers(0, 2**62), position)
def test_fences_compare_as_text_as_they_do_as_numbers(a: int, b: int, c: int, d: int) -> None:
    assert (live.fence(a, b) < live.fence(c, d)) == ((a, b) < (c, d))
    assert live.fence_position(live.fence(a, b)) == b


@given(rows, rows)
def test_the_newest_of_a_tag_stays_and_late_readings_change_nothing(
    before: list[tuple[int, int, float, int, int]], after: list[tuple[int, int, float, int, int]]
) -> None:
    latest, slow = Latest.of_size(0), dict.fromkeys(range(200_001), (0, math.nan, 0))
    for part in (before, after):
        blob = blob_of(part, 1, 2)
        latest = latest.take(blob.slot, blob.ts_us, blob.value, blob.quality, blob.late)
        for slot, ts_us, value, quality, late in part:
            if not late and ts_us >= slow[slot][0]:
                slow[slot] = (ts_us, value, quality)
    for slot in {row[0] for row in before + after}:
        found = (int(latest.ts_us[slot]), float(latest.value[slot]), int(latest.quality[slot]))
        assert str(found) == str(slow[slot])


@given(rows)
def test_columns_of_readings_are_their_fields(given_rows: list[tuple[int, int, float, int, int]]) -> None:
    readings = np.zeros(len(given_rows), READING)
    for at, row in enumerate(given_rows):
        for name, value in zip(NAMES, row, strict=True):
            readings[name][at] = value
    for name, column in zip(NAMES, columns_of(readings), strict=True):
        assert column.flags.c_contiguous
        np.testing.assert_array_equal(column, readings[name])
