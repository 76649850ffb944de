"""The life of an environment, verb by verb: what the emulator can show of it.

All that asks for `cycle` stands in this file: the tests of one file run in one process, which lives it once.
"""

from __future__ import annotations

import re

import pytest

from millrace_infra.account import adoptable
from tests.infra.conftest import Synthesize
from tests.infra.cycle import forgotten, left_behind, left_out
from tests.infra.cycle.conftest import SUFFIX, Cycle
from tests.infra.cycle.deployment import Aws, secrets_of
from tests.infra.cycle.differences import Difference

pytestmark = [pytest.mark.timeout(1500), pytest.mark.requirement("B-12")]

ENDS = [
    ("synth", 0), ("preflight", 0), ("deploy", 0), ("outputs", 0), ("deployed", 0),
    ("plan", 2), ("plan", 2), ("destroy", 0),
]  # fmt: skip
"""Verbs of a cycle and how they end. Both plans find something: what the emulator forgets, and a change by hand."""
IMAGES = ("worker", "api", "dashboard", "collector")


def test_each_verb_ends_with_the_code_that_it_promises(cycle: Cycle) -> None:
    assert [(said.verb, said.code) for said in cycle.said] == ENDS
    assert [said.err for said in cycle.said if said.err] == []


@pytest.mark.requirement("S-22")
def test_deploy_does_its_steps_in_their_order(cycle: Cycle) -> None:
    """Registry, images, platform; migration, first rotations, traffic; outputs."""
    steps = (
        *("Apply complete!", *(f"image {name}: copying " for name in IMAGES), "Apply complete!", "migration: "),
        *(f"rotation: {secret}" for secret in ("millrace/t1/database-user", "millrace/t1/api-signing")),
        *("rotation: millrace/t1/api-keys", "worker: runs ", "api: runs ", "dashboard: runs "),
        "outputs: cfn-outputs/flat-outputs.json",
    )  # fmt: skip
    found = [
        line for line in cycle.deployed.lines if line.startswith(tuple({*steps, "migration", "rotation"}))
    ]
    assert [next((step for step in steps if line.startswith(step)), line) for line in found] == list(steps)


def test_the_outputs_are_written_by_deploy_and_again_out_of_the_state(cycle: Cycle) -> None:
    assert cycle.outputs == cycle.outputs_again
    environment = cycle.deployment.environment
    registry = f"{environment.settings.account_id}.dkr.ecr.{environment.region}.amazonaws.com"
    for name in IMAGES:
        source = cycle.deployment.command_line.environ[f"MILLRACE_IMAGE_{name.upper()}"]
        digest = source.rpartition("@")[2]
        assert cycle.outputs[f"{name}_image"] == f"{registry}/millrace-{name}-t1@{digest}"
    assert cycle.outputs["stream_name"] == environment.names.of("stream")


@pytest.mark.requirement("S-25")
def test_deployed_names_the_commit_and_the_images_that_a_roll_back_needs(cycle: Cycle) -> None:
    (said,) = [one for one in cycle.said if one.verb == "deployed"]
    wanted = [f"commit={cycle.deployment.command_line.commit()}"]
    wanted += [f"image_{name}={cycle.outputs[f'{name}_image']}" for name in IMAGES]
    assert said.lines == wanted


def test_a_second_plan_changes_nothing_but_what_the_emulator_forgets(cycle: Cycle) -> None:
    assert cycle.managed
    assert forgotten.unexplained(cycle.differences) == []


def test_all_of_the_program_but_what_is_left_out_is_applied(cycle: Cycle, synthesize: Synthesize) -> None:
    """Held against the program of the settings as they are written."""
    stacks = synthesize(cycle.deployment.environment.name, SUFFIX)
    ours = [one for name, one in stacks.items() if name != "millrace-account"]
    program = {resource.address for stack in ours for resource in stack}
    assert left_out.unexplained(program, cycle.managed) == []


def test_what_the_emulator_is_said_to_forget_it_still_forgets(cycle: Cycle) -> None:
    assert forgotten.outdated(cycle.differences) == []


def test_a_change_by_hand_is_seen_by_the_next_plan(cycle: Cycle) -> None:
    seen = cycle.after_tampering - cycle.differences
    assert {one.attribute for one in seen} == {"enable_key_rotation"}
    assert [one.address.split(".")[0] for one in seen] == ["aws_kms_key"]


@pytest.mark.requirement("S-04")
def test_destroy_ends_with_keys_that_have_a_date_and_with_what_stays_with_the_account(cycle: Cycle) -> None:
    environment = cycle.deployment.environment
    said = [line for line in cycle.destroyed.lines if line.startswith(("left: ", "stays with the account: "))]
    left = [line for line in said if line.startswith("left: ")]
    key = re.compile(r"left: arn:aws:kms:\S+:key/\S+, deleted by AWS on \d{4}-\d\d-\d\d")
    assert left
    assert [line for line in left if not key.fullmatch(line)] == []
    assert cycle.destroyed.lines[-len(said) :] == said, "the last lines"
    states = f"state s3://millrace-state-{environment.settings.account_id}-{environment.region}"
    stays = [line.removeprefix("stays with the account: ").partition(" (")[0] for line in said[len(left) :]]
    assert set(stays) == {
        "stack millrace-account", f"{states}/millrace-t1/terraform.tfstate",
        f"{states}/millrace-registry-t1/terraform.tfstate", *(arn for _, arn in adoptable(environment)),
    }  # fmt: skip


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
    assert planted(cycle) not in cycle.written


@pytest.mark.requirement("S-11")
def test_no_secret_value_is_in_what_a_verb_says(cycle: Cycle) -> None:
    assert len(cycle.deployed.out) > 10_000, "what Terraform says of its apply is there to be searched"
    assert [said.verb for said in cycle.said if planted(cycle) in said.out + said.err] == []


@pytest.mark.requirement("S-11")
def test_no_secret_value_is_in_terraform_s_log(cycle: Cycle) -> None:
    """With TF_LOG=TRACE at the deployment. The provider would write the call down that sets the master's password."""
    traced, found = False, []
    with cycle.log.open(errors="replace") as lines:
        for line in lines:
            traced |= (
                "[TRACE]" in line and "ephemeral.aws_secretsmanager_secret_version.database-master" in line
            )
            if planted(cycle) in line:
                found.append(line[:2000])
    assert traced
    assert found == []


def planted(cycle: Cycle) -> str:
    """What every secret's value holds."""
    environment = cycle.deployment.environment
    mark = f"planted-{environment.suffix}"
    assert all(mark in value for value in secrets_of(environment).values())
    return mark


def test_a_difference_without_a_row_is_reported() -> None:
    drift = Difference("aws_kms_key.k", "policy")
    assert forgotten.unexplained([drift]) == [drift]
