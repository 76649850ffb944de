"""A Valkey stream id `ms-seq` as one integer: (ms << 20) | seq. Order is kept while seq < 2^20.

The append script keeps it so: past half of the sequence numbers of one millisecond (only when the wall clock
stands behind the newest id for a long time) it moves the log's last id on by one millisecond.
"""

from __future__ import annotations

from typing import Final

SEQUENCE_BITS: Final = 20
SEQUENCE_MAX: Final = (1 << SEQUENCE_BITS) - 1
_ID_PART_MAX: Final = 2**64 - 1


def position_of(entry_id: bytes) -> int:
    """b'1767600000000-3' -> position."""
    ms, _, seq = entry_id.partition(b"-")
    return (int(ms) << SEQUENCE_BITS) | int(seq)


def id_of(position: int) -> str:
    """The stream id of a position; one beyond all ids gives the last id that there can be."""
    ms = position >> SEQUENCE_BITS
    if ms > _ID_PART_MAX:
        return f"{_ID_PART_MAX}-{_ID_PART_MAX}"
    return f"{ms}-{position & SEQUENCE_MAX}"


def arrival_us(position: int) -> int:
    """The server's clock when it took the record (not below that of the record before)."""
    return (position >> SEQUENCE_BITS) * 1_000
