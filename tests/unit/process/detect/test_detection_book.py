"""The book of detectors: any cut, any snapshot, growth and model changes give the same anomalies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.batch import CLOSED, CLOSED_DETECTOR_CHANGED, F64, I32, I64, OPENED, Rows
from millrace.errors import AssetModelError
from millrace.process.detect import (
    DETECTOR_NAMES,
    DETECTORS,
    Detection,
    TagColumns,
    default_detectors,
    detector_bits,
)

T0_US = 1_767_600_000_000_000
SECOND_US = 1_000_000
Make = Callable[..., TagColumns]
Log = tuple[I32, I64, F64]  # in order of arrival


def faulty_log(seed: int, tags: int = 3, n: int = 900) -> Log:
    """Tags in turn, a second apart, with all that opens and closes anomalies."""
    rng = np.random.default_rng(seed)
    value = rng.normal(60.0, 0.5, (n, tags))
    value[300, 0], value[420:, 0] = 90.0, 75.0
    value[350:450, 1] = 61.0
    value[500:, 2] += 4.0 * np.sin(np.arange(n - 500) / 2.0)
    slot = np.tile(np.arange(tags, dtype=np.int32), n)
    ts_us = np.repeat(T0_US + np.arange(n) * SECOND_US, tags)
    return slot, ts_us, value.ravel()


def step(book: Detection, log: Log, begin: int, end: int) -> Rows:
    slot, ts_us, value = (column[begin:end] for column in log)
    order = np.argsort(slot, kind="stable")
    return book.step(slot[order], ts_us[order], value[order])


def ordered(parts: list[Rows]) -> list[tuple[object, ...]]:
    rows = np.concatenate(parts)
    rows = rows[np.argsort(rows["slot"] * 100 + rows["detector"], kind="stable")]
    return [(row[0], row[1], DETECTOR_NAMES[row[2]], *map(repr, row.tolist()[3:])) for row in rows]


def run(columns: TagColumns, log: Log, cuts: list[int]) -> list[tuple[object, ...]]:
    book = Detection()
    book.configure(columns)
    bounds = [0, *sorted(cuts), len(log[0])]
    return ordered([step(book, log, a, b) for a, b in pairwise(bounds)])


@pytest.mark.requirement("B-08")
@settings(max_examples=25)
@given(cuts=st.lists(st.integers(0, 2_700), max_size=12), seed=st.integers(0, 3))
def test_any_cut_into_batches_gives_the_same_anomalies(columns_of: Make, cuts: list[int], seed: int) -> None:
    columns, log = columns_of(3, high=80.0), faulty_log(seed)
    whole = run(columns, log, [])
    assert {row[2] for row in whole} >= {"ewma", "cusum", "flatline", "limits"}
    assert run(columns, log, cuts) == whole


@settings(max_examples=15)
@given(at=st.integers(0, 2_700), seed=st.integers(0, 3))
def test_a_snapshot_in_the_middle_changes_nothing(columns_of: Make, at: int, seed: int) -> None:
    columns, log = columns_of(3, high=80.0), faulty_log(seed)
    first = Detection()
    first.configure(columns)
    before = step(first, log, 0, at)
    arrays = first.snapshot()
    step(first, log, at, len(log[0]))  # the first life goes on and must not touch what it gave away
    second = Detection()
    assert len(second.restore(arrays, first.fingerprints())) == 0
    second.configure(columns)
    assert ordered([before, step(second, log, at, len(log[0]))]) == run(columns, log, [])


def test_a_changed_detector_starts_cold_and_closes_what_was_open(columns_of: Make) -> None:
    columns, log = columns_of(3, high=80.0), faulty_log(0)
    book = Detection()
    book.configure(columns)
    step(book, log, 0, 3 * 400)  # tag 1 is stuck now
    changed = tuple(replace(d, version=d.version + 1) if d.name == "flatline" else d for d in DETECTORS)
    later = Detection(changed)
    rows = later.restore(book.snapshot(), book.fingerprints())
    assert rows["detector"].tolist() == [DETECTOR_NAMES.index("flatline")]
    assert rows["kind"].tolist() == [CLOSED_DETECTOR_CHANGED]
    assert rows["slot"].tolist() == [1]
    later.configure(columns)
    state = later.snapshot()
    assert not state["flatline.state"].any()
    assert state["ewma.state"].any(), "the others keep their state"
    assert later.open_count() == book.open_count() - 1


def test_an_unchanged_detector_keeps_its_open_anomaly_through_a_restore(columns_of: Make) -> None:
    columns, log = columns_of(3), faulty_log(0)
    book = Detection()
    book.configure(columns)
    step(book, log, 0, 3 * 400)
    later = Detection()
    assert len(later.restore(book.snapshot(), book.fingerprints())) == 0
    assert later.open_count() == book.open_count() > 0


def test_growth_to_100_000_tags_keeps_what_was_learned(columns_of: Make) -> None:
    log = faulty_log(1)
    small, grown = Detection(), Detection()
    small.configure(columns_of(3))
    grown.configure(columns_of(3))
    rows = [step(small, log, 0, 1_200)], [step(grown, log, 0, 1_200)]
    grown.grow(100_000)
    grown.configure(columns_of(100_000))
    rows[0].append(step(small, log, 1_200, 2_700))
    rows[1].append(step(grown, log, 1_200, 2_700))
    assert ordered(rows[0]) == ordered(rows[1])
    fresh = np.arange(3, 100_000, dtype=np.int32)
    assert len(grown.step(fresh, np.full(len(fresh), T0_US), np.ones(len(fresh)))) == 0


def test_nothing_in_gives_nothing_out(columns_of: Make) -> None:
    book = Detection()
    assert len(book.step(np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0))) == 0
    assert len(book.tick(T0_US, np.zeros(0, np.int64), np.zeros(0, np.bool_))) == 0
    assert len(book.restore(book.snapshot(), book.fingerprints())) == 0


def test_a_detector_switched_off_by_the_model_closes_its_anomaly(columns_of: Make) -> None:
    book = Detection()
    book.configure(columns_of(1, high=80.0))
    slot = np.zeros(1, np.int32)
    assert book.step(slot, np.array([T0_US]), np.array([90.0]))["kind"].tolist() == [OPENED]
    book.configure(columns_of(1, high=80.0, detectors=detector_bits(["ewma"])))
    kinds = [
        kind
        for i in range(1, 4)
        for kind in book.step(slot, np.array([T0_US + i * SECOND_US]), np.array([90.0]))["kind"]
    ]
    assert kinds == [CLOSED]


def test_a_kind_gets_only_the_detectors_that_make_sense_for_it(columns_of: Make) -> None:
    assert default_detectors(3) == detector_bits(["silence"])
    book = Detection()
    book.configure(columns_of(1, kind=3, detectors=-1, high=0.5))
    assert len(book.step(np.zeros(1, np.int32), np.array([T0_US]), np.array([9.0]))) == 0
    with pytest.raises(AssetModelError, match="did you mean ewma"):
        detector_bits(["ewna"])


def tick(book: Detection, second: int, heard: list[int], active: list[bool] | None = None) -> Rows:
    flags = np.array(active if active is not None else [True] * len(heard))
    arrivals = np.array([T0_US + s * SECOND_US if s >= 0 else 0 for s in heard])
    return book.tick(T0_US + second * SECOND_US, arrivals, flags)


def test_a_silent_tag_is_an_anomaly_until_it_speaks(columns_of: Make) -> None:
    book = Detection()
    book.configure(columns_of(3))
    assert [len(tick(book, s, [0, s, -1])) for s in range(11)] == [0] * 11
    rows = tick(book, 11, [0, 11, -1])
    assert rows["slot"].tolist() == [0]
    assert rows["start_us"][0] == T0_US
    assert [len(tick(book, s, [0, s, -1])) for s in range(12, 30)] == [0] * 18
    rows = tick(book, 30, [30, 30, -1])
    assert rows["kind"].tolist() == [CLOSED]
    assert rows["end_us"][0] == T0_US + 30 * SECOND_US
    assert rows["score"][0] == pytest.approx(2.9)


def test_an_outage_of_ours_is_no_silence_of_theirs(columns_of: Make) -> None:
    book = Detection()
    book.configure(columns_of(1))
    tick(book, 1, [0])
    assert len(tick(book, 25, [0], active=[False])) == 0
    assert [len(tick(book, s, [0])) for s in range(26, 36)] == [0] * 10
    assert len(tick(book, 36, [0])) == 1, "but it is measured from the end of the outage"


def test_an_open_silence_outlasts_an_outage(columns_of: Make) -> None:
    book = Detection()
    book.configure(columns_of(1))
    assert len(tick(book, 11, [0])) == 1
    assert len(tick(book, 12, [0], active=[False])) == 0
    assert len(tick(book, 13, [0])) == 0
    assert tick(book, 14, [14])["kind"].tolist() == [CLOSED]


def test_silence_follows_the_model_then_the_period(columns_of: Make) -> None:
    slow, own = Detection(), Detection()
    slow.configure(columns_of(1, period_us=60 * SECOND_US))
    own.configure(columns_of(1, silence_us=3 * SECOND_US))
    assert len(tick(slow, 600, [0])) == 0
    assert len(tick(slow, 601, [0])) == 1
    assert len(tick(own, 4, [0])) == 1
    unmodelled = Detection()
    unmodelled.configure(columns_of(1, modelled=False))
    assert len(tick(unmodelled, 10_000, [0])) == 0


def test_the_table_fits_its_contract(columns_of: Make) -> None:
    assert len(DETECTORS) <= 32, "bits of `busy`"
    assert len(set(DETECTOR_NAMES)) == len(DETECTORS)
    columns = columns_of(5)
    assert len(fields(columns)) == 15
    for detector in DETECTORS:
        assert detector.parameters(columns).shape[0] == 5
        assert detector.initial(5).shape[0] == 5
        assert (detector.step is None) != (detector.tick is None)
