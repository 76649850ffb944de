"""Compaction changes where readings lie, never which."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from archive_making import T0_US, MemoryManifest, output, reading_rows, tag_info
from hypothesis import given
from hypothesis import strategies as st

from millrace.clock import HandClock
from millrace.errors import StoreUnavailable
from millrace.schema.hour_counts import HourCount, add_counts
from millrace.schema.segments import read_tag, recount
from millrace.sinks.archive import ArchiveSink, compaction
from millrace.sinks.archive.neighbours import FILES_MIN, ROWS_MAX, Neighbours, choose
from millrace.sinks.manifest import Segment

COUNTS = (HourCount("gw-1", 0, 1, 1),)
TAGS = [tag_info(i, source=f"gw-{i % 3}") for i in range(30)]


def fill(sink: ArchiveSink, segments: int, rows: int = 300) -> None:
    rng = np.random.default_rng(11)
    for number in range(segments):
        ts_us = T0_US + number * 60_000_000 + rng.permutation(rows) * 1_000 - 10 * 60_000_000 * (number % 2)
        readings = reading_rows(TAGS, rng.integers(0, 30, rows), ts_us, rng.normal(0, 1, rows).round(2))
        sink.write([output(number + 1, readings, tags=TAGS if number == 0 else (), mark=1)])


def maintain(sink: ArchiveSink) -> None:
    """Upkeep until there is nothing to do."""
    for _ in range(1_000):
        if not sink.maintain():
            return
    raise AssertionError("upkeep does not come to an end")


@pytest.mark.requirement("S-19")
@pytest.mark.parametrize("block_rows", [50, 1_000_000])
def test_a_merge_keeps_every_reading_of_every_tag(
    open_sink: Callable[..., ArchiveSink],
    manifest: MemoryManifest,
    tmp_path: Path,
    monkeypatch,
    block_rows: int,
) -> None:
    monkeypatch.setattr(compaction, "BLOCK_ROWS", block_rows)
    sink = open_sink()
    fill(sink, FILES_MIN)
    old = manifest.listed()
    before = {t.path: read_tag([tmp_path / s.file for s in old], t.path, None, 0, 2**62) for t in TAGS}
    maintain(sink)
    (merged,) = manifest.listed()
    assert (merged.first_position, merged.last_position) == (1, FILES_MIN)
    for tag in TAGS:
        after = read_tag([tmp_path / merged.file], tag.path, tag.source, 0, 2**62)
        for left, right in zip(before[tag.path], after, strict=True):
            np.testing.assert_array_equal(left, right)
    wanted = add_counts(count for segment in old for count in segment.counts)
    assert recount(tmp_path / merged.file) == wanted
    assert list(merged.counts) == wanted


def test_replaced_files_stay_until_no_query_can_run(
    open_sink: Callable[..., ArchiveSink], manifest: MemoryManifest, tmp_path: Path
) -> None:
    sink = open_sink()
    fill(sink, FILES_MIN)
    old = [tmp_path / s.file for s in manifest.listed()]
    maintain(sink)
    assert all(file.exists() for file in old)
    manifest.retired_age_s = 10_000.0
    maintain(sink)
    assert not any(file.exists() for file in old)
    assert [s.file for s in manifest.files(0)] == [s.file for s in manifest.listed()]


@pytest.mark.requirement("S-19")
def test_a_merge_that_lost_a_reading_is_never_listed(
    open_sink: Callable[..., ArchiveSink], manifest: MemoryManifest, tmp_path: Path
) -> None:
    sink = open_sink()
    fill(sink, FILES_MIN)
    victim = manifest.listed()[3]
    wrong = replace(
        victim, counts=(replace(victim.counts[0], count=victim.counts[0].count + 1), *victim.counts[1:])
    )
    manifest.rows[victim.file] = (wrong, "listed")
    sink = open_sink(epoch=2)
    before = sorted(p.name for p in tmp_path.rglob("*.parquet*"))
    maintain(sink)
    assert len(manifest.listed()) == FILES_MIN
    assert sorted(p.name for p in tmp_path.rglob("*.parquet*")) == before


def test_a_merge_under_way_when_the_shard_goes_leaves_no_file(
    open_sink: Callable[..., ArchiveSink], manifest: MemoryManifest, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(compaction, "BLOCK_ROWS", 50)
    sink = open_sink()
    fill(sink, FILES_MIN)
    assert sink.maintain()
    assert list(tmp_path.rglob("*.aside"))
    sink.close_shard(0)
    assert not list(tmp_path.rglob("*.aside"))
    assert len(manifest.listed()) == FILES_MIN


def test_upkeep_comes_with_the_writes(
    open_sink: Callable[..., ArchiveSink], manifest: MemoryManifest, clock: HandClock
) -> None:
    sink = open_sink()
    fill(sink, FILES_MIN)
    for _ in range(40):
        clock.sleep(1)
        sink.write([])
    assert len(manifest.listed()) == 1


def test_the_manifests_list_is_read_once_a_life_and_not_before_each_merge(
    open_sink: Callable[..., ArchiveSink], manifest: MemoryManifest, monkeypatch
) -> None:
    """It grows with the years; what is merged then is the newest of it."""
    sink = open_sink()
    monkeypatch.setattr(manifest, "files", lambda shard: pytest.fail("the whole list was read again"))
    fill(sink, FILES_MIN)
    maintain(sink)
    assert len(manifest.listed()) == 1
    maintain(sink)


def test_a_swap_whose_answer_was_lost_is_not_made_twice(
    open_sink: Callable[..., ArchiveSink], manifest: MemoryManifest, monkeypatch
) -> None:
    sink = open_sink()
    fill(sink, FILES_MIN)
    swap, swaps = manifest.replace_segments, []

    def answer_lost(*arguments: Any) -> None:
        swap(*arguments)
        swaps.append(arguments)
        raise StoreUnavailable("the connection broke after the commit")

    monkeypatch.setattr(manifest, "replace_segments", answer_lost)
    maintain(sink)
    maintain(sink)
    assert len(swaps) == 1
    assert [segment.rows for segment in manifest.listed()] == [FILES_MIN * 300]


def test_segments_of_an_earlier_life_are_merged_with_new_ones(
    open_sink: Callable[..., ArchiveSink], manifest: MemoryManifest
) -> None:
    fill(open_sink(), FILES_MIN - 1)
    sink = open_sink(epoch=2)
    sink.write([output(FILES_MIN, reading_rows(TAGS, [0], [T0_US], [1.0]), tags=TAGS, mark=1)])
    maintain(sink)
    assert [segment.rows for segment in manifest.listed()] == [(FILES_MIN - 1) * 300 + 1]


SIZES = st.sampled_from([100, 9_000, 80_000, 700_000, 5_000_000, 9_000_000])


@given(st.lists(st.tuples(SIZES, st.booleans()), max_size=60))
def test_neighbours_held_in_memory_are_those_of_the_whole_list(events: list[tuple[int, bool]]) -> None:
    """The slow twin is the manifest's list, read anew before each merge."""
    held, whole = Neighbours(), []
    for number, (rows, merges) in enumerate(events):
        whole.append(Segment(f"f{number}", 0, 1, number, number, rows, 0, 1, 1, "", counts=COUNTS))
        held.add(whole[-1])
        while merges and (run := choose(whole)):
            assert held.next_run() == run
            merged = replace(run[0], file=f"m{run[0].file}", rows=sum(s.rows for s in run), last_position=number)
            held.replace(run, merged)
            whole = [*(segment for segment in whole if segment not in run), merged]
    assert held.next_run() == choose(whole)
    assert len(held) <= len(whole)


