"""What every decoder of foreign formats makes: the columns of a frame that has no identity yet."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from millrace.batch import F64, I64, U8, U32, DoorReject, Frame, Incarnation, Reason, no_kinds
from millrace.protocols import dictionary

NO_IDENTITY = Incarnation(0, 0)


@dataclass(slots=True)
class Columns:
    """Accepted readings in time order and the rejects beside them; shapes and meaning as in `batch.Frame`.

    A path may stand in `tags` twice with different kinds or units, when one body gave it a number and a text.
    """

    tags: tuple[str, ...]
    kinds: U8
    states: tuple[str, ...]
    tag: U32
    ts_us: I64
    value: F64
    quality: U8
    rejects: tuple[DoorReject, ...] = ()
    units: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Readings that the sender sent."""
        return len(self.ts_us) + len(self.rejects)

    def frame(
        self,
        source: str,
        incarnation: Incarnation = NO_IDENTITY,
        seq: int = 0,
        received_ts_us: int = 0,
        *,
        key: bytes = b"",
        replay: bool = False,
        anonymous: bool = False,
        trace: str = "",
    ) -> Frame:
        """These readings as a source's frame, its dictionary packed: the same for the same tags in any order."""
        order = _sorted(self.tags, self.kinds.tobytes(), self.units)
        tags, kinds, units = order.tags, order.kinds, order.units
        return Frame(
            source,
            incarnation,
            seq,
            received_ts_us,
            tags,
            kinds,
            self.tag if order.place is None else order.place[self.tag],
            self.ts_us,
            self.value,
            self.quality,
            self.states,
            self.rejects,
            key,
            replay,
            anonymous,
            dictionary=_block(tags, kinds.tobytes(), self.states, units),
            trace=trace,
            units=units,
        )


@dataclass(frozen=True, slots=True)
class _Sorted:
    """Entries of a dictionary in order of path, kind and unit; `place` (k,) is where each went, None: nowhere else."""

    tags: tuple[str, ...]
    kinds: U8
    units: tuple[str, ...]
    place: U32 | None


@lru_cache(maxsize=1_024)
def _sorted(tags: tuple[str, ...], kinds: bytes, units: tuple[str, ...]) -> _Sorted:
    """Senders name the same tags now in this order, now in that, and each dictionary is looked up entry by entry."""
    read = np.frombuffer(kinds, np.uint8)
    entries = list(zip(tags, kinds, units or ("",) * len(tags), strict=True))
    order = sorted(range(len(tags)), key=entries.__getitem__)
    if order == list(range(len(tags))):
        return _Sorted(tags, read, units, None)
    place = np.empty(len(tags), np.uint32)
    place[order] = np.arange(len(tags), dtype=np.uint32)
    return _Sorted(
        tuple(tags[i] for i in order), read[order], tuple(units[i] for i in order) if units else (), place
    )


@lru_cache(maxsize=1_024)
def _block(tags: tuple[str, ...], kinds: bytes, states: tuple[str, ...], units: tuple[str, ...]) -> bytes:
    """A sender names the same tags in each body: pack them once."""
    return dictionary.pack(tags, np.frombuffer(kinds, np.uint8), states, units)


def no_readings(rejects: tuple[DoorReject, ...] = ()) -> Columns:
    """Nothing but rejects."""
    return Columns(
        (),
        no_kinds(),
        (),
        np.zeros(0, np.uint32),
        np.zeros(0, np.int64),
        np.zeros(0),
        np.zeros(0, np.uint8),
        rejects,
    )


def select(columns: Columns, reasons: U8, *, prune: bool = False) -> Columns:
    """The rows whose reason is OK, in time order (equal times as sent), without what only refused rows named.

    `prune`: also without the tags and states that no row names at all.
    """
    tag, ts_us, value, quality = columns.tag, columns.ts_us, columns.value, columns.quality
    tags, kinds, states, units = columns.tags, columns.kinds, columns.states, columns.units
    keep = reasons == Reason.OK
    if prune or not keep.all():
        tag, ts_us, value, quality = tag[keep], ts_us[keep], value[keep], quality[keep]
        used, index = np.unique(tag, return_inverse=True)
        tags, kinds, tag = tuple(tags[i] for i in used.tolist()), kinds[used], index.astype(np.uint32)
        states, value = _used_states(states, kinds, tag, value)
        units = tuple(units[i] for i in used.tolist()) if units else ()
    if len(ts_us) > 1 and (ts_us[1:] < ts_us[:-1]).any():
        order = np.argsort(ts_us, kind="stable")
        tag, ts_us, value, quality = tag[order], ts_us[order], value[order], quality[order]
    return Columns(
        tags, kinds, states, tag, ts_us, value, quality, columns.rejects, units if any(units) else ()
    )


def _used_states(states: tuple[str, ...], kinds: U8, tag: U32, value: F64) -> tuple[tuple[str, ...], F64]:
    if not states:
        return states, value
    is_state = (kinds[tag] == 3) & ~np.isnan(value)
    used, index = np.unique(value[is_state].astype(np.int64), return_inverse=True)
    value = value.copy()
    value[is_state] = index
    return tuple(states[i] for i in used.tolist()), value
