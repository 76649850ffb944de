"""One power cut for both: what PostgreSQL lists after it is whole, what was acknowledged is there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from random import Random

import psycopg
import pytest
from power_cut import Op, promises
from recorded_postgres import give, new_cluster, server_on
from recorded_server import Recording, build_recorder

from millrace.schema import migrate
from millrace.schema.segments import SegmentError, recount

pytestmark = pytest.mark.long

HERE = Path(__file__).parent
CUTS = 4
SEED = 7


def record_archive(work: Path, mutation: str = "") -> Recording:
    recorder = build_recorder(work)
    root = work / "live"
    root.mkdir()
    root.chmod(0o755)
    (root / "archive").mkdir()
    new_cluster(root / "postgres")
    server, url = server_on(root / "postgres")
    server.start()
    migrate(url)
    server.stop()
    recording = Recording.begin(root, work)
    environment = recording.environment(recorder)
    server, url = server_on(root / "postgres", environment)
    server.start()
    try:
        subprocess.run(
            [
                *(sys.executable, HERE / "archive_driver.py", url, root / "archive", recording.log_file),
                *([mutation] if mutation else []),
            ],
            env={**os.environ, **environment},
            check=True,
            timeout=120,
        )
    finally:
        server.kill()
    recording.finish()
    return recording


def broken_after_cut(recording: Recording, at: int, target: Path, rng: Random | None) -> list[str]:
    """Listed files that are not whole, and acknowledged positions that are not archived."""
    folder = recording.cut(at, target, rng)
    folder.chmod(0o755)
    (folder / "postgres" / "postmaster.pid").unlink(missing_ok=True)
    give(folder / "postgres")
    server, url = server_on(folder / "postgres", fsync="off")  # this one need not outlive anything
    server.start()
    try:
        with psycopg.connect(url) as connection:
            listed = connection.execute("SELECT file, counts FROM segment WHERE kind = 'readings'").fetchall()
            archived = connection.execute("SELECT max(archived) FROM shard").fetchone()
    finally:
        server.kill()
    found = [file for file, counts in listed if not is_whole(folder / "archive" / file, counts)]
    promised = max(promises(recording.entries, at), default=0)
    if promised and (archived is None or archived[0] < promised):
        found.append(f"archived {archived}, acknowledged {promised}")
    return found


def is_whole(path: Path, counts: list[list[object]]) -> bool:
    try:
        return [[c.source, c.hour_us, c.count, c.hash] for c in recount(path)] == counts
    except (SegmentError, FileNotFoundError):
        return False


def cuts(recording: Recording) -> list[tuple[int, Random | None]]:
    rng = Random(SEED)
    acknowledged = [e.order for e in recording.entries if e.op is Op.ACK]
    orders = [e.order for e in recording.entries if e.order > acknowledged[0]]
    chosen = [(rng.choice(orders), Random(i) if i % 2 else None) for i in range(CUTS)]
    return [(acknowledged[-1] + 1, None), *chosen]


@pytest.mark.requirement("S-19")
def test_what_postgres_lists_is_whole_in_the_archive_after_any_power_cut(work: Path) -> None:
    recording = record_archive(work)
    assert len(promises(recording.entries, 1 << 60)) == 16
    for at, rng in cuts(recording):
        assert broken_after_cut(recording, at, work / "cut", rng) == [], f"cut at {at}, seed {SEED}"


def test_an_archive_listed_before_it_is_synced_is_caught(work: Path) -> None:
    recording = record_archive(work, "never_syncs")
    assert any(broken_after_cut(recording, at, work / "cut", rng) for at, rng in cuts(recording))
