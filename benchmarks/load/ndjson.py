"""`python -m benchmarks.load.ndjson`: how many readings a second the platform takes as NDJSON over HTTP.

Bodies of 1,000 readings are made beforehand but for their times; several connections post as fast as they are
answered, for a bounded time. Prints one JSON report; `verify` recounts at the end.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.pipeline.machine import Usage
from benchmarks.pipeline.plant import free_port, recount, wait_ready

READINGS = 1_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--connections", type=int, default=4)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="millrace-ndjson-") as folder:
        home = Path(folder) / "home"
        environ = {
            **os.environ,
            "MILLRACE_HOME": str(home),
            "MILLRACE_DASHBOARD": "false",
            "MILLRACE_API_PORT": str(free_port()),
        }
        up = subprocess.Popen(
            [sys.executable, "-m", "millrace.cli", "up", "--no-simulate"], env=environ,
            stdout=(home.parent / "up.log").open("wb"), stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            endpoints = wait_ready(home, up)
            token = Path(endpoints["token_file"]).read_text().strip()
            usage = Usage(up.pid)
            usage.sample()
            taken = post_all(endpoints["api_url"], token, chosen.connections, chosen.seconds)
            usage.sample()
            report = {
                "connections": chosen.connections,
                "accepted_per_s": round(taken / chosen.seconds),
                **usage.report(chosen.seconds),
                **recount(environ),
            }
        finally:
            up.terminate()
            up.wait(60)
    print(json.dumps(report, indent=2))
    return 0 if report["verify"] == "equal" else 1


def post_all(api_url: str, token: str, connections: int, seconds: float) -> int:
    """Readings answered 202, over all connections."""
    counts = [0] * connections
    threads = [
        threading.Thread(target=_post, args=(api_url, token, number, seconds, counts)) for number in range(connections)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts)


def _post(api_url: str, token: str, number: int, seconds: float, counts: list[int]) -> None:
    parts = urlsplit(api_url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/x-ndjson",
        "Millrace-Source": f"sender-{number}",
    }
    template = body_of(number)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        body = template.replace(b"@TS@", b"%d" % (time.time_ns() // 1_000))
        connection.request("POST", "/v1/readings", body, headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status == 202:
            counts[number] += READINGS
        else:
            time.sleep(float(answer.headers.get("Retry-After") or 0.05))
    connection.close()


def body_of(number: int) -> bytes:
    """READINGS lines over 100 tags, with a mark where the time goes."""
    lines = [
        b'{"tag":"acme/lyon/load/sender-%d/press-%d/signal-%d","ts":@TS@,"value":%.2f}\n'
        % (number, i % 100 // 10, i % 10, 50 + i % 97 / 10)
        for i in range(READINGS)
    ]
    return b"".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
