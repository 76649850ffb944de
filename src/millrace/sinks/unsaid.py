"""Blobs that the real-time store has not taken yet, oldest first.

A store that stalls for half a second is not empty afterwards. What could not be said meanwhile waits here and is said
then; to say the whole raw window again instead takes a busy platform longer than the stall did, and stalls the store.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from millrace.schema.live import LiveBlob

BLOBS_A_CALL = 64
ROWS_A_CALL = 200_000
BLOB_WEIGHT_ROWS = 64
"""A blob takes about as much memory as this many readings whatever is in it: a plant that says nothing ticks on."""
EVENT_WEIGHT_ROWS = 32


class Unsaid:
    """A queue of blobs; `weight_rows`: the memory that they take, in readings."""

    def __init__(self) -> None:
        self._blobs: deque[LiveBlob] = deque()
        self.weight_rows = 0

    def __iter__(self) -> Iterator[LiveBlob]:
        return iter(self._blobs)

    def __len__(self) -> int:
        return len(self._blobs)

    def extend(self, blobs: Iterable[LiveBlob]) -> None:
        for blob in blobs:
            self._blobs.append(blob)
            self.weight_rows += _weight_rows(blob)

    def first(self) -> list[LiveBlob]:
        """What goes into the next call: one blob at least, if there is any."""
        found: list[LiveBlob] = []
        rows = 0
        for blob in self._blobs:
            rows += len(blob)
            if found and (rows > ROWS_A_CALL or len(found) == BLOBS_A_CALL):
                break
            found.append(blob)
        return found

    def drop(self, count: int) -> None:
        """The first ones are said, or given up."""
        for _ in range(count):
            self.weight_rows -= _weight_rows(self._blobs.popleft())

    def forget(self, shard: int) -> None:
        """The shard is another's now."""
        kept = [blob for blob in self._blobs if blob.shard != shard]
        self._blobs.clear()
        self.weight_rows = 0
        self.extend(kept)


def _weight_rows(blob: LiveBlob) -> int:
    events = len(blob.anomalies) + len(blob.alarms) + len(blob.tags)
    return len(blob) + BLOB_WEIGHT_ROWS + EVENT_WEIGHT_ROWS * events
