"""Counts with their hash sums, by (source, hour)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

MASK: Final = 2**64 - 1

Key = tuple[str, int]  # (source, hour_us)


class Amount(NamedTuple):
    """Rows, and the total of their hashes modulo 2^64."""

    rows: int = 0
    total: int = 0

    def plus(self, count: int, total: int) -> Amount:
        return Amount(self.rows + count, (self.total + total) & MASK)

    def minus(self, other: Amount) -> Amount:
        return Amount(self.rows - other.rows, (self.total - other.total) & MASK)


NOTHING: Final = Amount()


class Tally(dict[Key, Amount]):
    """Missing keys are nothing."""

    def __missing__(self, key: Key) -> Amount:
        return NOTHING

    def add(self, source: str, hour_us: int, count: int, total: int) -> None:
        """Numbers of any integer type; a hash may be given as the signed number that PostgreSQL holds."""
        key = (source, int(hour_us))
        self[key] = self[key].plus(int(count), int(total))

    def add_all(self, rows: Iterable[tuple[str, int, int, int]]) -> Tally:
        """Rows of (source, hour_us, count, hash)."""
        for row in rows:
            self.add(*row)
        return self

    def without(self, other: Tally) -> Tally:
        """What is left after subtracting; keys that come to nothing are dropped."""
        left = Tally()
        for key in self.keys() | other.keys():
            amount = self[key].minus(other[key])
            if amount != NOTHING:
                left[key] = amount
        return left

    @property
    def row_count(self) -> int:
        """Rows of all keys."""
        return sum(amount.rows for amount in self.values())
