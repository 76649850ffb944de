"""The life of an environment: what the emulator can show of it."""

from __future__ import annotations

import pytest

from tests.infra.cycle import forgotten, left_behind
from tests.infra.cycle.conftest import Cycle
from tests.infra.cycle.deployment import Aws, secrets_of
from tests.infra.cycle.differences import Difference

pytestmark = [pytest.mark.timeout(900), pytest.mark.requirement("B-12")]


def test_a_second_plan_changes_nothing_but_what_the_emulator_forgets(cycle: Cycle) -> None:
    assert cycle.managed
    assert forgotten.unexplained(cycle.differences) == []


def test_what_the_emulator_is_said_to_forget_it_still_forgets(cycle: Cycle) -> None:
    assert forgotten.outdated(cycle.differences) == []


def test_a_change_by_hand_is_seen_by_the_next_plan(cycle: Cycle) -> None:
    seen = cycle.after_tampering - cycle.differences
    assert {one.attribute for one in seen} == {"enable_key_rotation"}
    assert [one.address.split(".")[0] for one in seen] == ["aws_kms_key"]


@pytest.mark.requirement("S-04")
def test_one_destroy_leaves_nothing_of_ours(cycle: Cycle) -> None:
    assert left_behind.unexplained(cycle.left) == []


def test_what_is_said_to_be_left_is_left(cycle: Cycle) -> None:
    assert left_behind.outdated(cycle.left) == []


@pytest.mark.requirement("S-04")
def test_keys_are_left_pending_deletion_only(cycle: Cycle, aws: Aws) -> None:
    kms = aws.client("kms", cycle.deployment.environment.region)
    aliases = [page["Aliases"] for page in kms.get_paginator("list_aliases").paginate()]
    # AWS's own keys, which the emulator makes when a service first needs one
    theirs = {one.get("TargetKeyId") for page in aliases for one in page if "alias/aws/" in one["AliasName"]}
    ours = [name for noun, name in cycle.left if noun == "kms key" and name not in theirs]
    keys = [kms.describe_key(KeyId=name)["KeyMetadata"] for name in ours]
    assert keys
    assert {key["KeyState"] for key in keys} == {"PendingDeletion"}


@pytest.mark.requirement("S-11")
def test_no_secret_value_is_in_state_or_plan(cycle: Cycle) -> None:
    environment = cycle.deployment.environment
    assert secrets_of(environment)
    assert f"planted-{environment.suffix}" not in cycle.written


def test_a_difference_without_a_row_is_reported() -> None:
    drift = Difference("aws_kms_key.k", "policy")
    assert forgotten.unexplained([drift]) == [drift]
