"""The live window against a slow twin: a list of blobs."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.api import window as window_module
from millrace.api.window import Window
from millrace.schema.live import LiveBlob


def blob(epoch: int, first: int, position: int, previous: int, rows: list[tuple[int, float]]) -> LiveBlob:
    n = len(rows)
    return LiveBlob(
        0, epoch, first, position, previous, 1_000, 1_000,
        np.array([slot for slot, _ in rows], np.int32), np.arange(n, dtype=np.int64) + 10 * position,
        np.array([value for _, value in rows], np.float64), np.full(n, 192, np.uint8), np.zeros(n, np.uint8),
    )  # fmt: skip


@dataclass
class SlowWindow:
    """Keeps every blob and looks at each."""

    blobs: list[LiveBlob] = field(default_factory=list)
    epoch: int = -1

    def add(self, new: LiveBlob) -> None:
        if new.epoch >= self.epoch:
            self.epoch = new.epoch
            self.blobs = [held for held in self.blobs if held.position < new.first_position]
            self.blobs.append(new)

    def tag(self, slot: int, after: int) -> tuple[list[float], list[float]]:
        straddling, behind = [], []
        for held in self.blobs:
            if held.position > after:
                part = behind if held.first_position > after else straddling
                part += held.value[held.slot == slot].tolist()
        return straddling, behind


steps = st.lists(
    st.tuples(
        st.integers(1, 4),  # how far the position goes
        st.integers(0, 3),  # how many positions are said again by a new owner
        st.lists(st.tuples(st.integers(0, 3), st.floats(-10, 10, width=16)), max_size=5),
    ),
    min_size=1,
    max_size=25,
)


@given(steps, st.integers(0, 60), st.integers(0, 3))
def test_a_tag_of_the_window_is_what_a_list_of_blobs_says(
    given_steps: list[tuple[int, int, list[tuple[int, float]]]], after: int, slot: int
) -> None:
    window, slow = Window(10**9, 10**15), SlowWindow()
    epoch, position, turn = 1, 0, 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(window_module, "CHUNK_ROWS", 7)
        for far, again, rows in given_steps:
            turn += 1
            first = max(position + 1 - again, 1)
            epoch += again > 0
            new = blob(epoch, first, max(position, first) + far, position, rows)
            position = new.position
            assert window.add(new, turn)
            slow.add(new)
            found = window.tag(slot, after)
            assert tuple(part.value.tolist() for part in found) == slow.tag(slot, after)
    assert len(window) == sum(len(held) for held in slow.blobs)
    everything = window.since_turn(0, np.ones(4, np.bool_))
    assert [v for _, _, part in everything for v in part.value.tolist()] == [
        v for held in slow.blobs for v in held.value.tolist()
    ]


def test_an_old_owners_blob_changes_nothing() -> None:
    window = Window(10**9, 10**15)
    assert window.add(blob(2, 1, 5, 0, [(0, 1.0)]), 1)
    assert not window.add(blob(1, 6, 9, 5, [(0, 2.0)]), 2)
    assert window.position == 5


def test_a_hole_is_known_and_what_lies_behind_it_is_promised() -> None:
    window = Window(10**9, 10**15)
    window.add(blob(1, 1, 5, 0, [(0, 1.0)]), 1)
    assert window.complete_from == 0
    window.add(blob(1, 20, 25, 15, [(0, 2.0)]), 2)  # the writer's blob before was 15: never seen
    assert window.complete_from == 19
    window.add(blob(1, 3, 30, 0, [(0, 3.0)]), 3)  # all published again
    assert window.complete_from == 2


def test_the_window_keeps_to_its_bytes_and_says_from_where() -> None:
    window = Window(40_000, 10**15)
    for i in range(1, 3_000):
        window.add(blob(1, i, i, i - 1, [(0, 1.0)] * 20), i)
        if i % 50 == 0:
            window._close_chunk()
    assert window.nbytes <= 60_000
    assert window.complete_from > 2_000
    assert len(window.tag(0, window.complete_from)[1]) == 20 * (2_999 - window.complete_from)
