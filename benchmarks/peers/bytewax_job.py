"""The job on bytewax: partitioned file source, `stateful_batch` per tag, COPY sink.

    python -m benchmarks.peers.bytewax_job FILE URL BATCH [RECOVERY_DIR]

BATCH: readings that the source gives at a time (bytewax's own file source takes 1,000 by default).
With RECOVERY_DIR, state and source position are snapshotted into its SQLite store at the end of each epoch of 10 s,
which is bytewax's default interval, and no old snapshot is kept for a backup (its default too).
"""

from __future__ import annotations

import copy
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.operators import StatefulBatchLogic
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main

from benchmarks.peers import job
from benchmarks.peers.tag_state import Row, TagState


class FilePartition(StatefulSourcePartition[Any, int]):
    """Decoded readings, a batch at a time; its state is the file's offset."""

    def __init__(self, path: str, batch: int, offset: int | None) -> None:
        self._offset = offset or 0
        self._blocks = job.blocks(path, self._offset, batch * 120)

    def next_batch(self) -> list[tuple[str, tuple[str, int, float]]]:
        """(key, value); the tag stands in the value too, because the keyed logic learns no key."""
        block, self._offset = next(self._blocks)
        return [(r.tag, (r.tag, r.ts, r.value)) for r in job.decode_lines(block)]

    def snapshot(self) -> int:
        return self._offset


class File(FixedPartitionedSource[Any, int]):
    def __init__(self, path: str, batch: int) -> None:
        self._path, self._batch = path, batch

    def list_parts(self) -> list[str]:
        return ["file"]

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> FilePartition:
        return FilePartition(self._path, self._batch, resume_state)


class TagLogic(StatefulBatchLogic[Any, Any, Any]):
    def __init__(self, state: TagState | None) -> None:
        self._state = state

    def on_batch(self, values: list[tuple[str, int, float]]) -> tuple[list[Row], bool]:
        rows: list[Row] = []
        if self._state is None:
            self._state = TagState(values[0][0])
        step = self._state.step
        for _, ts_us, value in values:
            step(ts_us, value, rows)
        return rows, False

    def on_eof(self) -> tuple[list[Row], bool]:
        rows: list[Row] = []
        if self._state is not None:
            self._state.finish(rows)
        return rows, True

    def snapshot(self) -> Any:
        return copy.copy(self._state)


class SinkPartition(StatelessSinkPartition[Any]):
    def __init__(self, url: str) -> None:
        self._tables = job.Tables(url)

    def write_batch(self, items: list[Any]) -> None:
        self._tables.add([row for _, row in items])

    def close(self) -> None:
        self._tables.close()


class Sink(DynamicSink[Any]):
    def __init__(self, url: str) -> None:
        self._url = url

    def build(self, step_id: str, worker_index: int, worker_count: int) -> SinkPartition:
        return SinkPartition(self._url)


def flow_of(path: str, url: str, batch: int) -> Dataflow:
    flow = Dataflow("job")
    readings = op.input("file", flow, File(path, batch))
    rows = op.stateful_batch("tags", readings, TagLogic)
    op.output("tables", rows, Sink(url))
    return flow


def main() -> None:
    path, url, batch = sys.argv[1], sys.argv[2], int(sys.argv[3])
    recovery = None
    if len(sys.argv) > 4:
        folder = Path(sys.argv[4])
        init_db_dir(folder, 1)
        recovery = RecoveryConfig(folder, backup_interval=timedelta(0))
    cli_main(flow_of(path, url, batch), epoch_interval=timedelta(seconds=10), recovery_config=recovery)


if __name__ == "__main__":
    main()
