"""What only an account can show is counted: skipped, with the reason, wherever nothing is deployed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.requirement("S-25")
@pytest.mark.parametrize(
    ("deployed", "reason"), [(False, "nothing is deployed from here"), (True, "make verify-deployed")]
)
def test_make_test_skips_them_with_the_reason_and_leaves_none_out(
    tmp_path: Path, deployed: bool, reason: str
) -> None:
    """Where something is deployed too: tests of every day ask no account."""
    (recipe,) = re.findall(r"^test: .*\n\t\$\(PYTEST\) (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    chosen = re.fullmatch(r'-m "(.*)" \$\(BESIDE\)', recipe)
    assert chosen is not None
    if deployed:
        (tmp_path / "cfn-outputs").mkdir()
        (tmp_path / "cfn-outputs" / "flat-outputs.json").write_text("{}")
    command = [sys.executable, "-m", "pytest", "-q", "-c", ROOT / "pyproject.toml", "-m", chosen[1]]
    ended = subprocess.run(
        [*command, "-p", "no:cacheprovider", ROOT / "tests" / "account"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout
    assert reason in ended.stdout
    assert re.search(r"^(\d+) skipped in", ended.stdout, re.MULTILINE), ended.stdout


@pytest.mark.requirement("S-25")
def test_what_another_suffix_s_outputs_say_is_not_taken_for_this_one(tmp_path: Path) -> None:
    """`make` hands SUFFIX on. The outputs of one deployment would be verified under the name of another."""
    (tmp_path / "cfn-outputs").mkdir()
    (tmp_path / "cfn-outputs" / "flat-outputs.json").write_text('{"suffix": "pr41"}')
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-c", ROOT / "pyproject.toml", "-m", "account"]
    ended = subprocess.run(
        [*command, "-p", "no:cacheprovider", ROOT / "tests" / "account"],
        cwd=tmp_path, env={**os.environ, "SUFFIX": "pr42"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 1, ended.stdout
    said = "SUFFIX: found 'pr42', and cfn-outputs/flat-outputs.json is of 'pr41': make outputs writes another"
    assert said in ended.stdout


@pytest.mark.requirement("S-25")
def test_a_verification_of_nothing_is_no_success(tmp_path: Path) -> None:
    """A deployment's job that lost its outputs would end well, and so would a roll-back's."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-c", ROOT / "pyproject.toml", "-m", "account"]
    ended = subprocess.run(
        [*command, "-p", "no:cacheprovider", ROOT / "tests" / "account"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 1, ended.stdout
    assert "nothing is deployed from here: cfn-outputs/flat-outputs.json is not there" in ended.stdout


@pytest.mark.requirement("S-23")
@pytest.mark.parametrize(
    ("states", "ended"), [(["OK"], "OK"), (["ALARM", "ALARM", "OK"], "OK"), (["ALARM"] * 40, "ALARM")]
)
def test_an_alarm_of_before_the_first_task_has_its_time_to_end_and_no_longer(
    states: list[str], ended: str
) -> None:
    """The client is AWS's own, and holds call and answers against the service's model."""
    import boto3
    from botocore.stub import Stubber

    from tests.account.test_deployed import CALM_S_MAX, UNHEALTHY, calm

    name = UNHEALTHY.format(suffix="t1")
    cloudwatch = boto3.client(
        "cloudwatch", region_name="eu-central-1", aws_access_key_id="any", aws_secret_access_key="any"
    )
    slept: list[float] = []
    with Stubber(cloudwatch) as answers:
        for state in states:
            asked = {"AlarmNames": [name], "AlarmTypes": ["CompositeAlarm"]}
            answers.add_response("describe_alarms", {"CompositeAlarms": [{"StateValue": state}]}, asked)
        assert calm(cloudwatch, name, sleep=slept.append)["StateValue"] == ended
        answers.assert_no_pending_responses()
    assert sum(slept) == (CALM_S_MAX if ended == "ALARM" else 15 * (len(states) - 1))
