"""Arrow from strangers: sensible types are read, wrong rows refused one by one, no bomb inflates."""

from __future__ import annotations

import random
import struct
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from millrace.batch import REASON_NAMES, Reason, ValueKind
from millrace.errors import ProtocolError
from millrace.protocols import Limits, arrow, json_text
from millrace.protocols.columns import Columns

T = 1_767_600_000_000_000
LIMITS = Limits()
SEED = 20260105


def expect_named(refused: ProtocolError) -> None:
    """A refusal carries a reason of the closed set."""
    assert refused.reason in REASON_NAMES


def stream(
    table: pa.Table | pa.RecordBatch, *, compression: str | None = None, rows: int | None = None
) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(
        sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)
    ) as writer:
        writer.write(table) if rows is None else writer.write_table(table, rows)
    return bytes(sink.getvalue().to_pybytes())


def table(n: int = 4, **columns: Any) -> pa.Table:
    plain = {
        "tag": pa.array(["a/b", "c"] * (n // 2)),
        "ts": pa.array([T - n + i for i in range(n)]),
        "value": pa.array(np.arange(n) + 0.5),
    }
    return pa.table(plain | columns)


def decode(body: bytes, limits: Limits = LIMITS) -> Columns:
    return arrow.decode(body, limits=limits, received_ts_us=T)


@pytest.mark.parametrize("compression", [None, "zstd", "lz4"])
@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        pytest.param({}, ValueKind.FLOAT, id="float64"),
        pytest.param({"value": pa.array([0.5, 1.5, 2.5, 3.5], pa.float32())}, ValueKind.FLOAT, id="float32"),
        pytest.param({"value": pa.array([1, 2, 3, 4], pa.int16())}, ValueKind.INTEGER, id="int16"),
        pytest.param({"value": pa.array([1, 2, 3, 2**53], pa.uint64())}, ValueKind.INTEGER, id="uint64"),
        pytest.param({"value": pa.array([True, False, True, True])}, ValueKind.BOOL, id="bool"),
        pytest.param({"value": pa.array(["RUN", "STOP", "RUN", "RUN"])}, ValueKind.STATE, id="string"),
        pytest.param(
            {"value": pa.array(["RUN", "STOP", "RUN", "RUN"]).dictionary_encode()},
            ValueKind.STATE,
            id="dictionary",
        ),
        pytest.param(
            {"tag": pa.array(["a/b", "c"] * 2).dictionary_encode()}, ValueKind.FLOAT, id="dictionary_tag"
        ),
        pytest.param(
            {"tag": pa.array(["a/b", "c"] * 2, pa.large_string())}, ValueKind.FLOAT, id="large_string_tag"
        ),
        pytest.param(
            {"ts": pa.array([T - 4, T - 3, T - 2, T - 1], pa.timestamp("us", "Europe/Paris"))},
            ValueKind.FLOAT,
            id="timestamp_us",
        ),
        pytest.param(
            {"ts": pa.array([1000 * t + 7 for t in range(T - 4, T)], pa.timestamp("ns"))},
            ValueKind.FLOAT,
            id="timestamp_ns",
        ),
        pytest.param({"quality": pa.array([192, 64, 0, None], pa.uint8())}, ValueKind.FLOAT, id="quality"),
    ],
)
def test_any_sensible_types_are_read(
    columns: dict[str, Any], kind: ValueKind, compression: str | None
) -> None:
    found = decode(stream(table(**columns), compression=compression))
    assert found.rejects == ()
    assert [found.tags[i] for i in found.tag] == ["a/b", "c", "a/b", "c"]
    assert found.ts_us.tolist() == [T - 4, T - 3, T - 2, T - 1]
    assert set(found.kinds.tolist()) == {kind}


def test_several_batches_with_growing_dictionaries_are_one_body() -> None:
    found = decode(stream(table(10, tag=pa.array([f"t{i}" for i in range(10)]).dictionary_encode()), rows=3))
    assert [found.tags[i] for i in found.tag] == [f"t{i}" for i in range(10)]


def test_each_wrong_row_has_its_reason_and_can_be_read_again() -> None:
    wrong = pa.table(
        {
            "tag": ["a", None, "x" * 300, "a//b", "a", "a", "a", "a", "a", "a"],
            "ts": pa.array([T, T, T, T, None, 0, T + 6_000_000, T, T, T]),
            "value": pa.array([1.0, 1, 1, 1, 1, 1, 1, None, float("nan"), float("inf")]),
            "quality": pa.array([192, 192, 192, 192, 192, 192, 192, 192, 192, 192]),
        }
    )
    found = decode(stream(wrong))
    assert [(r.index, r.reason.name) for r in found.rejects] == [
        (1, "BAD_TAG"),
        (2, "TAG_TOO_LONG"),
        (3, "BAD_TAG"),
        (4, "BAD_TIME"),
        (5, "TIME_TOO_OLD"),
        (6, "TIME_IN_FUTURE"),
        (7, "VALUE_MISSING"),
        (8, "NOT_FINITE"),
        (9, "NOT_FINITE"),
    ]
    assert found.tags == ("a",)
    assert found.ts_us.tolist() == [T]
    again = json_text.decode(
        b"\n".join(r.payload for r in found.rejects), content="ndjson", limits=LIMITS, received_ts_us=T
    )
    assert again.count == 9


