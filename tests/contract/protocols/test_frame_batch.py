"""Records decoded together are the records decoded one by one, whatever their bytes are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.batch import Frame, Incarnation, Record
from millrace.protocols import Limits, decode_record, dictionary, frame, frame_batch
from millrace.protocols.frame_batch import decode_batch
from millrace.protocols.xxh32 import xxh32
from tests.contract.protocols.test_frame_laws import T, frames, sample, sealed

CASES = Path(__file__).parents[2] / "cases/decoders"
single = partial(decode_record, limits=Limits())


def bits(f: Frame) -> tuple[object, ...]:
    """All fields of a frame, its columns with their types and every bit."""
    values = (getattr(f, one.name) for one in fields(Frame))
    return tuple((v.dtype.str, v.tobytes()) if isinstance(v, np.ndarray) else v for v in values)


def expect_the_same(records: Sequence[Record]) -> None:
    """Frames, their order and their records' positions as the slow twin has them."""
    wanted = [(record.position, bits(f)) for record in records for f in single(record)]
    for _ in range(2):  # what was not known the first time is known the second
        batch = decode_batch(records, single)
        found = [(batch.positions[i], bits(batch.frame(i))) for i in range(len(batch))]
        assert found == wanted
        assert batch.received_us.tolist() == [batch.frame(i).received_ts_us for i in range(len(batch))]


def in_log(data: Sequence[bytes], keys: Sequence[str]) -> list[Record]:
    return [Record(i + 1, T + i, key, body) for i, (body, key) in enumerate(zip(data, keys, strict=True))]


def small(n: int = 5, *, source: str = "gw", seq: int = 1, seed: int = 1) -> Frame:
    """What a gateway sends all day."""
    rng = np.random.default_rng(seed)
    names = dictionary.Dictionary()
    for i in range(10):
        names.index(f"acme/lyon/press-shop/line-1/{source}/signal-{i}")
    known = names.parsed()
    return Frame(
        source, Incarnation(T, 7), seq, T, known.tags, known.kinds,
        rng.integers(0, 10, n).astype(np.uint32), T + np.sort(rng.integers(0, 50_000, n)),
        np.round(rng.normal(70, 3, n), 2), np.full(n, 192, np.uint8), dictionary=known.block,
    )  # fmt: skip


def is_plain(f: Frame, key: str) -> bool:
    """Whether a frame, once known, is read by the kernels."""
    records = in_log([frame.encode(f)] * 2, [key] * 2)
    decode_batch(records, single)
    return not decode_batch(records, single).whole


@given(st.lists(st.tuples(frames(), st.booleans(), st.booleans()), min_size=1, max_size=6))
@settings(max_examples=80)
def test_a_batch_decodes_as_its_records_one_by_one(drawn: list[tuple[Frame, bool, bool]]) -> None:
    sent = [
        replace(f, key=b"", rejects=(), trace="", replay=False, anonymous=False) if bare else f
        for f, bare, _ in drawn
    ]
    keys = [f.source if own else "another" for f, _, own in drawn]
    expect_the_same(in_log([frame.encode(f) for f in sent], keys))


@given(
    st.lists(
        st.tuples(
            st.integers(0, 10_000), st.binary(min_size=1, max_size=8), st.sampled_from(["", "wire", "sealed"])
        ),
        min_size=1,
        max_size=8,
    )
)
@settings(max_examples=300)
def test_damage_is_named_as_if_each_record_came_alone(patches: list[tuple[int, bytes, str]]) -> None:
    data = []
    for seq, (at, patch, how) in enumerate(patches):
        whole = bytearray(frame.encode(small(seq=seq, seed=seq)))
        if how == "sealed":  # damaged by a sender who knows how to seal it
            whole = whole[66:]
        if how:
            at %= len(whole)
            whole[at : at + len(patch)] = patch
        data.append(frame.stamp(sealed(bytes(whole), source=b"gw"), T) if how == "sealed" else bytes(whole))
    expect_the_same(in_log(data, ["gw"] * len(data)))


