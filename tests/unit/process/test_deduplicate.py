"""Law 2: what is a duplicate, what is too old to know, what reuses an identity."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest

from millrace.batch import Frame, Incarnation, Reason
from millrace.process.deduplicate import DUPLICATE, FRAMES_KEPT, INCARNATIONS_KEPT, KEYS_KEPT, Deduplicator

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
