"""`python -m benchmarks.load.start`: how long a user waits from the command to the first fresh reading served.

A platform with the simulated plant is started on a new data folder, stopped, and started on it again. Fresh
means that the reading's time is after the start. Prints one JSON report, seconds.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import quote

from benchmarks.pipeline.plant import free_port, wait_ready

TAG = "acme/lyon/utilities/line-1/pump-01/flow"
PACE_S = 0.05
WAIT_S_MAX = 120.0


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="millrace-start-") as folder:
        home = Path(folder) / "home"
        report = {"new folder": once(home), "old folder": once(home)}
    print(json.dumps(report, indent=2))
    return 0


def once(home: Path) -> dict[str, float]:
    """Start, wait for a fresh reading, stop."""
    environ = {**os.environ, "MILLRACE_HOME": str(home), "MILLRACE_API_PORT": str(free_port())}
    environ["MILLRACE_DASHBOARD_PORT"] = str(free_port())
    began_s, began_us = time.monotonic(), time.time_ns() // 1_000
    up = subprocess.Popen(
        [sys.executable, "-m", "millrace.cli", "up", "--simulate"], env=environ,
        stdout=(home.parent / "up.log").open("wb"), stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        endpoints = wait_ready(home, up)
        ready_s = time.monotonic() - began_s
        wait_fresh(endpoints["api_url"], Path(endpoints["token_file"]).read_text().strip(), began_us)
        fresh_s = time.monotonic() - began_s
    finally:
        stopped_s = time.monotonic()
        up.send_signal(signal.SIGINT)
        up.wait(60)
    return {
        "ready": round(ready_s, 2),
        "first fresh reading": round(fresh_s, 2),
        "stop": round(time.monotonic() - stopped_s, 2),
    }


def wait_fresh(api_url: str, token: str, after_us: int) -> None:
    """Until the API serves a reading of the tag whose time is later; TimeoutError."""
    url = f"{api_url}/v1/tags/{quote(TAG, safe='')}/latest"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    end_s = time.monotonic() + WAIT_S_MAX
    while time.monotonic() < end_s:
        if _latest_us(request) > after_us:
            return
        time.sleep(PACE_S)
    raise TimeoutError(f"no fresh reading of {TAG} within {WAIT_S_MAX:.0f} s")


def _latest_us(request: urllib.request.Request) -> int:
    try:
        with urllib.request.urlopen(request, timeout=5.0) as answer:
            found = json.load(answer)
    except (urllib.error.HTTPError, OSError):
        return 0
    return int(found.get("ts_us") or 0)


if __name__ == "__main__":
    sys.exit(main())
