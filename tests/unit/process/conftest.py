"""Frames and ticks as records, made by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from millrace.batch import Frame, Incarnation, Record
from millrace.protocols import Limits, control, decode_record
from millrace.protocols.frame import encode

T0 = 1_767_600_000_000_000


class Log:
    """A shard's log that grows by hand; positions are its indexes plus one."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.seq: dict[str, int] = {}

    def put(self, data: bytes, key: str = "tick") -> None:
        self.records.append(Record(len(self.records) + 1, T0, key, data))

    def tick(self, seconds: float, **more: bool) -> None:
        self.put(control.encode(control.Tick(T0 + round(seconds * 1e6), "test", **more)))

    def frame(
        self,
        source: str,
        rows: Sequence[tuple[str, float, float] | tuple[str, float, float, int]],
        *,
        received: float | None = None,
        seq: int | None = None,
        kinds: Sequence[int] | None = None,
        states: tuple[str, ...] = (),
        unit: str = "",
    ) -> None:
        """Rows are (tag, seconds after T0, value[, quality]); `unit` is said of each tag."""
        tags = tuple(dict.fromkeys(row[0] for row in rows))
        if seq is None:
            seq = self.seq[source] = self.seq.get(source, -1) + 1
        ts_us = np.array([T0 + round(row[1] * 1e6) for row in rows], np.int64)
        whole = Frame(
            source=source,
            incarnation=Incarnation(1, 1),
            seq=seq,
            received_ts_us=int(ts_us.max()) if received is None else T0 + round(received * 1e6),
            tags=tags,
            kinds=np.array(kinds or [0] * len(tags), np.uint8),
            tag=np.array([tags.index(row[0]) for row in rows], np.uint32),
            ts_us=ts_us,
            value=np.array([row[2] for row in rows], np.float64),
            quality=np.array([row[3] if len(row) > 3 else 192 for row in rows], np.uint8),
            states=states,
            units=(unit,) * len(tags) if unit else (),
        )
        self.put(encode(whole), source)


def decode(record: Record) -> list[Frame]:
    return decode_record(record, Limits())


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def new_log() -> Callable[[], Log]:
    return Log
