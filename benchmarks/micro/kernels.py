"""Cost of the pure kernels per reading: detectors, intervals, rollups, alarms, ticks and snapshots.

    python -m benchmarks.micro.kernels                    # 1,000, 10,000, 100,000 tags
    python -m benchmarks.micro.kernels --tags 10000 --batch 2000

CPU nanoseconds per reading (median of the rounds), one thread, one shard that holds all the tags; every tag
has all detectors, all three rollup levels and both limits. `batch` readings come per call, tag after tag.
Rows named tick and snapshot are per tag.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

from millrace.process.alarm import AlarmBook
from millrace.process.detect import DETECTORS, Detection, TagColumns, default_detectors
from millrace.process.kernels import compile_kernels
from millrace.process.rollup import Rollup

T0_US = 1_767_600_000_000_000
SECOND_US = 1_000_000
SEED = 20_260_105
PERIOD_US = 100_000
WARM_UP_ROUNDS = 260  # every detector has left its warm-up then


def columns_of(count: int) -> TagColumns:
    """All detectors, 1 s rollups, limits that noise never reaches."""
    nan, zero = np.full(count, np.nan), np.zeros(count, np.int64)
    yes = np.ones(count, np.bool_)
    return TagColumns(
        kind=np.zeros(count, np.uint8), modelled=yes, critical=yes, period_us=np.full(count, PERIOD_US),
        range_low=nan, range_high=nan, low_low=nan, low=np.full(count, -50.0), high=np.full(count, 50.0),
        high_high=nan, deadband=np.ones(count), on_delay_us=zero, off_delay_us=zero, silence_us=zero,
        detectors=np.full(count, default_detectors(0)),
    )  # fmt: skip


class Rig:
    """One shard's books over `tags` tags, fed `batch` readings a call."""

    def __init__(self, tags: int, batch: int) -> None:
        self.tags, self.batch = tags, batch
        columns = columns_of(tags)
        self.detection, self.rollup, self.alarms = Detection(), Rollup(), AlarmBook()
        self.detection.configure(columns)
        self.rollup.configure(columns)
        self.alarms.grow(tags, 1)
        self.alarms.configure(columns, np.array([10 * SECOND_US]))
        self.rng = np.random.default_rng(SEED)
        self.calls = 0
        self.spent: dict[str, list[float]] = {}

    def timed(self, name: str, work: Callable[[], object], readings: int) -> object:
        begin = time.thread_time_ns()
        answer = work()
        self.spent.setdefault(name, []).append((time.thread_time_ns() - begin) / readings)
        return answer

    def call(self) -> None:
        """One batch: the next tags in turn."""
        first = self.calls * self.batch
        number = np.arange(first, first + self.batch)
        order = np.argsort(number % self.tags, kind="stable")
        slot = (number % self.tags)[order].astype(np.int32)
        ts_us = T0_US + (number // self.tags)[order] * PERIOD_US
        value = self.rng.normal(0.0, 1.0, self.batch)
        value[self.rng.random(self.batch) < 1e-4] = 30.0  # some anomalies open and close
        quality = np.full(self.batch, 192, np.uint8)
        hashed = number.astype(np.uint64)
        n = self.batch
        rows = self.timed("detect", lambda: self.detection.step(slot, ts_us, value), n)
        assert isinstance(rows, np.ndarray)
        self.timed("alarm", lambda: self.alarms.step(slot, ts_us, value, rows), n)
        self.timed("rollup", lambda: self.rollup.step(slot, ts_us, value, quality, hashed), n)
        self.calls += 1

    def tick(self) -> None:
        """One tick at the time of the newest readings; per tag, not per reading."""
        time_us = T0_US + self.calls * self.batch // self.tags * PERIOD_US
        heard, active = np.full(self.tags, time_us - SECOND_US), np.ones(self.tags, np.bool_)
        source = np.array([time_us])
        self.timed("tick detect", lambda: self.detection.tick(time_us, heard, active), self.tags)
        self.timed("tick alarm", lambda: self.alarms.tick(time_us, heard, source, active), self.tags)
        self.timed("tick rollup", lambda: self.rollup.tick(time_us), self.tags)

    def kernels(self) -> None:
        """Each detector alone, over one more batch."""
        n = self.batch
        slot = np.sort(self.rng.integers(0, self.tags, n)).astype(np.int32)
        ts_us, value = np.full(n, T0_US + 10_000 * SECOND_US), self.rng.normal(0.0, 1.0, n)
        score, expected = np.zeros(n), np.zeros(n)
        book = self.detection
        for j, detector in enumerate(DETECTORS):
            step = detector.step
            if step is not None:
                args = (slot, ts_us, value, book._parameters[j], book._state[j], score, expected)
                for _round in range(5):
                    self.timed(f"  {detector.name}", lambda step=step, args=args: step(*args), n)


def measure(tags: int, batch: int, rounds: int) -> dict[str, float]:
    """Median CPU ns by part."""
    rig = Rig(tags, batch)
    calls_to_warm_up = WARM_UP_ROUNDS * tags // batch + 1
    ticks_every = max(1, 10 * tags // batch)
    for call in range(calls_to_warm_up):
        rig.call()
        if call % ticks_every == 0:
            rig.tick()
    rig.spent.clear()
    for call in range(rounds):
        rig.call()
        if call % max(1, rounds // 5) == 0:
            rig.tick()
    rig.kernels()
    rig.timed(
        "snapshot", lambda: (rig.detection.snapshot(), rig.rollup.snapshot(), rig.alarms.snapshot()), tags
    )
    return {name: statistics.median(spent) for name, spent in rig.spent.items()}


def compile_s() -> float:
    """Seconds until every kernel has run once: compilation, or loading what was compiled before."""
    begin = time.perf_counter()
    compile_kernels()
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tags", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    parser.add_argument("--batch", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=50)
    options = parser.parse_args()
    print(f"all kernels compiled or loaded in {compile_s():.1f} s")
    results = [measure(tags, options.batch, options.rounds) for tags in options.tags]
    print(
        f"{'CPU ns':<16}" + "".join(f"{tags:>12,}" for tags in options.tags) + f"   batch {options.batch:,}"
    )
    for name in results[0]:
        print(f"{name:<16}" + "".join(f"{result[name]:>12.1f}" for result in results))
    sums = [sum(result[name] for name in ("detect", "alarm", "rollup")) for result in results]
    print(f"{'per reading':<16}" + "".join(f"{total:>12.1f}" for total in sums))


if __name__ == "__main__":
    main()
