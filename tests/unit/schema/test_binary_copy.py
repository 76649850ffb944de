"""The binary COPY codec, ids, partitions' names, text: no server needed."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace import names
from millrace.schema.binary import HEADER, TRAILER, Layout
from millrace.schema.ids import detector_name, event_id
from millrace.schema.partitions import WIDTH_US, name_of, start_in, start_of
from millrace.schema.text import storable

LAYOUT = Layout(("a", "i8"), ("b", "f8"), ("c", "i4"), ("d", "i2"))

rows = st.lists(
    st.tuples(
        st.integers(-(2**63), 2**63 - 1),
        st.floats(),
        st.integers(-(2**31), 2**31 - 1),
        st.integers(-(2**15), 2**15 - 1),
    ),
    max_size=20,
)


def slow_encode(values: list[tuple[int, float, int, int]]) -> bytes:
    """The twin, straight from PostgreSQL's manual."""
    body = b"".join(struct.pack(">hiqidiiih", 4, 8, a, 8, b, 4, c, 2, d) for a, b, c, d in values)
    return b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0) + body + struct.pack(">h", -1)


@given(rows)
def test_the_copy_stream_equals_the_manuals_byte_for_byte(values: list[tuple[int, float, int, int]]) -> None:
    filled = LAYOUT.rows(len(values))
    for place, name in enumerate(LAYOUT.names):
        filled[name] = [value[place] for value in values]
    assert LAYOUT.encode(filled) == slow_encode(values)


@given(rows)
def test_decoding_gives_back_what_was_encoded(values: list[tuple[int, float, int, int]]) -> None:
    found = LAYOUT.decode(slow_encode(values))
    for place, name in enumerate(LAYOUT.names):
        np.testing.assert_array_equal(found[name], [value[place] for value in values])


@pytest.mark.parametrize("cut", [0, 5, 19, 30])
def test_a_cut_stream_is_an_error_and_never_rows(cut: int) -> None:
    with pytest.raises(ValueError, match="wanted"):
        LAYOUT.decode(slow_encode([(1, 2.0, 3, 4)])[:cut])
    with pytest.raises(ValueError, match="fixed width"):
        LAYOUT.decode(HEADER + b"x" + TRAILER)


def test_an_event_id_is_a_stable_uuid_and_differs_in_every_part() -> None:
    base = ("acme/lyon/p/temp", "gateway", "ewma", 5)
    others = [("x", *base[1:]), (base[0], "x", *base[2:]), (*base[:2], "x", 5), (*base[:3], 6)]
    ids = {event_id(*key) for key in (base, *others)}  # type: ignore[arg-type]
    assert len(ids) == 5
    assert str(event_id(*base)) == "6c3c1286-fe77-8647-a606-8e3a9b9c782e"
    assert event_id(*base).version == 8
    assert event_id("\ud800", "", "", 0)


def test_a_number_beyond_the_table_still_has_a_name() -> None:
    assert (detector_name(("a",), 0), detector_name(("a",), 3)) == ("a", "number-3")


@given(st.sampled_from(list(WIDTH_US)), st.integers(0, 4_000_000_000_000_000))
def test_a_partitions_name_tells_its_start(table: str, ts_us: int) -> None:
    start_us = start_of(table, ts_us)
    assert 0 <= ts_us - start_us < WIDTH_US[table]
    assert start_in(name_of(table, start_us)) == start_us


def test_neighbouring_partitions_have_names_of_their_own() -> None:
    for table, width in WIDTH_US.items():
        assert len({name_of(table, step * width) for step in range(50)}) == 50
    assert name_of(names.TABLE_READING, 1_767_600_000_000_000) == "reading_2026010508"


@given(st.text(st.characters(codec=None)))
def test_stored_text_is_utf8_without_nul_and_leaves_good_text_alone(text: str) -> None:
    stored = storable(text)
    assert "\0" not in stored.encode().decode()
    if "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text):
        assert stored == text
