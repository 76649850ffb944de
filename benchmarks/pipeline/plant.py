"""`python -m benchmarks.pipeline.plant plant-100k --seconds 300`: the platform on this machine, producer included.

Starts `millrace up` on a folder of its own, publishes the workload's asset model, sends open loop, follows 100 tags
over `/v1/live` and 20 critical ones in PostgreSQL, then lets `verify` recount. Prints one JSON report.
"""

from __future__ import annotations

import argparse
import json
import os
import platform as machine_of
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from benchmarks.pipeline.hurt import HURTS, hurt_later
from benchmarks.pipeline.machine import Usage, durability
from benchmarks.workloads import SHAPES, Workload, workload
from millrace.assets.publish import publish
from millrace.stream.valkey import ValkeyStream

FOLLOWED = 100
COMMITTED = 20
READY_S = 120.0
LATE_METRIC = "process_readings_late_total"
HISTORY = Path(__file__).parents[1] / "history.jsonl"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload", nargs="?", default="plant-100k", choices=SHAPES, metavar="WORKLOAD")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--warm-up", type=float, default=15.0)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--record", action="store_true", help="append the report to benchmarks/history.jsonl")
    parser.add_argument("--hurt", choices=HURTS, default="", help="the real-time store, in the middle of the run")
    parser.add_argument("--keep", type=Path, help="use this data folder and leave it there")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        home = chosen.keep or Path(folder) / "home"
        report = measure(chosen.workload, chosen.seconds, chosen.warm_up, chosen.shards, home, chosen.hurt)
    print(json.dumps(report, indent=2))
    if chosen.record:
        with HISTORY.open("a") as history:
            history.write(json.dumps(report) + "\n")
    return 0 if report["verify"] == "equal" and not report["lost"] else 1


