"""A body's dictionary says which tags there are, never in which order the sender named them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from millrace.batch import Frame, ValueKind
from millrace.protocols.columns import Columns

T = 1_767_600_000_000_000
ENTRIES = [
    ("press/force", ValueKind.FLOAT, "kN"),
    ("press/force", ValueKind.INTEGER, "kN"),
    ("press/force", ValueKind.INTEGER, "N"),
    ("oven/heat", ValueKind.FLOAT, "degC"),
    ("a", ValueKind.BOOL, ""),
    ("Ä", ValueKind.FLOAT, "mm"),
]


def frame_of(order: list[int], with_units: bool) -> Frame:
    """One reading of each entry, its value and time the entry's own, the dictionary in that order."""
    entries = [ENTRIES[number] for number in order]
    when = np.sort(np.array(order, np.int64))
    return Columns(
        tags=tuple(path for path, _, _ in entries),
        kinds=np.array([kind for _, kind, _ in entries], np.uint8),
        states=(),
        tag=np.argsort(order).astype(np.uint32),
        ts_us=T + when,
        value=when.astype(np.float64),
        quality=np.full(len(order), 192, np.uint8),
        units=tuple(unit for _, _, unit in entries) if with_units else (),
    ).frame("gateway")


@given(st.permutations(range(len(ENTRIES))), st.booleans())
def test_the_same_tags_in_any_order_are_one_dictionary(order: list[int], with_units: bool) -> None:
    sent, usual = frame_of(order, with_units), frame_of(list(range(len(ENTRIES))), with_units)
    assert sent.dictionary == usual.dictionary
    assert (sent.tags, sent.kinds.tolist(), sent.units) == (usual.tags, usual.kinds.tolist(), usual.units)


@given(st.permutations(range(len(ENTRIES))), st.booleans())
def test_each_reading_keeps_its_tag_kind_and_unit(order: list[int], with_units: bool) -> None:
    sent = frame_of(order, with_units)
    for tag, value in zip(sent.tag.tolist(), sent.value.tolist(), strict=True):
        path, kind, unit = ENTRIES[int(value)]
        assert (sent.tags[tag], sent.kinds[tag], sent.units[tag] if with_units else "") == (
            path,
            kind,
            unit if with_units else "",
        )
