"""The boundary of every role of a suffix: wide enough for each of them, and nothing that the CI could climb out by."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.infra.conftest import ENVIRONMENTS
from tests.infra.program import Program
from tests.infra.proofs.conftest import Stacks
from tests.infra.proofs.iam import Ask, allowed
from tests.infra.proofs.test_ci_access import HERE, may
from tests.infra.proofs.verb_calls import ACCOUNT, REGION

pytestmark = pytest.mark.requirement("S-13")

ROLE = f"arn:aws:iam::{ACCOUNT}:role/millrace-worker-task-{REGION}-t1"
MANAGED_POLICY_LENGTH_MAX = 6_144
"""Characters, spaces not counted. Source: IAM quotas."""
TO_TASKS = {"iam:PassedToService": "ecs-tasks.amazonaws.com"}


@pytest.fixture(scope="session")
def account(stacks: Stacks) -> Program:
    return stacks(REGION, "account")


def boundary_of(account: Program) -> list[dict[str, Any]]:
    return account.at("role-boundary/policy").statements()


def addresses(action: str, named: str, region: str) -> str:
    """What a statement's resource may be once it is made: a reference is some address of its service."""
    service = action.partition(":")[0]
    some = {
        "s3": f"arn:aws:s3:::millrace-archive-{ACCOUNT}-{region}-t1",
        "iam": f"arn:aws:iam::{ACCOUNT}:role/millrace-api-task-{region}-t1",
    }
    if named == "*" or named.startswith("${"):
        return some.get(service, f"arn:aws:{service}:{region}:{ACCOUNT}:some/thing")
    return re.sub(r"\$\{[^}]*\}", "some", named).replace("*", "some")


def test_every_role_of_a_suffix_has_the_account_s_boundary(suffixed: Program) -> None:
    for role in suffixed.of("aws_iam_role"):
        region = role["name"].removesuffix("-t1")
        assert re.fullmatch(
            rf"arn:aws:iam::{ACCOUNT}:policy/millrace-role-boundary-[a-z0-9-]+", role["permissions_boundary"]
        )
        assert region.endswith(role["permissions_boundary"].rpartition("boundary-")[2])


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_account_s_stack_makes_the_boundary_that_roles_name(stacks: Stacks, environment: str) -> None:
    made = stacks(environment, "account").at("role-boundary/policy")
    named = {role["permissions_boundary"] for role in stacks(environment, "platform").of("aws_iam_role")}
    assert named == {f"arn:aws:iam::{ACCOUNT}:policy/{made['name']}"}
    assert len(re.sub(r"\s", "", made["policy"])) < MANAGED_POLICY_LENGTH_MAX


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_boundary_lets_every_role_do_what_its_policies_say(stacks: Stacks, environment: str) -> None:
    bound = boundary_of(stacks(environment, "account"))
    region = stacks(environment, "account").at("role-boundary/policy")["name"].rpartition("boundary-")[2]
    context = {"aws:RequestedRegion": region, **TO_TASKS}
    asked = 0
    for policy in stacks(environment, "platform").of("aws_iam_role_policy"):
        for statement in policy.statements():
            if statement["Effect"] == "Deny":
                continue
            for action in statement["Action"]:
                for named in statement["Resource"]:
                    ask = Ask(action, addresses(action, named, region), context)
                    assert allowed(ask, bound), (policy.path, ask)
                    asked += 1
    assert asked > 100


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("iam:CreateRole", ROLE),
        ("iam:PutRolePolicy", ROLE),
        ("iam:CreateUser", f"arn:aws:iam::{ACCOUNT}:user/me"),
        ("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/Admin"),
        ("sts:AssumeRole", f"arn:aws:iam::{ACCOUNT}:role/Admin"),
        ("s3:GetObject", f"arn:aws:s3:::millrace-state-{ACCOUNT}-{REGION}/millrace-t1/terraform.tfstate"),
        ("s3:GetObject", "arn:aws:s3:::somebody-elses/file"),
        ("s3:BypassGovernanceRetention", f"arn:aws:s3:::millrace-archive-{ACCOUNT}-{REGION}-t1/critical/1"),
        ("kms:ScheduleKeyDeletion", f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1"),
        ("secretsmanager:DeleteSecret", f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:millrace/t1/x"),
        ("organizations:LeaveOrganization", "*"),
        ("lambda:CreateFunction", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:x"),
    ],
)
def test_no_role_of_a_suffix_may_ever_do_this(account: Program, action: str, resource: str) -> None:
    assert not allowed(Ask(action, resource, HERE | TO_TASKS), boundary_of(account))


def test_a_role_of_a_suffix_works_in_its_region_alone(account: Program) -> None:
    for region, may_it in ((REGION, True), ("ap-south-1", False)):
        ask = Ask("kinesis:PutRecord", "*", {"aws:RequestedRegion": region})
        assert allowed(ask, boundary_of(account)) is may_it


@pytest.mark.parametrize("action", ["CreateRole", "PutRolePolicy", "PutRolePermissionsBoundary"])
def test_the_ci_makes_and_grants_no_role_without_the_boundary(account: Program, action: str) -> None:
    with_it = {"iam:PermissionsBoundary": f"arn:aws:iam::{ACCOUNT}:policy/millrace-role-boundary-{REGION}"}
    another = {"iam:PermissionsBoundary": "arn:aws:iam::aws:policy/AdministratorAccess"}
    assert may(account, "deploy", Ask(f"iam:{action}", ROLE, HERE | with_it))
    assert not may(account, "deploy", Ask(f"iam:{action}", ROLE, HERE | another))
    assert not may(account, "deploy", Ask(f"iam:{action}", ROLE, HERE))
    assert not may(account, "plan", Ask(f"iam:{action}", ROLE, HERE | with_it))


@pytest.mark.parametrize(
    "action", ["DeleteRolePermissionsBoundary", "AttachRolePolicy", "CreatePolicyVersion", "DeletePolicy"]
)
def test_the_ci_takes_no_boundary_away_and_does_not_widen_it(account: Program, action: str) -> None:
    boundary = f"arn:aws:iam::{ACCOUNT}:policy/millrace-role-boundary-{REGION}"
    for resource in (ROLE, boundary):
        assert not may(account, "deploy", Ask(f"iam:{action}", resource, HERE))
