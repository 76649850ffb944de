"""A damaged data folder, or one whose parts are of different folders: one message, nothing damaged, and on again."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.simulation.real_platform import Platform, Witness, check_equal, running, small

END_S = 120.0
Damage = Callable[[Path], None]
Used = tuple[Platform, frozenset[tuple[str, int]]]


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Used:
    """A folder that has seen readings, segments and snapshots, and was stopped; what it was told to keep."""
    settings = small(MILLRACE_SHARDS="2", MILLRACE_WORKERS="1", MILLRACE_SEGMENT_AGE_S="1")
    with running(tmp_path_factory.mktemp("used"), settings) as platform:
        witness = Witness(platform, sources=4, tags=3)
        witness.start()
        time.sleep(6)
        witness.close()
        check_equal(platform, witness.told)
    return platform, frozenset(witness.told)


@dataclass(frozen=True)
class Case:
    """`owned`: what must be as it was, byte for byte, after the refused start."""

    damage: Damage
    message: str
    owned: tuple[str, ...] = ("folder.json", "postgres/base", "stream/appendonlydir", "archive", "snapshots")


def no_version(home: Path) -> None:
    (home / "postgres/PG_VERSION").unlink()


def another_version(home: Path) -> None:
    (home / "postgres/PG_VERSION").write_text("12\n")


def torn_in_the_middle(home: Path) -> None:
    [file] = (home / "stream/appendonlydir").glob("*.incr.aof")
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4096] = b"\xff" * 4096
    file.write_bytes(content)


def another_identity(home: Path) -> None:
    file = home / "folder.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"id": "f" * 32}))


def stream_of_an_older_time(home: Path) -> None:
    """As a copy of before would hold it: what came last is missing."""
    [file] = (home / "stream/appendonlydir").glob("*.incr.aof")
    os.truncate(file, file.stat().st_size // 2)


def unreadable_snapshots(home: Path) -> None:
    files = list((home / "snapshots").glob("*.mrs"))
    assert files
    for file in files:
        file.write_bytes(file.read_bytes()[:-1] + b"\x00\x00")


AT_THE_SERVERS = {
    "PG_VERSION is missing": Case(no_version, "is no PostgreSQL data folder (PG_VERSION is missing)"),
    "another PostgreSQL": Case(another_version, "was made by another version of PostgreSQL"),
    "a torn append-only file": Case(
        torn_in_the_middle,
        "stream is damaged",
        ("folder.json", "stream/appendonlydir", "archive", "snapshots"),
    ),
    "stores of another folder": Case(
        another_identity, "PostgreSQL belongs to data folder", ("folder.json", "archive", "snapshots")
    ),
    "a stream older than PostgreSQL": Case(
        stream_of_an_older_time, "but PostgreSQL has applied up to", ("folder.json", "archive", "snapshots")
    ),
}
IN_THE_WORKER = {
    "snapshots that cannot be read": Case(
        unreadable_snapshots, "no listed snapshot can be read", ("folder.json", "archive", "snapshots")
    ),
}


def copied(used: Used, tmp_path: Path) -> Platform:
    """The same folder elsewhere; owners kept, since PostgreSQL insists on its own."""
    home = tmp_path / "home"
    subprocess.run(["cp", "-a", str(used[0].home), str(home)], check=True)
    return replace(used[0], home=home, process=None, endpoints={})


def refused(platform: Platform) -> subprocess.CompletedProcess[str]:
    """`millrace up`, which is to end by itself."""
    return subprocess.run(
        [sys.executable, "-m", "millrace.cli", "up"],
        env=platform.environ, capture_output=True, text=True, timeout=END_S,
    )  # fmt: skip


def sums(home: Path, owned: tuple[str, ...]) -> dict[str, str]:
    """SHA-256 of every file of these parts."""
    files = [file for part in owned for file in [home / part, *(home / part).rglob("*")] if file.is_file()]
    return {str(file.relative_to(home)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def check_refusal(platform: Platform, case: Case) -> None:
    before = sums(platform.home, case.owned)
    done = refused(platform)
    assert done.returncode == 2, done.stdout + done.stderr
    assert case.message in done.stderr
    assert "millrace reset" in done.stderr or "Use the Millrace that" in done.stderr
    assert done.stderr.count("millrace: ") == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert sums(platform.home, case.owned) == before


@pytest.mark.long
@pytest.mark.requirement("S-19")
class TestOneMessageAndNothingIsDamaged:
    @pytest.mark.parametrize("name", AT_THE_SERVERS)
    def test_a_start_is_refused_before_anything_runs(self, used: Used, tmp_path: Path, name: str) -> None:
        platform = copied(used, tmp_path)
        AT_THE_SERVERS[name].damage(platform.home)
        check_refusal(platform, AT_THE_SERVERS[name])

    @pytest.mark.parametrize("name", IN_THE_WORKER)
    def test_a_worker_stops_the_platform_and_the_right_files_put_back_go_on(
        self, used: Used, tmp_path: Path, name: str
    ) -> None:
        platform = copied(used, tmp_path)
        whole = tmp_path / "whole"
        subprocess.run(["cp", "-a", str(platform.home), str(whole)], check=True)
        IN_THE_WORKER[name].damage(platform.home)
        check_refusal(platform, IN_THE_WORKER[name])
        for part in ("stream", "snapshots"):
            shutil.rmtree(platform.home / part)
            subprocess.run(["cp", "-a", str(whole / part), str(platform.home / part)], check=True)
        platform.start()
        check_equal(platform, set(used[1]))
        platform.stop()
