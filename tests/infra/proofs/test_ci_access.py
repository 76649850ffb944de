"""The CI's roles against what the verbs call: enough for each, and for what a plan must not do, not enough."""

from __future__ import annotations

import json

import pytest

from tests.infra.program import Program
from tests.infra.proofs.conftest import Stacks
from tests.infra.proofs.iam import Ask, allowed
from tests.infra.proofs.verb_calls import (
    ASKED,
    DOCKER,
    FREE,
    READ_BY_THE_PROVIDER,
    REGION,
    ROOT,
    arn,
    made_in,
    secret,
    services_in,
)

HERE = {"aws:RequestedRegion": REGION}
pytestmark = [pytest.mark.requirement("S-13"), pytest.mark.requirement("S-25")]


@pytest.fixture(scope="session")
def account(stacks: Stacks) -> Program:
    return stacks(REGION, "account")


def may(account: Program, verb: str, ask: Ask) -> bool:
    """By the role's own policy and its boundary, as both stand in the account's stack."""
    own = account.at(f"ci/{verb}-policy").statements()
    return allowed(ask, own, account.at("ci/boundary").statements())


def test_the_table_of_calls_is_what_the_code_calls() -> None:
    files = {str(file.relative_to(ROOT)) for file in (ROOT / "src/millrace_infra").rglob("*.py")}
    by_people = {f"src/millrace_infra/{file}.py" for file in ("adopted", "commands/bootstrap")}
    asking = {file for file in files if made_in(file)} - by_people
    assert asking | {file for file in ASKED if file.startswith("tests/")} == set(ASKED)
    for file, calls in ASKED.items():
        assert made_in(file) == {call.method for call in calls}, file


def test_no_service_is_asked_that_the_table_of_calls_does_not_know() -> None:
    """Calls are found by the methods of the services that the table names: of another one they would go unseen."""
    files = [*(ROOT / "src/millrace_infra").rglob("*.py"), *(ROOT / "tests/account").rglob("*.py")]
    asked = {service for file in files for service in services_in(str(file.relative_to(ROOT)))}
    assert len(asked) > 15
    assert asked == {call.service for calls in ASKED.values() for call in calls}


@pytest.mark.parametrize("file", ASKED)
def test_the_deploy_role_may_make_every_call_of_the_verbs(account: Program, file: str) -> None:
    for call in ASKED[file]:
        if call.action not in FREE:
            assert may(account, "deploy", Ask(call.action, call.resource, HERE)), call


def test_the_deploy_role_may_copy_images_and_hand_roles_to_tasks(account: Program) -> None:
    for action in DOCKER:
        repository = arn("ecr", "repository/millrace-api-t1")
        assert may(account, "deploy", Ask(f"ecr:{action}", repository, HERE)), action
    role = "arn:aws:iam::123456789012:role/millrace-migrate-task-eu-central-1-t1"
    assert may(account, "deploy", Ask("iam:PassRole", role, HERE))


@pytest.mark.parametrize("kind", READ_BY_THE_PROVIDER)
def test_the_plan_role_may_read_what_the_provider_reads(account: Program, stacks: Stacks, kind: str) -> None:
    assert stacks(REGION, "platform").of(kind), f"no {kind} is made: the row is left over"
    for action in READ_BY_THE_PROVIDER[kind]:
        assert may(account, "plan", Ask(action, "*", HERE)), action


@pytest.mark.parametrize(
    "action",
    ["ecs:RunTask", "ecs:UpdateService", "codedeploy:CreateDeployment", "secretsmanager:RotateSecret",
     "apigateway:DELETE", "logs:DeleteLogGroup", "lambda:UpdateFunctionCode", "kinesis:GetRecords",
     "logs:GetLogEvents", "dynamodb:GetItem", "s3:DeleteObject", "iam:PassRole"],
)  # fmt: skip
def test_the_plan_role_changes_nothing_and_reads_no_data(account: Program, action: str) -> None:
    for resource in (
        "*",
        secret("api-keys"),
        "arn:aws:s3:::millrace-archive-123456789012-eu-central-1-t1/critical/1",
    ):
        assert not may(account, "plan", Ask(action, resource, HERE))


@pytest.mark.parametrize(
    ("verb", "opened"),
    [("plan", {"database-master"}), ("deploy", {"database-master", "database-user", "dashboard-oidc"})],
)
def test_a_role_opens_no_secret_but_those_that_its_verbs_read(
    account: Program, verb: str, opened: set[str]
) -> None:
    names = ("database-master", "database-user", "api-signing", "api-keys", "dashboard-oidc")
    assert opened == {
        name for name in names if may(account, verb, Ask("secretsmanager:GetSecretValue", secret(name), HERE))
    }
    elsewhere = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:others/database-master-AbCdEf"
    assert not may(account, verb, Ask("secretsmanager:GetSecretValue", elsewhere, HERE))


@pytest.mark.parametrize("verb", ["plan", "deploy"])
def test_a_role_works_in_its_region_alone_and_lists_no_buckets(account: Program, verb: str) -> None:
    there = {"aws:RequestedRegion": "us-east-1"}
    assert not may(account, verb, Ask("ecs:DescribeServices", "*", there))
    assert not may(account, verb, Ask("s3:ListAllMyBuckets", "*", HERE))


def test_neither_role_touches_the_state_s_bucket_or_the_roles_of_the_ci(account: Program) -> None:
    bucket = "arn:aws:s3:::millrace-state-123456789012-eu-central-1"
    role = "arn:aws:iam::123456789012:role/millrace-ci-deploy-eu-central-1"
    for verb in ("plan", "deploy"):
        assert not may(account, verb, Ask("s3:DeleteBucket", bucket, HERE))
        assert not may(account, verb, Ask("iam:PutRolePolicy", role, HERE))


@pytest.mark.requirement("S-04")
@pytest.mark.requirement("S-20")
@pytest.mark.parametrize("verb", ["plan", "deploy"])
def test_what_a_lock_keeps_neither_role_removes(account: Program, verb: str) -> None:
    """`destroy` refuses an environment of records where CI is set; a job that leaves that out is refused by S3."""
    for bucket in ("archive", "archive-copy"):
        record = f"arn:aws:s3:::millrace-{bucket}-123456789012-{REGION}-t1/critical/1"
        assert not may(account, verb, Ask("s3:BypassGovernanceRetention", record, HERE))
    assert may(account, "deploy", Ask("s3:DeleteObjectVersion", record, HERE)), "of what has no lock"


def test_the_policies_fit_into_what_iam_keeps(account: Program) -> None:
    """10,240 characters of a role's inline policies, spaces not counted. Source: IAM quotas."""
    for verb in ("plan", "deploy"):
        text = json.dumps(account.at(f"ci/{verb}-policy").statements(), separators=(",", ":"))
        assert len(text) < 10_240
