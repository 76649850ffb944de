"""Which records a worker has in its hands, so that its successor knows where it died (law 12).

A small file per shard, mapped into memory: a kill keeps the page cache, and only a kill is of interest here
(after a power cut nobody suspects a record). 120 bytes are written per batch, about a microsecond.
"""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass
from pathlib import Path

_SIZE = 128
_FIELD = 60  # a position has at most 60 digits


@dataclass(frozen=True, slots=True)
class Held:
    """First and last position of the batch in hand; 0 and 0: none."""

    first: int
    last: int


class Inflight:
    """The batch in hand of one shard."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            os.ftruncate(descriptor, _SIZE)
            self._map = mmap.mmap(descriptor, _SIZE)
        finally:
            os.close(descriptor)

    def held(self) -> Held:
        """What the last owner had in its hands when it ended."""
        first, last = self._map[:_FIELD].strip(b"\0 "), self._map[_FIELD : 2 * _FIELD].strip(b"\0 ")
        if not (first.isdigit() and last.isdigit()):
            return Held(0, 0)
        return Held(int(first), int(last))

    def take(self, first: int, last: int) -> None:
        """About to process these records."""
        self._map[: 2 * _FIELD] = b"%60d%60d" % (first, last)

    def put_down(self) -> None:
        """They are processed."""
        self._map[: 2 * _FIELD] = b"%60d%60d" % (0, 0)

    def close(self) -> None:
        self._map.close()
