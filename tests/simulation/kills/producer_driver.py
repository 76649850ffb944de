"""A gateway's process for tests to kill: sends through the producer client and writes down what it knows.

    python producer_driver.py STREAM_URL SHARDS LOG BUFFER_FOLDER|-

Each line of the log is `a` (the producer took the reading) or `d` (it was told that the stream holds it), tag and
time. A line is one write to the file, so it outlives the process.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from millrace.clock import EdgeClock
from millrace.ingest.delivery import Delivery, Outcome, Outgoing
from millrace.ingest.producer import Producer
from millrace.protocols import frame as frame_codec
from millrace.stream.valkey import ValkeyStream

SOURCES = 3
TAGS = 5
LIFE_S = 120.0


def main() -> None:
    """Send until killed; at most two minutes."""
    url, shards, log, folder = sys.argv[1:]
    stream = ValkeyStream(url, shard_count=int(shards), bytes_max=2**31)
    out = os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    clock = EdgeClock()

    def note(word: str, tags: Sequence[str], ts_us: Sequence[int]) -> None:
        os.write(out, "".join(f"{word} {tag} {ts}\n" for tag, ts in zip(tags, ts_us, strict=True)).encode())

    def delivered(outcomes: Sequence[tuple[Outgoing, Delivery]]) -> None:
        for outgoing, delivery in outcomes:
            assert delivery.outcome is Outcome.TAKEN, delivery
            frame = frame_codec.decode(outgoing.data)
            note("d", [frame.tags[tag] for tag in frame.tag], [int(ts) for ts in frame.ts_us])

    producer = Producer(
        stream.append,
        shard_count=int(shards),
        clock=clock,
        folder=None if folder == "-" else Path(folder),
        on_delivered=delivered,
    )
    producer.start()
    names = [f"{'kept' if folder != '-' else 'bare'}-{number}" for number in range(SOURCES)]
    end_s = time.monotonic() + LIFE_S
    while time.monotonic() < end_s:
        now_us = clock.now_us()
        for name in names:
            tags = [f"acme/lyon/l1/{name}/t{number}" for number in range(TAGS)]
            taken = producer.send(name, tags, np.full(TAGS, now_us), np.full(TAGS, float(now_us % 1000)))
            note("a", tags[:taken], [now_us] * taken)
        time.sleep(0.02)


if __name__ == "__main__":
    main()
