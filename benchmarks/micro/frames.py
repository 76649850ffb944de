"""CPU microseconds a frame, encoded and decoded one by one and together, and through a shard.

    python -m benchmarks.micro.frames [WORKLOAD ...]

Two seconds of a workload's frames (`sources-1000`: five readings each; `plant-100k`: fifty; `rate-1000k`: five
hundred); the shard is one of eight, without a model, a batch each 50 ms. Best of several rounds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

from benchmarks.workloads import workload
from millrace.batch import Frame, Record
from millrace.process.shard import ShardProcess
from millrace.process.state import ShardState
from millrace.protocols import Limits, decode_record, frame
from millrace.protocols.frame_batch import decode_batch
from millrace.protocols.frame_write import encode_batch
from millrace.stream.contract import shard_of

BEGIN_US = 1_767_600_000_000_000
SECONDS = 2
ROUNDS = 5
SHARDS = 8
single = partial(decode_record, limits=Limits())


def best_us(work: Callable[[], object], frames: int) -> float:
    """CPU microseconds a frame: the best round."""
    best_s = float("inf")
    for _ in range(ROUNDS):
        begin_s = time.process_time()
        work()
        best_s = min(best_s, time.process_time() - begin_s)
    return best_s * 1e6 / frames


def windows(name: str) -> list[list[Frame]]:
    """The frames of each window, stamped when they were due."""
    found = []
    for due in workload(name).windows(BEGIN_US):
        if due.due_us > BEGIN_US + SECONDS * 1_000_000:
            return found
        for one in due.frames:
            one.received_ts_us = due.due_us
        found.append(due.frames)
    raise AssertionError("windows have no end")


def as_records(window: list[Frame], first: int) -> list[Record]:
    data = encode_batch(window)
    return [
        Record(first + place, one.received_ts_us, one.source, body)
        for place, (one, body) in enumerate(zip(window, data, strict=True))
    ]


def shard_us(batches: list[list[Record]]) -> float:
    """A shard of its own for each round: what was seen before would be a duplicate."""
    mine = [[record for record in batch if shard_of(record.partition_key, SHARDS) == 0] for batch in batches]
    mine = [batch for batch in mine if batch]
    warm, rest = mine[: len(mine) // 4], mine[len(mine) // 4 :]
    best = float("inf")
    for _ in range(ROUNDS):
        shard = ShardProcess(ShardState(0), single)
        for batch in warm:
            shard.step(batch)
        begin_s = time.process_time()
        for batch in rest:
            shard.step(batch)
        best = min(best, time.process_time() - begin_s)
    return best * 1e6 / sum(map(len, rest))


def line(name: str) -> str:
    sent = windows(name)
    frames = sum(map(len, sent))
    batches = [as_records(window, place << 20) for place, window in enumerate(sent)]
    readings = sum(one.count for window in sent for one in window) / frames
    figures = (
        best_us(lambda: [[frame.encode(one) for one in window] for window in sent], frames),
        best_us(lambda: [encode_batch(window) for window in sent], frames),
        best_us(lambda: [[single(record) for record in batch] for batch in batches], frames),
        best_us(lambda: [decode_batch(batch, single) for batch in batches], frames),
        shard_us(batches),
    )
    return f"| {name} | {readings:.0f} | " + " | ".join(f"{us:.1f}" for us in figures) + " |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workloads", nargs="*", default=["sources-1000", "plant-100k", "rate-1000k"])
    print("| workload | readings a frame | encode: single | together | decode: single | together | shard |")
    print("|---|---|---|---|---|---|---|")
    for name in parser.parse_args().workloads:
        print(line(name), flush=True)


if __name__ == "__main__":
    main()
