"""Which frames have been here before (law 2).

A *lane* is a source's live series, or its series of quarantine replays. Per lane we keep the newest
16 incarnations with their highest sequence, and for the newest one the content hash of each of the last
1,000 frames. Behind that nothing can be known, so it is a reject and never called a duplicate.
Idempotency keys are kept apart: the last 10,000 per source.

A frame of a lane's newest incarnation is judged by a kernel, many at once; what needs more than that
incarnation's numbers (a new life, an older one, a key) is judged by itself, in its turn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numba
import numpy as np

from millrace.batch import I64, U8, U64, Frame, Incarnation, Reason
from millrace.process.arrays import grown

INCARNATIONS_KEPT = 16
FRAMES_KEPT = 1_000
KEYS_KEPT = 10_000

DUPLICATE = 255
"""Verdict beside `Reason`: the same frame came before; it is counted and goes no further."""

NO_LANE = -1
_LANES_MIN = 16
_BEFORE_FIRST = Incarnation(-1, 0)
_TOO_OLD, _REUSED = int(Reason.SEQUENCE_TOO_OLD), int(Reason.IDENTITY_REUSED)
_U64 = 2**64


@dataclass(slots=True)
class Rings:
    """Of each lane (lanes,) the newest incarnation, with its highest sequence and its last frames (lanes, 1000)."""

    begun: U8 = field(default_factory=lambda: np.zeros(_LANES_MIN, np.uint8))  # 0: no incarnation yet
    start_us: U64 = field(default_factory=lambda: np.zeros(_LANES_MIN, np.uint64))
    nonce: U64 = field(default_factory=lambda: np.zeros(_LANES_MIN, np.uint64))
    highest: U64 = field(default_factory=lambda: np.zeros(_LANES_MIN, np.uint64))
    seq: I64 = field(default_factory=lambda: np.zeros((_LANES_MIN, FRAMES_KEPT), np.int64))
    hash: U64 = field(default_factory=lambda: np.zeros((_LANES_MIN, FRAMES_KEPT), np.uint64))

    def grow(self, lane: int) -> None:
        """Room for that lane; it holds no frames."""
        if lane >= len(self.begun):
            for name in self.__slots__:
                setattr(self, name, grown(getattr(self, name), 2 * len(self.begun)))
        self.seq[lane] = -1

    def begin(self, lane: int, incarnation: Incarnation, seq: int) -> None:
        """A new life whose first frame is `seq`."""
        self.begun[lane] = 1
        self.start_us[lane], self.nonce[lane], self.highest[lane] = incarnation.start_us, incarnation.nonce, seq
        self.seq[lane] = -1

    def remember(self, lane: int, seq: int, content_hash: int) -> None:
        self.seq[lane, seq % FRAMES_KEPT] = seq if seq < _U64 // 2 else seq - _U64  # the same 64 bits
        self.hash[lane, seq % FRAMES_KEPT] = content_hash


@numba.njit(cache=True)  # type: ignore[misc]
def _judge_newest(
    lane: I64, start_us: U64, nonce: U64, seq: U64, content_hash: U64,
    begun: U8, newest_start_us: U64, newest_nonce: U64, highest: U64, ring_seq: U64, ring_hash: U64,
    verdict: U8, begin: int,
) -> int:  # fmt: skip
    """Judge frames (f,) from `begin` on, up to the first that is not of its lane's newest incarnation."""
    kept = np.uint64(FRAMES_KEPT)
    for i in range(begin, len(lane)):
        at = lane[i]
        if at < 0 or begun[at] == 0 or start_us[i] != newest_start_us[at] or nonce[i] != newest_nonce[at]:
            return i
        place = np.int64(seq[i] % kept)
        if seq[i] <= highest[at]:
            if highest[at] - seq[i] >= kept:
                verdict[i] = _TOO_OLD
                continue
            if ring_seq[at, place] == seq[i]:
                verdict[i] = DUPLICATE if ring_hash[at, place] == content_hash[i] else _REUSED
                continue
            # else a gap that is filled now
        else:
            highest[at] = seq[i]
        ring_seq[at, place] = seq[i]
        ring_hash[at, place] = content_hash[i]
        verdict[i] = 0
    return len(lane)


