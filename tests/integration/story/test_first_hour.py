"""A newcomer's first hour: start, watch, replay a dataset, break a pump, find it, kill a worker, recount."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.labelled_datasets import dataset_file
from tests.simulation.real_platform import Platform, running, small, until

TAGS = 200
LEARNED = 70  # readings after which the quick detectors judge a tag
WAIT_S = 90.0
PUMP = "acme/lyon/utilities/line-1/pump-01"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with running(tmp_path_factory.mktemp("story"), small(MILLRACE_SEGMENT_AGE_S="5")) as platform:
        yield platform


@pytest.fixture(scope="module")
def plant(platform: Platform) -> Iterator[subprocess.Popen[bytes]]:
    """A small quick plant, its readings served."""
    with platform.plant(f"tags: {TAGS}\nsources: 4\nperiod_scale: 0.2\n") as process:
        with platform.client() as api:
            served = f"/v1/tags/{PUMP}/vibration-de/latest"
            until(lambda: api.get(served).status_code == 200, WAIT_S, "a reading")
        yield process


@pytest.mark.long
@pytest.mark.usefixtures("plant")
class TestFirstHour:
    """In the order of the quick start; each promise stands alone too."""

    def test_readings_flow_and_the_figures_move(self, platform: Platform) -> None:
        before = platform.told("stats")["stored"]
        until(lambda: platform.told("stats")["stored"] > before, WAIT_S, "a stored reading")
        assert "visible p50, p99" in platform.said("stats")

    def test_every_tag_of_the_plant_has_a_newest_value(self, platform: Platform) -> None:
        with platform.client() as api:
            until(lambda: api.get("/v1/stats").json()["live"]["tags"] >= TAGS, WAIT_S, "the tag table")
            path, asked_us = f"/v1/tags/{PUMP}/vibration-de/latest", time.time_ns() // 1000
            newest = until(
                lambda: found if (found := api.get(path).json())["ts_us"] > asked_us else None,
                WAIT_S,
                "a value measured after the question",
            )
        assert newest["value"] is not None

    def test_a_dataset_replays_as_if_live(self, platform: Platform) -> None:
        file = dataset_file("skab/data/valve1/0.csv")
        out = platform.said("replay", str(file), "--spacing", "0.01")
        first_tag = out.split("first tag ")[1].split()[0]
        with platform.client() as api:
            until(
                lambda: api.get(f"/v1/tags/{first_tag}/latest").status_code == 200,
                WAIT_S,
                "the dataset's tag",
            )

    def test_a_broken_pump_is_found_by_question_and_on_the_live_stream(self, platform: Platform) -> None:
        with platform.client() as api:
            past = f"/v1/tags/{PUMP}/vibration-de/history"
            until(
                lambda: len(api.get(past, params={"agg": "raw"}).json()["ts_us"]) > LEARNED,
                WAIT_S,
                "enough to learn",
            )
        live = LiveEvents(platform, PUMP)
        assert live.open.wait(WAIT_S)
        since_us = time.time_ns() // 1000
        assert PUMP in platform.said("simulate", "--fault", "pump")
        with platform.client() as api:

            def found() -> Any:
                query = {"path": PUMP, "from": since_us}
                return api.get("/v1/anomalies", params=query).json()["anomalies"]

            anomaly = until(found, WAIT_S, "an anomaly of the pump")[0]
        assert anomaly["path"].startswith(PUMP)
        assert anomaly["detector"]
        assert anomaly["score"] >= 1.0
        until(lambda: live.paths, WAIT_S, "the anomaly on the live stream")
        live.close()
        assert "mended" in platform.said("simulate", "--clear")

    def test_a_killed_worker_loses_nothing(self, platform: Platform) -> None:
        first = platform.pid("worker-0")
        assert platform.kill("worker-0")
        until(lambda: platform.pid("worker-0") not in (0, first), WAIT_S, "the worker's second life")
        assert platform.said("verify").splitlines()[-1].startswith("equal")
        assert platform.told("verify", "--full")["equal"] is True

    def test_a_reading_that_cannot_be_is_found_in_the_quarantine(
        self, platform: Platform, tmp_path: Path
    ) -> None:
        file = tmp_path / "bad.ndjson"
        file.write_text('{"tag":"acme/lyon/x","ts":"yesterday","value":1}\n')
        assert platform.millrace("send", str(file)).returncode == 1
        until(lambda: platform.told("rejects")["rejects"], WAIT_S, "the reject")
        assert "bad_time" in platform.said("rejects")

    def test_the_doctor_finds_the_running_platform_well(self, platform: Platform) -> None:
        """But for how long a sync takes, which this machine and what else it does decide."""
        lines = platform.millrace("doctor").stdout.splitlines()
        checks = json.loads(platform.millrace("doctor", "--json").stdout)
        assert len(lines) == len(checks) > 10, "the running servers are asked too"
        assert [line for line in lines if line.startswith("FAIL") and line.split()[1] != "sync"] == []
        assert [check for check in checks if not check["ok"] and check["name"] != "sync"] == []

    def test_the_next_start_serves_every_tag_at_once(
        self, platform: Platform, plant: subprocess.Popen[bytes]
    ) -> None:
        plant.terminate()
        plant.wait(60)
        platform.stop()
        platform.start()
        with platform.client() as api:
            until(lambda: api.get("/v1/stats").json()["live"]["tags"] >= TAGS, WAIT_S, "the tag table")
            path = f"/v1/tags/{PUMP}/vibration-de/latest"
            until(lambda: api.get(path).json()["value"] is not None, WAIT_S, "the value from before")


class LiveEvents:
    """Follows `/v1/live` of an equipment in a thread; `paths` of the anomalies seen."""

    def __init__(self, platform: Platform, path: str) -> None:
        self.paths: list[str] = []
        self.open = threading.Event()
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
                    self.open.set()
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
