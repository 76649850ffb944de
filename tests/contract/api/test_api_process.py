"""The API's own process over real servers: it starts, takes a reading durably, and stops when told."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from api_platform import SHARDS, TOKEN, CacheServer

from millrace.protocols import control
from millrace.protocols import frame as frame_codec
from millrace.stream.durability import server_options
from millrace.stream.valkey import ValkeyStream
from tests.infra.observability.emf import points
from tests.infra.observability.otlp_server import OtlpServer
from tests.waiting import wait_for

BYTES_MAX = 256 * 1024**2


@pytest.fixture
def stream_server() -> Iterator[CacheServer]:
    folder = Path(tempfile.mkdtemp(prefix="mrs"))
    options = [part for name, value in server_options(BYTES_MAX).items() for part in (f"--{name}", value)]
    server = CacheServer(folder, tuple(options))
    server.start()
    yield server
    server.kill()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def collector() -> Iterator[OtlpServer]:
    with OtlpServer() as server:
        yield server


@pytest.mark.requirement("S-19")
@pytest.mark.requirement("S-23")
def test_the_process_takes_a_reading_ticks_tells_its_counts_and_ends_on_sigterm(
    cache: CacheServer, stream_server: CacheServer, postgres: str, tmp_path: Path, collector: OtlpServer
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environ = {k: v for k, v in os.environ.items() if not k.startswith("MILLRACE_")} | {
        "MILLRACE_HOME": str(tmp_path),
        "MILLRACE_API_PORT": str(port),
        "MILLRACE_API_TOKEN": TOKEN,
        "MILLRACE_POSTGRES_URL": postgres,
        "MILLRACE_STREAM_URL": stream_server.url,
        "MILLRACE_CACHE_URL": cache.url,
        "MILLRACE_SHARDS": str(SHARDS),
        "MILLRACE_STREAM_BYTES_MAX": str(BYTES_MAX),
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_METRIC_EXPORT_INTERVAL": "100",
        "PYTHONPATH": str(Path(__file__).parents[3] / "src"),
    }
    log = (tmp_path / "log").open("wb")
    process = subprocess.Popen([sys.executable, "-m", "millrace.api"], env=environ, stdout=log, stderr=log)
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {TOKEN}"})

    def ready() -> bool:
        assert process.poll() is None, (tmp_path / "log").read_text()
        try:
            return client.get("/v1/health/ready").status_code == 200
        except httpx.HTTPError:
            return False

    try:
        wait_for(ready, "the process is ready", 60)
        body = json.dumps({"tag": "acme/lyon/a/b/c/t", "ts": int(time.time() * 1e6), "value": 1})
        answer = client.post("/v1/readings", content=body, headers={"Millrace-Source": "gw-3"})
        assert (answer.status_code, answer.json()["accepted"]) == (202, 1), answer.text
        assert client.get("/v1/stats").json()["disk"]["free_bytes"] > 0
        assert "ingest_readings_accepted_total" in client.get("/metrics").text

        def told() -> bool:
            found = [point.name for request in collector.requests for point in points(request)]
            return "ingest_readings_accepted_total" in found

        wait_for(told, "the collector hears of the reading", 60)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) in (0, -signal.SIGTERM)
    finally:
        process.kill()
        process.wait(10)
    stream = ValkeyStream(stream_server.url, shard_count=SHARDS, bytes_max=BYTES_MAX)
    found = stream.read(dict.fromkeys(range(SHARDS), 0), count_max=100, wait_s=0)
    records = [record for shard in found.values() for record in shard]
    stream.close()
    frames = [frame_codec.decode(r.data) for r in records if not control.is_control(r.data)]
    assert [frame.source for frame in frames] == ["gw-3"]
    assert any(control.is_control(record.data) for record in records)
