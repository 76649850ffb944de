"""Workloads are what they say they are: rate, sources, periods, late and bad readings, ready frames."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.workloads import PLANT_100K, SHAPES, WINDOW_US, Due, Shape, Workload
from millrace.assets.check import check_tag
from millrace.clock import SECOND_US
from millrace.protocols import frame

START_US = 1_767_600_000_000_000
SMALL = Shape("small", readings_per_s=4_000, tags=400, sources=4)


@pytest.fixture(scope="module")
def small() -> Workload:
    return Workload(SMALL)


def windows(load: Workload, seconds: float) -> list[Due]:
    return list(itertools.islice(load.windows(START_US), int(seconds * SECOND_US / WINDOW_US)))


def test_the_reference_workload_is_what_its_description_says() -> None:
    assert (PLANT_100K.tags, PLANT_100K.sources, PLANT_100K.readings_per_s) == (10_000, 100, 100_000)
    assert (PLANT_100K.critical_share, PLANT_100K.late_share, PLANT_100K.bad_share) == (0.2, 0.01, 0.001)
    load = Workload(PLANT_100K)
    assert load.rate == pytest.approx(100_000, rel=0.01)
    assert load.period_us.min() == pytest.approx(20_000, rel=0.05)
    assert load.period_us.max() == pytest.approx(60 * SECOND_US, rel=0.05)
    assert load.critical.sum() == 2_000
    assert load.columns.late.mean() == pytest.approx(0.01, rel=0.05)
    assert load.columns.bad.mean() == pytest.approx(0.001, rel=0.1)


def test_every_window_holds_a_frame_of_each_source_with_what_fell_due_in_it(small: Workload) -> None:
    for number, due in enumerate(windows(small, 3)):
        assert due.due_us == START_US + (number + 1) * WINDOW_US
        assert due.readings == sum(len(one.ts_us) for one in due.frames)
        assert len({one.source for one in due.frames}) == len(due.frames) <= SMALL.sources
        for one in due.frames:
            on_time = (one.ts_us > due.due_us - WINDOW_US - 1) & (one.ts_us <= due.due_us)
            assert on_time.mean() > 0.8
            assert (one.tag < len(one.tags)).all()


def test_identities_rise_by_one_in_each_source(small: Workload) -> None:
    seqs: dict[str, list[int]] = {}
    for due in windows(small, 2):
        for one in due.frames:
            seqs.setdefault(one.source, []).append(one.seq)
    assert all(found == list(range(len(found))) for found in seqs.values())
    assert len(seqs) == SMALL.sources


def test_no_reading_comes_twice_over_the_end_of_a_cycle(small: Workload) -> None:
    seen: set[tuple[str, int, int]] = set()
    total = 0
    for due in windows(small, small.cycle_us / SECOND_US + 3):
        for one in due.frames:
            seen.update((one.source, int(tag), int(ts)) for tag, ts in zip(one.tag, one.ts_us, strict=True))
            total += len(one.ts_us)
    assert len(seen) >= total - total // 1_000  # a fast tag's jitter may meet itself at the microsecond


def test_late_readings_come_behind_newer_ones_of_their_tag_and_no_others_do(small: Workload) -> None:
    newest: dict[tuple[str, int], int] = {}
    late = total = 0
    for due in windows(small, 20):
        for one in due.frames:
            ok = np.isfinite(one.value) & (np.abs(one.value) <= 1_000) & (one.ts_us < due.due_us + SECOND_US)
            for tag, ts in zip(one.tag[ok].tolist(), one.ts_us[ok].tolist(), strict=True):
                before = newest.get((one.source, tag), 0)
                late += ts < before
                total += 1
                newest[one.source, tag] = max(before, ts)
    assert late / total == pytest.approx(SMALL.late_share, rel=0.15)


def test_frames_are_ready_to_be_encoded_and_read_back_equal(small: Workload) -> None:
    for one in windows(small, 0.2)[-1].frames:
        back = frame.decode(frame.encode(one))
        assert (back.source, back.seq, back.incarnation, back.tags) == (
            one.source,
            one.seq,
            one.incarnation,
            one.tags,
        )
        np.testing.assert_array_equal(back.tag, one.tag)
        np.testing.assert_array_equal(back.ts_us, one.ts_us)
        np.testing.assert_array_equal(back.value, one.value)


def test_the_model_has_every_tag_of_every_frame(small: Workload) -> None:
    models = {tag.path: tag for tag in small.model.tags}
    assert [mistake for tag in models.values() for mistake in check_tag(tag)] == []
    assert len(models) == SMALL.tags
    assert sum(tag.data_class == "critical" for tag in models.values()) == SMALL.critical_share * SMALL.tags
    for one in windows(small, 0.2)[0].frames:
        assert {models[path].source for path in one.tags} == {one.source}


def test_the_same_shape_is_the_same_workload() -> None:
    one, other = (windows(Workload(SMALL), 0.1) for _ in range(2))
    for a, b in zip(one, other, strict=True):
        assert [frame.encode(x) for x in a.frames] == [frame.encode(x) for x in b.frames]


def test_followed_tags_are_fast_and_spread_over_the_sources(small: Workload) -> None:
    followed = small.followed(100)
    assert len(set(followed)) == 100
    assert (small.period_us[followed] <= SECOND_US).all()
    assert len({small.paths[tag].split("/")[2] for tag in followed}) == SMALL.sources


@pytest.mark.parametrize("name", ["tags-1000", "sources-10", "tags-100000", "all-critical"])
def test_variants_keep_the_rate(name: str) -> None:
    """At a fiftieth of their size, so that the test is quick."""
    shape = replace(SHAPES[name], readings_per_s=2_000, tags=SHAPES[name].tags // 50, sources=10)
    load = Workload(shape)
    assert load.rate == pytest.approx(2_000, rel=0.05)
    assert load.critical.mean() == pytest.approx(shape.critical_share, abs=0.01)
