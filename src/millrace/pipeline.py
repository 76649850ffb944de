"""The flow on one screen: one worker's shards, from the stream through `process` to the sinks.

    stream.read -> process.step -> fast path (at once)
                                -> operational store (own thread, one transaction for all shards)
                                -> archive           (own thread, segments)

A shard is read from its snapshot on. Up to *applied* nothing goes to the operational store and the fast path
is silent, up to *archived* nothing goes to the archive; reads are cut at these positions, so that no output
straddles one (law 7). A kill therefore changes no answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from millrace import telemetry
from millrace.batch import Output, Record
from millrace.clock import Clock
from millrace.errors import Unavailable
from millrace.shard_run import ShardRun
from millrace.sinks.contract import Sink
from millrace.store_thread import StoreThread
from millrace.stream.contract import Stream

log = telemetry.logger(__name__)

RECORDS_PER_READ = 512
"""Most records of one shard in one turn: bounds memory, and how long one shard keeps the others waiting."""


class Shards(Protocol):
    """Which shards are ours (see `shard_keeper.py`)."""

    runs: dict[int, ShardRun]

    def turn(self) -> None:
        """Take over, give back, list snapshots; called between batches, bounded."""


@dataclass(frozen=True, slots=True)
class Pace:
    """`batch_interval_s` between two looks at the stream; `rows_ahead_max` a shard may be ahead of a store."""

    batch_interval_s: float = 0.02
    rows_ahead_max: int = 2_000_000
    idle_wait_s: float = 0.25


class Pipeline:
    """Runs until told to stop. Not thread-safe: one thread calls `run`."""

    def __init__(
        self,
        *,
        stream: Stream,
        shards: Shards,
        fast: Sink,
        stores: Sequence[StoreThread],
        clock: Clock,
        pace: Pace,
    ) -> None:
        self._stream = stream
        self._shards = shards
        self._fast = fast
        self._stores = {store.sink.name: store for store in stores}
        self._clock = clock
        self._pace = pace

    def run(self, stopping: Callable[[], bool]) -> None:
        """Turn after turn, no more often than the pace allows."""
        while not stopping():
            begin_s = self._clock.monotonic_s()
            self._shards.turn()
            self.turn()
            rest_s = self._pace.batch_interval_s - (self._clock.monotonic_s() - begin_s)
            if rest_s > 0:
                self._clock.sleep(rest_s)

    def turn(self) -> int:
        """Read what there is, process it, hand it on; how many records that were."""
        for store in self._stores.values():
            if store.failure is not None:
                raise store.failure
        after = {shard: run.position for shard, run in self._shards.runs.items() if not self._held_back(shard)}
        if not after:
            self._clock.sleep(self._pace.idle_wait_s)
            return 0
        try:
            got = self._stream.read(after, count_max=RECORDS_PER_READ, wait_s=self._pace.idle_wait_s)
        except Unavailable as error:  # the read has paused; leases and snapshots go on meanwhile
            log.warning("stream_away", error=str(error))
            return 0
        live: list[Output] = []
        processed: list[tuple[Output, float]] = []
        for shard, records in got.items():
            live += self._advance(self._shards.runs[shard], records, processed)
        if live:
            self._fast.write(live)  # all shards in one round trip; whoever follows them wakes once
        if processed:
            telemetry.processed(processed)
        return sum(len(records) for records in got.values())

    def _held_back(self, shard: int) -> bool:
        return any(store.waiting_rows(shard) > self._pace.rows_ahead_max for store in self._stores.values())

    def _advance(
        self, run: ShardRun, records: Sequence[Record], processed: list[tuple[Output, float]]
    ) -> list[Output]:
        """Process a shard's records and queue them for the stores; what the fast path is to say."""
        live: list[Output] = []
        begin_s = self._clock.monotonic_s()
        for output in run.process(records):
            processed.append((output, self._clock.monotonic_s() - begin_s))
            if output.position > run.applied_at_start:
                self._stores["postgres"].offer(run.introduced("postgres", output))
                live.append(run.introduced("redis", output))
            if output.position > run.archived_at_start:
                self._stores["archive"].offer(run.introduced("archive", output))
        if processed:
            telemetry.process_lag(run.shard).set(self._lag_s(processed[-1][0]))
        return live

    def _lag_s(self, output: Output) -> float:
        """Age of the newest processed record; a shard without readings is as old as its newest tick."""
        newest_us = max(output.newest_received_us, output.time_us)
        return max(0.0, (self._clock.now_us() - newest_us) / 1e6)
