"""Everything that one shard remembers, and how it is written down and read back (law 9)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from millrace.assets.tag import TagModel
from millrace.batch import DataClass, Rows
from millrace.process.alarm import AlarmBook
from millrace.process.deduplicate import Deduplicator
from millrace.process.detect import Detection
from millrace.process.ledger import Ledger
from millrace.process.model import PendingModel
from millrace.process.resolve import Resolver
from millrace.process.rollup import Rollup
from millrace.process.tags import Source, Sources, Tags
from millrace.process.validate import Newest
from millrace.protocols.control import ModelChunk

FORMAT = 1
"""Version of the snapshot's content; a snapshot of another version is not read."""


@dataclass(frozen=True, slots=True)
class ProcessLimits:
    """Bounds that decide about readings; the same for every worker of a data folder.

    `past_us` and `future_us`, by `DataClass`, count from a reading's receipt.
    """

    past_us: tuple[int, ...] = (30 * 86_400 * 1_000_000,) * len(DataClass)
    future_us: tuple[int, ...] = (5_000_000,) * len(DataClass)
    sources_max: int = 10_000
    tags_per_source_max: int = 20_000
    new_tags_per_source_day_max: int = 20_000

    @property
    def past_max_us(self) -> int:
        """The widest of all classes: an older time is no reading's."""
        return max(self.past_us)

    @property
    def future_max_us(self) -> int:
        """The widest of all classes."""
        return max(self.future_us)


@dataclass(slots=True)
class ShardState:
    """The memory of a shard. `time_us` is its newest tick; `model_number` the newest effective model change."""

    shard: int
    limits: ProcessLimits = field(default_factory=ProcessLimits)
    time_us: int = 0
    model_number: int = 0
    tags: Tags = field(default_factory=Tags)
    newest: Newest = field(default_factory=Newest)
    deduplicator: Deduplicator = field(default_factory=Deduplicator)
    ledger: Ledger = field(default_factory=Ledger)
    detection: Detection = field(default_factory=Detection)
    rollup: Rollup = field(default_factory=Rollup)
    alarms: AlarmBook = field(default_factory=AlarmBook)
    pending: PendingModel = field(default_factory=PendingModel)
    sources: Sources = field(init=False)
    resolver: Resolver = field(init=False)
    configured: tuple[int, int] = (0, 0)  # tags and sources that the books know
    _restored: tuple[list[Rows], list[Rows]] = ([], [])

    def __post_init__(self) -> None:
        self.sources = Sources(self.limits.sources_max)
        self.tags.source_numbers = self.sources.numbers
        self.resolver = Resolver(
            self.tags,
            self.sources,
            self.limits.tags_per_source_max,
            self.limits.new_tags_per_source_day_max,
        )

    def grow(self) -> None:
        """Make room everywhere for tags and sources that were just added."""
        known = self.configured[0]
        self.newest.grow(self.tags.count, self.time_us)
        self.newest.arrival_us[known : self.tags.count] = self.time_us
        self.configure()

    def configure(self) -> None:
        """Hand the model's columns to whoever computes with them."""
        columns = self.tags.trimmed()
        self.detection.grow(self.tags.count)
        self.rollup.grow(self.tags.count)
        self.alarms.grow(self.tags.count, len(self.sources.rows))
        self.detection.configure(columns)
        self.rollup.configure(columns)
        self.alarms.configure(columns, self.sources.silences_us())
        self.configured = (self.tags.count, len(self.sources.rows))

    def restart_silence(self, grace_us: int) -> None:
        """We were away, or refuse: nobody could be heard, so nobody is silent yet."""
        heard_us = self.time_us + grace_us
        self.newest.arrival_us[:] = heard_us
        for source in self.sources.rows:
            source.arrival_us = heard_us

    def take_model_chunk(self, chunk: ModelChunk) -> list[int]:
        """Collect a chunk; at the last one the change becomes effective. Slots whose description changed."""
        change = self.pending.take(chunk, newest=self.model_number)
        if change is None:
            return []
        self.model_number = chunk.number
        changed = change.apply(self.tags, self.sources, self.time_us)
        self.resolver.claimed = change.claimed
        self.resolver.forget()
        self.grow()
        return changed

    def take_restored(self) -> tuple[list[Rows], list[Rows]]:
        """Anomalies that a restore closed (a detector changed) and alarms that returned with them; given once."""
        rows, self._restored = self._restored, ([], [])
        return rows

    # --- snapshot ---------------------------------------------------------------------------------

    def snapshot(self) -> tuple[dict[str, np.ndarray[Any, Any]], bytes]:
        """Copies of the arrays, and everything else as MessagePack."""
        dedup_arrays, dedup = self.deduplicator.snapshot()
        arrays = (
            dedup_arrays
            | self.newest.snapshot()
            | self.ledger.snapshot()
            | _prefixed("detection.", self.detection.snapshot())
            | _prefixed("rollup.", self.rollup.snapshot())
            | _prefixed("alarms.", self.alarms.snapshot())
            | {"claimed": self.resolver.claimed}
        )
        plain = {
            "format": FORMAT,
            "shard": self.shard,
            "time_us": self.time_us,
            "model_number": self.model_number,
            "paths": self.tags.paths,
            "tag_sources": self.tags.sources,
            "kinds": self.tags.columns.kind[: self.tags.count].tobytes(),
            "models": list(self.tags.models.values()),
            "sources": [
                [s.name, s.silence_us, s.modelled, s.arrival_us, s.tags, s.new_tags, s.new_tags_day]
                for s in self.sources.rows
            ],
            "dedup": dedup,
            "fingerprints": self.detection.fingerprints(),
            "pending": self.pending.chunks,
        }
        return arrays, msgspec.msgpack.encode(plain)

    @classmethod
    def restored(cls, arrays: dict[str, np.ndarray[Any, Any]], plain: bytes, limits: ProcessLimits) -> ShardState:
        """The inverse of `snapshot`."""
        content = msgspec.msgpack.decode(plain)
        self = cls(content["shard"], limits)
        self.time_us, self.model_number = content["time_us"], content["model_number"]
        self._restore_names(content)
        self.newest.restore(arrays)
        self.deduplicator = Deduplicator.restored(arrays, content["dedup"])
        self.ledger.restore(arrays)
        self.resolver.claimed = arrays["claimed"].copy()
        self.pending.chunks = [msgspec.convert(row, ModelChunk) for row in content["pending"]]
        self.configure()
        closed = self.detection.restore(_part("detection.", arrays), content["fingerprints"])
        self.rollup.restore(_part("rollup.", arrays))
        self.alarms.restore(_part("alarms.", arrays))
        returned = self.alarms.step(np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0), closed)
        self._restored = ([closed], [returned])
        return self

    def _restore_names(self, content: dict[str, Any]) -> None:
        models = msgspec.convert(content["models"], list[TagModel])
        self.tags.models.update({model.path: model for model in models})
        self.sources.rows[:] = [Source(*row) for row in content["sources"]]
        self.sources.numbers.update({row.name: number for number, row in enumerate(self.sources.rows)})
        kinds = np.frombuffer(content["kinds"], np.uint8)
        for path, source, kind in zip(content["paths"], content["tag_sources"], kinds, strict=True):
            self.tags.add(source, path, int(kind))


def _prefixed(prefix: str, arrays: dict[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
    return {prefix + name: array for name, array in arrays.items()}


def _part(prefix: str, arrays: dict[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
