"""The other engines: which there are, with which options, and how one is run in its own environment."""

from __future__ import annotations

import resource
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.peers.outcome import Spent

ROOT: Final = Path(__file__).parents[2]
RUN_S_MAX: Final = 900.0
ROWS: Final = "rollups, anomalies"
SNAPSHOTS: Final = f"{ROWS}; snapshots of state and source offset (SQLite)"
INPUT: Final = f"{ROWS}; its input, from which it computes its state anew"

Run = Callable[[str, str], Spent]
"""(file, PostgreSQL URL) -> what the engine spent; returns once all rows are committed."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A way to run the job: a module of ours that the peers' environment runs, its batch, whether recovery is on."""

    name: str
    module: str
    batch: int
    recovery: bool
    options: str
    stores: str = ROWS


# The intervals are each engine's default: bytewax' epoch, Pathway's `snapshot_interval_ms`.
ENGINES: Final = (
    Engine("bytewax", "bytewax_job", 1_000, False, "batch 1,000 (its file source's), recovery off"),
    Engine("bytewax, batch 10,000", "bytewax_job", 10_000, False, "batch 10,000, recovery off"),
    Engine("bytewax, recovery", "bytewax_job", 1_000, True, "batch 1,000, recovery on, snapshot each 10 s",
           SNAPSHOTS),
    Engine("bytewax, batch 10,000, recovery", "bytewax_job", 10_000, True,
           "batch 10,000, recovery on, snapshot each 10 s", SNAPSHOTS),
    Engine("pathway, own reader", "pathway_job", 0, False, "its own JSON reader, one minibatch, persistence off"),
    Engine("pathway", "pathway_job", 100_000, False, "msgspec, minibatch 100,000, persistence off"),
    Engine("pathway, own reader, persistence", "pathway_job", 0, True,
           "its own JSON reader, one minibatch, persistence on, snapshot interval 0", INPUT),
    Engine("pathway, persistence", "pathway_job", 100_000, True,
           "msgspec, minibatch 100,000, persistence on, snapshot interval 0", INPUT),
)  # fmt: skip


def run_of(engine: Engine, python: Path) -> Run:
    """An engine as a `Run`. RuntimeError: it ended with an error, or its recovery is on and has kept nothing."""

    def run(file: str, url: str) -> Spent:
        with tempfile.TemporaryDirectory() as folder:
            before_s = _children_cpu_s()
            command = [str(python), "-m", f"benchmarks.peers.{engine.module}", file, url, str(engine.batch)]
            command += [folder] if engine.recovery else []
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=RUN_S_MAX, check=False, cwd=ROOT
            )
            spent = Spent(_children_cpu_s() - before_s, kept_bytes=bytes_in(Path(folder)))
        if done.returncode:
            raise RuntimeError(done.stderr[-2_000:])
        if engine.recovery and not spent.kept_bytes:
            raise RuntimeError("recovery is on, but nothing was kept to recover from")
        return spent

    return run


def _children_cpu_s() -> float:
    """CPU of this process' children that have ended, theirs included."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
