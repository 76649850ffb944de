"""From a frame's dictionary to slots: which tag is meant, whether the source may speak for it (laws 3 and 13).

A producer repeats its dictionary in every frame, so the answer is kept per (source, dictionary bytes). Only
answers without a reject are kept: a bound that refuses today may admit tomorrow. Kept answers lie in one pool of
columns, so that the readings of many frames are looked up by one kernel.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from millrace.accounting import tag_hash
from millrace.assets.tag import KINDS, TagModel
from millrace.batch import F64, I32, I64, U8, U64, Frame, Reason, ValueKind
from millrace.process.arrays import capacity_for, grown
from millrace.process.tags import Sources, Tags

ANSWERS_KEPT = 16_384
"""Bound of the cache; it is emptied when full, between batches: a batch holds places in its pool."""
POOL_ENTRIES_MAX = 4_000_000
NO_PLACE = -1


@dataclass(slots=True)
class Pool:
    """Slots and path hashes of kept answers, one behind the other; `used` of them count."""

    slots: I32 = field(default_factory=lambda: np.zeros(1_024, np.int32))
    hashes: U64 = field(default_factory=lambda: np.zeros(1_024, np.uint64))
    used: int = 0

    def put(self, slots: I32, hashes: U64) -> int:
        """Where the entries (k,) begin."""
        begin, self.used = self.used, self.used + len(slots)
        capacity = capacity_for(self.used, len(self.slots))
        self.slots, self.hashes = grown(self.slots, capacity), grown(self.hashes, capacity)
        self.slots[begin : self.used], self.hashes[begin : self.used] = slots, hashes
        return begin


@dataclass(slots=True)
class Answer:
    """Per dictionary entry (k,): slot (-1: refused), reason, hash of the path; codes of state texts.

    `codes` (k, states) float64 holds the model's code of a text, NaN where the model does not know it;
    None when no entry is a state text. `place` is where the answer stands in the pool if that says all of it.
    """

    slots: I32
    reasons: U8
    hashes: U64
    codes: F64 | None
    new_slots: list[int]
    clean: bool
    place: int = NO_PLACE


@dataclass(slots=True)
class Resolver:
    """Looks dictionaries up in the shard's tags; adds tags within the bounds."""

    tags: Tags
    sources: Sources
    tags_per_source_max: int
    new_tags_per_source_day_max: int
    claimed: U64 = field(default_factory=lambda: np.zeros(0, np.uint64))  # sorted
    answers: dict[tuple[int, bytes], Answer] = field(default_factory=dict)
    pool: Pool = field(default_factory=Pool)

    def forget(self) -> None:
        """The model changed: every dictionary is looked up again."""
        self.answers.clear()
        self.pool.used = 0

    def make_room(self) -> None:
        """Before a batch: forget what was looked up when it is as much as may be kept."""
        if len(self.answers) >= ANSWERS_KEPT or self.pool.used >= POOL_ENTRIES_MAX:
            self.forget()

    def resolve(self, source: int, frame: Frame) -> Answer:
        """The slots of a frame's dictionary; `new_slots` is filled only the first time."""
        key = (source, frame.dictionary)
        known = self.answers.get(key) if frame.dictionary else None
        if known is not None:
            return known
        answer = self._look_up(source, frame)
        if frame.dictionary and answer.clean:
            place = NO_PLACE if answer.codes is not None else self.pool.put(answer.slots, answer.hashes)
            self.answers[key] = replace(answer, new_slots=[], place=place)
        return answer

    def peek(self, frame: Frame) -> Answer:
        """For a frame that goes no further (a duplicate, a reused identity): hashes only, nothing is added."""
        k = len(frame.tags)
        hashes = np.array([tag_hash(path) for path in frame.tags], np.uint64)
        return Answer(np.full(k, -1, np.int32), np.zeros(k, np.uint8), hashes, None, [], clean=True)

    def _look_up(self, source: int, frame: Frame) -> Answer:
        k = len(frame.tags)
        slots, reasons = np.full(k, -1, np.int32), np.zeros(k, np.uint8)
        hashes = np.array([tag_hash(path) for path in frame.tags], np.uint64)
        before = self.tags.count
        for entry in range(k):
            slots[entry], reasons[entry] = self._slot(source, frame, entry, int(hashes[entry]))
        return Answer(
            slots,
            reasons,
            hashes,
            self._codes(frame),
            list(range(before, self.tags.count)),
            clean=not reasons.any(),
        )

    def _slot(self, source: int, frame: Frame, entry: int, path_hash: int) -> tuple[int, Reason]:
        path, kind = frame.tags[entry], int(frame.kinds[entry])
        model = self.tags.models.get(path)
        if self._is_foreign(source, path_hash, model):
            return -1, Reason.FOREIGN_SOURCE
        misfit = _misfit(model, kind, frame.units[entry] if frame.units else "")
        if misfit is not Reason.OK:
            return -1, misfit
        slot = self.tags.slots.get((source, path))
        if slot is not None:
            return slot, Reason.OK
        bound = self.sources.admit_tag(
            source,
            frame.received_ts_us,
            per_source=self.tags_per_source_max,
            new_per_day=self.new_tags_per_source_day_max,
            modelled=model is not None,
        )
        if bound:
            return -1, Reason[bound]
        return self.tags.add(source, path, kind), Reason.OK

    def _is_foreign(self, source: int, path_hash: int, model: TagModel | None) -> bool:
        """Whether the model gives the tag to another source, of this shard or of another."""
        if model is not None:
            return self.sources.numbers.get(model.source) != source
        if not len(self.claimed):
            return False
        place = int(np.searchsorted(self.claimed, np.uint64(path_hash)))
        return place < len(self.claimed) and int(self.claimed[place]) == path_hash

    def _codes(self, frame: Frame) -> F64 | None:
        texts = np.flatnonzero(frame.kinds == ValueKind.STATE)
        if not len(texts):
            return None
        codes = np.full((len(frame.tags), max(1, len(frame.states))), np.nan)
        for entry in texts:
            model = self.tags.models.get(frame.tags[entry])
            for place, text in enumerate(frame.states):
                if model is not None and text in model.states:
                    codes[entry, place] = model.states.index(text)
        return codes


