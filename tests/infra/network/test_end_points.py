"""Promises about end points: which there are, whom they let in, and that our roles get through them."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from millrace_infra.network.end_point_services import GATEWAYS as GATEWAY_ROWS
from millrace_infra.network.end_point_services import INTERFACES as INTERFACE_ROWS
from tests.infra.network.conftest import NetworkAlone
from tests.infra.network.test_network import environment_of
from tests.infra.program import Program, Resource

GATEWAYS = {"s3", "dynamodb"}
INTERFACES = {
    "kinesis-streams", "secretsmanager", "kms", "logs", "monitoring", "xray", "ecr.api", "ecr.dkr", "sts",
    "ssmmessages",
}  # fmt: skip
PREFIXES = {"kinesis-streams": "kinesis", "monitoring": "cloudwatch", "ecr.api": "ecr", "ecr.dkr": "ecr"}
"""Where a service's actions have another name than its end point."""
NOT_AN_API = {"rds-db", "elasticache", "elasticfilesystem"}
"""Rights that a connection to a store asks for: they need the store's port, no end point."""


def service(end_point: Resource) -> str:
    return str(end_point["service_name"]).removeprefix("com.amazonaws.").partition(".")[2]


@pytest.mark.requirement("S-14")
def test_there_are_the_end_points_that_the_egress_wants(platform: Program) -> None:
    found = {service(one): one["vpc_endpoint_type"] for one in platform.of("aws_vpc_endpoint")}
    with_interfaces = environment_of(platform).settings.network.egress != "nat"
    wanted = dict.fromkeys(GATEWAYS, "Gateway")
    assert found == wanted | (dict.fromkeys(INTERFACES, "Interface") if with_interfaces else {})


@pytest.mark.requirement("S-14")
@pytest.mark.requirement("S-02")
def test_an_interface_end_point_answers_in_every_zone_under_the_services_own_name(platform: Program) -> None:
    for one in platform.of("aws_vpc_endpoint"):
        if one["vpc_endpoint_type"] == "Interface":
            assert one["private_dns_enabled"] is True
            assert sorted(one["subnet_ids"]) == of_private(platform, "aws_subnet"), one.path
            assert [platform.follow(id_).path for id_ in one["security_group_ids"]] == [  # type: ignore[union-attr]
                "network/security-groups/endpoints"
            ]


@pytest.mark.requirement("S-14")
@pytest.mark.requirement("S-02")
def test_a_gateway_end_point_is_on_the_way_of_every_private_subnet_and_of_no_other(platform: Program) -> None:
    """Where it is not, S3 is reached through the NAT gateway, which costs by the byte; isolated subnets need none."""
    for one in platform.of("aws_vpc_endpoint"):
        if one["vpc_endpoint_type"] == "Gateway":
            assert sorted(one["route_table_ids"]) == of_private(platform, "aws_route_table"), one.path


def of_private(program: Program, kind: str) -> list[str]:
    """References to those of the private tier, in all zones."""
    tier = [one for one in program.of(kind) if one["tags"]["tier"] == "private"]
    return sorted("${" + one.address + ".id}" for one in tier)


@pytest.mark.requirement("S-14")
def test_an_end_point_is_of_its_service_in_the_environments_own_region(platform: Program) -> None:
    for one in platform.of("aws_vpc_endpoint"):
        assert one["service_name"] == f"com.amazonaws.{environment_of(platform).region}.{service(one)}"


@pytest.mark.requirement("S-13")
def test_an_end_point_lets_in_only_our_account_and_s3_besides_the_layers_of_images(platform: Program) -> None:
    """What acts on a resource acts on one of ours; what knows no resource is called by a role of ours."""
    environment = environment_of(platform)
    layers = f"arn:aws:s3:::prod-{environment.region}-starport-layer-bucket/*"
    caller = {"aws:PrincipalAccount": environment.settings.account_id}
    ours = caller | {"aws:ResourceAccount": environment.settings.account_id}
    rows = {row.name: row for row in (*INTERFACE_ROWS, *GATEWAY_ROWS)}
    for one in platform.of("aws_vpc_endpoint"):
        row = rows[service(one)]
        wanted = [(list(row.on_ours), ["*"], {"StringEquals": ours})] if row.on_ours else []
        wanted += [(list(row.unowned), ["*"], {"StringEquals": caller})] if row.unowned else []
        wanted += [(["s3:GetObject"], [layers], {})] if row.name == "s3" else []
        found = one.statements()
        assert [(s["Action"], s["Resource"], s.get("Condition", {})) for s in found] == wanted, one.path
        assert all((s["Effect"], s["Principal"]) == ("Allow", {"AWS": "*"}) for s in found), one.path


@pytest.mark.requirement("S-13")
def test_an_end_point_names_each_action_of_its_own_service() -> None:
    for row in (*INTERFACE_ROWS, *GATEWAY_ROWS):
        prefix = PREFIXES.get(row.name, row.name)
        for action in (*row.on_ours, *row.unowned):
            assert action.startswith(f"{prefix}:"), action
            assert "*" not in action, action


def role_actions(program: Program, *services: str) -> Iterator[tuple[str, str]]:
    """(role's path, action) of every role that one of these services takes."""
    for policy in program.of("aws_iam_role_policy"):
        role = program.follow(policy["role"])
        if role is None or not any(name in role["assume_role_policy"] for name in services):
            continue
        for statement in json.loads(policy["policy"])["Statement"]:
            if statement["Effect"] == "Allow":
                yield from ((role.path, action) for action in statement["Action"])


@pytest.mark.requirement("S-13")
def test_what_a_role_may_call_its_end_point_lets_through(
    platform: Program, network_alone: NetworkAlone
) -> None:
    let_through: dict[str, set[str]] = {}
    for one in network_alone("us-east-1").of("aws_vpc_endpoint"):
        for statement in json.loads(one["policy"])["Statement"]:
            prefix = PREFIXES.get(service(one), service(one))
            let_through.setdefault(prefix, set()).update(statement["Action"])
    stopped = [
        f"{path}: {action}"
        for path, action in role_actions(platform, "ecs-tasks.amazonaws.com", "lambda.amazonaws.com")
        if (prefix := action.partition(":")[0]) in let_through and action not in let_through[prefix]
    ]
    assert stopped == [], "add the action to the service's row in end_point_services.py"


@pytest.mark.requirement("S-14")
def test_no_task_may_call_a_service_that_it_cannot_reach(platform: Program) -> None:
    reachable = {PREFIXES.get(name, name) for name in GATEWAYS | INTERFACES} | NOT_AN_API
    found = role_actions(platform, "ecs-tasks.amazonaws.com")
    assert [one for one in found if one[1].partition(":")[0] not in reachable] == []
