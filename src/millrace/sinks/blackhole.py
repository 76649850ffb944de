"""A sink that takes everything and keeps nothing: for measuring what stands before the stores."""

from __future__ import annotations

from collections.abc import Sequence

from millrace.batch import Output
from millrace.sinks.contract import Ownership, Written


class BlackholeSink:
    """Counts rows and forgets them; its position starts at 0 with each process."""

    name = "blackhole"
    durable = False

    def __init__(self) -> None:
        self.rows = 0
        self._position: dict[int, int] = {}

    def open_shard(self, ownership: Ownership) -> int:
        return self._position.setdefault(ownership.shard, 0)

    def write(self, outputs: Sequence[Output]) -> Written:
        accepted = sum(len(output.readings) for output in outputs)
        for output in outputs:
            self._position[output.shard] = output.position
        self.rows += accepted
        return Written(accepted, sum(len(output.rejects) for output in outputs))

    def close_shard(self, shard: int) -> None:
        self._position.pop(shard, None)

    def close(self) -> None:
        self._position.clear()
