"""Least privilege: no grant is wider than the list below says, and every row there says who forces it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.infra.conftest import ENVIRONMENTS
from tests.infra.program import Program, Resource
from tests.infra.proofs.conftest import STACKS, Stacks

ANY_RESOURCE = {
    # Service Authorization Reference: these actions know no resource
    "api/task/execution-role/may-images": "ecr:GetAuthorizationToken has no resource",
    "dashboard/task/execution-role/may-images": "ecr:GetAuthorizationToken has no resource",
    "migrate/task/execution-role/may-images": "ecr:GetAuthorizationToken has no resource",
    "worker/task/execution-role/may-images": "ecr:GetAuthorizationToken has no resource",
    "api/task/task-role/may-telemetry": "X-Ray's puts have no resource",
    "dashboard/task/task-role/may-telemetry": "X-Ray's puts have no resource",
    "worker/task/task-role/may-telemetry": "X-Ray's puts have no resource",
    "backup/role/may-vault": "tag:GetResources has no resource",
    "deployment/role/may-services": "ecs:CreateTaskSet has no resource; the condition names the services",
    "deployment/role/may-traffic": "the describing calls of load balancers and alarms have no resource",
    **{
        f"rotation/{function}/role/may-{noun}": why
        for function in ("api-keys", "api-signing", "database-user", "secret-age")
        for noun, why in (
            ("trace", "X-Ray's puts have no resource"),
            ("network", "Lambda checks these for any interface, before there is one to name"),
        )
    },
    "rotation/secret-age/role/may-metric": "PutMetricData has no resource; the condition names the namespace",
    "gateway-logs-policy": "API Gateway names its log groups itself, and refuses a role that holds less",
    # the CI's roles: what a deployment makes has its ids after it; region and boundary limit them
    "ci/boundary": "an upper bound grants nothing by itself",
    "role-boundary/policy": "an upper bound grants nothing by itself",
    "ci/deploy-policy": "what a deployment makes has its ids after it",
    "ci/plan-policy": "reading calls only",
}
"""Construct path of a role's policy -> why AWS forces the resource `*`. A row that nothing needs is an error."""
WHOLE_SERVICES = {"ci/boundary", "ci/deploy-policy", "role-boundary/policy"}
"""Policies that may name all actions of a service: what makes and destroys every kind of resource."""
NOT_GRANTS = ("aws_kms_key", "aws_vpc_endpoint")
"""In a key's policy `*` is the key itself. An end point's policy narrows what roles may, and grants nothing."""
ACCOUNT = "123456789012"


def listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def grants(program: Program) -> Iterator[tuple[Resource, dict[str, Any]]]:
    for resource, statement in program.policies():
        if statement["Effect"] == "Allow" and resource.type not in NOT_GRANTS:
            yield resource, statement


def wide(program: Program) -> set[str]:
    """Paths of the policies that grant something on every resource."""
    return {one.path for one, statement in grants(program) if "*" in listed(statement.get("Resource", []))}


@pytest.mark.requirement("S-13")
def test_no_grant_is_on_everything_but_the_listed_ones(stack: Program) -> None:
    assert wide(stack) <= set(ANY_RESOURCE)


@pytest.mark.requirement("S-13")
def test_no_row_of_the_list_is_left_over(stacks: Stacks) -> None:
    programs = [stacks(name, kind) for name in ENVIRONMENTS for kind in STACKS]
    found = {path for program in programs for path in wide(program)}
    parts = {resource.path.partition("/")[0] for program in programs for resource in program}
    assert found == {path for path in ANY_RESOURCE if path.partition("/")[0] in parts}


@pytest.mark.requirement("S-13")
def test_actions_are_named(stack: Program) -> None:
    for resource, statement in grants(stack):
        assert "NotAction" not in statement, resource.path
        assert "NotResource" not in statement, resource.path
        for action in listed(statement["Action"]):
            assert action != "*", resource.path
            assert not action.endswith(":*") or resource.path in WHOLE_SERVICES, f"{resource.path}: {action}"


@pytest.mark.requirement("S-13")
def test_nobody_outside_the_account_is_let_in(stack: Program) -> None:
    for resource, statement in stack.policies():
        principal = statement.get("Principal")
        if statement["Effect"] != "Allow" or principal is None:
            continue
        if principal in ("*", {"AWS": "*"}):
            assert resource.type == "aws_vpc_endpoint", resource.path  # beside what a role may, not instead
            continue
        for arn in listed(principal.get("AWS", [])):
            assert arn.startswith("${") or f":{ACCOUNT}:" in arn, f"{resource.path}: {arn}"
        assert set(principal) <= {"AWS", "Service", "Federated"}, resource.path


@pytest.mark.requirement("S-13")
def test_a_service_takes_a_role_only_for_this_account(stack: Program) -> None:
    for role in stack.of("aws_iam_role"):
        for statement in role.statements("assume_role_policy"):
            if "Service" in statement["Principal"] or "Federated" in statement["Principal"]:
                assert statement.get("Condition"), f"{role.path}: a confused deputy could take it"


@pytest.mark.requirement("S-13")
def test_a_role_is_handed_only_to_the_service_it_was_made_for(stack: Program) -> None:
    for resource, statement in grants(stack):
        if "iam:PassRole" in listed(statement["Action"]) and resource.path not in WHOLE_SERVICES:
            assert statement["Condition"]["StringEquals"]["iam:PassedToService"], resource.path
            assert "*" not in statement["Resource"], resource.path


@pytest.mark.requirement("S-13")
def test_no_policy_of_aws_s_own_and_no_user_is_used(stack: Program) -> None:
    """AWS widens its policies without asking us; a user has keys that somebody must keep."""
    assert not stack.of(
        "aws_iam_role_policy_attachment", "aws_iam_policy_attachment", "aws_iam_user", "aws_iam_group"
    )
    for role in stack.of("aws_iam_role"):
        assert not role.get("managed_policy_arns"), role.path


@pytest.mark.requirement("S-13")
def test_a_role_uses_a_key_through_its_service_alone(suffixed: Program) -> None:
    """A key that a role could use by itself would open whatever it gets hold of, wherever that lies."""
    for policy in suffixed.of("aws_iam_role_policy"):
        for one in policy.statements():
            if {"kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", "kms:CreateGrant"} & set(one["Action"]):
                assert one["Condition"]["StringEquals"]["kms:ViaService"], policy.path
