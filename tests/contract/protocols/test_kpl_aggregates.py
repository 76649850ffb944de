"""KPL aggregates: made by the public `aws-kinesis-agg` package, read by us, and damaged in every way."""

from __future__ import annotations

import base64
import hashlib
import random

import pytest
from aws_kinesis_agg.aggregator import RecordAggregator
from aws_kinesis_agg.deaggregator import deaggregate_records
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.batch import REASON_NAMES, Reason, Record
from millrace.errors import ProtocolError
from millrace.protocols import Limits, decode_record, frame, json_text, kpl
from millrace.protocols.columns import Columns

T = 1_767_600_000_000_000
LIMITS = Limits()


def expect_named(refused: ProtocolError) -> None:
    """A refusal carries a reason of the closed set."""
    assert refused.reason in REASON_NAMES


def aggregate(records: list[tuple[str, bytes]]) -> bytes:
    packer = RecordAggregator()
    for key, data in records:
        assert packer.add_user_record(key, data) is None
    return bytes(packer.clear_and_get().get_contents()[2])


def seal(body: bytes) -> bytes:
    return kpl.MAGIC + body + hashlib.md5(body, usedforsecurity=False).digest()


def event(i: int, tag: str = "a/b") -> bytes:
    return b'{"tag":"%s","ts":%d,"value":%d.5}' % (tag.encode(), T - 1_000 + i, i)


def field(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2, len(data)]) + data


@given(
    st.lists(
        st.tuples(st.text(min_size=1, max_size=20), st.binary(min_size=1, max_size=200)),
        min_size=1,
        max_size=20,
    )
)
@settings(max_examples=100)
def test_user_records_are_those_that_the_public_package_reads(records: list[tuple[str, bytes]]) -> None:
    data = aggregate(records)
    envelope = {
        "partitionKey": "k",
        "sequenceNumber": "1",
        "kinesisSchemaVersion": "1.0",
        "approximateArrivalTimestamp": 1.0,
    }
    around = {
        "eventSource": "",
        "eventVersion": "",
        "eventID": "",
        "eventName": "",
        "invokeIdentityArn": "",
        "awsRegion": "",
        "eventSourceARN": "",
    }
    theirs = deaggregate_records([around | {"kinesis": envelope | {"data": base64.b64encode(data)}}])
    wanted = [(r["kinesis"]["partitionKey"], base64.b64decode(r["kinesis"]["data"])) for r in theirs]
    ours = kpl.user_records(data[4:-16], 1_000)
    assert [(r.partition_key, r.data) for r in ours] == wanted == records


def test_events_under_one_key_become_one_frame_of_their_source() -> None:
    data = aggregate([(f"gw-{i % 3}", event(i)) for i in range(30)])
    frames = decode_record(Record(9, T, "outer", data), LIMITS)
    assert [f.source for f in frames] == ["gw-0", "gw-1", "gw-2"]
    assert all(f.anonymous and f.received_ts_us == T for f in frames)
    assert [f.value.tolist() for f in frames] == [[i + 0.5 for i in range(k, 30, 3)] for k in range(3)]


def test_each_user_record_may_have_its_own_format_and_order_is_kept() -> None:
    inner: Columns = json_text.decode(event(7), content="ndjson", limits=LIMITS, received_ts_us=T)
    made = frame.encode(inner.frame("gw-1", seq=3, received_ts_us=T))
    data = aggregate(
        [("gw-1", event(1)), ("gw-1", made), ("gw-1", b"?"), ("gw-1", event(2)), ("gw-1", event(3))]
    )
    frames = decode_record(Record(9, T, "outer", data), LIMITS)
    assert [f.value.tolist() for f in frames] == [[1.5], [7.5], [], [2.5, 3.5]]


def test_rejects_of_one_record_have_distinct_places() -> None:
    data = aggregate([("a", b"?"), ("b", event(1)), ("b", b"{}"), ("c", b"?"), ("d", b"{}")])
    places = [r.index for f in decode_record(Record(9, T, "outer", data), LIMITS) for r in f.rejects]
    assert len(places) == 4 == len(set(places))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(
            seal(field(1, b"k") + field(3, b"\x08\x00\x1a\x01x"))[:-1] + b"?", "checksum_mismatch", id="md5"
        ),
        pytest.param(kpl.MAGIC + b"x", "truncated", id="no_room_for_md5"),
        pytest.param(
            seal(field(1, b"k") + field(3, b"\x08\x05\x1a\x01x")), "bad_schema", id="key_not_in_the_table"
        ),
        pytest.param(seal(field(1, b"k") + field(3, b"\x08\x00")), "bad_schema", id="no_data"),
        pytest.param(
            seal(field(1, b"\xff") + field(3, b"\x08\x00\x1a\x01x")), "bad_encoding", id="key_not_utf8"
        ),
        pytest.param(seal(b"\x1a\xff\xff\xff\xff\xff\xff\xff\xff\x7fx"), "truncated", id="length_of_2_to_63"),
        pytest.param(seal(b"\xff" * 11), "bad_syntax", id="endless_varint"),
        pytest.param(seal(b"\x0b"), "bad_syntax", id="group"),
        pytest.param(seal(b"\x1a\x00" * 70_000), "bad_schema", id="seventy_thousand_empty_records"),
        pytest.param(seal(field(1, b"") * 70_000), "too_many_readings", id="seventy_thousand_keys"),
    ],
)
def test_a_damaged_aggregate_is_one_reject_with_its_reason(data: bytes, reason: str) -> None:
    with pytest.raises(ProtocolError) as refused:
        kpl.decode(data, limits=LIMITS)
    assert refused.value.reason == reason
    [f] = decode_record(Record(9, T, "outer", data), LIMITS)
    assert [r.reason for r in f.rejects] == [Reason[reason.upper()]]
    assert f.source == "outer"


def test_an_aggregate_inside_an_aggregate_is_not_opened() -> None:
    data = aggregate([("a", aggregate([("b", event(1))]))])
    [f] = decode_record(Record(9, T, "outer", data), LIMITS)
    assert [r.reason for r in f.rejects] == [Reason.UNKNOWN_FORMAT]


def test_damaged_protobuf_behind_a_right_md5_never_raises_anything_else() -> None:
    seed = 20260105
    print("seed", seed)
    rng = random.Random(seed)
    body = aggregate([(f"gw-{i % 3}", event(i)) for i in range(10)])[4:-16]
    for _ in range(2_000):
        damaged = bytearray(body)
        for _ in range(rng.randint(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        try:
            kpl.decode(seal(bytes(damaged)), limits=LIMITS)
        except ProtocolError as refused:
            expect_named(refused)
