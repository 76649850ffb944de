"""The producer alone: a file of NDJSON into the stream, as `millrace send` brings it to the door.

    python -m benchmarks.peers.producer FILE STREAM_URL SHARDS

One frame a block of lines, the next only when the stream has the last on its disk. Prints the last position and our
CPU seconds, imports included.
"""

from __future__ import annotations

import json
import mmap
import resource
import sys
from collections.abc import Iterator
from typing import Any, Final

from millrace.batch import Incarnation
from millrace.clock import EdgeClock
from millrace.protocols import frame as frame_codec
from millrace.protocols import json_text
from millrace.protocols.limits import Limits
from millrace.stream.contract import Entry, shard_of
from millrace.stream.valkey import ValkeyStream

SOURCE: Final = "file"
BLOCK_BYTES: Final = 2 * 1024**2
STREAM_BYTES_MAX: Final = 2 * 1024**3


def send(file: str, stream_url: str, shards: int) -> dict[str, Any]:
    """The position of the last record, and our CPU seconds."""
    stream = ValkeyStream(stream_url, shard_count=shards, bytes_max=STREAM_BYTES_MAX)
    clock, limits, shard = EdgeClock(), Limits(), shard_of(SOURCE, shards)
    life, position = Incarnation(clock.now_us(), 1), 0
    for seq, block in enumerate(blocks(file)):
        now_us = clock.now_us()
        columns = json_text.decode(block, content="ndjson", limits=limits, received_ts_us=now_us)
        data = frame_codec.encode(columns.frame(SOURCE, life, seq, now_us))
        position = stream.append([Entry(shard, SOURCE, data)])[0]
    stream.close()
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {"position": str(position), "cpu_s": round(used.ru_utime + used.ru_stime, 3)}


def blocks(file: str) -> Iterator[bytes]:
    """Whole lines, some BLOCK_BYTES at a time. Mapped: reading and joining copied the file twice, which took as long
    as decoding it."""
    with open(file, "rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
        begin = 0
        while begin < len(content):
            end = content.find(b"\n", min(begin + BLOCK_BYTES, len(content) - 1)) + 1 or len(content)
            yield content[begin:end]
            begin = end


if __name__ == "__main__":
    print(json.dumps(send(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
