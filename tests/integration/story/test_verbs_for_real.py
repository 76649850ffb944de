"""Verbs through the installed program against a real platform: what they print, what they do, how they end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.simulation.real_platform import Platform, running, small, until

WAIT_S = 60.0
ROWS = 40
PREFIX = "acme/datasets/replay"
PRESS = "acme/lyon/press-shop/line-9/press-77"
MODEL = f"""\
path,source,unit,range_low,range_high,class
{PRESS}/oil-temp,plc-77,degC,0,150,critical
"""
OTHER_PRESS = PRESS.replace("77", "78")
OTHER_MODEL = MODEL.replace("77", "78")
PLANT = "tags: 200\nsources: 4\nperiod_scale: 0.2\n"


def recording(folder: Path, name: str, *, rows: int = ROWS, step_s: float = 0.1) -> Path:
    """A file as SKAB publishes them, its last quarter labelled abnormal."""
    lines = ["datetime;Pressure;Temperature;anomaly;changepoint"]
    for row in range(rows):
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(1_581_187_652 + int(row * step_s)))
        fraction = f"{row * step_s % 1:.1f}"[1:]
        lines.append(f"{at}{fraction};{2 + row / 100};{70 + row};{float(row >= rows * 3 // 4)};0.0")
    file = folder / "rig" / f"{name}.csv"
    file.parent.mkdir(exist_ok=True)
    file.write_text("\n".join(lines) + "\n")
    return file


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    settings = small(MILLRACE_SHARDS="2", MILLRACE_WORKERS="1")
    with running(tmp_path_factory.mktemp("verbs"), settings) as platform:
        yield platform


class TestReplay:
    def test_a_recording_becomes_modelled_readings_with_their_spacing(
        self, platform: Platform, tmp_path: Path
    ) -> None:
        said = platform.told("replay", str(recording(tmp_path, "a")), "--speed", "10")
        [one] = said["datasets"]
        assert (one["rows"], one["sent"], one["refused"], one["too_old"]) == (ROWS, 2 * ROWS, 0, 0)
        assert one["last_ts_us"] - one["first_ts_us"] == (ROWS - 1) * 100_000
        [abnormal] = one["abnormal"]
        assert abnormal["end_us"] == one["last_ts_us"]
        assert abnormal["end_us"] - abnormal["start_us"] == (ROWS // 4 - 1) * 100_000
        assert said["unsent"] == 0
        tag = f"{PREFIX}/rig/a/pressure"
        with platform.client() as api:
            latest = until(lambda: found(api, tag, one["last_ts_us"]), WAIT_S, "the last row")
            described = api.get("/v1/tags", params={"path": tag}).json()["tags"][0]
        assert latest["value"] == pytest.approx(2.39)
        assert (described["modelled"], described["unit"]) == (True, "bar")

    def test_a_recording_joins_the_model_and_takes_nothing_away(
        self, platform: Platform, tmp_path: Path
    ) -> None:
        file = tmp_path / "press.csv"
        file.write_text(MODEL)
        first = platform.told("model", str(file))["number"]
        second = platform.told("replay", str(recording(tmp_path, "b")), "--speed", "1000")["model_number"]
        assert second == first + 1
        again = platform.told("replay", str(recording(tmp_path, "b")), "--speed", "1000")["model_number"]
        assert again == second
        with platform.client() as api:
            [kept] = api.get("/v1/tags", params={"path": f"{PRESS}/*"}).json()["tags"]
        assert (kept["modelled"], kept["unit"]) == (True, "degC")

    def test_without_a_model_its_tags_are_kept_unmodelled(self, platform: Platform, tmp_path: Path) -> None:
        said = platform.told("replay", str(recording(tmp_path, "c")), "--speed", "1000", "--no-model")
        assert said["model_number"] is None
        tag = f"{PREFIX}/rig/c/pressure"
        with platform.client() as api:
            until(lambda: api.get(f"/v1/tags/{tag}/latest").status_code == 200, WAIT_S, "the reading")
            [described] = until(
                lambda: api.get("/v1/tags", params={"path": tag}).json()["tags"], WAIT_S, "the tag"
            )
        assert described["modelled"] is False

    def test_original_times_past_the_bound_are_said_and_end_in_the_quarantine(
        self, platform: Platform, tmp_path: Path
    ) -> None:
        done = platform.millrace(
            "replay", str(recording(tmp_path, "d")), "--original-times", "--speed", "1000"
        )
        assert done.returncode == 1
        assert f"{2 * ROWS} readings are older than" in done.stderr
        assert "MILLRACE_PAST_MAX_S" in done.stderr
        assert "labelled abnormal: 2020-02-08T" in done.stdout
        chosen = ("rejects", "--source", "replay-rig-d")
        rows = until(lambda: platform.told(*chosen)["rejects"], WAIT_S, "the rejects")
        assert {row["reason"] for row in rows} == {"time_too_old"}

    def test_a_recording_longer_than_what_the_platform_takes_is_refused_before_it_begins(
        self, platform: Platform, tmp_path: Path
    ) -> None:
        files = [recording(tmp_path, "e"), recording(tmp_path, "f", rows=4, step_s=2_000_000.0)]
        done = platform.millrace("replay", *map(str, files), "--speed", "1000000")
        assert done.returncode == 2
        assert "--spacing" not in done.stdout
        assert "give a spacing of" in done.stderr
        with platform.client() as api:
            assert api.get(f"/v1/tags/{PREFIX}/rig/e/pressure/latest").status_code == 404


def found(api: Any, tag: str, ts_us: int) -> Any:
    """The tag's latest value once it is the one of that time."""
    answer = api.get(f"/v1/tags/{tag}/latest")
    return answer.json() if answer.status_code == 200 and answer.json()["ts_us"] == ts_us else None


