"""Datasets replayed: rows as published, times shifted with their spacing, labels in the times as sent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from millrace.batch import QUALITY_BAD
from millrace.clock import DAY_US, SECOND_US, HandClock
from millrace.devices.datasets import read_dataset
from millrace.devices.plant import SourceReadings
from millrace.devices.replay import Replay, run
from millrace.errors import SettingError
from tests.labelled_datasets import dataset_file

START_US = 1_767_600_000_000_000
RIG = """\
datetime;Accelerometer1RMS;Current;Volume Flow RateRMS;anomaly;changepoint
2020-02-08 18:47:32;0.25;2.39;17.4;0.0;0.0
2020-02-08 18:47:34;0.26;;47.1;1.0;1.0
2020-02-08 18:47:33;0.24;1.1;40.5;0.0;0.0
2020-02-08 18:47:44;0.27;1.2;41.5;0.0;0.0
"""


@pytest.fixture
def rig(tmp_path: Path) -> Path:
    folder = tmp_path / "valve1"
    folder.mkdir()
    (folder / "0.csv").write_text(RIG)
    return folder / "0.csv"


def test_rows_are_read_in_order_of_time_labels_apart_and_empty_cells_as_gaps(rig: Path) -> None:
    dataset = read_dataset(rig)
    assert dataset.name == "valve1/0"
    assert dataset.signals == ("accelerometer1rms", "current", "volume-flow-raterms")
    assert np.diff(dataset.ts_us).tolist() == [SECOND_US, SECOND_US, 10 * SECOND_US]
    assert dataset.anomaly.tolist() == [False, False, True, False]
    readings = Replay(dataset, START_US).rows(0, 4)
    gap = np.isnan(readings.value)
    assert gap.sum() == 1
    assert readings.quality[gap] == QUALITY_BAD


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        (RIG.replace("47.1", "much"), r"0\.csv:3: found .*much"),
        (RIG.replace("18:47:34", "noon"), r"0\.csv:3: "),
        (RIG.replace(";1.1;", ";"), r"0\.csv:4: "),
        (RIG.replace("0.26", "0" * 200_000), r"0\.csv:3: found .*field larger"),
        (RIG.replace("Current", "C" * 200_000), r"0\.csv:1: found .*field larger"),
        (RIG.replace("2020-02-08 18:47:34", "1e30"), r"0\.csv:3: found 'time 1e30'"),
        (RIG.replace("2020-02-08 18:47:34", "nan"), r"0\.csv:3: found 'time nan'"),
        (RIG.replace("Volume Flow RateRMS", "current"), r"0\.csv:1: found 'more than one current'"),
        ("datetime;anomaly;changepoint\n2020-02-08 18:47:32;0;1\n", "at least one signal"),
        ("datetime\n", "at least one signal"),
        ("datetime;a\n", "at least one row"),
    ],
)
def test_a_damaged_dataset_names_the_line(rig: Path, text: str, mistake: str) -> None:
    rig.write_text(text)
    with pytest.raises(SettingError, match=mistake):
        read_dataset(rig)


@pytest.mark.parametrize("speed", [0.5, 1.0, 20.0])
def test_the_spacing_is_kept_and_no_reading_is_ahead_of_its_sending(rig: Path, speed: float) -> None:
    dataset = read_dataset(rig)
    replay = Replay(dataset, START_US, speed=speed)
    assert np.diff(replay.ts_us).tolist() == np.diff(dataset.ts_us).tolist()
    assert (replay.ts_us <= replay.leave_us).all()
    at = np.flatnonzero(replay.ts_us == replay.leave_us)
    assert (0 if speed <= 1 else 3) in at  # live at its begin, or at its end when it is faster than life
    assert replay.ends_us - START_US == round(dataset.duration_us / speed)


def test_original_times_are_kept_when_asked_for(rig: Path) -> None:
    dataset = read_dataset(rig)
    assert (Replay(dataset, START_US, original_times=True).ts_us == dataset.ts_us).all()


def test_a_dataset_longer_than_the_platform_takes_asks_for_a_smaller_spacing(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    path.write_text("timestamp,value\n2013-12-02 21:15:00,1\n2014-03-02 21:15:00,2\n")
    dataset = read_dataset(path)
    with pytest.raises(
        SettingError, match=r"90 days old', wanted at most 30 days .*; give a spacing of 0\.3"
    ):
        Replay(dataset, START_US, speed=1e6)
    replay = Replay(dataset, START_US, speed=1e6, spacing=0.3)
    assert int(replay.ts_us[-1] - replay.ts_us[0]) == pytest.approx(27 * DAY_US)


def test_how_far_back_is_the_platforms_own_bound(rig: Path) -> None:
    dataset = read_dataset(rig)
    with pytest.raises(SettingError, match=r"MILLRACE_PAST_MAX_S.*spacing of 0\.41"):
        Replay(dataset, START_US, speed=1e6, past_max_us=round(5.5 * SECOND_US))
    bound_us = START_US - int(dataset.ts_us[0]) + round(1.5 * SECOND_US)
    slow = Replay(dataset, START_US, speed=0.5, original_times=True, past_max_us=bound_us)
    assert slow.too_old_rows == 2  # at half speed a row leaves as much later again as it was recorded later
    assert Replay(dataset, START_US).too_old_rows == 0


def test_every_row_is_sent_once_when_its_time_has_come_also_through_a_full_buffer(rig: Path) -> None:
    clock = HandClock(START_US)
    replay = Replay(read_dataset(rig), START_US)
    got: list[tuple[int, int]] = []
    refusals = 5

    def send(readings: SourceReadings) -> int:
        nonlocal refusals
        assert (readings.ts_us <= clock.now_us()).all()
        taken = 0 if refusals else len(readings)
        refusals = max(refusals - 1, 0)
        got.extend(zip(readings.tag[:taken].tolist(), readings.ts_us[:taken].tolist(), strict=True))
        return taken

    progress = run(replay, send, clock)
    assert (progress.rows, progress.readings, progress.refused) == (4, 12, 0)
    assert sorted(got) == sorted((tag, int(ts)) for tag in range(3) for ts in replay.ts_us)


def test_labelled_intervals_are_in_the_times_that_were_sent(rig: Path) -> None:
    replay = Replay(read_dataset(rig), START_US)
    assert replay.anomalies() == [(START_US + 2 * SECOND_US, START_US + 2 * SECOND_US)]


def test_the_model_of_a_dataset_names_its_units(rig: Path) -> None:
    model = Replay(read_dataset(rig), START_US).model
    assert {tag.path: tag.unit for tag in model.tags} == {
        "acme/datasets/replay/valve1/0/accelerometer1rms": "g",
        "acme/datasets/replay/valve1/0/current": "A",
        "acme/datasets/replay/valve1/0/volume-flow-raterms": "l/min",
    }
    assert {tag.period_us for tag in model.tags} == {SECOND_US}


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        SettingError, match=r"none\.csv: found 'No such file or directory', wanted a CSV file"
    ):
        read_dataset(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("path", "rows", "signals"),
    [
        ("skab/data/valve1/0.csv", 1147, 8),
        ("skab/data/anomaly-free/anomaly-free.csv", 9405, 8),
        ("nab/data/realKnownCause/machine_temperature_system_failure.csv", 22695, 1),
    ],
)
def test_the_published_files_are_read_as_they_are(path: str, rows: int, signals: int) -> None:
    file = dataset_file(path)
    dataset = read_dataset(file)
    assert dataset.values.shape == (rows, signals)
    assert (np.diff(dataset.ts_us) >= 0).all()
    assert dataset.labelled == ("anomaly-free" not in path)


def test_the_published_labels_of_nab_are_those_of_its_recording() -> None:
    file = dataset_file("nab/data/realKnownCause/machine_temperature_system_failure.csv")
    dataset_file("nab/labels/combined_windows.json")
    assert len(Replay(read_dataset(file), START_US).anomalies()) == 4


NAB = "timestamp,value\n2014-01-01 00:00:00,1\n2014-01-01 00:05:00,2\n2014-01-01 00:10:00,3\n"


@pytest.fixture
def nab(tmp_path: Path) -> Path:
    for folder in ("data/realKnownCause", "labels"):
        (tmp_path / folder).mkdir(parents=True)
    file = tmp_path / "data/realKnownCause/machine.csv"
    file.write_text(NAB)
    return file


def labels(nab: Path, text: str) -> Path:
    (nab.parents[2] / "labels/combined_windows.json").write_text(text)
    return nab


def test_labels_in_a_file_of_their_own_are_found(nab: Path) -> None:
    window = '[["2014-01-01 00:04:00.000000", "2014-01-01 00:05:00.000000"]]'
    dataset = read_dataset(labels(nab, f'{{"realKnownCause/machine.csv": {window}}}'))
    assert dataset.anomaly.tolist() == [False, True, False]
    assert dataset.labelled


@pytest.mark.parametrize(
    "text", ["{}", '{"other/machine.csv": []}', "[1", '{"realKnownCause/machine.csv": 3}']
)
def test_labels_that_say_nothing_of_a_recording_leave_it_unlabelled(nab: Path, text: str) -> None:
    assert not read_dataset(labels(nab, text)).labelled


def test_a_recording_that_is_labelled_as_normal_all_along_is_labelled(nab: Path) -> None:
    dataset = read_dataset(labels(nab, '{"realKnownCause/machine.csv": []}'))
    assert dataset.labelled
    assert not dataset.anomaly.any()


def test_a_label_that_is_no_time_is_named(nab: Path) -> None:
    with pytest.raises(SettingError, match=r"labels of .*machine\.csv: found .*noon"):
        read_dataset(labels(nab, '{"realKnownCause/machine.csv": [["noon", "night"]]}'))
