"""Run the job on every engine, compare the stored rows with the reference, then print readings per CPU
second.

    python -m benchmarks.peers.compare --readings 1000000 --tags 1000 --venv .peers-venv

Time counts only when PostgreSQL holds exactly the reference's rollups and anomalies. CPU is user and system
seconds of the engine's process (children included); PostgreSQL's is taken apart, from its own processes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from benchmarks.peers import differences, job
from benchmarks.peers.engines import ENGINES, Engine, Run, run_of
from benchmarks.peers.ours import OURS, STORES, Ours, ours
from benchmarks.peers.outcome import Outcome, Spent, report, table
from benchmarks.peers.server_cpu import family_cpu_s, postmaster_of
from millrace.local.servers import running
from millrace.settings import Settings

HISTORY: Final = Path(__file__).parents[1] / "history.jsonl"
AGE_S: Final = 3_600
"""How old the file's readings are: late enough to be a file, early enough for every store."""
COMPILE: Final = "from millrace.process.kernels import compile_kernels; compile_kernels()"

reference = lru_cache(maxsize=1)(
    job.reference
)  # the same file for each engine, a minute at ten million readings


def compare(
    name: tuple[str, str, str],
    run: Run,
    file: str,
    url: str,
    readings: int,
    collect: Callable[[], None] = lambda: None,
) -> Outcome:
    """One run, checked row for row before its time counts. `name`: engine, options, what it stores. `collect` brings
    the rows to where they are compared."""
    job.prepare(url)
    server = postmaster_of(url)
    postgres_before_s, began_s = family_cpu_s(server), time.perf_counter()
    try:
        spent = run(file, url)
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        return Outcome(
            *name, readings, 0.0, 0.0, Spent(0.0), 0, 0, difference=str(error)[-400:] or repr(error)
        )
    wall_s, postgres_cpu_s = time.perf_counter() - began_s, family_cpu_s(server) - postgres_before_s
    collect()
    (want_rollups, want_anomalies), (rollups, anomalies) = reference(file), job.stored(url)
    difference = differences.of_rollups(want_rollups, rollups) or differences.of_anomalies(
        want_anomalies, anomalies
    )
    return Outcome(
        *name,
        readings,
        round(wall_s, 3),
        round(postgres_cpu_s, 3),
        spent,
        len(rollups),
        len(anomalies),
        difference,
    )


def compare_peers(
    engines: Sequence[Engine], python: Path, file: str, readings: int, home: Path
) -> list[Outcome]:
    """Each on the same server, one after the other."""
    if not engines:
        return []
    with running(Settings(home=home)) as (_, servers):
        url = servers.addresses.postgres_url
        return [
            compare((one.name, one.options, one.stores), run_of(one, python), file, url, readings)
            for one in engines
        ]


def compare_ours(row: Ours, file: str, readings: int, home: Path) -> Outcome:
    """The platform as shipped over the same file."""
    with ours(home, row.detectors) as running_platform:
        name = (row.name, row.options, STORES)
        return compare(
            name, running_platform.run, file, running_platform.url, readings, running_platform.collect
        )


def compile_kernels() -> None:
    """Once an installation, like the peers' wheels, which come compiled: outside of what is measured."""
    subprocess.run([sys.executable, "-c", COMPILE], check=True)


def main() -> int:
    """Exit code 1 where an engine's rows are not the reference's."""
    arguments = parsed()
    peers = [one for one in ENGINES if one.name in arguments.engines]
    own = [one for one in OURS if one.name in arguments.engines]
    with tempfile.TemporaryDirectory(prefix="millrace-peers-") as folder:
        file, start_us = f"{folder}/readings.ndjson", (int(time.time()) - AGE_S) * 1_000_000
        job.write_file(file, arguments.readings, arguments.tags, start_us=start_us)
        python = arguments.venv.absolute() / "bin" / "python"
        outcomes = compare_peers(peers, python, file, arguments.readings, Path(folder) / "home")
        if own:
            compile_kernels()
        outcomes += [
            compare_ours(one, file, arguments.readings, Path(folder) / f"ours-{number}")
            for number, one in enumerate(own)
        ]
    said = (
        {"workload": "peers", "readings": arguments.readings, "tags": arguments.tags}
        | machine()
        | report(outcomes)
    )
    print(json.dumps(said) if arguments.json else table(outcomes))
    if arguments.record:
        with HISTORY.open("a") as history:
            history.write(json.dumps(said) + "\n")
    return 1 if any(one.difference for one in outcomes) else 0


def parsed() -> argparse.Namespace:
    """The command line, `engines` filled in."""
    names = [one.name for one in (*ENGINES, *OURS)]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--readings", type=int, default=1_000_000)
    parser.add_argument("--tags", type=int, default=1_000)
    parser.add_argument(
        "--venv", type=Path, default=Path(".peers-venv"), help="made by benchmarks/peers/setup"
    )
    parser.add_argument("--engines", nargs="*", choices=names, help="all by default", metavar="NAME")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true", help="append the report to benchmarks/history.jsonl")
    arguments = parser.parse_args()
    arguments.engines = arguments.engines or names
    python = arguments.venv / "bin" / "python"
    if not python.exists() and not {one.name for one in OURS}.issuperset(arguments.engines):
        parser.error(f"found no {python}: run benchmarks/peers/setup, or choose --engines {OURS[0].name}")
    return arguments


def machine() -> dict[str, Any]:
    return {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "load_1m": round(os.getloadavg()[0], 2),
    }


if __name__ == "__main__":
    raise SystemExit(main())