class TestModel:
    def test_a_model_is_in_force_and_its_mistakes_are_named_with_their_line(
        self, platform: Platform, tmp_path: Path
    ) -> None:
        file = tmp_path / "press.csv"
        file.write_text(OTHER_MODEL)
        done = platform.millrace("model", str(file))
        assert done.returncode == 0, done.stderr
        assert "1 tags of 1 sources, in force as change" in done.stdout
        with platform.client() as api:
            [tag] = api.get("/v1/tags", params={"path": f"{OTHER_PRESS}/*"}).json()["tags"]
        assert (tag["source"], tag["unit"]) == ("plc-78", "degC")
        file.write_text(OTHER_MODEL.replace("critical", "vital"))
        done = platform.millrace("model", str(file))
        assert done.returncode == 2
        assert "press.csv:2" in done.stderr

    def test_a_model_that_replaces_another_says_what_goes_and_one_that_joins_takes_nothing_away(
        self, platform: Platform, tmp_path: Path
    ) -> None:
        file, other = tmp_path / "press.csv", tmp_path / "other.csv"
        file.write_text(MODEL)
        other.write_text(OTHER_MODEL)
        platform.said("model", str(file))
        out = platform.said("model", str(other))
        assert "1 tags are unmodelled now, which only the model before it described: of plc-77." in out
        assert "unmodelled" not in platform.said("model", str(other))
        joined = platform.told("model", "--join", str(file))
        assert (joined["joined"], joined["gone"]) == (True, {"tags": 0, "sources": []})
        assert modelled(platform, PRESS) == ["plc-77"]
        assert modelled(platform, OTHER_PRESS) == ["plc-78"]
        assert platform.told("model", str(file))["gone"] == {"tags": 1, "sources": ["plc-78"]}


def modelled(platform: Platform, equipment: str) -> list[str]:
    """The sources to which the model in force gives the equipment's tags."""
    rows = platform.query("SELECT source FROM asset_tag WHERE starts_with(path, %s)", f"{equipment}/")
    return [source for (source,) in rows]


HOT = 70
"""More than are listed without --limit."""


