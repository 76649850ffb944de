"""A newcomer's first hour: start, watch, replay a dataset, break a pump, find it, kill a worker, recount."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.labelled_datasets import dataset_file
from tests.simulation.real_platform import Platform, free_port

TAGS = 200
LEARNED = 70  # readings after which the quick detectors judge a tag
WAIT_S = 90.0
VERB_S = 150.0
PUMP = "acme/lyon/utilities/line-1/pump-01"


def run(platform: Platform, *verb: str) -> subprocess.CompletedProcess[str]:
    """`millrace VERB …` as typed into a terminal."""
    command = [sys.executable, "-m", "millrace.cli", *verb]
    return subprocess.run(command, env=platform.environ, capture_output=True, text=True, timeout=VERB_S)


def said(platform: Platform, *verb: str) -> str:
    done = run(platform, *verb)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def told(platform: Platform, *verb: str) -> Any:
    return json.loads(said(platform, *verb, "--json"))


def wait_for(found: Callable[[], Any], what: str, wait_s: float = WAIT_S) -> Any:
    until = time.monotonic() + wait_s
    while time.monotonic() < until:
        if value := found():
            return value
        time.sleep(0.5)
    raise AssertionError(f"{what} did not come within {wait_s:.0f} s")


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    settings = {
        "MILLRACE_API_PORT": str(free_port()),
        "MILLRACE_DASHBOARD": "false",
        "MILLRACE_SHARDS": "4",
        "MILLRACE_SEGMENT_AGE_S": "5",
        "MILLRACE_DISK_FREE_MIN": "128MiB",
    }
    running = Platform(tmp_path_factory.mktemp("story") / "home", settings)
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def plant(platform: Platform) -> Iterator[subprocess.Popen[bytes]]:
    """A small quick plant, started the way a user starts one, its readings served."""
    scenario = platform.home.parent / "small.yaml"
    scenario.write_text(f"tags: {TAGS}\nsources: 4\nperiod_scale: 0.2\n")
    command = [sys.executable, "-m", "millrace.cli", "simulate", "--scenario", str(scenario)]
    process = subprocess.Popen(command, env=platform.environ, stdout=subprocess.DEVNULL)
    with platform.client() as api:
        wait_for(lambda: api.get(f"/v1/tags/{PUMP}/vibration-de/latest").status_code == 200, "a reading")
    yield process
    process.terminate()
    process.wait(20)


@pytest.mark.long
@pytest.mark.usefixtures("plant")
class TestFirstHour:
    """In the order of the quick start; each promise stands alone too."""

    def test_readings_flow_and_the_figures_move(self, platform: Platform) -> None:
        before = told(platform, "stats")["stored"]
        wait_for(lambda: told(platform, "stats")["stored"] > before, "a stored reading")
        assert "latency_ms.visible.p99" in said(platform, "stats")

    def test_every_tag_of_the_plant_has_a_newest_value(self, platform: Platform) -> None:
        with platform.client() as api:
            wait_for(lambda: api.get("/v1/stats").json()["live"]["tags"] >= TAGS, "the tag table")
            newest = api.get(f"/v1/tags/{PUMP}/vibration-de/latest").json()
        assert newest["value"] is not None
        assert time.time() - newest["ts_us"] / 1e6 < 30

    def test_a_dataset_replays_as_if_live(self, platform: Platform) -> None:
        file = dataset_file("skab/data/valve1/0.csv")
        out = said(platform, "replay", str(file), "--spacing", "0.01")
        first_tag = out.split("first tag ")[1].split()[0]
        with platform.client() as api:
            wait_for(lambda: api.get(f"/v1/tags/{first_tag}/latest").status_code == 200, "the dataset's tag")

    def test_a_broken_pump_is_found_by_question_and_on_the_live_stream(self, platform: Platform) -> None:
        with platform.client() as api:
            past = f"/v1/tags/{PUMP}/vibration-nde/history"
            wait_for(
                lambda: len(api.get(past, params={"agg": "raw"}).json()["ts_us"]) > LEARNED, "enough to learn"
            )
        live = LiveEvents(platform, PUMP)
        since_us = time.time_ns() // 1000
        assert PUMP in said(platform, "simulate", "--fault", "pump")
        with platform.client() as api:

            def found() -> Any:
                query = {"path": PUMP, "from": since_us}
                return api.get("/v1/anomalies", params=query).json()["anomalies"]

            anomaly = wait_for(found, "an anomaly of the pump")[0]
        assert anomaly["path"].startswith(PUMP)
        assert anomaly["detector"]
        assert anomaly["score"] >= 1.0
        wait_for(lambda: live.paths, "the anomaly on the live stream")
        live.close()
        assert "mended" in said(platform, "simulate", "--clear")

    def test_a_killed_worker_loses_nothing(self, platform: Platform) -> None:
        assert platform.kill("worker-0")
        wait_for(lambda: platform.pid("worker-0"), "the worker's second life")
        assert said(platform, "verify").splitlines()[-1].startswith("equal")
        assert told(platform, "verify", "--full")["equal"] is True

    def test_a_reading_that_cannot_be_is_found_in_the_quarantine(
        self, platform: Platform, tmp_path: Path
    ) -> None:
        file = tmp_path / "bad.ndjson"
        file.write_text('{"tag":"acme/lyon/x","ts":"yesterday","value":1}\n')
        assert run(platform, "send", str(file)).returncode == 1
        wait_for(lambda: told(platform, "rejects")["rejects"], "the reject")
        assert "bad_time" in said(platform, "rejects")

    def test_the_doctor_finds_the_running_platform_well(self, platform: Platform) -> None:
        assert "FAIL" not in said(platform, "doctor")
        assert all(check["ok"] for check in told(platform, "doctor"))

    def test_the_next_start_serves_every_tag_at_once(
        self, platform: Platform, plant: subprocess.Popen[bytes]
    ) -> None:
        plant.terminate()
        plant.wait(20)
        platform.stop()
        platform.start()
        with platform.client() as api:
            wait_for(lambda: api.get("/v1/stats").json()["live"]["tags"] >= TAGS, "the tag table", 20.0)
            path = f"/v1/tags/{PUMP}/vibration-de/latest"
            wait_for(lambda: api.get(path).json()["value"] is not None, "the value from before", 20.0)


class LiveEvents:
    """Follows `/v1/live` of an equipment in a thread; `paths` of the anomalies seen."""

    def __init__(self, platform: Platform, path: str) -> None:
        self.paths: list[str] = []
        self._client = platform.client()
        self._path = path
        self._closed = False
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        try:
            with self._client.stream("GET", "/v1/live", params={"path": self._path}) as answer:
                event = ""
                for text in answer.iter_lines():
                    if text.startswith("event: "):
                        event = text[len("event: ") :]
                    elif text.startswith("data: ") and event == "anomaly":
                        self.paths.append(text)
        except httpx.HTTPError:
            if not self._closed:
                raise

    def close(self) -> None:
        self._closed = True
        self._client.close()
