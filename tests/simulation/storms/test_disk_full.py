"""The disk filled from outside in one blow and freed again: the door says so, and nothing answered is lost."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from millrace.clock import EdgeClock
from tests.simulation.real_platform import Platform, Witness, check_equal, running, until

DISK_BYTES = 900 * 2**20
BLOCK_BYTES = 4 * 2**20
FULL_S = 12.0
LOOK_S = 60.0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("a disk of its own needs the right to mount one (root)")
    folder.chmod(0o755)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(file: Path) -> None:
    """Take every byte that is left."""
    with file.open("wb") as out:
        size = BLOCK_BYTES
        while size >= 4096:
            try:
                os.posix_fallocate(out.fileno(), out.seek(0, os.SEEK_END), size)
            except OSError:
                size //= 2


def answer(platform: Platform) -> tuple[int, str]:
    """Status and code of one small body; (0, …) while nobody answers."""
    reading = b'{"tag":"acme/lyon/l1/probe/t0","ts":%d,"value":1}' % EdgeClock().now_us()
    try:
        with platform.client() as client:
            headers = {"Content-Type": "application/x-ndjson", "Millrace-Source": "probe"}
            found = client.post("/v1/readings", content=reading, headers=headers)
    except httpx.HTTPError as error:
        return 0, str(error)
    return found.status_code, found.text


@pytest.mark.long
@pytest.mark.requirement("S-19")
@pytest.mark.requirement("B-08")
def test_a_disk_filled_in_one_blow_and_freed_again_loses_nothing(
    disk: Path, settings: dict[str, str]
) -> None:
    with running(disk, settings) as platform:
        witness = Witness(platform, transport=platform.sender())
        witness.start()
        time.sleep(5)
        fill(disk / "filler")
        answers: set[tuple[int, str]] = set()

        def refused() -> bool:
            found = answer(platform)
            answers.add(found)
            return found[0] == 429 and "disk_nearly_full" in found[1]

        try:
            until(refused, LOOK_S, "429 disk_nearly_full")
        finally:
            print(answers)
        time.sleep(FULL_S)
        (disk / "filler").unlink()
        try:
            until(lambda: answer(platform)[0] == 202, LOOK_S, "the door open again")
        except AssertionError:
            print(answer(platform), (disk / "up.log").read_text()[-3000:])
            for log in sorted((platform.home / "logs").glob("*.log")):
                print(f"--- {log.name}\n{log.read_text()[-1500:]}")
            raise
        time.sleep(5)
        witness.close()
        check_equal(platform, witness.told)