def test_integers_beyond_2_to_53_and_qualities_beyond_255_are_refused() -> None:
    body = stream(
        table(value=pa.array([1, 2**53 + 1, -(2**53) - 1, 2]), quality=pa.array([192, 192, 192, 256]))
    )
    assert [(r.index, r.reason) for r in decode(body).rejects] == [
        (1, Reason.INTEGER_INEXACT),
        (2, Reason.INTEGER_INEXACT),
        (3, Reason.BAD_QUALITY),
    ]


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(lambda: table().drop(["ts"]), id="no_time"),
        pytest.param(lambda: table(units=pa.array(["C"] * 4)), id="unknown_column"),
        pytest.param(lambda: table(value=pa.array([[1.0]] * 4)), id="list_of_values"),
        pytest.param(lambda: table(value=pa.array([{"a": 1}] * 4)), id="struct_of_values"),
        pytest.param(lambda: table(ts=pa.array(["2026"] * 4)), id="time_as_text"),
        pytest.param(lambda: table(tag=pa.array([1] * 4)), id="tag_a_number"),
        pytest.param(
            lambda: pa.Table.from_arrays([pa.array(["a"])] * 2 + [pa.array([1])], names=["tag", "tag", "ts"]),
            id="tag_twice",
        ),
    ],
)
def test_other_columns_are_refused_whole(bad: Callable[[], pa.Table]) -> None:
    with pytest.raises(ProtocolError, match="bad_schema"):
        decode(stream(bad()))


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_a_compression_bomb_is_seen_before_it_inflates(compression: str) -> None:
    n = 4_000_000
    zeros = pa.array(np.zeros(n, np.int64))
    bomb = stream(
        pa.table(
            {
                "tag": pa.array(["a"]).take(pa.array(np.zeros(n, np.int32))).dictionary_encode(),
                "ts": zeros,
                "value": zeros,
            }
        ),
        compression=compression,
    )
    assert len(bomb) < 1_000_000
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    with pytest.raises(ProtocolError, match=r"compression_bomb|too_many_readings"):
        decode(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8_000_000
    assert pa.total_allocated_bytes() - before < 8_000_000


def test_a_raw_length_that_lies_is_refused() -> None:
    body = bytearray(stream(table(2_000, value=pa.array(np.zeros(2_000))), compression="zstd"))
    at = body.rindex(struct.pack("<q", 16_000))
    body[at : at + 8] = struct.pack("<q", 2**40)
    with pytest.raises(ProtocolError, match="compression_bomb"):
        decode(bytes(body))


@pytest.mark.parametrize("rows", [11, 2])
def test_more_readings_than_a_frame_holds_are_refused_whole(rows: int) -> None:
    with pytest.raises(ProtocolError, match="too_many_readings"):
        decode(stream(table(12), rows=rows), Limits(readings_max=10))


@pytest.mark.parametrize("encoded", [False, True], ids=["plain", "dictionary"])
def test_a_unit_is_said_row_by_row_and_null_is_none(encoded: bool) -> None:
    unit = pa.array([None, "bar", "", "°C"])
    found = decode(stream(table(unit=unit.dictionary_encode() if encoded else unit)))
    entries = list(zip(found.tags, found.units, strict=True))
    assert [entries[i] for i in found.tag] == [("a/b", ""), ("c", "bar"), ("a/b", ""), ("c", "°C")]
    assert len(entries) == 3
    assert decode(stream(table(unit=pa.array([None] * 4, pa.string())))).units == ()


def test_a_unit_that_none_can_be_costs_its_rows_alone() -> None:
    found = decode(stream(table(unit=pa.array(["bar", "x" * 33, "bar", "a\n"]))))
    assert [(r.index, r.reason) for r in found.rejects] == [(1, Reason.BAD_SCHEMA), (3, Reason.BAD_SCHEMA)]
    assert (found.tags, found.units) == (("a/b",), ("bar",))
    assert b"x" * 33 in found.rejects[0].payload
    with pytest.raises(ProtocolError, match="bad_schema"):
        decode(stream(table(unit=pa.array([1, 2, 3, 4]))))


def test_a_million_tags_are_refused() -> None:
    tags = pa.array([f"t{i}" for i in range(200_000)])
    body = stream(table(2, tag=pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int32()), tags)))
    with pytest.raises(ProtocolError, match="too_many_readings"):
        decode(body)


def test_tags_that_are_not_utf8_are_refused() -> None:
    body = stream(table()).replace(b"a/bca/bc", b"a/\xffca/bc")
    with pytest.raises(ProtocolError, match="bad_encoding"):
        decode(body)


@pytest.mark.parametrize("compression", [None, "zstd"])
def test_damaged_metadata_never_reads_foreign_memory(compression: str | None) -> None:
    print("seed", SEED)
    rng = random.Random(SEED)
    body = stream(
        table(40, tag=pa.array(["a/b", "c"] * 20).dictionary_encode(), quality=pa.array([0] * 40)),
        compression=compression,
    )
    words = [b"\xff\xff\xff\x7f", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x01\0\0\0", b"\0\0\0\x80"]
    for _ in range(2_000):
        damaged = bytearray(body)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(damaged))
            damaged[at : at + 4] = rng.choice(words)
        try:
            found = decode(bytes(damaged))
        except ProtocolError as refused:
            expect_named(refused)
            continue
        assert not len(found.tag) or found.tag.max() < len(found.tags)
