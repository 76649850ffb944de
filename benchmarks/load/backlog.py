"""`python -m benchmarks.load.backlog`: one source brings four hours at 100,000 readings/s beside live ones.

Live is `plant-10k`, open loop and straight into the stream; the backlog comes through the door, which may
refuse it while a shard lags: it waits as long as it is told and sends the same again. Wanted: live p99
under 500 ms throughout, the backlog whole in the stores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.load.door import Answers, Bodies, Door
from benchmarks.load.overload import CORRECTNESS_ONLY, exit_code, missing
from benchmarks.pipeline.plant import client, first_line, free_port, last_line, recount, wait_ready
from benchmarks.workloads import workload
from millrace.assets.publish import publish
from millrace.stream.valkey import ValkeyStream

BACKLOG_US = 4 * 3_600_000_000
FOLLOWED = 100
BODY_READINGS = 10_000


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rate", type=int, default=100_000, help="readings/s of the backlog")
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--correctness-only", action="store_true", help=CORRECTNESS_ONLY)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="millrace-load-") as folder:
        report = measure(chosen.rate, chosen.seconds, Path(folder) / "home")
    print(json.dumps(report, indent=2))
    return exit_code(report["held"], chosen.correctness_only)


def measure(rate: int, seconds: float, home: Path) -> dict[str, Any]:
    """One run on a platform of its own."""
    environ = {
        **os.environ,
        "MILLRACE_HOME": str(home),
        "MILLRACE_DASHBOARD": "false",
        "MILLRACE_API_PORT": str(free_port()),
    }
    command = [sys.executable, "-m", "millrace.cli", "up", "--no-simulate"]
    with (home.parent / "up.log").open("wb") as log:
        up = subprocess.Popen(command, env=environ, stdout=log, stderr=subprocess.STDOUT)
    try:
        endpoints = wait_ready(home, up)
        report = side_by_side(endpoints, rate, seconds) | recount(environ)
    finally:
        up.terminate()
        up.wait(60)
    report["held"] = {
        "live_p99_under_500_ms": report["live"].get("p99_ms", 1e9) < 500,
        "backlog_whole": not report["missing"],
        "verify_equal": report["verify"] == "equal",
    }
    return report


def side_by_side(endpoints: dict[str, Any], rate: int, seconds: float) -> dict[str, Any]:
    load = workload("plant-10k")
    shards = endpoints["shards"]
    stream = ValkeyStream(endpoints["stream_url"], shard_count=shards, bytes_max=2 * 1024**3)
    publish(endpoints["postgres_url"], stream, load.model, made_by="benchmark")
    stream.close()
    token = Path(endpoints["token_file"]).read_text().strip()
    producer = client(
        "producer", load.shape.name, "--stream-url", endpoints["stream_url"],
        "--shards", str(shards), "--seconds", str(seconds + 10),
    )  # fmt: skip
    first_line(producer, "ready")
    follower = client(
        "follower", "--api-url", endpoints["api_url"], f"--token={token}", "--seconds", str(seconds + 10),
        "--warm-up", "10", *(load.paths[tag] for tag in load.followed(FOLLOWED)),
    )  # fmt: skip
    first_line(follower, "following")
    assert producer.stdin is not None
    producer.stdin.write(b"go\n")
    producer.stdin.flush()
    time.sleep(10.0)  # live alone, as the warm-up
    backlog = Backlog(endpoints["api_url"], token, rate, seconds)
    backlog.start()
    backlog.join()
    return {
        "backlog": backlog.counts,
        "live": last_line(follower),
        "sent": last_line(producer),
        "missing": missing(endpoints["postgres_url"], [backlog.answers]),
    }


class Backlog(threading.Thread):
    """The source that was away: old times first, at the rate or as fast as the door lets it."""

    def __init__(self, api_url: str, token: str, rate: int, seconds: float) -> None:
        super().__init__(name="backlog")
        self.answers = Answers("backlog")
        self.counts = {"bodies": 0, "refused": 0}
        self._bodies = Bodies("backlog", readings=BODY_READINGS)
        self._door = Door(api_url, token, "backlog")
        self._every_s = BODY_READINGS / rate
        self._seconds = seconds

    def run(self) -> None:
        begin_s = time.time()
        bodies = int(self._seconds / self._every_s)
        spacing_us = BACKLOG_US // (bodies * 100)
        for number in range(bodies):
            due_s = begin_s + number * self._every_s
            time.sleep(max(due_s - time.time(), 0.0))
            newest_us = round(begin_s * 1e6) - BACKLOG_US + (number + 1) * BACKLOG_US // bodies
            if not self._send(self._bodies.body(newest_us, spacing_us), begin_s + 2 * self._seconds):
                break

    def _send(self, body: bytes, until_s: float) -> bool:
        """The same bytes again until they are taken; False when the time is over."""
        while time.time() < until_s:
            status, retry_after_s = self._door.post(body)
            if status == 202:
                self.counts["bodies"] += 1
                self.answers.accepted += BODY_READINGS
                return True
            self.counts["refused"] += 1
            time.sleep(min(retry_after_s or 0.05, 1.0))
        return False


if __name__ == "__main__":
    raise SystemExit(main())
