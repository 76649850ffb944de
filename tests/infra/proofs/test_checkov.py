"""checkov over every stack: it finds nothing that is not waived in writing, and no waiver is older or wider than
its cause."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.infra.conftest import ENVIRONMENTS
from tests.infra.proofs.conftest import STACKS, Stacks

CHECKOV = Path(".tools/checkov/bin/checkov").absolute()
WAIVERS: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "checkov_waivers.yaml").read_text())
OFFLINE = ("--skip-download", "--framework", "terraform_json")
_HASH = re.compile(r"_[0-9A-F]{8}$")

Failure = tuple[str, str]
"""(check, construct's name)"""


def name_of(resource: str) -> str:
    """`aws_s3_bucket.state_bucket_803B4E61` -> `state_bucket`; some checks say `resource.` for the kind."""
    return _HASH.sub("", resource.partition(".")[2])


def covers(waiver: dict[str, Any], pattern: str, failure: Failure) -> bool:
    return bool(failure[0] == waiver["check"] and fnmatch(failure[1], pattern))


def not_waived(failures: set[Failure], waivers: list[dict[str, Any]]) -> set[Failure]:
    return {
        failure for failure in failures
        if not any(covers(one, pattern, failure) for one in waivers for pattern in one["resources"])
    }  # fmt: skip


def left_over(failures: set[Failure], waivers: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    for one in waivers:
        for pattern in one["resources"]:
            if not any(covers(one, pattern, failure) for failure in failures):
                yield one["check"], pattern


def too_wide(
    failures: set[Failure], passes: set[Failure], waivers: list[dict[str, Any]]
) -> Iterator[tuple[str, str, str]]:
    """(check, pattern, resource) of what a pattern takes in that passes the check in every stack.

    A resource that passes in one environment and fails in another is one that the settings decide about.
    """
    for one in waivers:
        for pattern in one["resources"]:
            for check, name in sorted(passes - failures):
                if covers(one, pattern, (check, name)):
                    yield check, pattern, name


@pytest.fixture(scope="module")
def scanned(stacks: Stacks, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    if not CHECKOV.exists():
        pytest.skip("checkov is not set up: make scan does it")
    folder = tmp_path_factory.mktemp("checkov")
    # an account's stack is the same text for all environments of its region
    texts = {
        stacks(environment, kind).text: f"{environment}-{kind}"
        for environment in ENVIRONMENTS
        for kind in STACKS
    }
    for text, name in texts.items():
        (folder / name).mkdir()
        (folder / name / "cdk.tf.json").write_text(text)
    command = [str(CHECKOV), "--directory", str(folder), "--compact", "--output", "json", *OFFLINE]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def failures(scanned: dict[str, Any]) -> set[Failure]:
    return outcomes(scanned, "failed_checks")


def outcomes(scanned: dict[str, Any], which: str) -> set[Failure]:
    return {(one["check_id"], name_of(one["resource"])) for one in scanned["results"][which]}


@pytest.mark.requirement("B-12")
@pytest.mark.requirement("S-12")
def test_checkov_fails_nothing_that_is_not_waived(failures: set[Failure]) -> None:
    assert not_waived(failures, WAIVERS) == set()


@pytest.mark.requirement("B-12")
def test_no_waiver_outlives_its_cause(failures: set[Failure], stacks: Stacks) -> None:
    """A row with a `part` is asked for where the platform has that part."""
    parts = {resource.path.partition("/")[0] for resource in stacks("us-east-1", "platform")}
    asked = [one for one in WAIVERS if one.get("part", "network") in parts]
    assert list(left_over(failures, asked)) == []


@pytest.mark.requirement("B-12")
def test_no_waiver_is_wider_than_its_cause(failures: set[Failure], scanned: dict[str, Any]) -> None:
    passes = outcomes(scanned, "passed_checks")
    assert len(passes) > 500
    assert list(too_wide(failures, passes, WAIVERS)) == []


def test_checkov_looked_at_everything(scanned: dict[str, Any]) -> None:
    """A framework that it does not know is no error to checkov: it finds nothing, and says so with success."""
    assert scanned["summary"]["passed"] > 1_000
    assert scanned["summary"]["parsing_errors"] == 0


def test_every_waiver_has_a_reason() -> None:
    assert all(len(one["reason"]) > 40 and one["resources"] for one in WAIVERS)


def test_a_pattern_that_takes_in_what_passes_is_seen() -> None:
    waivers = [{"check": "CKV_1", "resources": ["*_bucket", "alb"], "reason": ""}]
    fails, passes = {("CKV_1", "a_bucket")}, {("CKV_1", "b_bucket"), ("CKV_2", "c_bucket"), ("CKV_1", "nlb")}
    assert list(too_wide(fails, passes, waivers)) == [("CKV_1", "*_bucket", "b_bucket")]
    # it passes in one environment only
    assert list(too_wide({*fails, ("CKV_1", "b_bucket")}, passes, waivers)) == []


def test_a_failure_without_a_waiver_and_a_waiver_without_a_failure_are_seen() -> None:
    waivers = [{"check": "CKV_1", "resources": ["alb", "nlb"], "reason": ""}]
    assert not_waived({("CKV_1", "alb"), ("CKV_2", "alb")}, waivers) == {("CKV_2", "alb")}
    assert list(left_over({("CKV_1", "alb")}, waivers)) == [("CKV_1", "nlb")]
