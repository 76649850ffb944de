"""A change of the asset model: the chunks in which it travels to every shard."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec
import numpy as np

from millrace.accounting import tag_hash
from millrace.assets.tag import AssetModel, SourceModel, TagModel
from millrace.protocols.control import ModelChunk
from millrace.stream.contract import shard_of

CHUNK_BYTES_MAX: Final = 400_000
"""Well under a stream record's bound: magic, key and framing come on top."""

_encoder = msgspec.msgpack.Encoder()


def chunks(
    model: AssetModel, number: int, shard_count: int, *, replace: bool = True
) -> dict[int, list[ModelChunk]]:
    """The records of change `number`, for every shard (one without tags gets an empty chunk).

    Each holds the tags and sources whose source belongs to the shard, in order; none is larger than
    `CHUNK_BYTES_MAX` unless a single tag is. `replace`: what the change does not name loses its model.
    Further chunks hold the hashes of the other shards' tags, so that a foreign source is known as one everywhere.
    """
    sources: dict[int, list[SourceModel]] = {shard: [] for shard in range(shard_count)}
    tags: dict[int, list[TagModel]] = {shard: [] for shard in range(shard_count)}
    shards = {source.name: shard_of(source.name, shard_count) for source in model.sources}
    for source in model.sources:
        sources[shards[source.name]].append(source)
    for tag in model.tags:
        tags[shards[tag.source]].append(tag)
    hashes = {shard: [tag_hash(tag.path) for tag in tags[shard]] for shard in range(shard_count)}
    return {
        shard: _numbered(
            list(_parts(sources[shard], tags[shard])), _claimed(hashes, shard), number, replace=replace
        )
        for shard in range(shard_count)
    }


def _claimed(hashes: dict[int, list[int]], shard: int) -> list[bytes]:
    """Hashes of the tags of all other shards, uint64 little endian, in parts of at most CHUNK_BYTES_MAX."""
    others = [value for other, values in hashes.items() if other != shard for value in values]
    whole = np.array(others, "<u8").tobytes()
    return [whole[begin : begin + CHUNK_BYTES_MAX] for begin in range(0, len(whole), CHUNK_BYTES_MAX)]


Part = tuple[tuple[SourceModel, ...], tuple[TagModel, ...]]


def _parts(sources: list[SourceModel], tags: list[TagModel]) -> Iterator[Part]:
    """Sources and tags cut into parts of at most CHUNK_BYTES_MAX encoded bytes; at least one part."""
    part_sources: list[SourceModel] = []
    part_tags: list[TagModel] = []
    size = 0
    for item in (*sources, *tags):
        item_bytes = len(_encoder.encode(item))
        if size and size + item_bytes > CHUNK_BYTES_MAX:
            yield tuple(part_sources), tuple(part_tags)
            part_sources, part_tags, size = [], [], 0
        if isinstance(item, SourceModel):
            part_sources.append(item)
        if isinstance(item, TagModel):
            part_tags.append(item)
        size += item_bytes
    yield tuple(part_sources), tuple(part_tags)


def _numbered(parts: list[Part], claimed: list[bytes], number: int, *, replace: bool) -> list[ModelChunk]:
    count = len(parts) + len(claimed)
    described = [
        ModelChunk(number, index, count, replace, sources, tags) for index, (sources, tags) in enumerate(parts)
    ]
    return described + [
        ModelChunk(number, len(parts) + index, count, replace, (), (), part) for index, part in enumerate(claimed)
    ]
