"""What an environment's file may say, and what is refused before anything is synthesized."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from millrace.errors import SettingError
from millrace_infra.settings import known, load
from tests.infra.conftest import ENVIRONMENTS, FOLDER

LONGEST = "a23456789012"


def changed(folder: Path, **changes: object) -> Path:
    """A folder with `dev` changed at those dotted keys."""
    content = yaml.safe_load((FOLDER / "dev.yaml").read_text())
    for key, value in changes.items():
        *parents, last = key.split("__")
        place = content
        for parent in parents:
            place = place[parent]
        place[last] = value
    (folder / "dev.yaml").write_text(yaml.safe_dump(content))
    return folder


def test_there_are_the_environments_that_the_commission_names() -> None:
    assert tuple(known(FOLDER)) == ENVIRONMENTS
    assert load("us-east-1", "a", folder=FOLDER).settings.load.events_per_s == 100_000
    assert load("eu-central-1", "a", folder=FOLDER).settings.load.events_per_s == 10_000


@pytest.mark.requirement("S-02")
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_every_environment_takes_the_longest_suffix(name: str) -> None:
    assert load(name, LONGEST, folder=FOLDER).names.of("dashboard-green", "target_group").endswith(LONGEST)


@pytest.mark.parametrize(
    ("suffix", "wanted"),
    [("PR42", "small letters"), ("4pr", "a letter first"), ("a--b", "single hyphens"), ("a-", "single hyphens"),
     ("", "small letters"), (LONGEST + "3", "12 at most")],
)  # fmt: skip
def test_a_bad_suffix_is_refused_with_what_is_wanted(suffix: str, wanted: str) -> None:
    with pytest.raises(SettingError, match=wanted):
        load("dev", suffix, folder=FOLDER)


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("load__events_per_s", 100_000, "wanted 25 at least"),
        ("load__event_bytes", 100_000, "stream.shards: found 1, wanted 63 at least"),
        ("stream__mode", "on-demand", "'provisioned' or 'on_demand'"),
        ("critical_days", 365, "2557 at least"),
        ("region", "eu-central", "an AWS region"),
        ("account_id", "12", "12"),
        ("zone_ids", ["euc1-az1"], "at least 2 items"),
        ("network__cidr", "10.0.0.0/24", "/16 to /20"),
        ("network__allowed_networks", ["0.0.0.0/0"], "networks that you know"),
        ("worker__memory_mib", 3000, "not offered by Fargate"),
        ("worker__count_max", 0, "greater than or equal to 1"),
        ("database__backup_days", 36, "less than or equal to 35"),
        ("alarm_recipients", [], "at least 1 item"),
        ("colour", "red", "not permitted"),
    ],
)
def test_an_impossible_setting_is_refused_with_what_is_wanted(
    tmp_path: Path, key: str, value: object, wanted: str
) -> None:
    with pytest.raises(SettingError, match=wanted):
        load("dev", "a", folder=changed(tmp_path, **{key: value}))


def test_an_on_demand_stream_is_refused_where_a_fresh_one_would_throttle(tmp_path: Path) -> None:
    folder = changed(tmp_path, load__events_per_s=100_000, stream__mode="on_demand")
    with pytest.raises(SettingError, match="wanted provisioned, with 25 shards"):
        load("dev", "a", folder=folder)


def test_an_unknown_environment_names_the_nearest() -> None:
    with pytest.raises(SettingError, match=r"did you mean dev\?"):
        load("devv", "a", folder=FOLDER)


def test_another_region_than_the_files_is_refused() -> None:
    with pytest.raises(SettingError, match="eu-central-1, as dev"):
        load("dev", "a", folder=FOLDER, region="us-east-1")


def test_a_file_that_is_no_yaml_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dev.yaml").write_text("a: [")
    with pytest.raises(SettingError, match="wanted YAML"):
        load("dev", "a", folder=tmp_path)
