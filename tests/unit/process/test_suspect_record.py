"""A record that was in hand when its worker died goes alone, and is skipped once it killed three times alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from millrace.batch import Record
from millrace.inflight import Inflight
from millrace.shard_run import Deaths, ShardRun

DEADLY = 7


class Killed(Exception):
    """The worker is dead."""


class Process:
    """Dies of one record unless it is to be skipped; remembers what it was given in one go."""

    def __init__(self) -> None:
        self.given: list[list[int]] = []

    def step(self, records: list[Record], skips: frozenset[int]) -> Iterator[Any]:
        positions = [record.position for record in records]
        self.given.append(positions)
        if DEADLY in positions and DEADLY not in skips:
            raise Killed
        return iter(())


class Worker:
    """One life after the other over the same file of what was in hand."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "shard-0"
        self.deaths: dict[int, int] = {}
        self.skipped: list[int] = []
        self.process = Process()

    def live(self, positions: Sequence[int] = range(5, 10)) -> None:
        """Process records of these positions, then stop."""
        inflight = Inflight(self.file)
        held = inflight.held()
        run = ShardRun(
            shard=0, epoch=1, process_=cast(Any, self.process), position=0, applied_at_start=0,
            archived_at_start=0, inflight=inflight,
            deaths=Deaths(self.count, lambda _, position: self.skipped.append(position), self.forget),
            skips=set(self.skipped), suspects=(held.first, held.last), snapshot_due_s=0.0,
        )  # fmt: skip
        try:
            list(run.process([Record(position, 0, "", b"") for position in positions]))
        finally:
            inflight.close()

    def count(self, _: int, position: int) -> int:
        self.deaths[position] = self.deaths.get(position, 0) + 1
        return self.deaths[position]

    def forget(self, _: int, up_to: int) -> None:
        self.deaths = {position: count for position, count in self.deaths.items() if position > up_to}


@pytest.mark.requirement("S-19")
def test_a_record_is_skipped_after_three_deaths_alone_and_no_sooner(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    for life in range(4):  # in its batch, then three times alone
        with pytest.raises(Killed):
            worker.live()
        assert worker.process.given[-1] == ([DEADLY] if life else [5, 6, 7, 8, 9])
        assert worker.skipped == []
    worker.live()
    assert worker.skipped == [DEADLY]
    assert worker.process.given[-1][-1] == 9
    assert worker.deaths == {}


@pytest.mark.requirement("S-19")
@pytest.mark.parametrize("before", [range(1, 5), range(1, 7)], ids=["before the suspects", "among them"])
def test_who_stops_before_a_suspect_leaves_it_to_its_successor(tmp_path: Path, before: range) -> None:
    worker = Worker(tmp_path)
    for _ in range(2):  # in its batch, then alone
        with pytest.raises(Killed):
            worker.live()
    worker.live(before)
    with pytest.raises(Killed):
        worker.live(range(5, 10))
    assert worker.process.given[-1] == [DEADLY], "it was taken among others, and the death counted nowhere"


def test_what_was_processed_is_suspect_no_more(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    with pytest.raises(Killed):
        worker.live()
    worker.skipped.append(DEADLY)
    worker.live()
    worker.live(range(10, 13))
    assert worker.process.given[-1] == [10, 11, 12]