def test_every_flipped_bit_is_named_as_if_the_record_came_alone() -> None:
    data = frame.encode(small())
    flipped = [
        bytes([*data[:at], data[at] ^ 1 << bit, *data[at + 1 :]])
        for at in range(len(data))
        for bit in range(8)
    ]
    records = in_log([data, *flipped], ["gw"] * (1 + len(flipped)))
    expect_the_same(records)


def test_a_truncated_record_is_named_as_if_it_came_alone() -> None:
    data = frame.encode(small())
    expect_the_same(
        in_log([data[:size] for size in range(len(data))] + [data + b"\0"], ["gw"] * (len(data) + 1))
    )


def test_records_of_every_format_may_stand_between_frames() -> None:
    found = [path.read_bytes() for path in sorted(CASES.glob("*/record.bin"))]
    data = [body for case in found for body in (frame.encode(small()), case)]
    expect_the_same(in_log(data, ["gw"] * len(data)))


@pytest.mark.parametrize("widest", [0, 300, 70_000, 2**33], ids=["equal", "16_bit", "32_bit", "64_bit"])
@pytest.mark.parametrize("value", [1.25, 70_000.125, 1 / 3, np.float64(np.float32(0.1)), np.nan, np.inf])
def test_every_width_of_a_column_is_read_by_the_kernels(widest: int, value: float) -> None:
    f = small(20)
    f.ts_us[-1] = f.ts_us[0] + widest
    f.value[3:7] = value
    f.quality[2] = 0
    assert is_plain(f, "gw")
    expect_the_same(in_log([frame.encode(f)], ["gw"]))


def test_a_dictionary_of_more_than_256_tags_is_read_by_the_kernels() -> None:
    f = small()
    tags = tuple(f"a/b{i}" for i in range(70_000 // 100))
    f = replace(
        f,
        tags=tags,
        kinds=np.zeros(len(tags), np.uint8),
        dictionary=b"",
        tag=np.arange(5, dtype=np.uint32) + 600,
    )
    assert is_plain(f, "gw")
    expect_the_same(in_log([frame.encode(f)], ["gw"]))


def test_units_do_not_take_a_frame_off_the_fast_way() -> None:
    f = small()
    assert is_plain(replace(f, units=("bar",) * 10, dictionary=b""), "gw")


@pytest.mark.parametrize(
    "f",
    [
        sample(),
        replace(small(), trace="0" * 55),
        replace(small(), key=b"k"),
        replace(small(), anonymous=True),
        small(4_000),
    ],
    ids=["states", "trace", "key", "anonymous", "compressed"],
)
def test_what_is_not_plain_is_decoded_by_itself(f: Frame) -> None:
    assert not is_plain(f, f.source)
    expect_the_same(in_log([frame.encode(f)], [f.source]))


def test_a_hostile_body_costs_its_batch_no_more_than_a_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body whose checks are right and whose tags are not: all of them are found by one pass."""
    good = frame.encode(small())
    content = bytearray(good[66:])
    content[-25] = 255  # the first of five tags; behind them stand two bytes of time and two of value each
    data = [sealed(bytes(content), source=b"gw")] * 50
    stamped = [frame.stamp(one, T) for one in data]
    calls = []
    original = frame_batch._draft
    monkeypatch.setattr(frame_batch, "_draft", lambda *given: calls.append(1) or original(*given))
    records = in_log([good, *stamped], ["gw"] * 51)
    decode_batch(records[:1], single)
    calls.clear()
    batch = decode_batch(records, single)
    assert len(calls) == 2
    assert len(batch.whole) == 50
    assert {reject.reason.name for f in batch.whole.values() for reject in f.rejects} == {"BAD_SCHEMA"}


@given(st.binary(max_size=200))
@settings(max_examples=200)
def test_the_kernels_xxh32_is_xxh32(data: bytes) -> None:
    assert int(xxh32(np.frombuffer(data, np.uint8), len(data))) == xxhash.xxh32_intdigest(data)
