"""A producer killed and started again: with its buffer on disk nothing taken is lost, without it nothing delivered."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.simulation.real_platform import Platform, check_equal, until

DRIVER = Path(__file__).with_name("producer_driver.py")
LIVES = 5
DELIVERED_S = 60.0


def live(platform: Platform, log: Path, folder: str) -> subprocess.Popen[bytes]:
    found = platform.endpoints
    command = [sys.executable, str(DRIVER), found["stream_url"], str(found["shards"]), str(log), folder]
    return subprocess.Popen(command)


def text_of(log: Path) -> str:
    return log.read_text() if log.exists() else ""


def noted(log: Path, words: str) -> set[tuple[str, int]]:
    rows = (line.split(" ") for line in log.read_text().splitlines())
    return {(tag, int(ts)) for word, tag, ts in rows if word in words}


@pytest.mark.requirement("S-19")
@pytest.mark.requirement("B-08")
def test_a_killed_producer_loses_nothing_that_its_disk_holds_and_doubles_nothing(
    platform: Platform, tmp_path: Path, rng: random.Random
) -> None:
    logs = {str(tmp_path / "buffer"): tmp_path / "kept.log", "-": tmp_path / "bare.log"}
    for life in range(LIVES):
        running = [live(platform, log, folder) for folder, log in logs.items()]
        if life in (0, LIVES - 1):  # the others die at any moment of their start as well
            until(lambda: all("d " in text_of(log) for log in logs.values()), DELIVERED_S, "a frame delivered")
        time.sleep(rng.uniform(1.0, 2.0) if life < LIVES - 1 else 4.0)
        for process in running:
            process.kill()
            process.wait(10)
    # The last life may have been killed with frames that only its disk holds: one more sends them.
    last = live(platform, tmp_path / "kept.log", str(tmp_path / "buffer"))
    time.sleep(3)
    last.kill()
    last.wait(10)
    kept, bare = tmp_path / "kept.log", tmp_path / "bare.log"
    before_last = (
        max(ts for _, ts in noted(kept, "a")) - 1_500_000
    )  # what the very last moment took is not sent yet
    taken = {key for key in noted(kept, "a") if key[1] < before_last}
    assert taken
    assert noted(bare, "d")
    check_equal(platform, taken | noted(kept, "d") | noted(bare, "d"))