def measure(
    name: str, seconds: float, warm_up: float, shards: int, home: Path, hurt: str = ""
) -> dict[str, Any]:
    """One run."""
    load = workload(name)
    environ = {
        **os.environ,
        "MILLRACE_HOME": str(home),
        "MILLRACE_SHARDS": str(shards),
        "MILLRACE_DASHBOARD": "false",
        "MILLRACE_API_PORT": str(free_port()),
        "MILLRACE_DISK_MAX": "60GB",
    }
    up = subprocess.Popen(
        [sys.executable, "-m", "millrace.cli", "up", "--no-simulate"], env=environ,
        stdout=(home.parent / "up.log").open("wb"), stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        endpoints = wait_ready(home, up)
        stream = ValkeyStream(endpoints["stream_url"], shard_count=shards, bytes_max=2 * 1024**3)
        publish(endpoints["postgres_url"], stream, load.model, made_by="benchmark")
        stream.close()
        ran = run(load, endpoints, up.pid, seconds, warm_up, hurt)
        counted = recount(environ)
        return {
            "workload": name,
            "seconds": seconds,
            "warm_up_s": warm_up,
            "shards": shards,
            "hurt": hurt,
            "machine": f"{os.cpu_count()} cores, {machine_of.machine()}, Python {machine_of.python_version()}",
            "durability": durability(endpoints["postgres_url"], endpoints["stream_url"]),
            **ran,
            **counted,
            **beside_what_was_sent(counted, ran["sent"], endpoints),
        }
    finally:
        up.terminate()
        up.wait(60)


def run(
    load: Workload, endpoints: dict[str, Any], root: int, seconds: float, warm_up: float, hurt: str
) -> dict[str, Any]:
    """Load and clients side by side; their reports, and the cores and memory of everything."""
    token = Path(endpoints["token_file"]).read_text().strip()
    followed = [load.paths[tag] for tag in load.followed(FOLLOWED)]
    critical = [load.paths[tag] for tag in load.followed(10 * FOLLOWED) if load.critical[tag]][:COMMITTED]
    producer = client(
        "producer", load.shape.name, "--stream-url", endpoints["stream_url"],
        "--shards", str(endpoints["shards"]), "--seconds", str(seconds),
    )  # fmt: skip
    until = ["--seconds", str(seconds), "--warm-up", str(warm_up)]
    first_line(producer, "ready")
    visible = client("follower", "--api-url", endpoints["api_url"], f"--token={token}", *until, *followed)
    first_line(visible, "following")
    durable = client("committed", "--postgres-url", endpoints["postgres_url"], *until, *critical)
    assert producer.stdin is not None
    producer.stdin.write(b"go\n")
    producer.stdin.flush()
    hurt_later(hurt, root, seconds / 2)
    time.sleep(min(warm_up, seconds / 3))
    usage = Usage(root)
    own = Usage(os.getpid())
    begin = time.monotonic()
    while producer.poll() is None and time.monotonic() - begin < seconds + 60:
        usage.sample()
        own.sample()
        time.sleep(1.0)
    used, clients = usage.report(time.monotonic() - begin), own.report(time.monotonic() - begin)
    sent = last_line(producer)
    return {
        "offered_per_s": round(sent["readings"] / seconds),
        "sent": sent,
        "visible": last_line(visible),
        "durable": last_line(durable),
        "platform": used,
        "load_and_clients_cores": {k: v for k, v in clients["cores"].items() if k in ("producer", "client")},  # type: ignore[attr-defined]
    }


def recount(environ: dict[str, str]) -> dict[str, Any]:
    """What `verify` says, and its totals where it says equal."""
    done = subprocess.run(
        [sys.executable, "-m", "millrace.cli", "verify", "--timeout-s", "240", "--json"],
        env=environ, capture_output=True, timeout=400,
    )  # fmt: skip
    if done.returncode:
        return {"verify": done.stdout.decode()[-2000:] + done.stderr.decode()[-2000:]}
    report = json.loads(done.stdout)
    counts = {name: report[name] for name in ("received", "duplicate", "rejected", "applied", "archived")}
    return {"verify": "equal", "account": counts}


def beside_what_was_sent(
    found: dict[str, Any], sent: dict[str, Any], endpoints: dict[str, Any]
) -> dict[str, Any]:
    """Readings that were sent and are nowhere. `late_found` above `late_sent` would be readings that came behind
    newer ones of their tag though they were sent in order; below, some that were sent late had none before them yet.
    """
    if "account" not in found:
        return {}
    account = found["account"]
    return {
        "lost": sent["readings"] - account["received"] + account["duplicate"],
        "late_sent": sent["late"],
        "late_found": late(endpoints),
    }


def late(endpoints: dict[str, Any]) -> int:
    """Applied readings older than their tag's newest, as the platform counted them."""
    token = Path(endpoints["token_file"]).read_text().strip()
    answer = httpx.get(
        f"{endpoints['api_url']}/metrics", headers={"Authorization": f"Bearer {token}"}, timeout=30
    ).raise_for_status()
    return sum(
        round(float(line.split()[-1])) for line in answer.text.splitlines() if line.startswith(LATE_METRIC)
    )


def client(module: str, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", f"benchmarks.pipeline.{module}", *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def first_line(process: subprocess.Popen[bytes], word: str) -> None:
    assert process.stdout is not None
    line = process.stdout.readline().decode().strip()
    if line != word:
        raise SystemExit(f"{process.args!r} said {line!r}, wanted {word!r}")


def last_line(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    output, _ = process.communicate(timeout=60)
    try:
        found: dict[str, Any] = json.loads(output.decode().strip().splitlines()[-1])
    except (ValueError, IndexError):
        return {"failed": output.decode()[-500:]}
    return found


def wait_ready(home: Path, up: subprocess.Popen[bytes]) -> dict[str, Any]:
    until = time.monotonic() + READY_S
    while time.monotonic() < until and up.poll() is None:
        try:
            found: dict[str, Any] = json.loads((home / "run" / "endpoints.json").read_text())
            if found["ready"]:
                return found
        except (OSError, ValueError):
            pass
        time.sleep(0.2)
    raise SystemExit(f"the platform did not start: {(home.parent / 'up.log').read_text()[-2000:]}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    raise SystemExit(main())