@dataclass(slots=True)
class Lane:
    """What is known of one series of identities beside its ring. The newest incarnation's entry in `highest` is
    brought up to date by `settle` only: the ring has it.
    """

    number: int
    rings: Rings
    highest: dict[Incarnation, int] = field(default_factory=dict)
    newest: Incarnation = _BEFORE_FIRST
    keys: dict[bytes, int] = field(default_factory=dict)

    def settle(self) -> None:
        if self.rings.begun[self.number]:
            self.highest[self.newest] = int(self.rings.highest[self.number])

    def judge(self, frame: Frame) -> int:
        """Reason.OK, DUPLICATE or the reason of a reject; remembers the frame when it is OK."""
        if frame.key:
            return self._judge_key(frame)
        incarnation, seq = frame.incarnation, frame.seq
        if incarnation == self.newest:
            return self._judge_newest(frame)
        if incarnation > self.newest:
            self.settle()
            self._admit(incarnation)
            self.newest = incarnation
            self.rings.begin(self.number, incarnation, seq)
            self.rings.remember(self.number, seq, frame.content_hash)
            return Reason.OK
        return self._judge_older(incarnation, seq)

    def _judge_newest(self, frame: Frame) -> int:
        """A frame of the newest incarnation, one by itself."""
        rings, lane, seq = self.rings, self.number, frame.seq
        highest, place = int(rings.highest[lane]), seq % FRAMES_KEPT
        if seq <= highest - FRAMES_KEPT:
            return Reason.SEQUENCE_TOO_OLD
        if seq <= highest and int(rings.seq[lane, place]) % _U64 == seq:
            return DUPLICATE if int(rings.hash[lane, place]) == frame.content_hash else Reason.IDENTITY_REUSED
        rings.highest[lane] = max(highest, seq)
        rings.remember(lane, seq, frame.content_hash)
        return Reason.OK

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

    def _admit(self, incarnation: Incarnation) -> None:
        if len(self.highest) >= INCARNATIONS_KEPT:
            del self.highest[min(self.highest)]
        self.highest[incarnation] = -1


@dataclass(slots=True)
class Deduplicator:
    """All lanes of a shard, by (source number, replay); a lane's number is its place in their order."""

    lanes: dict[tuple[int, bool], Lane] = field(default_factory=dict)
    rings: Rings = field(default_factory=Rings)
    live: dict[int, int] = field(default_factory=dict)  # source -> number of the lane of its live series

    def judge(self, source: int, frame: Frame) -> int:
        """Reason.OK, DUPLICATE or the reason of a reject. A frame without identity is always new."""
        if frame.anonymous:
            return Reason.OK
        lane = self.lanes.get((source, frame.replay))
        return (lane or self._open(source, frame.replay)).judge(frame)

    def judge_all(
        self,
        lane: I64,
        start_us: U64,
        nonce: U64,
        seq: U64,
        content_hash: U64,
        judge_one: Callable[[int], int],
    ) -> list[int]:
        """A verdict per frame (f,), as `judge` gives them one after the other.

        `lane` is the number of the frame's lane, or `NO_LANE` for a frame that `judge_one` is to judge in its turn.
        """
        verdict = np.zeros(len(lane), np.uint8)
        place = 0
        while True:
            rings = self.rings
            place = _judge_newest(
                lane, start_us, nonce, seq, content_hash,
                rings.begun, rings.start_us, rings.nonce, rings.highest, rings.seq.view(np.uint64), rings.hash,
                verdict, place,
            )  # fmt: skip
            if place == len(lane):
                return verdict.tolist()
            verdict[place] = judge_one(place)
            place += 1

    def numbers_of(self, sources: Sequence[int]) -> list[int]:
        """Number of the lane of each source's live series; `NO_LANE` where there is none yet."""
        live = self.live
        return [live.get(source, NO_LANE) for source in sources]

    def _open(self, source: int, replay: bool) -> Lane:
        lane = Lane(len(self.lanes), self.rings)
        self.rings.grow(lane.number)
        self.lanes[source, replay] = lane
        if not replay:
            self.live[source] = lane.number
        return lane

    def snapshot(self) -> tuple[dict[str, np.ndarray[Any, Any]], list[Any]]:
        """Arrays and a plain description, in one order."""
        count = len(self.lanes)
        arrays = {
            "dedup_ring_seq": self.rings.seq[:count].copy(),
            "dedup_ring_hash": self.rings.hash[:count].copy(),
        }
        for lane in self.lanes.values():
            lane.settle()
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
        for source, replay, newest, highest, keys in plain:
            lane = self._open(source, replay)
            lane.highest = {Incarnation(start, nonce): high for start, nonce, high in highest}
            lane.keys = {bytes(key): known for key, known in keys}
            lane.newest = Incarnation(*newest)
            if lane.newest != _BEFORE_FIRST:
                self.rings.begin(lane.number, lane.newest, lane.highest[lane.newest])
        count = len(plain)
        self.rings.seq[:count] = arrays["dedup_ring_seq"]
        self.rings.hash[:count] = arrays["dedup_ring_hash"]
        return self
