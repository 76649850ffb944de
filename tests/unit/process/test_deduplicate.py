"""Law 2: what is a duplicate, what is too old to know, what reuses an identity."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.batch import Frame, Incarnation, Reason
from millrace.process.deduplicate import (
    DUPLICATE,
    FRAMES_KEPT,
    INCARNATIONS_KEPT,
    KEYS_KEPT,
    NO_LANE,
    Deduplicator,
)

SOURCE = 1


def frame(seq: int, *, start: int = 100, nonce: int = 1, content: int | None = None, **more: object) -> Frame:
    empty = np.zeros(0)
    whole = Frame(
        source="gw",
        incarnation=Incarnation(start, nonce),
        seq=seq,
        received_ts_us=0,
        tags=(),
        kinds=empty.astype(np.uint8),
        tag=empty.astype(np.uint32),
        ts_us=empty.astype(np.int64),
        value=empty,
        quality=empty.astype(np.uint8),
        content_hash=seq * 31 + 7 if content is None else content,
    )
    return dataclasses.replace(whole, **more)  # type: ignore[arg-type]


@pytest.mark.requirement("S-19")
def test_a_frame_sent_again_is_a_duplicate() -> None:
    lanes = Deduplicator()
    assert [lanes.judge(SOURCE, frame(seq)) for seq in (0, 1, 1, 0, 2)] == [0, 0, DUPLICATE, DUPLICATE, 0]


def test_a_known_identity_with_other_content_is_a_reject() -> None:
    lanes = Deduplicator()
    lanes.judge(SOURCE, frame(5))
    assert lanes.judge(SOURCE, frame(5, content=1)) == Reason.IDENTITY_REUSED


def test_a_gap_may_be_filled_once() -> None:
    lanes = Deduplicator()
    assert [lanes.judge(SOURCE, frame(seq)) for seq in (0, 9, 4, 4)] == [0, 0, 0, DUPLICATE]


def test_behind_the_kept_frames_nothing_is_called_a_duplicate() -> None:
    lanes = Deduplicator()
    for seq in range(FRAMES_KEPT + 1):
        lanes.judge(SOURCE, frame(seq))
    assert lanes.judge(SOURCE, frame(0)) == Reason.SEQUENCE_TOO_OLD
    assert lanes.judge(SOURCE, frame(1)) == DUPLICATE


def test_an_older_incarnation_goes_on_but_never_back() -> None:
    lanes = Deduplicator()
    lanes.judge(SOURCE, frame(7, start=100))
    lanes.judge(SOURCE, frame(0, start=200))
    assert lanes.judge(SOURCE, frame(7, start=100)) == Reason.SEQUENCE_TOO_OLD
    assert lanes.judge(SOURCE, frame(8, start=100)) == Reason.OK
    assert lanes.judge(SOURCE, frame(8, start=100)) == Reason.SEQUENCE_TOO_OLD


def test_an_incarnation_behind_the_kept_ones_is_too_old() -> None:
    lanes = Deduplicator()
    for start in range(100, 100 + INCARNATIONS_KEPT):
        lanes.judge(SOURCE, frame(0, start=start))
    assert lanes.judge(SOURCE, frame(0, start=99)) == Reason.INCARNATION_TOO_OLD


def test_the_replay_series_is_a_lane_of_its_own() -> None:
    lanes = Deduplicator()
    lanes.judge(SOURCE, frame(3))
    assert lanes.judge(SOURCE, frame(3, replay=True)) == Reason.OK
    assert lanes.judge(SOURCE, frame(3, replay=True)) == DUPLICATE


def test_an_idempotency_key_is_kept_apart_from_the_identity() -> None:
    lanes = Deduplicator()
    assert lanes.judge(SOURCE, frame(0, key=b"a")) == Reason.OK
    assert lanes.judge(SOURCE, frame(1, key=b"a", content=7)) == DUPLICATE
    assert lanes.judge(SOURCE, frame(2, key=b"a", content=8)) == Reason.IDENTITY_REUSED


def test_only_the_newest_keys_are_kept() -> None:
    lanes = Deduplicator()
    for number in range(KEYS_KEPT + 1):
        lanes.judge(SOURCE, frame(number, key=b"%d" % number, content=1))
    assert lanes.judge(SOURCE, frame(0, key=b"0", content=1)) == Reason.OK
    assert lanes.judge(SOURCE, frame(0, key=b"5", content=1)) == DUPLICATE


def test_a_frame_without_identity_is_always_new() -> None:
    lanes = Deduplicator()
    assert [lanes.judge(SOURCE, frame(0, anonymous=True)) for _ in range(2)] == [0, 0]


@pytest.mark.parametrize("seed", range(20))
def test_a_restored_deduplicator_judges_as_the_one_that_never_stopped(seed: int) -> None:
    rng = random.Random(seed)
    frames = [
        frame(rng.randrange(1_500), start=rng.randrange(100, 104), content=rng.randrange(2), replay=rng.random() < 0.1)
        for _ in range(400)
    ]
    whole, cut = Deduplicator(), Deduplicator()
    first = [whole.judge(SOURCE, f) for f in frames]
    second = []
    for f in frames:
        if rng.random() < 0.05:
            cut = Deduplicator.restored(*cut.snapshot())
        second.append(cut.judge(SOURCE, f))
    assert first == second


@dataclasses.dataclass
class SlowLane:
    """Law 2 by the letter: every frame of the newest incarnation is remembered for ever, bounds are looked up."""

    highest: dict[Incarnation, int] = dataclasses.field(default_factory=dict)
    frames: dict[int, int] = dataclasses.field(default_factory=dict)

    def judge(self, f: Frame) -> int:
        life, seq = f.incarnation, f.seq
        newest = max(self.highest, default=None)
        if life not in self.highest:
            if len(self.highest) >= INCARNATIONS_KEPT:
                if life < min(self.highest):
                    return Reason.INCARNATION_TOO_OLD
                del self.highest[min(self.highest)]
            self.highest[life] = -1
            if newest is None or life > newest:
                self.frames = {}
        if life != max(self.highest):
            if seq <= self.highest[life]:
                return Reason.SEQUENCE_TOO_OLD
        elif seq <= self.highest[life] - FRAMES_KEPT:
            return Reason.SEQUENCE_TOO_OLD
        elif seq in self.frames:
            return DUPLICATE if self.frames[seq] == f.content_hash else Reason.IDENTITY_REUSED
        else:
            self.frames[seq] = f.content_hash
        self.highest[life] = max(self.highest[life], seq)
        return Reason.OK


TOP = 2**64 - 1
sequences = st.sampled_from([0, 1, 2, 5, 999, 1_000, 1_001, 1_002, 1_005, TOP - 1_001, TOP - 1_000, TOP - 1, TOP])
starts = st.one_of(st.just(110), st.integers(100, 120))  # few enough to come again, more than are kept
arrivals = st.lists(
    st.tuples(st.integers(1, 2), starts, sequences, st.integers(0, 1), st.booleans()), max_size=60
)


@pytest.mark.requirement("S-19")
@given(arrivals)
@settings(max_examples=200)
def test_frames_judged_together_are_judged_as_one_by_one_and_as_the_law_says(
    arrived: list[tuple[int, int, int, int, bool]],
) -> None:
    """(source, start, sequence, content, whether the kernel may take it) of each frame, in order."""
    frames = [frame(seq, start=start, content=content) for _, start, seq, content, _ in arrived]
    sources = [source for source, *_ in arrived]
    slow = {source: SlowLane() for source in sources}
    wanted = [int(slow[source].judge(f)) for source, f in zip(sources, frames, strict=True)]
    one_by_one, together = Deduplicator(), Deduplicator()
    assert [int(one_by_one.judge(source, f)) for source, f in zip(sources, frames, strict=True)] == wanted
    found = []
    for begin in range(0, len(frames), 7):
        rows = slice(begin, begin + 7)
        part, of = frames[rows], sources[rows]
        lanes = [
            lane if plain else NO_LANE
            for lane, (*_, plain) in zip(together.numbers_of(of), arrived[rows], strict=True)
        ]
        found += together.judge_all(
            np.array(lanes, np.int64),
            np.array([f.incarnation.start_us for f in part], np.uint64),
            np.array([f.incarnation.nonce for f in part], np.uint64),
            np.array([f.seq for f in part], np.uint64),
            np.array([f.content_hash for f in part], np.uint64),
            lambda place, part=part, of=of: together.judge(of[place], part[place]),
        )
    assert found == wanted


def test_a_snapshot_of_many_lanes_is_restored() -> None:
    lanes = Deduplicator()
    for source in range(40):  # more than the rings have room for at first
        lanes.judge(source, frame(TOP - source, content=source))
    back = Deduplicator.restored(*lanes.snapshot())
    assert [back.judge(source, frame(TOP - source, content=source)) for source in range(40)] == [DUPLICATE] * 40


def test_at_the_edge_of_the_kept_frames_the_kernel_says_what_the_law_says() -> None:
    lanes = Deduplicator()
    lanes.judge(SOURCE, frame(0))
    seqs = [FRAMES_KEPT, 0, 1, FRAMES_KEPT, 1]
    count = len(seqs)
    verdicts = lanes.judge_all(
        np.array(lanes.numbers_of([SOURCE] * count), np.int64),
        np.full(count, 100, np.uint64),
        np.ones(count, np.uint64),
        np.array(seqs, np.uint64),
        np.array([7, 7, 7, 7, 8], np.uint64),
        lambda place: pytest.fail(f"frame {place} was left to the slow way"),
    )
    assert verdicts == [0, Reason.SEQUENCE_TOO_OLD, 0, DUPLICATE, Reason.IDENTITY_REUSED]