class TestRejects:
    def test_what_was_refused_is_taken_at_its_replay_once_the_cause_is_mended(
        self, platform: Platform, tmp_path: Path
    ) -> None:
        model, readings = tmp_path / "press.csv", tmp_path / "hot.ndjson"
        model.write_text(MODEL)
        assert platform.millrace("model", str(model)).returncode == 0
        now_us = time.time_ns() // 1000
        hot = [f'{{"tag":"{PRESS}/oil-temp","ts":{now_us - i},"value":180}}\n' for i in range(HOT)]
        readings.write_text("".join(hot))
        assert platform.millrace("send", str(readings), "--source", "plc-77").returncode == 0
        chosen = ("rejects", "--reason", "out_of_range", "--source", "plc-77")
        every = (*chosen, "--limit", "1000")
        until(lambda: len(platform.told(*every)["rejects"]) == HOT, WAIT_S, "the rejects")
        assert platform.millrace(*chosen).stdout.count("out_of_range") >= 50

        model.write_text(MODEL.replace("150", "250"))
        assert platform.millrace("model", str(model)).returncode == 0
        assert "sent 1 rejects again" in platform.millrace(*chosen, "--replay", "--limit", "1").stdout
        assert f"sent {HOT - 1} rejects again" in platform.millrace(*chosen, "--replay").stdout
        with platform.client() as api:
            taken = until(lambda: found(api, f"{PRESS}/oil-temp", now_us), WAIT_S, "the reading")
        assert taken["value"] == 180
        assert "nothing to send again" in platform.millrace(*chosen, "--replay").stdout
        assert platform.told(*chosen, "--replay")["rejects"] == 0

    def test_a_replay_of_everything_asks_for_a_condition(self, platform: Platform) -> None:
        done = platform.millrace("rejects", "--replay")
        assert done.returncode == 2
        assert "no condition was given" in done.stderr


@pytest.mark.long
class TestSimulate:
    def test_a_plant_joins_the_model_and_a_fault_says_what_it_strikes_and_is_mended(
        self, platform: Platform, tmp_path: Path
    ) -> None:
        model = tmp_path / "press.csv"
        model.write_text(MODEL)
        platform.said("model", str(model))
        with platform.plant(PLANT):
            pump = until(lambda: pumps(platform), WAIT_S, "the plant's model")[0].rpartition("/")[0]
            assert modelled(platform, PRESS) == ["plc-77"]
            struck = platform.told("simulate", "--fault", "stuck", "--equipment", pump, "--duration-s", "30")
            [one] = struck["struck"]
            assert one["kind"] == "stuck"
            assert all(tag.startswith(pump + "/") for tag in one["tags"])
            assert one["end_us"] - one["start_us"] == 30_000_000
            assert abs(one["start_us"] / 1e6 - time.time()) < WAIT_S
            text = platform.said("simulate", "--fault", "stuck", "--equipment", pump)
            assert text.startswith("stuck from 20")
            assert "detector that still learns" in text
            assert platform.told("simulate", "--clear") == {"cleared": True, "struck": []}
            done = platform.millrace("simulate", "--fault", "pmup")
            assert done.returncode == 2
            assert "did you mean pump?" in done.stderr

    def test_without_a_plant_the_verb_says_so(self, platform: Platform) -> None:
        done = platform.millrace("simulate", "--fault", "pump")
        assert done.returncode == 2
        assert "no simulator answered" in done.stderr

    @pytest.mark.parametrize("more", [("--equipment", "*/pump-01"), ("--duration-s", "5")])
    def test_what_is_to_be_broken_without_a_fault_starts_no_plant(
        self, platform: Platform, more: tuple[str, str]
    ) -> None:
        done = platform.millrace("simulate", *more)
        assert done.returncode == 2
        assert f"{more[0]}: found 'no --fault'" in done.stderr

    def test_json_of_a_plant_itself_is_refused(self, platform: Platform) -> None:
        done = platform.millrace("simulate", "--json")
        assert done.returncode == 2
        assert "--fault" in done.stderr


def pumps(platform: Platform) -> list[str]:
    with platform.client() as api:
        answer = api.get("/v1/tags", params={"path": "acme/lyon/utilities/line-1/pump-01/*"})
    return [tag["path"] for tag in answer.json()["tags"]] if answer.status_code == 200 else []
