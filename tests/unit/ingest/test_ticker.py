"""Ticks: one a second to each shard, honest about steps of the wall clock and about a door that refuses."""

from __future__ import annotations

import pytest

from millrace.clock import EdgeClock
from millrace.ingest.ticker import Ticker
from millrace.protocols import control
from millrace.stream.memory import MemoryStream

SHARDS = 3


class SteppingClock(EdgeClock):
    """An edge clock whose wall can be set."""

    def __init__(self) -> None:
        self.wall_ahead_us = 0
        self.resync()

    def resync(self) -> None:
        super().resync()
        self._origin_us += self.wall_ahead_us

    def step_us(self) -> int:
        return super().step_us() + self.wall_ahead_us


def ticks(stream: MemoryStream, shard: int = 0) -> list[control.Tick]:
    records = stream.read({shard: 0}, count_max=100, wait_s=0).get(shard, [])
    found = [control.decode(record.data) for record in records]
    assert all(isinstance(tick, control.Tick) for tick in found)
    return found  # type: ignore[return-value]


def test_each_shard_gets_a_tick_of_the_edges_time() -> None:
    stream, clock = MemoryStream(SHARDS), EdgeClock()
    ticker = Ticker(stream, process="api-1", clock=clock, refusing=lambda shard: shard == 1)
    before_us = clock.now_us()
    assert ticker.tick()
    for shard in range(SHARDS):
        (tick,) = ticks(stream, shard)
        assert before_us <= tick.time_us <= clock.now_us()
        assert (tick.process, tick.refusing, tick.clock_step) == ("api-1", shard == 1, False)


@pytest.mark.parametrize("step_us", [3_000_000, -3_600_000_000])
def test_a_step_of_the_wall_is_told_until_a_tick_is_taken(step_us: int) -> None:
    stream, clock = MemoryStream(SHARDS), SteppingClock()
    ticker = Ticker(stream, process="api-1", clock=clock)
    ticker.tick()
    clock.wall_ahead_us = step_us
    stream.unavailable = True
    assert not ticker.tick()
    stream.unavailable = False
    ticker.tick()
    ticker.tick()
    first, second, third = ticks(stream)
    assert (first.clock_step, second.clock_step, third.clock_step) == (False, True, False)
    assert second.time_us - first.time_us == pytest.approx(step_us, abs=1_000_000)
    assert third.time_us >= second.time_us


def test_a_small_walk_of_the_wall_is_no_step() -> None:
    stream, clock = MemoryStream(SHARDS), SteppingClock()
    ticker = Ticker(stream, process="api-1", clock=clock)
    clock.wall_ahead_us = 1_900_000
    ticker.tick()
    assert not ticks(stream)[0].clock_step


def test_a_missed_second_is_counted_and_not_repeated() -> None:
    stream = MemoryStream(SHARDS)
    ticker = Ticker(stream, process="api-1", clock=EdgeClock())
    stream.unavailable = True
    assert not ticker.tick()
    stream.unavailable = False
    assert ticker.tick()
    assert (ticker.missed, ticker.appended) == (1, 1)
    assert len(ticks(stream)) == 1


def test_the_thread_ticks_at_once_and_stops() -> None:
    stream = MemoryStream(SHARDS)
    ticker = Ticker(stream, process="api-1", clock=EdgeClock())
    ticker.start()
    assert stream.read({0: 0}, count_max=1, wait_s=60.0)
    ticker.close()
    assert not ticker._thread.is_alive()
    assert len(ticks(stream)) == ticker.appended
