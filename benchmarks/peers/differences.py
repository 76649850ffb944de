"""Whether PostgreSQL holds exactly the rows that it should: before that, no time counts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import Final

from benchmarks.peers.tag_state import Row

TOLERANCE: Final = 1e-9
"""Relative, of an anomaly's expected value and score; all else is compared bit for bit."""


def of_rollups(wanted: Iterable[Row], found: Iterable[Row]) -> str:
    """Empty when both hold the same rows equally often, else what is other."""
    want, got = Counter(wanted), Counter(found)
    return _said("rollup", want, got)


def of_anomalies(wanted: Iterable[Row], found: Iterable[Row]) -> str:
    """The same for (tag, start_us, end_us, value, expected, score, state), the two learned numbers within TOLERANCE."""
    want, got = {_identity(row): row for row in wanted}, Counter(map(_identity, rows := list(found)))
    if said := _said("anomaly", Counter(list(want)), got):
        return said
    off = [row for row in rows if not _close(want[_identity(row)], row)]
    if not off:
        return ""
    return f"anomaly: {len(off)} rows are off by more than {TOLERANCE:g}, {off[0]}, wanted {want[_identity(off[0])]}"


def _identity(row: Row) -> Row:
    tag, start_us, end_us, value, _, _, state = row
    return tag, start_us, end_us, value, state


def _close(want: Row, got: Row) -> bool:
    return all(math.isclose(a, b, rel_tol=TOLERANCE) for a, b in zip(want[4:6], got[4:6], strict=True))


def _said(name: str, want: Counter[Row], got: Counter[Row]) -> str:
    lost, extra = want - got, got - want
    if not lost and not extra:
        return ""
    example = next(iter(lost or extra))
    return (
        f"{name}: {got.total()} rows, wanted {want.total()}; {lost.total()} missing, {extra.total()} other, "
        f"{'missing' if lost else 'other'} is {example}"
    )
