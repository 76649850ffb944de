"""A change of the asset model arrives in chunks and becomes effective at its last one (law 5)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from millrace.assets.tag import KINDS, SourceModel, TagModel
from millrace.batch import U64
from millrace.process.tags import Sources, Tags
from millrace.protocols.control import ModelChunk

CHUNKS_MAX = 4_096
"""Bound of a change under way; a larger one is ignored."""


@dataclass(frozen=True, slots=True)
class ModelChange:
    """A whole change, for one shard. `claimed` (k,) uint64, sorted: paths of other shards' sources."""

    number: int
    replace: bool
    sources: tuple[SourceModel, ...]
    tags: tuple[TagModel, ...]
    claimed: U64

    def apply(self, tags: Tags, sources: Sources, time_us: int) -> list[int]:
        """Write the change into the shard's tags; the slots that changed, in order."""
        sources.describe(self.sources, time_us)
        touched = {model.path for model in self.tags}
        if self.replace:
            touched |= set(tags.models)
            tags.models.clear()
        tags.models.update({model.path: model for model in self.tags})
        changed = [slot for slot, path in enumerate(tags.paths) if path in touched]
        for slot in changed:
            tags.describe(slot)
        return changed + self._add_missing(tags, sources, time_us)

    def _add_missing(self, tags: Tags, sources: Sources, time_us: int) -> list[int]:
        """A modelled tag has its slot before its first reading: its silence is of interest."""
        added = []
        for model in self.tags:
            source = sources.number(model.source, time_us)
            if source is not None and (source, model.path) not in tags.slots:
                added.append(tags.add(source, model.path, KINDS.index(model.kind)))
                sources.rows[source].tags += 1
        return added


@dataclass(slots=True)
class PendingModel:
    """Chunks of the change under way."""

    chunks: list[ModelChunk] = field(default_factory=list)

    def take(self, chunk: ModelChunk, *, newest: int) -> ModelChange | None:
        """The whole change when this was its last missing chunk. Lower or equal numbers are ignored."""
        if chunk.number <= newest or chunk.chunks > CHUNKS_MAX:
            return None
        if self.chunks and self.chunks[0].number < chunk.number:
            self.chunks.clear()
        if self.chunks and self.chunks[0].number > chunk.number:
            return None
        if all(known.chunk != chunk.chunk for known in self.chunks):
            self.chunks.append(chunk)
        if len(self.chunks) < chunk.chunks:
            return None
        return self._whole()

    def _whole(self) -> ModelChange:
        chunks = sorted(self.chunks, key=lambda chunk: chunk.chunk)
        self.chunks.clear()
        claimed = np.frombuffer(b"".join(chunk.claimed for chunk in chunks), "<u8").astype(np.uint64)
        return ModelChange(
            number=chunks[0].number,
            replace=chunks[0].replace,
            sources=tuple(source for chunk in chunks for source in chunk.sources),
            tags=tuple(tag for chunk in chunks for tag in chunk.tags),
            claimed=np.sort(claimed),
        )
