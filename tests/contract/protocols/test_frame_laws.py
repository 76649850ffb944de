"""What a frame promises: every bit comes back, every damaged bit is noticed, hostile lengths cost nothing."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.batch import REASON_NAMES, DoorReject, Frame, Incarnation, Reason, ValueKind
from millrace.errors import ProtocolError
from millrace.protocols import dictionary, frame, frame_content, value_column, zstd_block

T = 1_767_600_000_000_000
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

values = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.just(float("nan")),
    st.sampled_from([0.0, -0.0, 5e-324, 2.0**53]),
)
tag_texts = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters="*/."),
    min_size=1,
    max_size=40,
)
unit_texts = st.sampled_from(["", "", "degC", "°C", "m³/h", "1", "x" * 32])
rejects = st.builds(
    DoorReject,
    index=st.integers(0, 70_000),
    reason=st.sampled_from([r for r in Reason if r is not Reason.OK]),
    payload=st.binary(max_size=1024),
    ts_us=st.integers(0, 2**60),
)


def expect_named(refused: ProtocolError) -> None:
    """A refusal carries a reason of the closed set."""
    assert refused.reason in REASON_NAMES


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    tags = tuple(draw(st.lists(tag_texts, min_size=1, max_size=20, unique=True)))
    states = tuple(
        draw(
            st.lists(st.text(st.characters(codec="utf-8"), max_size=20), min_size=1, max_size=5, unique=True)
        )
    )
    kinds = np.array(draw(st.lists(st.integers(0, 3), min_size=len(tags), max_size=len(tags))), np.uint8)
    units = draw(st.lists(unit_texts, min_size=len(tags), max_size=len(tags)))
    n = draw(st.integers(0, 40))
    column = lambda elements: draw(st.lists(elements, min_size=n, max_size=n))  # noqa: E731
    tag = np.array(column(st.integers(0, len(tags) - 1)), np.uint32)
    value = np.array(column(values), np.float64)
    is_state = (kinds[tag] == ValueKind.STATE) & ~np.isnan(value)
    value[is_state] = np.array(column(st.integers(0, len(states) - 1)), np.float64)[is_state]
    span = draw(st.sampled_from([0, 60_000, 10**9, 10**15]))
    return Frame(
        source=draw(tag_texts),
        incarnation=Incarnation(draw(st.integers(0, 2**64 - 1)), draw(st.integers(0, 2**64 - 1))),
        seq=draw(st.integers(0, 2**64 - 1)),
        received_ts_us=draw(st.integers(-(2**63), 2**63 - 1)),
        tags=tags,
        kinds=kinds,
        tag=tag,
        ts_us=T + np.array(column(st.integers(0, span)), np.int64),
        value=value,
        quality=np.array(column(st.sampled_from([192, 192, 64, 0, 255])), np.uint8),
        states=states,
        rejects=tuple(draw(st.lists(rejects, max_size=4))),
        key=draw(st.binary(max_size=64)),
        replay=draw(st.booleans()),
        anonymous=draw(st.booleans()),
        trace=draw(st.sampled_from(["", TRACE])),
        units=tuple(units) if any(units) else (),
    )


def plain(f: Frame) -> tuple[object, ...]:
    """Everything of a frame as comparable Python values, the value bit for bit (all NaN alike)."""
    bits = np.where(np.isnan(f.value), np.nan, f.value).view(np.uint64)
    columns = (f.tag.tolist(), f.ts_us.tolist(), bits.tolist(), f.quality.tolist())
    identity = (f.source, f.incarnation, f.seq, f.received_ts_us, f.key, f.replay, f.anonymous, f.trace)
    return (*identity, f.tags, f.kinds.tolist(), f.units, f.states, *columns, f.rejects)


def sample(n: int = 50, *, seed: int = 20260105, units: tuple[str, ...] = ("",)) -> Frame:
    rng = np.random.default_rng(seed)
    d = dictionary.Dictionary()
    for i in range(100):
        unit = units[i % len(units)]
        d.index(f"acme/lyon/press-shop/line-{i // 40}/press-{i // 10:02d}/signal-{i % 10}", unit=unit)
    mode = d.index("acme/lyon/press-shop/line-1/press-01/mode", ValueKind.STATE)
    d.state("RUN"), d.state("STOP")
    p = d.parsed()
    tag = rng.integers(0, 100, n).astype(np.uint32)
    value = np.round(rng.normal(70, 3, n), 2)
    tag[: n // 10], value[: n // 10] = mode, 1.0
    quality = np.full(n, 192, np.uint8)
    quality[-2:], value[-1:] = 0, np.nan
    return Frame(
        "gateway-042",
        Incarnation(T, 77),
        5,
        T + 60_000,
        p.tags,
        p.kinds,
        tag,
        T + np.sort(rng.integers(0, 50_000, n)),
        value,
        quality,
        p.states,
        (DoorReject(3, Reason.BAD_TIME, b'{"tag":"a"}', 0),),
        b"key-1",
        dictionary=p.block,
        trace=TRACE,
        units=p.units,
    )


with_units = pytest.mark.parametrize("units", [("",), ("bar", "", "°C")], ids=["no_units", "units"])


@given(frames())
@settings(max_examples=150)
def test_every_bit_of_a_frame_comes_back(f: Frame) -> None:
    assert plain(frame.decode(frame.encode(f))) == plain(f)


@given(frames())
@settings(max_examples=30)
def test_encoding_what_was_decoded_gives_the_same_content(f: Frame) -> None:
    once = frame.decode(frame.encode(f))
    again = frame.decode(frame.encode(replace(once, received_ts_us=1, seq=9, trace="", source="other")))
    assert again.content_hash == once.content_hash


def test_content_hash_moves_with_any_reading() -> None:
    one, other = sample(), sample()
    other.value[7] += 0.01
    assert frame.decode(frame.encode(one)).content_hash != frame.decode(frame.encode(other)).content_hash


def test_stamp_changes_the_time_of_receipt_alone() -> None:
    data = frame.encode(sample())
    stamped = frame.decode(frame.stamp(data, 123))
    assert plain(stamped) == plain(replace(frame.decode(data), received_ts_us=123))
    assert stamped.content_hash == frame.decode(data).content_hash


@with_units
@pytest.mark.parametrize("before", ["", TRACE])
def test_a_trace_put_into_a_frame_changes_nothing_else(units: tuple[str, ...], before: str) -> None:
    data = frame.encode(replace(sample(units=units), trace=before))
    other = TRACE.replace("7", "8")
    traced = frame.decode(frame.traced(data, other))
    assert other != before
    assert plain(traced) == plain(replace(frame.decode(data), trace=other))
    assert traced.content_hash == frame.decode(data).content_hash
    assert frame.traced(frame.traced(data, TRACE), other) == frame.traced(data, other)


def test_a_frame_of_version_1_has_no_room_for_a_trace() -> None:
    data = frame.encode(replace(sample(), trace=""), version=1)
    assert frame.traced(data, TRACE) == data


def test_equal_dictionaries_give_the_same_tuple_of_tags() -> None:
    one, other = frame.decode(frame.encode(sample(seed=1))), frame.decode(frame.encode(sample(seed=2)))
    assert one.tags is other.tags
    assert one.dictionary is other.dictionary


def test_columns_are_writable_and_full_width() -> None:
    f = frame.decode(frame.encode(sample()))
    assert [c.dtype for c in (f.tag, f.ts_us, f.value, f.quality)] == ["uint32", "int64", "float64", "uint8"]
    assert all(c.flags.writeable and c.flags.aligned for c in (f.tag, f.ts_us, f.value, f.quality))


@with_units
def test_truncation_at_every_length_is_refused(units: tuple[str, ...]) -> None:
    data = frame.encode(sample(units=units))
    for length in range(len(data)):
        with pytest.raises(ProtocolError):
            frame.decode(data[:length])
    with pytest.raises(ProtocolError):
        frame.decode(data + b"\0")


@pytest.mark.requirement("S-19")
@with_units
def test_a_flipped_bit_anywhere_but_in_the_stamp_is_noticed(units: tuple[str, ...]) -> None:
    data = frame.encode(sample(units=units))
    stamp = range(8, 16)
    for at in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[at] ^= 1 << bit
            if at in stamp:
                assert plain(frame.decode(bytes(flipped)))[4:] == plain(frame.decode(data))[4:]
                continue
            with pytest.raises(ProtocolError) as refused:
                frame.decode(bytes(flipped))
            assert refused.value.reason in REASON_NAMES


@given(st.binary(max_size=300), st.booleans())
@settings(max_examples=300)
def test_random_bytes_are_refused_by_name(junk: bytes, magic: bool) -> None:
    with pytest.raises(ProtocolError) as refused:
        frame.decode(b"MRF1\x02\x00" + junk if magic else junk)
    assert refused.value.reason in REASON_NAMES


def sealed(content: bytes, *, version: int = 2, header: bytes = b"", source: bytes = b"s") -> bytes:
    """A frame around any content, with right checksums: what a hostile sender can make."""
    header_len = 64 + len(header)
    head = struct.pack(
        "<4sBBHqQQQQB3xI",
        b"MRF1",
        version,
        0,
        header_len,
        0,
        xxhash.xxh3_64_intdigest(content),
        1,
        2,
        3,
        len(source),
        len(content),
    )
    tail = b"\0" * 4 + header + source
    check = xxhash.xxh32_intdigest(head[4:8] + head[16:] + tail)
    return head + check.to_bytes(4, "little") + tail + content


@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=8), st.sampled_from([("",), ("bar", "", "°C")]))
@settings(max_examples=500)
def test_content_damaged_before_sealing_gives_a_reason_or_a_sound_frame(
    at: int, patch: bytes, units: tuple[str, ...]
) -> None:
    content = bytearray(frame_content.pack(sample(units=units)))
    at %= len(content)
    content[at : at + len(patch)] = patch
    try:
        f = frame.decode(sealed(bytes(content)))
    except ProtocolError as refused:
        expect_named(refused)
        return
    n = len(f.ts_us)
    assert n == len(f.tag) == len(f.value) == len(f.quality)
    assert not n or f.tag.max() < len(f.tags)
    assert len(f.units) in (0, len(f.tags))
    state = f.value[(f.kinds[f.tag] == ValueKind.STATE) & ~np.isnan(f.value)]
    assert ((state >= 0) & (state < len(f.states))).all()


def head(
    n: int = 0,
    *,
    flags: int = 0,
    widths: int = 0,
    parts: tuple[int, int, int] = (0, 0, 0),
    raw: int = 0,
    count: int = 0,
) -> bytes:
    return struct.pack("<HBBBqIIIIIIH", 39, flags, widths, 0, 0, n, *parts, raw, count, 0)


NO_TAGS = dictionary.pack((), np.zeros(0, np.uint8), ())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(
            head(2**32 - 1, parts=(len(NO_TAGS), 0, 0)) + NO_TAGS,
            "too_many_readings",
            id="four_billion_readings",
        ),
        pytest.param(
            head(count=2**32 - 1, parts=(len(NO_TAGS), 0, 0)) + NO_TAGS,
            "too_many_readings",
            id="four_billion_rejects",
        ),
        pytest.param(
            head(10, parts=(len(NO_TAGS), 0, 0)) + NO_TAGS, "truncated", id="readings_without_columns"
        ),
        pytest.param(head(parts=(2**31, 0, 0)), "truncated", id="dictionary_beyond_the_end"),
        pytest.param(
            head(parts=(16, 0, 0)) + struct.pack("<B3xIII", 1, 2**32 - 1, 0, 2**32 - 1),
            "too_many_tags",
            id="four_billion_tags",
        ),
        pytest.param(
            head(parts=(16, 0, 0)) + struct.pack("<B3xIII", 1, 1, 0, 2**31),
            "compression_bomb",
            id="dictionary_of_2_gib",
        ),
        pytest.param(
            head(1000, flags=1, parts=(len(NO_TAGS), len(bomb := zstd_block.compress(bytes(5_000_000))), 0))
            + NO_TAGS
            + bomb,
            "compression_bomb",
            id="body_bomb",
        ),
        pytest.param(
            head(flags=2, parts=(len(NO_TAGS), 0, len(bomb)), raw=5_000_000, count=1) + NO_TAGS + bomb,
            "compression_bomb",
            id="rejects_bomb",
        ),
        pytest.param(
            head(1, widths=3, parts=(len(NO_TAGS), 0, 0)) + NO_TAGS, "bad_schema", id="unknown_width"
        ),
        pytest.param(
            head(1, parts=(len(NO_TAGS), 7, 0)) + NO_TAGS + bytes(7),
            "bad_schema",
            id="tag_out_of_the_dictionary",
        ),
    ],
)
def test_hostile_lengths_are_refused_before_they_cost(content: bytes, reason: str) -> None:
    with pytest.raises(ProtocolError) as refused:
        frame.decode(sealed(content))
    assert refused.value.reason == reason


def test_a_frame_of_the_version_before_is_read() -> None:
    f = sample()
    old = frame.encode(f, version=1)
    assert old[4] == 1
    assert plain(frame.decode(old)) == plain(replace(f, trace=""))


def test_a_frame_of_the_next_version_is_read_without_its_new_fields() -> None:
    content = frame_content.pack(sample())
    longer = (
        struct.pack("<H", 39 + 6) + content[2:39] + b"future" + content[39:]
    )  # a new content field as well
    f = frame.decode(sealed(longer, version=3, header=b"new header field"))
    assert plain(f)[8:] == plain(sample())[8:]
    assert f.source == "s"


def test_a_frame_two_versions_ahead_is_refused_by_name() -> None:
    with pytest.raises(ProtocolError, match="unknown_version"):
        frame.decode(sealed(frame_content.pack(sample()), version=6))


def test_only_a_frame_that_says_a_unit_is_of_the_version_that_older_readers_refuse() -> None:
    assert frame.encode(sample())[4] == 2
    f = sample(units=("bar",))
    assert frame.encode(f)[4] == 4
    assert frame.encode(replace(sample(), units=("",) * len(f.tags)))[4] == 2
    for older in (1, 2):
        with pytest.raises(ProtocolError, match="unknown_version"):
            frame.encode(f, version=older)


def test_a_frame_without_units_has_the_bytes_that_it_always_had() -> None:
    golden = (Path(__file__).parents[2] / "cases/decoders/frame-version-2/record.bin").read_bytes()
    f = frame.decode(golden)
    assert f.units == ()
    assert frame.encode(f) == golden
    assert frame.encode(replace(f, dictionary=b"")) == golden


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param({"source": ""}, "bad_source", id="no_source"),
        pytest.param({"source": "s" * 129}, "bad_source", id="long_source"),
        pytest.param({"source": "a\nb"}, "bad_source", id="line_end_in_source"),
        pytest.param({"tags": ("a//b",), "dictionary": b""}, "bad_tag", id="tag_that_is_no_path"),
        pytest.param({"tags": ("x" * 257,), "dictionary": b""}, "tag_too_long", id="long_tag"),
        pytest.param({"key": bytes(257)}, "bad_schema", id="long_key"),
        pytest.param({"value": np.full(50, 2.0)}, "bad_schema", id="state_without_a_text"),
        pytest.param({"tag": np.full(50, 101, np.uint32)}, "bad_schema", id="tag_out_of_the_dictionary"),
        pytest.param({"states": ("RUN",)}, "bad_schema", id="stale_dictionary"),
        pytest.param({"units": ("bar",) * 101}, "bad_schema", id="units_that_the_dictionary_does_not_say"),
        pytest.param({"units": ("bar",), "dictionary": b""}, "bad_schema", id="units_of_other_tags"),
        pytest.param({"units": ("x" * 33,) * 101, "dictionary": b""}, "bad_schema", id="long_unit"),
        pytest.param({"kinds": np.zeros(101, np.uint8)}, "bad_schema", id="kinds_of_another_dictionary"),
        pytest.param(
            {"rejects": (DoorReject(0, Reason.BAD_SYNTAX, bytes(1024)),) * 9_000},
            "record_too_large",
            id="rejects_that_no_reader_would_inflate",
        ),
        pytest.param(
            {"rejects": (DoorReject(0, Reason.OK, b""),)}, "bad_schema", id="reject_without_a_reason"
        ),
        pytest.param({"seq": -1}, "bad_schema", id="negative_sequence"),
        pytest.param({"trace": "00-short"}, "bad_schema", id="short_trace"),
        pytest.param({"ts_us": np.full(50, 2**62)}, "bad_time", id="time_beyond_the_calendar"),
    ],
)
def test_what_could_not_be_read_back_is_not_sent(change: dict[str, object], reason: str) -> None:
    if "tags" in change:
        change = change | {"kinds": np.zeros(1, np.uint8), "tag": np.zeros(50, np.uint32), "states": ()}
    with pytest.raises(ProtocolError) as refused:
        frame.encode(replace(sample(), **change))  # type: ignore[arg-type]
    assert refused.value.reason == reason


def test_a_record_larger_than_the_stream_takes_is_not_made() -> None:
    rng = np.random.default_rng(7)
    n = 65_536
    f = Frame(
        "s",
        Incarnation(1, 1),
        1,
        0,
        ("a", "b"),
        np.zeros(2, np.uint8),
        rng.integers(0, 2, n).astype(np.uint32),
        rng.integers(0, 2**60, n),
        rng.normal(size=n),
        np.full(n, 192, np.uint8),
    )
    with pytest.raises(ProtocolError, match="record_too_large"):
        frame.encode(f)


@given(st.lists(st.tuples(tag_texts, st.sampled_from(ValueKind), unit_texts), max_size=40))
@settings(max_examples=60)
def test_a_producers_dictionary_only_grows(wanted: list[tuple[str, ValueKind, str]]) -> None:
    d = dictionary.Dictionary()
    given_out: dict[tuple[str, ValueKind, str], int] = {}
    for tag, kind, unit in wanted:
        before = d.parsed().tags
        index = d.index(tag, kind, unit)
        assert given_out.setdefault((tag, kind, unit), index) == index
        assert d.parsed().tags[: len(before)] == before
    parsed = dictionary.parse(d.block)
    assert parsed.tags == d.parsed().tags
    for (_, _, unit), index in given_out.items():
        assert (parsed.units[index] if parsed.units else "") == unit
    assert parsed.kinds.tolist() == d.parsed().kinds.tolist()


def test_the_reader_forgets_large_dictionaries_by_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dictionary, "_CACHE_BYTES_MAX", 100_000)
    for i in range(50):
        tags = tuple(f"{'long-' * 40}{i}-{j}" for j in range(50))
        dictionary.parse(dictionary.pack(tags, np.zeros(50, np.uint8), ()))
    kept = [
        parsed
        for parsed in (*dictionary._young.values(), *dictionary._old.values())
        if len(parsed.tags) == 50
    ]
    assert sum(len(tag) for parsed in kept for tag in parsed.tags) < 2 * 100_000


def test_the_reader_forgets_dictionaries_instead_of_growing() -> None:
    for i in range(10_000):
        dictionary.parse(dictionary.pack((f"tag-{i}",), np.zeros(1, np.uint8), ()))
    assert len(dictionary._young) + len(dictionary._old) <= 2 * dictionary._CACHE_BLOCKS_MAX


decimals = st.builds(
    lambda whole, scale: whole / 10.0**scale, st.integers(-(2**40), 2**40), st.integers(0, 9)
)


@given(st.lists(st.one_of(decimals, values), min_size=1, max_size=30))
@settings(max_examples=300)
def test_a_value_column_of_any_numbers_gives_every_bit_back(numbers: list[float]) -> None:
    value = np.array(numbers)
    packed = value_column.pack(value)
    back = value_column.unpack(packed.data, 0, len(value), packed.code, packed.scale, gaps=packed.gaps)
    np.testing.assert_array_equal(np.isnan(back), np.isnan(value))
    assert (back[~np.isnan(value)].view(np.uint64) == value[~np.isnan(value)].view(np.uint64)).all()


@pytest.mark.parametrize(
    ("numbers", "width"),
    [
        pytest.param([71.25, -3.5, float("nan")], 2, id="two_decimals"),
        pytest.param([1.0, 0.0, 1.0], 2, id="bools"),
        pytest.param([71.2512, 1000.0], 4, id="four_decimals"),
        pytest.param([2.0**-20, 1.5], 4, id="f32"),
        pytest.param([0.1 + 0.2, 1.5], 8, id="no_decimal"),
        pytest.param([-0.0, 1.5], 4, id="minus_zero_is_kept"),
        pytest.param([2.0**31, 0.1], 8, id="too_large_for_i32"),
    ],
)
def test_the_smallest_exact_width_is_chosen(numbers: list[float], width: int) -> None:
    assert value_column.width(value_column.pack(np.array(numbers)).code) == width