@given(st.lists(st.integers(1, 9_000_000), max_size=40))
def test_only_neighbours_are_merged_and_never_beyond_the_bound(sizes: list[int]) -> None:
    listed = [Segment(f"f{i}", 0, 1, i, i, rows, 0, 1, 1, "") for i, rows in enumerate(sizes)]
    run = choose(listed)
    if run:
        first = run[0].first_position
        assert [s.first_position for s in run] == list(range(first, first + len(run)))
        assert len(run) >= FILES_MIN
        assert sum(s.rows for s in run) <= ROWS_MAX


def test_merging_ends_and_rewrites_a_reading_few_times() -> None:
    listed: list[Segment] = []
    held = Neighbours()
    rewritten = 0
    for i in range(2_000):
        listed.append(Segment(f"f{i}", 0, 1, i, i, 10_000, 0, 1, 1, ""))
        held.add(listed[-1])
        while run := choose(listed):
            assert held.next_run() == run  # what was merged is merged again, from memory as from the list
            rows = sum(s.rows for s in run)
            rewritten += rows
            merged = replace(run[0], rows=rows, last_position=run[-1].last_position, file=f"m{i}-{rows}")
            listed = sorted([*(s for s in listed if s not in run), merged], key=lambda s: s.first_position)
            held.replace(run, merged)
    assert rewritten / 20_000_000 < 5
    assert len(listed) < 40
