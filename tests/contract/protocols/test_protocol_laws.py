"""Laws over every row of PROTOCOLS: what goes in comes out, and nothing that comes in does harm."""

from __future__ import annotations

import random
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import millrace
from millrace.batch import REASON_NAMES, Frame, Incarnation, Record, ValueKind
from millrace.errors import ProtocolError
from millrace.protocols import BY_NAME, PROTOCOLS, Limits, by_content_type, decode_record, sniff
from millrace.protocols.columns import Columns

T = 1_767_600_000_000_000
LIMITS = Limits()
SEED = 20260105
SRC = str(Path(millrace.__file__).parents[1])

# (row, kind, readings): what each format can carry in one body
CARRIES = [
    *[("frame", kind, 50) for kind in ValueKind],
    *[("arrow", kind, 50) for kind in ValueKind],
    *[("json", kind, 50) for kind in ValueKind],
    *[("ndjson", kind, 50) for kind in ValueKind],
    *[("json_event", kind, 1) for kind in ValueKind],
]
carries = pytest.mark.parametrize(
    ("name", "kind", "n"), CARRIES, ids=lambda v: v.name.lower() if isinstance(v, ValueKind) else str(v)
)
rows = pytest.mark.parametrize("row", PROTOCOLS, ids=lambda row: row.name)


def expect_named(refused: ProtocolError) -> None:
    """A refusal carries a reason of the closed set."""
    assert refused.reason in REASON_NAMES


def sample(kind: ValueKind, n: int, *, gaps: bool = True) -> Frame:
    rng = np.random.default_rng(SEED)
    value = {
        ValueKind.FLOAT: rng.normal(70, 3, n) * 10.0 ** rng.integers(-300, 300, n) + 0.5,
        ValueKind.BOOL: rng.integers(0, 2, n).astype(float),
        ValueKind.INTEGER: rng.integers(-(2**53), 2**53, n, endpoint=True).astype(float),
        ValueKind.STATE: np.arange(n) % 3.0,
    }[kind]
    quality = np.full(n, 192, np.uint8)
    if gaps and n > 5:
        value[3:5], quality[3:6] = np.nan, (0, 63, 64)
    states = ("RUN", "STOP", "Störung ⚠") if kind is ValueKind.STATE else ()
    tag = (np.arange(n) % 2).astype(np.uint32)
    ts_us = T - np.arange(n)[::-1] * 1_000
    return Frame(
        "gw-1",
        Incarnation(T, 1),
        1,
        T,
        ("a/b", "straße/c d"),
        np.full(2, kind, np.uint8),
        tag,
        ts_us,
        value,
        quality,
        states,
        units=("m³/h", ""),
    )


def decoded(name: str, body: bytes) -> Columns | Frame:
    """Through the row's own decoder; the two without one through the record's."""
    decode = BY_NAME[name].decode
    if decode is not None:
        return decode(body, limits=LIMITS, received_ts_us=T)
    [frame] = decode_record(Record(1, T, "gw-1", body), LIMITS)
    return frame


def readings(of: Columns | Frame) -> list[tuple[object, ...]]:
    """(tag, kind, time, value bit for bit or a state's text, quality, unit) of each reading."""
    out = []
    for tag, ts_us, value, quality in zip(
        of.tag.tolist(), of.ts_us.tolist(), of.value.tolist(), of.quality.tolist(), strict=True
    ):
        kind = ValueKind(int(of.kinds[tag]))
        text = None if value != value else of.states[int(value)] if kind is ValueKind.STATE else value.hex()
        out.append((of.tags[tag], kind, ts_us, text, quality, of.units[tag] if of.units else ""))
    return out


def encoded(name: str, kind: ValueKind, n: int) -> bytes:
    encode = BY_NAME[name].encode
    assert encode is not None
    return encode(sample(kind, n))


@carries
def test_readings_come_back_bit_for_bit(name: str, kind: ValueKind, n: int) -> None:
    found = decoded(name, encoded(name, kind, n))
    assert readings(found) == readings(sample(kind, n))
    assert found.rejects == ()


@carries
def test_a_record_is_known_by_its_first_bytes(name: str, kind: ValueKind, n: int) -> None:
    assert sniff(encoded(name, kind, n)) == name


