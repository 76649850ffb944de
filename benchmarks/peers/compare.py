"""Run the job on every engine, compare the stored rows with the reference, then print readings per CPU
second.

    python -m benchmarks.peers.compare --readings 1000000 --tags 1000 --venv .peers-venv

Time counts only when PostgreSQL holds exactly the reference's rows. CPU is user and system seconds of the
engine's process (children included); PostgreSQL's is taken apart, from its own processes.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks.peers import job
from benchmarks.peers.ours import ours
from millrace.local.servers import running
from millrace.settings import Settings

HERE: Final = Path(__file__).parent
RUN_S_MAX: Final = 900.0
OURS: Final[dict[str, tuple[str, ...] | None]] = {"millrace": None, "millrace, EWMA alone": ("ewma",)}
"""Our rows and the detectors they run: all seven, as shipped, or the one that the peers run; all else as shipped."""
AGE_S: Final = 3_600
"""How old the file's readings are: late enough to be a file, early enough for every store."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A way to run the job: script in the peers' environment, its batch, whether its state is recoverable."""

    name: str
    script: str
    batch: int
    recovery: bool


ENGINES: Final = (
    Engine("bytewax", "bytewax_job.py", 1_000, False),
    Engine("bytewax, batch 10,000", "bytewax_job.py", 10_000, False),
    Engine("bytewax, recovery", "bytewax_job.py", 10_000, True),
    Engine("pathway, own reader", "pathway_job.py", 0, False),
    Engine("pathway", "pathway_job.py", 100_000, False),
    Engine("pathway, persistence", "pathway_job.py", 100_000, True),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run cost. `equal`: PostgreSQL holds the reference's rows and no others."""

    engine: str
    readings: int
    wall_s: float
    cpu_s: float
    postgres_cpu_s: float
    equal: bool
    detail: str = ""
    parts: dict[str, float] = field(default_factory=dict)
    """CPU seconds by process, where there are several."""

    @property
    def readings_per_cpu_s(self) -> float:
        return self.readings / self.cpu_s if self.equal else 0.0


reference = lru_cache(maxsize=1)(job.reference)  # the same file for each engine, a minute at ten million readings

Run = Callable[[str, str], float]
"""(file, PostgreSQL URL) -> CPU seconds of the engine; returns once all rows are committed."""


def run_ours(name: str, file: str, readings: int, folder: Path) -> Outcome:
    """The platform as shipped over the same file. Its anomalies come from its own detectors: only rollups are
    compared, bit for bit."""
    with ours(folder / f"ours-{list(OURS).index(name)}", OURS[name]) as platform:
        return compare(
            name, platform.run, file, platform.url,
            readings=readings, rollups_only=True, collect=platform.collect, parts=platform.cpu_s,
        )  # fmt: skip


def run_engine(engine: Engine, python: Path) -> Run:
    """An engine's script as a `Run`."""

    def run(file: str, url: str) -> float:
        with tempfile.TemporaryDirectory() as folder:
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            command = [str(python), str(HERE / engine.script), file, url, str(engine.batch)]
            command += [folder] if engine.recovery else []
            done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_S_MAX, check=False)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            raise RuntimeError(done.stderr[-2_000:])
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return run


def compare(
    name: str,
    run: Run,
    file: str,
    url: str,
    *,
    readings: int,
    rollups_only: bool = False,
    collect: Callable[[], None] = lambda: None,
    parts: dict[str, float] | None = None,
) -> Outcome:
    """One run, checked row for row before its time counts. `collect` brings the rows to where they are compared."""
    job.prepare(url)
    postgres_before_s = postgres_cpu_s()
    began_s = time.perf_counter()
    try:
        cpu_s = run(file, url)
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        return Outcome(name, readings, 0, 0, 0, equal=False, detail=str(error)[-400:])
    wall_s = time.perf_counter() - began_s
    postgres_s = postgres_cpu_s() - postgres_before_s
    collect()
    detail = differences(file, url, rollups_only=rollups_only)
    return Outcome(name, readings, wall_s, cpu_s, postgres_s, equal=not detail, detail=detail, parts=parts or {})


def differences(file: str, url: str, *, rollups_only: bool) -> str:
    """Empty when PostgreSQL holds exactly the reference's rows, else what is other."""
    wanted, found = reference(file), job.stored(url)
    for name, want, got in list(zip(("rollup", "anomaly"), wanted, found, strict=True))[
        : 1 if rollups_only else 2
    ]:
        if len(got) != len(want) or set(got) != want:
            lost, extra = want - set(got), set(got) - want
            return f"{name}: {len(got)} rows, wanted {len(want)}; {len(lost)} missing, {len(extra)} other"
    return ""


def postgres_cpu_s() -> float:
    """CPU seconds of this process' PostgreSQL: the postmaster with the dead backends that it counted, and
    the live."""
    total = 0.0
    for process in psutil.Process(os.getpid()).children(recursive=True):
        try:
            if "postgres" not in process.name():
                continue
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
        except psutil.NoSuchProcess:
            continue
    return total


def main() -> int:
    """Exit code 1 where an engine's rows are not the reference's."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--readings", type=int, default=1_000_000)
    parser.add_argument("--tags", type=int, default=1_000)
    parser.add_argument(
        "--venv", type=Path, default=Path(".peers-venv"), help="made by benchmarks/peers/setup"
    )
    parser.add_argument("--engines", nargs="*", help="names out of the table, all by default")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/readings.ndjson"
        start_us = (int(time.time()) - AGE_S) * 1_000_000
        job.write_file(file, arguments.readings, arguments.tags, start_us=start_us)
        with running(Settings(home=Path(folder) / "home")) as (_, servers):
            outcomes = [
                compare(
                    engine.name, run_engine(engine, arguments.venv / "bin" / "python"), file,
                    servers.addresses.postgres_url, readings=arguments.readings,
                )
                for engine in ENGINES
                if not arguments.engines or engine.name in arguments.engines
            ]  # fmt: skip
        outcomes += [
            run_ours(name, file, arguments.readings, Path(folder))
            for name in OURS
            if not arguments.engines or name in arguments.engines
        ]
    show([asdict(outcome) for outcome in outcomes], outcomes, as_json=arguments.json)
    return 0 if all(outcome.equal for outcome in outcomes) else 1


def show(rows: list[dict[str, Any]], outcomes: list[Outcome], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(rows))
        return
    print(f"{'engine':26} {'readings/CPU s':>15} {'CPU s':>7} {'PostgreSQL CPU s':>17} {'wall s':>7}  rows")
    for one in outcomes:
        numbers = (
            f"{one.readings_per_cpu_s:15,.0f} {one.cpu_s:7.2f} {one.postgres_cpu_s:17.2f} {one.wall_s:7.2f}"
        )
        print(f"{one.engine:26} {numbers}  {'equal' if one.equal else one.detail}")
        if one.parts:
            print(f"{'':26} CPU s by process: {', '.join(f'{kind} {s:.2f}' for kind, s in sorted(one.parts.items()))}")


if __name__ == "__main__":
    raise SystemExit(main())
