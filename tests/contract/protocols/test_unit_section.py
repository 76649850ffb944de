"""The units of a dictionary: what is read back, what no dictionary can hold, how many."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.errors import ProtocolError
from millrace.protocols import dictionary, unit_section


def block_of(section: bytes, *, tags: int = 2, sections: int = 1) -> bytes:
    """A stored dictionary of tags t0, t1, … with that section of units."""
    plain = dictionary.pack(tuple(f"t{i}" for i in range(tags)), np.zeros(tags, np.uint8), ())
    raw = plain[16:] + section
    return struct.pack("<BB2xIII", 0, sections, tags, 0, len(raw)) + raw


@given(st.lists(st.sampled_from(["", "degC", "°C", "m³/h", "1", "x" * 32]), max_size=300))
def test_units_come_back_and_none_cost_nothing(units: list[str]) -> None:
    section = unit_section.pack(units)
    if any(units):
        assert unit_section.unpack(section, len(units)) == tuple(units)
        assert len(section) <= 1 + len(units) + 5 * 33
    else:
        assert section == b""


def test_255_units_of_as_many_tags_come_back() -> None:
    units = tuple(f"unit-{i % 255}" for i in range(1_000))
    assert unit_section.unpack(unit_section.pack(units), 1_000) == units
    with pytest.raises(ProtocolError, match="bad_schema"):
        unit_section.pack([*units, "one-more"])


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        pytest.param(b"", "truncated", id="none"),
        pytest.param(b"\1\1", "truncated", id="cut"),
        pytest.param(b"\1\1\0\3ba", "truncated", id="text_beyond_the_end"),
        pytest.param(b"\1\1\0\3bar+", "truncated", id="more_than_it_says"),
        pytest.param(b"\1\2\0\3bar", "bad_schema", id="unit_that_is_not_there"),
        pytest.param(b"\1\0\0\3bar", "bad_schema", id="unit_that_no_tag_says"),
        pytest.param(b"\1\1\0\0", "bad_schema", id="empty_unit"),
        pytest.param(b"\2\1\2\1\1aa", "bad_schema", id="one_unit_twice"),
        pytest.param(b"\1\1\0\x21" + b"x" * 33, "bad_schema", id="long_unit"),
        pytest.param(b"\1\1\0\2a\n", "bad_schema", id="control_character"),
        pytest.param(b"\1\1\0\1\xff", "bad_encoding", id="no_utf8"),
    ],
)
def test_units_that_cannot_be_are_refused_by_name(section: bytes, reason: str) -> None:
    with pytest.raises(ProtocolError) as refused:
        dictionary.parse(block_of(section))
    assert refused.value.reason == reason
    assert dictionary.parse(block_of(b"\1\1\0\3bar")).units == ("bar", "")


def test_a_section_of_a_later_version_is_refused_by_name() -> None:
    with pytest.raises(ProtocolError, match="unknown_version"):
        dictionary.parse(block_of(b"\1\1\0\3bar", sections=3))


def test_a_dictionary_holds_255_units_and_no_more() -> None:
    d = dictionary.Dictionary()
    for i in range(255):
        d.index("a", unit=f"unit-{i}")
    assert d.parsed().units[-1] == "unit-254"
    with pytest.raises(ProtocolError, match="bad_schema"):
        d.index("a", unit="one-more")
    assert d.index("a", unit="unit-3") == 3