def _misfit(model: TagModel | None, kind: int, unit: str) -> Reason:
    """What speaks against an entry of that kind, and of that unit ("": not said), for a tag of that model."""
    if model is None:  # nobody knows what a text means; a unit is not judged
        return Reason.UNKNOWN_STATE if kind == ValueKind.STATE else Reason.OK
    if not _kinds_agree(kind, KINDS.index(model.kind)):
        return Reason.WRONG_KIND
    return Reason.WRONG_UNIT if unit and model.unit and unit != model.unit else Reason.OK


def _kinds_agree(sent: int, modelled: int) -> bool:
    """A number may be sent for any number, bool or state code; a text only for a state."""
    return modelled == ValueKind.STATE if sent == ValueKind.STATE else True


def state_codes(answer: Answer, frame: Frame) -> tuple[F64, U8]:
    """The frame's values with state texts replaced by codes, and a reason per reading (n,)."""
    reasons = answer.reasons[frame.tag]
    if answer.codes is None:
        return frame.value, reasons
    is_text = (frame.kinds == ValueKind.STATE)[frame.tag] & ~np.isnan(frame.value)
    value = frame.value.copy()
    place: I64 = frame.value[is_text].astype(np.int64)
    inside = (place >= 0) & (place < answer.codes.shape[1])
    code = np.where(inside, answer.codes[frame.tag[is_text], np.where(inside, place, 0)], np.nan)
    value[is_text] = code
    unknown = np.zeros(len(value), np.bool_)
    unknown[is_text] = np.isnan(code)
    reasons = np.where((reasons == 0) & unknown, np.uint8(Reason.UNKNOWN_STATE), reasons)
    return value, reasons
