"""Frames encoded together are, byte for byte, the frames encoded one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.batch import Frame
from millrace.errors import ProtocolError
from millrace.protocols import dictionary, frame, frame_write
from millrace.protocols.frame_write import encode_batch
from tests.contract.protocols.test_frame_batch import small
from tests.contract.protocols.test_frame_laws import T, frames, sample

decimals = st.decimals(-1_000, 1_000, places=3).map(float)
edges = st.sampled_from([-0.0, 2.0**31, -(2.0**31), 2.0**15, -32768.0, 32767.0, float("nan")])
columns = st.one_of(
    st.lists(st.one_of(st.floats(), st.floats(width=32), st.integers(-(2**33), 2**33).map(float)), max_size=30),
    st.lists(st.one_of(decimals, decimals, edges), max_size=12),
    st.lists(st.one_of(st.integers(-40_000, 40_000).map(float), edges), max_size=12),
)


def ready(f: Frame) -> Frame:
    """The frame as a producer has it: its dictionary is one that was parsed."""
    known = dictionary.parse(dictionary.pack(f.tags, f.kinds, f.states, f.units))
    return replace(
        f, tags=known.tags, kinds=known.kinds, states=known.states, units=known.units, dictionary=known.block
    )


def written(f: Frame) -> bytes | None:
    """What the kernel makes of the frame; None where it leaves it to `frame.encode`."""
    return frame_write._written([f])[0] if frame_write._is_plain(f) else None


@given(st.lists(st.tuples(frames(), st.booleans(), st.booleans()), max_size=6))
@settings(max_examples=80)
def test_a_batch_encodes_as_its_frames_one_by_one(drawn: list[tuple[Frame, bool, bool]]) -> None:
    sent = []
    for f, bare, known in drawn:
        if bare:
            f = replace(f, key=b"", rejects=(), trace="", replay=False, anonymous=False)
        sent.append(ready(f) if known else f)
    assert encode_batch(sent) == [frame.encode(f) for f in sent]


@given(columns, st.sampled_from([1, 60_000, 2**31, 2**40]), st.integers(0, 2**32))
@settings(max_examples=300)
def test_any_column_is_written_in_the_width_that_the_single_encoder_finds(
    numbers: list[float], span_us: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    f = small(len(numbers))
    f.value[:] = numbers
    f.ts_us[:] = T + rng.integers(0, span_us, len(numbers))
    f.quality[:] = rng.choice([192, 192, 192, 0], len(numbers))
    assert written(f) == frame.encode(f)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_a_column_of_nothing_finite_is_written(value: float) -> None:
    f = replace(small(), value=np.full(5, value))
    assert written(f) == frame.encode(f)


@pytest.mark.parametrize("count", [256, 257, 65_536])
def test_tag_indexes_are_written_as_wide_as_the_dictionary_asks(count: int) -> None:
    names = dictionary.Dictionary()
    for i in range(count):
        names.index(f"t{i}")
    known = names.parsed()
    f = replace(small(), tags=known.tags, kinds=known.kinds, dictionary=known.block)
    f.tag[0] = count - 1
    assert written(f) == frame.encode(f)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"source": ""}, "bad_source"),
        ({"seq": -1}, "bad_schema"),
        ({"seq": 2**64}, "bad_schema"),
        ({"tag": np.full(5, 10, np.uint32)}, "bad_schema"),
        ({"tag": np.full(4, 1, np.uint32)}, "bad_schema"),
        ({"ts_us": np.full(5, 2**62)}, "bad_time"),
        ({"ts_us": np.full(5, -(2**62))}, "bad_time"),
        ({"kinds": np.zeros(3, np.uint8)}, "bad_schema"),
        ({"tags": ("a",) * 10}, "bad_schema"),
        ({"units": ("bar",) * 10}, "bad_schema"),
    ],
)
def test_what_cannot_be_sent_is_named_as_if_it_were_encoded_alone(
    change: dict[str, object], reason: str
) -> None:
    with pytest.raises(ProtocolError) as refused:
        encode_batch([small(), replace(small(), **change), small()])  # type: ignore[arg-type]
    assert refused.value.reason == reason


def test_what_is_not_plain_goes_through_the_single_encoder() -> None:
    columns = {"tag": small().tag.astype(np.int64)}
    odd = [
        sample(),
        replace(small(), key=b"k"),
        replace(small(), replay=True),
        small(2_000),
        replace(small(), **columns),
    ]  # type: ignore[arg-type]
    assert [written(f) for f in odd] == [None] * len(odd)
    assert encode_batch([small(), *odd, small(seq=2)]) == [
        frame.encode(f) for f in (small(), *odd, small(seq=2))
    ]


def test_a_body_long_enough_to_be_compressed_is() -> None:
    f = small(1_600)
    f.value[:] = np.random.default_rng(1).normal(size=1_600)
    f.ts_us[:] = T + np.arange(1_600) * 10**9
    assert written(f) is None
    assert encode_batch([f, small()]) == [frame.encode(f), frame.encode(small())]
