"""A change of the asset model: its chunks carry everything to the right shard, within a record's bound."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.assets.change import CHUNK_BYTES_MAX, chunks
from millrace.assets.load import extended, model_of
from millrace.assets.tag import AssetModel, SourceModel, TagModel
from millrace.batch import RECORD_BYTES_MAX
from millrace.protocols import control
from millrace.stream.contract import shard_of


def tag(number: int, source: str, **more: object) -> TagModel:
    return TagModel(path=f"a/b/c/d/e/t{number}", source=source, unit="degC", **more)  # type: ignore[arg-type]


@pytest.mark.requirement("S-21")
@given(sources=st.lists(st.integers(0, 30), min_size=1, max_size=60), shard_count=st.integers(1, 16))
def test_the_chunks_of_all_shards_are_the_model_each_tag_in_its_sources_shard(
    sources: list[int], shard_count: int
) -> None:
    model = model_of([tag(number, f"plc-{source}") for number, source in enumerate(sources)])
    parts = chunks(model, 7, shard_count)
    assert sorted(parts) == list(range(shard_count))
    for shard, of_shard in parts.items():
        assert [(part.number, part.chunk, part.chunks) for part in of_shard] == [
            (7, index, len(of_shard)) for index in range(len(of_shard))
        ]
        for part in of_shard:
            assert all(shard_of(one.source, shard_count) == shard for one in part.tags)
            assert all(shard_of(one.name, shard_count) == shard for one in part.sources)
    everything = [one for of_shard in parts.values() for part in of_shard for one in part.tags]
    assert sorted(everything, key=lambda one: one.path) == list(model.tags)
    named = [one for of_shard in parts.values() for part in of_shard for one in part.sources]
    assert sorted(named, key=lambda one: one.name) == list(model.sources)


def test_a_large_model_is_cut_into_records_within_the_bound() -> None:
    model = model_of([tag(n, f"plc-{n % 7}", description="x" * 120) for n in range(20_000)])
    sizes = [len(control.encode(part)) for parts in chunks(model, 1, 2).values() for part in parts]
    assert len(sizes) > 4
    assert max(sizes) < CHUNK_BYTES_MAX * 1.2 < RECORD_BYTES_MAX / 2


def test_a_chunk_survives_its_journey() -> None:
    model = model_of([tag(1, "plc", kind="state", states=("idle", "run"), high=3.5)])
    for parts in chunks(model, 3, 2).values():
        for part in parts:
            assert control.decode(control.encode(part)) == part


def test_a_model_is_extended_by_what_another_knows_and_nothing_of_it_is_lost() -> None:
    old = AssetModel(
        sources=(SourceModel(name="a", silence_us=5), SourceModel(name="b", silence_us=6)),
        tags=(tag(1, "a"), tag(2, "b", high=5.0)),
    )
    more = AssetModel(
        sources=(SourceModel(name="b", silence_us=7), SourceModel(name="c")),
        tags=(tag(2, "b", high=9.0), tag(3, "c")),
    )
    assert extended(old, more) == AssetModel(
        sources=(SourceModel(name="a", silence_us=5), *more.sources), tags=(tag(1, "a"), *more.tags)
    )
    assert extended(old, AssetModel(sources=(), tags=())) == old
