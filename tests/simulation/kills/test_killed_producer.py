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
    whole, _, _ = text_of(log).rpartition("\n")  # it may be read while a line is written
    rows = (line.split(" ") for line in whole.splitlines())
    return {(tag, int(ts)) for word, tag, ts in rows if word in words}


@pytest.mark.requirement("S-19")
@pytest.mark.requirement("B-08")
def test_a_killed_producer_loses_nothing_that_its_disk_holds_and_doubles_nothing(
    platform: Platform, tmp_path: Path, rng: random.Random
) -> None:
    logs = {str(tmp_path / "buffer"): tmp_path / "kept.log", "-": tmp_path / "bare.log"}
    for life in range(LIVES):
        before = {log: len(noted(log, "d")) for log in logs.values()}
        running = [live(platform, log, folder) for folder, log in logs.items()]
        if life in (0, LIVES - 1):  # the others die at any moment of their start as well
            until(
                lambda before=before: all(len(noted(log, "d")) > count for log, count in before.items()),
                DELIVERED_S,
                "a frame delivered",
            )
        time.sleep(rng.uniform(1.0, 2.0))
        for process in running:
            process.kill()
            process.wait(10)
    kept, bare = tmp_path / "kept.log", tmp_path / "bare.log"
    taken = noted(kept, "a")
    send_what_the_disk_holds(platform, kept, str(tmp_path / "buffer"), taken)
    assert noted(bare, "d")
    check_equal(platform, taken | noted(kept, "d") | noted(bare, "d"))


def send_what_the_disk_holds(platform: Platform, log: Path, folder: str, taken: set[tuple[str, int]]) -> None:
    """One life more, until every tag has something delivered that is newer: a source's frames keep their order."""
    tags, newest_us = {tag for tag, _ in taken}, max(ts_us for _, ts_us in taken)
    last = live(platform, log, folder)
    until(
        lambda: tags == {tag for tag, ts_us in noted(log, "d") if ts_us > newest_us},
        DELIVERED_S,
        "something delivered that was taken after all that the disk held",
    )
    last.kill()
    last.wait(10)
