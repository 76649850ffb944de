"""The job on Pathway: a Python connector, a stateful reducer per tag, COPY from its output subscription.

    python -m benchmarks.peers.pathway_job FILE URL BATCH [PERSISTENCE_DIR]

BATCH: readings per commit, that is per minibatch of the engine; 0: Pathway's own JSON reader and one
minibatch. With PERSISTENCE_DIR the input is persisted to the file system, from which Pathway computes its state anew.
"""

from __future__ import annotations

import itertools
import pickle
import sys
from typing import Any

import pathway as pw

from benchmarks.peers import job
from benchmarks.peers.tag_state import Row, TagState


class Reading(pw.Schema):
    number: int = pw.column_definition(primary_key=True)
    tag: str
    ts: int
    value: float


class File(pw.io.python.ConnectorSubject):
    """Decodes with msgspec and commits every `batch` readings."""

    def __init__(self, path: str, batch: int) -> None:
        super().__init__()
        self._path, self._batch = path, batch

    @property
    def _deletions_enabled(self) -> bool:
        return False  # documented: an insert-only source keeps no rows back

    def run(self) -> None:
        numbers = itertools.count()
        left = self._batch
        for block, _ in job.blocks(self._path):
            for reading in job.decode_lines(block):
                self.next(number=next(numbers), tag=reading.tag, ts=reading.ts, value=reading.value)
                left -= 1
                if not left:
                    self.commit()
                    left = self._batch


@pw.reducers.stateful_many
def per_tag(state: bytes | None, rows: list[tuple[list[Any], int]]) -> bytes | None:
    """A tag's readings of one minibatch: the state behind them, with the rows that they completed."""
    readings = sorted((row[1], row[2]) for row, _ in rows)
    tag_state = pickle.loads(state)[0] if state is not None else TagState(rows[0][0][0])
    done: list[Row] = []
    for ts_us, value in readings:
        tag_state.step(ts_us, value, done)
    return pickle.dumps((tag_state, done))


class Line(pw.Schema):
    tag: str
    ts: int
    value: float


def from_python(path: str, batch: int) -> Any:
    """The Python connector's table."""
    return pw.io.python.read(File(path, batch), schema=Reading, autocommit_duration_ms=None, name="file")


def main() -> None:
    path, url, batch = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if batch == 0:
        readings = pw.io.jsonlines.read(path, schema=Line, mode="static", name="file")
    else:
        readings = from_python(path, batch)
    states = readings.groupby(readings.tag).reduce(
        readings.tag, state=per_tag(readings.tag, readings.ts, readings.value)
    )
    tables = job.Tables(url)
    newest: dict[str, TagState] = {}

    def on_change(key: Any, row: dict[str, Any], time: int, is_addition: bool) -> None:
        if is_addition:
            newest[row["tag"]], done = pickle.loads(row["state"])
            tables.add(done)

    def on_end() -> None:
        rest: list[Row] = []
        for state in newest.values():
            state.finish(rest)
        tables.add(rest)
        tables.close()

    pw.io.subscribe(states, on_change=on_change, on_end=on_end)
    persistence = None
    if len(sys.argv) > 4:
        persistence = pw.persistence.Config(pw.persistence.Backend.filesystem(sys.argv[4]))
    pw.run(monitoring_level=pw.MonitoringLevel.NONE, persistence_config=persistence)


if __name__ == "__main__":
    main()