@rows
def test_each_content_type_leads_to_its_row(row: object) -> None:
    for content_type in row.content_types:  # type: ignore[attr-defined]
        assert by_content_type(f" {content_type.upper()}; charset=utf-8") is row


@carries
def test_truncation_at_every_length_costs_at_most_the_readings_cut(
    name: str, kind: ValueKind, n: int
) -> None:
    body, whole = encoded(name, kind, n), readings(sample(kind, n))
    step = 1 if len(body) < 3_000 else 7
    for length in range(0, len(body), step):
        try:
            found = readings(decoded(name, body[:length]))
        except ProtocolError as refused:
            expect_named(refused)
            continue
        # a line or a batch that ended before the cut is whole; its kinds may be judged by fewer readings
        assert [r[2:] for r in found] == [r[2:] for r in whole[: len(found)]]


@carries
def test_flipped_bits_never_raise_anything_else(name: str, kind: ValueKind, n: int) -> None:
    print("seed", SEED)
    rng, body = random.Random(SEED), encoded(name, kind, n)
    for _ in range(400):
        damaged = bytearray(body)
        for _ in range(rng.randint(1, 3)):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        try:
            found = decoded(name, bytes(damaged))
        except ProtocolError as refused:
            expect_named(refused)
            continue
        assert all(t < len(found.tags) for t in found.tag.tolist())
        assert not np.isinf(found.value).any()


@pytest.mark.parametrize("name", [row.name for row in PROTOCOLS if row.decode])
@given(junk=st.binary(max_size=400))
@settings(max_examples=150)
def test_random_bytes_are_rejects_or_refused(name: str, junk: bytes) -> None:
    try:
        found = decoded(name, junk)
    except ProtocolError as refused:
        expect_named(refused)
        return
    assert len(found.ts_us) == 0 or name in ("json", "ndjson", "json_event")


PREFIXES = [b"", b"MRF1", b"\xf3\x89\x9a\xc2", b"\xff\xff\xff\xff", b"[", b"{", b"MRT1", b" \n{"]


@given(prefix=st.sampled_from(PREFIXES), junk=st.binary(max_size=300), key=st.text(max_size=200))
@settings(max_examples=300)
def test_any_record_becomes_frames_that_count_it(prefix: bytes, junk: bytes, key: str) -> None:
    frames = decode_record(Record(7, T, key, prefix + junk), LIMITS)
    assert len(frames) >= 1
    for frame in frames:
        assert frame.received_ts_us == T or not frame.anonymous
        assert frame.source


BOMBS = {
    "nested": b"[" * 1_000_000,
    "nested_objects": b'{"tag":' * 500_000,
    "ten_megabyte_line": b'{"tag":"' + b"x" * 8_000_000 + b'","ts":1,"value":1}',
    "numbers": b"[" + b"0," * 4_000_000 + b"0]",
    "million_lines": b"{}\n" * 1_000_000,
    "blank_lines": b"\n" * 8_000_000,
    "long_number": b'{"tag":"a","ts":1,"value":' + b"9" * 8_000_000 + b"}",
    "million_tags": b"".join(b'{"tag":"%d","ts":%d,"value":1}\n' % (i, T) for i in range(200_000)),
    "time_in_the_tag": b"".join(b'{"tag":"t-%d","ts":%d,"value":1}\n' % (T + i, T) for i in range(60_000)),
    "empty": b"",
    "white": b" \t\r\n ",
}


@pytest.mark.requirement("S-19")
@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("name", [row.name for row in PROTOCOLS])
def test_a_hostile_body_costs_bounded_memory_and_is_refused(name: str, bomb: str) -> None:
    body = BOMBS[bomb]
    limits = Limits(tags_max=1_000)
    decode = BY_NAME[name].decode
    tracemalloc.start()
    try:
        if decode is None:
            found: Columns | Frame = decode_record(Record(1, T, "s", body), limits)[0]
        else:
            found = decode(body, limits=limits, received_ts_us=T)
        assert len(found.ts_us) <= limits.tags_max
        assert len(found.tags) <= limits.tags_max
    except ProtocolError as refused:
        expect_named(refused)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 25 * limits.bytes_max


def test_a_producer_needs_no_arrow() -> None:
    program = "import sys, millrace.protocols.frame; sys.exit('pyarrow' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", program], env={"PYTHONPATH": SRC}, check=False).returncode == 0
    )
