"""What a run cost, and the report of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

OURS: Final = "millrace"
COLUMNS: Final = (
    ("engine", 33), ("readings", 11), ("wall s", 8), ("CPU s", 8), ("PostgreSQL CPU s", 17), ("readings/CPU s", 15),
    ("to ours", 8), ("rollups", 10), ("anomalies", 10),
)  # fmt: skip
"""Heading and width. The last two are rows that were compared, and equal."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What an engine says of its own run. CPU in seconds, PostgreSQL's not among it."""

    cpu_s: float
    parts: dict[str, float] = field(default_factory=dict)
    """CPU seconds by process, where there are several."""
    kept_bytes: int = 0
    """What its recovery left on the disk."""
    committed_s: float | None = None
    """Wall seconds until all rows were committed, where the run goes on after that (ours archives)."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run. `difference` is empty when PostgreSQL holds the reference's rows and no others: else no time counts."""

    engine: str
    options: str
    stores: str
    readings: int
    wall_s: float
    postgres_cpu_s: float
    spent: Spent
    rollups: int
    anomalies: int
    difference: str = ""

    @property
    def readings_per_cpu_s(self) -> float:
        return 0.0 if self.difference else self.readings / self.spent.cpu_s


def report(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Of all runs, for a machine: the rows, and how many times the best other engine's readings per CPU second ours
    as shipped takes (None without both)."""
    ours = _ours(outcomes)
    best = max((one.readings_per_cpu_s for one in outcomes if not one.engine.startswith(OURS)), default=0.0)
    return {
        "rows": [asdict(one) | {"readings_per_cpu_s": round(one.readings_per_cpu_s)} for one in outcomes],
        "ours_to_best": round(ours / best, 3) if ours and best else None,
    }


def table(outcomes: Sequence[Outcome]) -> str:
    """Of all runs, for a person."""
    ours = _ours(outcomes)
    lines = [" ".join(f"{heading:{'<' if n == 0 else '>'}{width}}" for n, (heading, width) in enumerate(COLUMNS))]
    for one in outcomes:
        lines += [_row(one, ours), *(f"    {line}" for line in _remarks(one))]
    return "\n".join(lines)


def _ours(outcomes: Sequence[Outcome]) -> float:
    """Readings per CPU second of ours as shipped; 0: not run, or not equal."""
    return next((one.readings_per_cpu_s for one in outcomes if one.engine == OURS), 0.0)


def _row(one: Outcome, ours: float) -> str:
    if one.difference:
        return f"{one.engine:{COLUMNS[0][1]}} {one.readings:{COLUMNS[1][1]},}  NOT EQUAL: {one.difference}"
    ratio = f"{one.readings_per_cpu_s / ours:.3f}" if ours else "-"
    cells = (
        f"{one.readings:,}", f"{one.wall_s:.2f}", f"{one.spent.cpu_s:.2f}", f"{one.postgres_cpu_s:.2f}",
        f"{one.readings_per_cpu_s:,.0f}", ratio, f"{one.rollups:,}", f"{one.anomalies:,}",
    )  # fmt: skip
    widths = [width for _, width in COLUMNS]
    return " ".join([f"{one.engine:{widths[0]}}", *(f"{cell:>{w}}" for cell, w in zip(cells, widths[1:], strict=True))])


def _remarks(one: Outcome) -> list[str]:
    """Below the row: options, what is stored, and CPU by process."""
    kept = f" ({one.spent.kept_bytes:,} bytes)" if one.spent.kept_bytes else ""
    lines = [f"options: {one.options}", f"stores: {one.stores}{kept}"]
    if one.spent.committed_s is not None:
        lines.append(f"all rows committed after {one.spent.committed_s:.2f} s, the rest is the archive's")
    if one.spent.parts:
        lines.append("CPU s: " + ", ".join(f"{name} {s:.2f}" for name, s in sorted(one.spent.parts.items())))
    return lines
