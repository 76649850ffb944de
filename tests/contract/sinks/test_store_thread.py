"""A store's own thread: it takes what was offered at its own pace, in order, and `drain` waits for all of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from millrace.batch import ALARM, ANOMALY, LEDGER, READING, ROLLUP, Output
from millrace.clock import EdgeClock
from millrace.sinks.blackhole import BlackholeSink
from millrace.sinks.contract import Ownership, Written
from millrace.store_thread import StoreThread


class Noting(BlackholeSink):
    """Notes the positions of each write."""

    name = "postgres"

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[list[int]] = []

    def write(self, outputs: Sequence[Output]) -> Written:
        self.writes.append([output.position for output in outputs])
        return super().write(outputs)


def output(position: int) -> Output:
    kinds = (READING, ROLLUP, ANOMALY, ALARM, LEDGER)
    return Output(0, position, position, 0, 1, *(np.zeros(0, kind) for kind in kinds))


def test_offers_are_taken_in_order_at_the_threads_own_pace() -> None:
    sink = Noting()
    store = StoreThread(sink, EdgeClock(), interval_s=0.5, on_lost=lambda _shard: None)
    store.open_shard(Ownership(0, 1))
    store.start()
    for position in range(1, 201):
        store.offer(output(position))
    assert store.drain(30.0)
    store.stop()
    taken = [write for write in sink.writes if write]
    assert [position for write in taken for position in write] == list(range(1, 201))
    assert len(taken) < 20, "each offer wakes the thread"
    assert store.written == {0: 200}
    assert store.waiting_rows(0) == 0
