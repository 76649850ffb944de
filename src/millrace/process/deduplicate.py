"""Which frames have been here before (law 2).

A *lane* is a source's live series, or its series of quarantine replays. Per lane we keep the newest
16 incarnations with their highest sequence, and for the newest one the content hash of each of the last
1,000 frames. Behind that nothing can be known, so it is a reject and never called a duplicate.
Idempotency keys are kept apart: the last 10,000 per source.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from millrace.batch import I64, U64, Frame, Incarnation, Reason

INCARNATIONS_KEPT = 16
FRAMES_KEPT = 1_000
KEYS_KEPT = 10_000

DUPLICATE = 255
"""Verdict beside `Reason`: the same frame came before; it is counted and goes no further."""


@dataclass(slots=True)
class Lane:
    """What is known of one series of identities. `ring_*` (1000,) hold the newest incarnation's frames."""

    highest: dict[Incarnation, int] = field(default_factory=dict)
    newest: Incarnation = field(default_factory=lambda: Incarnation(-1, 0))
    ring_seq: I64 = field(default_factory=lambda: np.full(FRAMES_KEPT, -1, np.int64))
    ring_hash: U64 = field(default_factory=lambda: np.zeros(FRAMES_KEPT, np.uint64))
    keys: dict[bytes, int] = field(default_factory=dict)

    def judge(self, frame: Frame) -> int:
        """Reason.OK, DUPLICATE or the reason of a reject; remembers the frame when it is OK."""
        if frame.key:
            return self._judge_key(frame)
        incarnation, seq = frame.incarnation, frame.seq
        if incarnation == self.newest:
            if seq > self.highest[incarnation]:
                self._remember(frame)
                return Reason.OK
            return self._judge_known(frame)
        if incarnation > self.newest:
            self._begin(incarnation)
            self._remember(frame)
            return Reason.OK
        return self._judge_older(incarnation, seq)

    def _judge_known(self, frame: Frame) -> int:
        """A sequence at or below the highest of the newest incarnation."""
        place = frame.seq % FRAMES_KEPT
        if frame.seq <= self.highest[frame.incarnation] - FRAMES_KEPT:
            return Reason.SEQUENCE_TOO_OLD
        if self.ring_seq[place] != frame.seq:  # a gap that is filled now
            self._remember(frame)
            return Reason.OK
        return DUPLICATE if int(self.ring_hash[place]) == frame.content_hash else Reason.IDENTITY_REUSED

    def _judge_older(self, incarnation: Incarnation, seq: int) -> int:
        """An incarnation before the newest: only its highest sequence is known."""
        if incarnation not in self.highest:
            if len(self.highest) >= INCARNATIONS_KEPT and incarnation < min(self.highest):
                return Reason.INCARNATION_TOO_OLD
            self._admit(incarnation)
        if seq <= self.highest[incarnation]:
            return Reason.SEQUENCE_TOO_OLD
        self.highest[incarnation] = seq
        return Reason.OK

    def _judge_key(self, frame: Frame) -> int:
        known = self.keys.get(frame.key)
        if known is not None:
            return DUPLICATE if known == frame.content_hash else Reason.IDENTITY_REUSED
        if len(self.keys) >= KEYS_KEPT:
            del self.keys[next(iter(self.keys))]
        self.keys[frame.key] = frame.content_hash
        return Reason.OK

    def _begin(self, incarnation: Incarnation) -> None:
        self._admit(incarnation)
        self.newest = incarnation
        self.ring_seq[:] = -1

    def _admit(self, incarnation: Incarnation) -> None:
        if len(self.highest) >= INCARNATIONS_KEPT:
            del self.highest[min(self.highest)]
        self.highest[incarnation] = -1

    def _remember(self, frame: Frame) -> None:
        place = frame.seq % FRAMES_KEPT
        self.ring_seq[place] = frame.seq
        self.ring_hash[place] = frame.content_hash
        if frame.seq > self.highest[frame.incarnation]:
            self.highest[frame.incarnation] = frame.seq


@dataclass(slots=True)
class Deduplicator:
    """All lanes of a shard, by (source number, replay)."""

    lanes: dict[tuple[int, bool], Lane] = field(default_factory=dict)

    def judge(self, source: int, frame: Frame) -> int:
        """Reason.OK, DUPLICATE or the reason of a reject. A frame without identity is always new."""
        if frame.anonymous:
            return Reason.OK
        key = (source, frame.replay)
        lane = self.lanes.get(key)
        if lane is None:
            lane = self.lanes[key] = Lane()
        return lane.judge(frame)

    def snapshot(self) -> tuple[dict[str, np.ndarray[Any, Any]], list[Any]]:
        """Arrays and a plain description, in one order."""
        lanes = list(self.lanes.values())
        arrays = {
            "dedup_ring_seq": np.array([lane.ring_seq for lane in lanes], np.int64).reshape(-1, FRAMES_KEPT),
            "dedup_ring_hash": np.array([lane.ring_hash for lane in lanes], np.uint64).reshape(-1, FRAMES_KEPT),
        }
        plain = [
            [
                source,
                replay,
                [lane.newest.start_us, lane.newest.nonce],
                [[inc.start_us, inc.nonce, high] for inc, high in lane.highest.items()],
                list(lane.keys.items()),
            ]
            for (source, replay), lane in self.lanes.items()
        ]
        return arrays, plain

    @classmethod
    def restored(cls, arrays: dict[str, np.ndarray[Any, Any]], plain: list[Any]) -> Deduplicator:
        """The inverse of `snapshot`."""
        self = cls()
        for row, (source, replay, newest, highest, keys) in enumerate(plain):
            self.lanes[source, replay] = Lane(
                highest={Incarnation(start, nonce): high for start, nonce, high in highest},
                newest=Incarnation(*newest),
                ring_seq=arrays["dedup_ring_seq"][row].copy(),
                ring_hash=arrays["dedup_ring_hash"][row].copy(),
                keys={bytes(key): known for key, known in keys},
            )
        return self
