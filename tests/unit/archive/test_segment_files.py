"""A segment holds what was written, and gives one tag without the rest."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from archive_making import T0_US, reading_rows, tag_info
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.clock import HOUR_US
from millrace.durable import writing
from millrace.schema.hour_counts import HourCount, count_hours
from millrace.schema.segments import (
    ROW_GROUP_ROWS,
    Footer,
    FooterCache,
    SegmentError,
    TooManyRows,
    parse_name,
    read_metadata,
    read_tag,
    recount,
    relative_name,
)
from millrace.sinks.archive.parquet import SegmentWriter
from millrace.sinks.archive.sorting import sort_readings

TAGS = [tag_info(i) for i in range(40)]
NAMES = [(tag.path, tag.source) for tag in TAGS]


def write_file(path: Path, slot, ts_us, value, quality=192, tags=TAGS) -> Path:
    rows = reading_rows(tags, slot, ts_us, value, quality)
    block, hashes = sort_readings([(t.path, t.source) for t in tags], [(rows["slot"].copy(), rows)])
    with writing(path) as file:
        writer = SegmentWriter(file)
        writer.write(block, count_hours(block.sources, block.starts, block.ts_us, hashes))
        writer.finish(folder_id="f", shard=1, epoch=2, first=3, last=10**59)
    return path


rows_of_a_segment = st.lists(
    st.tuples(
        st.integers(0, 39),
        st.integers(-5, 5).map(lambda x: T0_US + x * HOUR_US // 3),
        st.floats(allow_infinity=False),
        st.sampled_from([0, 64, 192]),
    ),
    min_size=1,
    max_size=60,
)


@given(rows_of_a_segment)
@settings(max_examples=60)
@pytest.mark.requirement("S-19")
def test_each_tag_comes_back_in_time_order_with_every_value(tmp_path_factory, rows) -> None:
    slot, ts_us, value, quality = map(list, zip(*rows, strict=True))
    file = write_file(tmp_path_factory.mktemp("s") / "a.parquet", slot, ts_us, value, quality)
    for number, tag in enumerate(TAGS):
        wanted = sorted(((r[1], r[2], r[3]) for r in rows if r[0] == number), key=lambda r: r[0])
        found = read_tag([file], tag.path, tag.source, -(2**62), 2**62, footers=FooterCache())
        for column, expected in zip(
            found, zip(*wanted, strict=True) if wanted else ([], [], []), strict=True
        ):
            np.testing.assert_array_equal(column, np.array(expected, column.dtype))


def counts_slowly(rows) -> list[HourCount]:
    """Twin of count_hours: one row at a time."""
    hashes = reading_rows(TAGS, *map(list, zip(*rows, strict=True)))["hash"].tolist()
    totals: dict[tuple[str, int], list[int]] = {}
    for (slot, ts_us, _, _), value in zip(rows, hashes, strict=True):
        entry = totals.setdefault((TAGS[slot].source, ts_us // HOUR_US * HOUR_US), [0, 0])
        entry[0] += 1
        entry[1] = (entry[1] + value) % 2**64
    return [HourCount(*key, *entry) for key, entry in sorted(totals.items())]


@given(rows_of_a_segment)
@settings(max_examples=60)
@pytest.mark.requirement("S-19")
def test_footer_and_contents_count_what_was_written(tmp_path_factory, rows) -> None:
    file = write_file(tmp_path_factory.mktemp("s") / "a.parquet", *map(list, zip(*rows, strict=True)))
    footer = Footer(file, read_metadata(file))
    assert [HourCount(*hour) for hour in footer.facts.hours] == counts_slowly(rows)
    assert recount(file) == counts_slowly(rows)


@given(rows_of_a_segment, st.sets(st.integers(0, 60)))
@settings(max_examples=100)
def test_sorting_equals_a_stable_sort_by_name_and_time_for_any_cut_into_outputs(rows, cuts) -> None:
    array = reading_rows(TAGS, *map(list, zip(*rows, strict=True)))
    outputs = np.split(array, sorted(cuts))
    block, hashes = sort_readings(NAMES, [(output["slot"].copy(), output) for output in outputs])
    order = sorted(range(len(rows)), key=lambda i: (NAMES[rows[i][0]], rows[i][1]))
    np.testing.assert_array_equal(block.ts_us, array["ts_us"][order])
    np.testing.assert_array_equal(block.value, array["value"][order])
    np.testing.assert_array_equal(block.quality, array["quality"][order])
    np.testing.assert_array_equal(block.late, array["late"][order])
    np.testing.assert_array_equal(hashes, array["hash"][order])
    assert len(set(zip(block.paths, block.sources, strict=True))) == len(block.starts) - 1
    assert np.all(np.diff(block.starts) > 0)


def test_a_tag_is_read_from_its_own_row_groups_only(tmp_path: Path) -> None:
    n = 5 * ROW_GROUP_ROWS
    rng = np.random.default_rng(3)
    file = write_file(
        tmp_path / "a.parquet", rng.integers(0, 40, n), T0_US + np.arange(n), rng.normal(0, 1, n)
    )
    footer = Footer(file, read_metadata(file))
    assert footer.metadata.num_row_groups == 5
    for tag in TAGS:
        ((first, last),) = footer.ranges(tag.path, None)
        groups = footer.groups(first, last)
        assert len(groups) <= 2
        assert footer.group_starts[groups.start] <= first
        assert footer.group_starts[groups.stop] >= last
        names = pq.ParquetFile(file).read_row_groups(list(groups), columns=["path"]).column("path")
        held = names.slice(first - int(footer.group_starts[groups.start]), last - first)
        assert set(held.to_pylist()) == {tag.path}


def test_the_same_path_from_two_sources_is_two_tags(tmp_path: Path) -> None:
    tags = [tag_info(0, "a/b/t", "gw-1"), tag_info(1, "a/b/t", "gw-2")]
    file = write_file(
        tmp_path / "a.parquet", [0, 1, 0], [T0_US, T0_US + 1, T0_US + 2], [1.0, 2.0, 3.0], tags=tags
    )
    assert read_tag([file], "a/b/t", "gw-1", 0, 2**62)[1].tolist() == [1.0, 3.0]
    assert read_tag([file], "a/b/t", "gw-2", 0, 2**62)[1].tolist() == [2.0]
    assert read_tag([file], "a/b/t", None, 0, 2**62)[1].tolist() == [1.0, 2.0, 3.0]


def test_several_files_join_in_time_order_and_the_span_is_half_open(tmp_path: Path) -> None:
    late = write_file(
        tmp_path / "b.parquet", [1] * 4, [T0_US + i for i in (5, 1, 7, 9)], [5.0, 1.0, 7.0, 9.0]
    )
    early = write_file(tmp_path / "a.parquet", [1] * 3, [T0_US + i for i in (0, 2, 4)], [0.0, 2.0, 4.0])
    found = read_tag([early, late], TAGS[1].path, None, T0_US + 1, T0_US + 9)
    assert found[1].tolist() == [1.0, 2.0, 4.0, 5.0, 7.0]


def test_more_rows_than_allowed_is_an_error_that_says_so(tmp_path: Path) -> None:
    file = write_file(tmp_path / "a.parquet", [1] * 10, T0_US + np.arange(10), np.zeros(10))
    with pytest.raises(TooManyRows, match="more than 9"):
        read_tag([file], TAGS[1].path, None, 0, 2**62, rows_max=9)


def test_a_cut_or_foreign_file_is_a_segment_error(tmp_path: Path) -> None:
    whole = write_file(tmp_path / "a.parquet", [1], [T0_US], [1.0])
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(whole.read_bytes()[:-7])
    pq.write_table(pq.read_table(whole).replace_schema_metadata(None), tmp_path / "other.parquet")
    for file in (cut, tmp_path / "other.parquet"):
        with pytest.raises(SegmentError):
            read_tag([file], TAGS[1].path, None, 0, 2**62)
    with pytest.raises(FileNotFoundError):
        read_tag([tmp_path / "none.parquet"], TAGS[1].path, None, 0, 2**62)


def test_the_footer_cache_forgets_the_least_recently_used(tmp_path: Path) -> None:
    files = [write_file(tmp_path / f"{i}.parquet", [1], [T0_US], [1.0]) for i in range(4)]
    cache = FooterCache(entries_max=2)
    for file in files:
        cache.get(file)
    assert len(cache) == 2
    assert cache.get(files[3]) is cache.get(files[3])


def test_threads_that_read_at_once_get_the_same_rows(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    n = 50_000
    file = write_file(
        tmp_path / "a.parquet", rng.integers(0, 40, n), T0_US + np.arange(n), rng.normal(0, 1, n)
    )
    wanted = {tag.path: read_tag([file], tag.path, None, 0, 2**62)[1].tobytes() for tag in TAGS}
    wrong: list[str] = []
    cache = FooterCache(entries_max=1)

    def read_all() -> None:
        found = {t.path: read_tag([file], t.path, None, 0, 2**62, footers=cache)[1].tobytes() for t in TAGS}
        wrong.extend(path for path in wanted if found[path] != wanted[path])

    threads = [threading.Thread(target=read_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not wrong


def test_a_name_carries_shard_epoch_and_positions() -> None:
    name = relative_name("seg", 3, 7, 1001, 10**59, T0_US)
    assert name == f"shard=3/date=2026-01-05/seg-3-7-1001-{10**59}.parquet"
    parsed = parse_name(name)
    assert parsed is not None
    assert (parsed.kind, parsed.shard, parsed.epoch, parsed.last_position) == ("seg", 3, 7, 10**59)
    assert parse_name("shard=3/notes.txt") is None
