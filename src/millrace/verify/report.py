"""What `verify` found: equal, or the holes, as JSON for scripts and as lines for people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

HOLES_SHOWN: Final = 50


@dataclass(frozen=True, slots=True)
class Hole:
    """Where two counts, or their hash sums, differ. `stage`: ledger, archive, quarantine, rollup_1h, rollup_1m,
    rollup_1s, reading, reject_count (its `source` is a shard) or file (its `source` is the file).

    `wanted` is what the ledger says, `found` what the store holds; for a file: what the manifest says
    and what is there. `detail` is all there is to say where counts are equal and values are not.
    """

    stage: str
    source: str
    hour_us: int
    wanted: int
    found: int
    wanted_hash: int = 0
    found_hash: int = 0
    detail: str = ""

    def line(self) -> str:
        """One sentence."""
        if self.stage == "file":
            return f"file {self.source}: {self.detail}"
        if self.stage == "reject_count":
            return f"{self.source}, reject_count: wanted {self.wanted}, found {self.found}"
        if self.detail:
            return f"{self.source}, {hour_text(self.hour_us)}, {self.stage}: {self.detail}"
        missing = self.wanted - self.found
        what = f"{missing} missing" if missing > 0 else f"{-missing} too many" if missing else "other content"
        return (
            f"{self.source}, {hour_text(self.hour_us)}, {self.stage}: "
            f"wanted {self.wanted}, found {self.found} ({what})"
        )


@dataclass(frozen=True, slots=True)
class Report:
    """Totals are over all hours compared; `hours` is how many (source, hour) pairs.

    `owed_1m`, `owed_1s` and `readings_owed` are what the ledger asks of the stores that do not keep everything.
    `rollup_hours_left_out`: hours of `rollup_1m` and `rollup_1s` that the fast pass did not recount.
    """

    full: bool
    hours: int
    received: int
    duplicate: int
    rejected: int
    applied: int
    archived: int
    quarantined: int
    rolled_up: int
    rolled_up_1m: int
    rolled_up_1s: int
    owed_1m: int
    owed_1s: int
    rollup_hours_left_out: int
    critical: int
    readings: int
    readings_owed: int
    files: int
    from_us: int
    seconds: float
    holes: tuple[Hole, ...] = field(default=())

    @property
    def equal(self) -> bool:
        return not self.holes

    def as_json(self) -> dict[str, Any]:
        """Plain types; hash sums as texts, because JSON readers round beyond 2^53."""
        report = asdict(self) | {"equal": self.equal}
        report["holes"] = [
            asdict(hole)
            | {"wanted_hash": f"{hole.wanted_hash:016x}", "found_hash": f"{hole.found_hash:016x}"}
            for hole in self.holes
        ]
        return report

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"received {self.received:>15,}"
        yield f"  = duplicate {self.duplicate:,} + rejected {self.rejected:,} + applied {self.applied:,}"
        yield f"archive  {self.archived:>15,}  in {self.files:,} files" + (
            " (read in full)" if self.full else ""
        )
        yield f"  and {self.quarantined:,} rejects in its quarantine"
        yield f"rollups  {self.rolled_up:>15,}  of 1 h"
        yield f"         {self.rolled_up_1m:>15,}  of 1 min, {self.owed_1m:,} owed"
        yield f"         {self.rolled_up_1s:>15,}  of 1 s, {self.owed_1s:,} owed"
        if self.rollup_hours_left_out:
            yield f"         {self.rollup_hours_left_out:,} older hours of them are recounted by --full only"
        yield f"readings {self.readings:>15,}  of {self.readings_owed:,} critical ones still owed"
        yield f"{self.hours:,} (source, hour) pairs compared in {self.seconds:.1f} s"
        if self.equal:
            yield "equal"
            return
        yield f"NOT EQUAL: {len(self.holes):,} holes"
        yield from ("  " + hole.line() for hole in self.holes[:HOLES_SHOWN])
        if len(self.holes) > HOLES_SHOWN:
            yield f"  … and {len(self.holes) - HOLES_SHOWN:,} more (--json shows all)"


def hour_text(hour_us: int) -> str:
    """`2026-01-05T08Z`."""
    return f"{datetime.fromtimestamp(hour_us // 1_000_000, UTC):%Y-%m-%dT%HZ}"
