"""The load: a workload's frames, open loop, straight into the stream as a gateway's producer does.

A frame leaves when it is due or, if we are behind, at once; nothing waits for an answer to be due. Prints one JSON
line: readings, how many of them late on purpose, frames, how often a call was repeated, how far behind the sending was.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import numpy as np

from benchmarks.workloads import Due, workload
from millrace.clock import EdgeClock
from millrace.errors import Unavailable
from millrace.protocols.frame_write import encode_batch
from millrace.stream.contract import Entry, shard_of
from millrace.stream.valkey import ValkeyStream

RETRIES_MAX = 200


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("workload")
    parser.add_argument("--stream-url", required=True)
    parser.add_argument("--shards", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    chosen = parser.parse_args()
    load = workload(chosen.workload)
    stream = ValkeyStream(chosen.stream_url, shard_count=chosen.shards, bytes_max=2 * 1024**3)
    shards = {name: shard_of(name, chosen.shards) for name in load.source_names}
    encode_batch(next(load.windows(0)).frames)  # kernels load before anything is due
    clock = EdgeClock()
    print("ready", flush=True)
    sys.stdin.readline()
    readings, late, frames, behind_s, retries = 0, 0, 0, [], 0
    start_us = clock.now_us()
    for due in load.windows(start_us):
        if due.due_us > start_us + chosen.seconds * 1e6:
            break
        wait_s = (due.due_us - clock.now_us()) / 1e6
        if wait_s > 0:
            time.sleep(wait_s)
        retries += send(stream, due, shards, clock)
        behind_s.append((clock.now_us() - due.due_us) / 1e6)
        readings += due.readings
        late += due.late
        frames += len(due.frames)
    behind = np.array(behind_s)
    report = {
        "readings": readings,
        "late": late,
        "frames": frames,
        "retries": retries,
        "append_p50_ms": round(float(np.quantile(behind, 0.5)) * 1e3, 2),
        "append_p99_ms": round(float(np.quantile(behind, 0.99)) * 1e3, 2),
        "append_max_ms": round(float(behind.max()) * 1e3, 2),
    }
    print(json.dumps(report), flush=True)
    return 0


def send(stream: ValkeyStream, due: Due, shards: dict[str, int], clock: EdgeClock) -> int:
    """Append a window's frames in one call; how often it had to be repeated."""
    now_us = clock.now_us()
    for frame in due.frames:
        frame.received_ts_us = now_us
    entries = [
        Entry(shards[frame.source], frame.source, data)
        for frame, data in zip(due.frames, encode_batch(due.frames), strict=True)
    ]
    for attempt in range(RETRIES_MAX):
        try:
            stream.append(entries)
            return attempt
        except Unavailable:
            time.sleep(0.05)
    raise SystemExit("the stream did not take a window")


if __name__ == "__main__":
    raise SystemExit(main())
