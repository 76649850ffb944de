"""Who catches up reads a lot at once; a step takes no more of it than its bound."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from millrace.batch import Record
from millrace.inflight import Inflight
from millrace.shard_run import STEP_BYTES_MAX, Deaths, ShardRun

LONG = STEP_BYTES_MAX // 3
SIZES = (0, 1, LONG, LONG + 1, STEP_BYTES_MAX, STEP_BYTES_MAX + 1)
BODIES = {size: bytes(size) for size in SIZES}


class Steps:
    """A process that keeps the records of each step."""

    def __init__(self) -> None:
        self.taken: list[list[Record]] = []

    def step(self, records: list[Record], _: frozenset[int]) -> list[Any]:
        self.taken.append(list(records))
        return []


def steps(folder: Path, records: list[Record], applied: int) -> list[list[Record]]:
    process, nothing = Steps(), cast(Any, None)
    inflight = Inflight(folder / "shard-0")
    run = ShardRun(
        shard=0, epoch=1, process_=cast(Any, process), position=0, applied_at_start=applied, archived_at_start=0,
        inflight=inflight, deaths=Deaths(nothing, nothing, nothing), snapshot_due_s=0.0,
    )  # fmt: skip
    try:
        assert not list(run.process(records))
    finally:
        inflight.close()
    return process.taken


@given(sizes=st.lists(st.sampled_from(SIZES), min_size=1, max_size=12), applied=st.integers(0, 12))
def test_every_record_is_in_one_step_in_order_and_no_step_is_larger_than_its_bound(
    tmp_path_factory: Any, sizes: list[int], applied: int
) -> None:
    records = [Record(position, 0, "", BODIES[size]) for position, size in enumerate(sizes, start=1)]
    taken = steps(tmp_path_factory.mktemp("inflight"), records, applied)
    assert [record for step in taken for record in step] == records
    for step in taken:
        assert sum(len(record.data) for record in step) <= STEP_BYTES_MAX or len(step) == 1
        assert not step[0].position <= applied < step[-1].position


def test_small_records_are_one_step(tmp_path: Path) -> None:
    records = [Record(position, 0, "", BODIES[1]) for position in range(1, 513)]
    assert steps(tmp_path, records, applied=0) == [records]
