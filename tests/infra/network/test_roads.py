"""The roads: one VPC, each subnet with its own way out and no other, and what is written down of the traffic."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.infra.network.test_network import environment_of
from tests.infra.program import Program, Resource

ANYWHERE = "0.0.0.0/0"
_RULE = {"security_group_id", "ip_protocol", "from_port", "to_port", "description", "tags"}
_RULES = [_RULE | {peer} for peer in ("referenced_security_group_id", "cidr_ipv4", "prefix_list_id")]
_ROUTES = [
    {"route_table_id", "destination_cidr_block", "gateway_id"},
    {"route_table_id", "destination_cidr_block", "nat_gateway_id"},
    {"route_table_id", "destination_cidr_block", "transit_gateway_id", "depends_on"},
]
_END_POINT = {"vpc_id", "vpc_endpoint_type", "service_name", "policy", "tags"}
ARGUMENTS: dict[str, list[set[str]]] = {
    "aws_vpc": [{"cidr_block", "enable_dns_support", "enable_dns_hostnames", "tags"}],
    "aws_subnet": [{"vpc_id", "availability_zone_id", "cidr_block", "map_public_ip_on_launch", "tags"}],
    "aws_route_table": [{"vpc_id", "tags"}],
    "aws_route_table_association": [{"subnet_id", "route_table_id"}],
    "aws_route": _ROUTES,
    "aws_internet_gateway": [{"vpc_id", "tags"}],
    "aws_eip": [{"domain", "tags"}],
    "aws_nat_gateway": [{"subnet_id", "allocation_id", "tags", "depends_on"}],
    "aws_vpc_endpoint": [
        _END_POINT | {"route_table_ids"},
        _END_POINT | {"subnet_ids", "security_group_ids", "private_dns_enabled"},
    ],
    "aws_default_security_group": [{"vpc_id", "tags"}],
    "aws_security_group": [{"name", "description", "vpc_id", "revoke_rules_on_delete", "tags"}],
    "aws_vpc_security_group_ingress_rule": _RULES,
    "aws_vpc_security_group_egress_rule": _RULES,
    "aws_network_acl": [{"vpc_id", "subnet_ids", "ingress", "egress", "tags"}],
    "aws_flow_log": [
        {"vpc_id", "traffic_type", "log_destination_type", "log_destination", "iam_role_arn",
         "max_aggregation_interval", "tags", "depends_on"},
    ],
    "aws_ec2_transit_gateway_vpc_attachment": [{"transit_gateway_id", "vpc_id", "subnet_ids", "tags"}],
}  # fmt: skip
"""Each kind of the network with the arguments that a promise of these tests reads; the kinds that take several shapes
have each. No IPv6, no second address block, no route inside a table: what no promise reads is not there."""
ENTRY = {"rule_no", "action", "protocol", "cidr_block", "from_port", "to_port"}
"""Of a network ACL; CDKTF writes the others out as null."""


@pytest.mark.requirement("S-14")
def test_the_network_says_nothing_that_no_promise_reads(platform: Program) -> None:
    network = [one for one in platform if one.path.startswith("network/")]
    made = [
        one for one in network if not one.type.startswith("aws_iam_")
    ]  # privileges have proofs of their own
    assert {one.type for one in made} <= set(ARGUMENTS)
    for one in made:
        assert set(one.body) - {"//"} in ARGUMENTS[one.type], one.path
    for acl in platform.of("aws_network_acl"):
        for entry in (*acl["ingress"], *acl["egress"]):
            assert {key for key, value in entry.items() if value is not None} == ENTRY, acl.path


@pytest.mark.requirement("S-14")
def test_everything_of_the_network_lies_in_its_one_vpc_under_the_settings_addresses(
    platform: Program,
) -> None:
    (vpc,) = platform.of("aws_vpc")
    assert vpc["cidr_block"] == environment_of(platform).settings.network.cidr
    for one in platform:
        if one.path.startswith("network/") and "vpc_id" in one.body:
            assert one["vpc_id"] == "${" + vpc.address + ".id}", one.path


@pytest.mark.requirement("S-14")
def test_names_of_end_points_and_stores_resolve_inside_the_vpc(platform: Program) -> None:
    """Without host names a private zone and an end point's own name resolve to nothing, or to public addresses."""
    (vpc,) = platform.of("aws_vpc")
    assert (vpc["enable_dns_support"], vpc["enable_dns_hostnames"]) == (True, True)


def tables(program: Program) -> Iterator[tuple[Resource, Resource]]:
    """(subnet, the table that it uses)."""
    for uses in program.of("aws_route_table_association"):
        subnet, table = program.follow(uses["subnet_id"]), program.follow(uses["route_table_id"])
        assert subnet is not None
        assert table is not None
        yield subnet, table


@pytest.mark.requirement("S-14")
def test_each_subnet_uses_a_route_table_of_its_own_and_of_its_tier(platform: Program) -> None:
    """One that uses none has the VPC's main table, which nobody looks at."""
    pairs = list(tables(platform))
    assert sorted(subnet.id for subnet, _ in pairs) == sorted(one.id for one in platform.of("aws_subnet"))
    assert sorted(table.id for _, table in pairs) == sorted(one.id for one in platform.of("aws_route_table"))
    for subnet, table in pairs:
        assert table["tags"] == subnet["tags"], table.path


def roads(program: Program, table: Resource) -> Iterator[tuple[str, str, str]]:
    """(destination, kind of what takes the packet on, the zone where that stands, if in one)."""
    for route in program.of("aws_route"):
        if program.follow(route["route_table_id"]) != table:
            continue
        if "transit_gateway_id" in route.body:
            yield route["destination_cidr_block"], "transit", route["transit_gateway_id"]
            continue
        on = program.follow(route.get("nat_gateway_id") or route["gateway_id"])
        assert on is not None, route.path
        stands = program.follow(on["subnet_id"]) if on.type == "aws_nat_gateway" else None
        yield route["destination_cidr_block"], on.type, stands["availability_zone_id"] if stands else ""


@pytest.mark.requirement("S-14")
@pytest.mark.requirement("S-02")
def test_a_tier_has_its_roads_and_no_other(platform: Program) -> None:
    """public: the internet. private: NAT of its own zone where each has one, and people. isolated: none."""
    settings = environment_of(platform).settings
    own = settings.network.egress == "nat_per_zone"
    people = [
        (cidr, "transit", settings.network.transit_gateway_id) for cidr in settings.network.allowed_networks
    ]
    for subnet, table in tables(platform):
        zone = subnet["availability_zone_id"] if own else settings.zone_ids[0]
        wanted = {
            "public": [(ANYWHERE, "aws_internet_gateway", "")],
            "private": [(ANYWHERE, "aws_nat_gateway", zone)]
            + (people if settings.network.transit_gateway_id else []),
            "isolated": [],
        }
        assert sorted(roads(platform, table)) == sorted(wanted[subnet["tags"]["tier"]]), table.path


@pytest.mark.requirement("S-14")
def test_there_is_a_nat_gateway_for_each_that_the_settings_want_with_one_address(platform: Program) -> None:
    settings = environment_of(platform).settings
    wanted = {"nat_per_zone": len(settings.zone_ids), "nat": 1, "endpoints": 0}[settings.network.egress]
    addresses = {one["allocation_id"] for one in platform.of("aws_nat_gateway")}
    assert addresses == {"${" + one.address + ".allocation_id}" for one in platform.of("aws_eip")}
    assert len(addresses) == len(platform.of("aws_nat_gateway")) == wanted
    assert len(platform.of("aws_internet_gateway")) == bool(wanted)


@pytest.mark.requirement("S-14")
def test_the_flow_log_is_sent_to_cloudwatch_in_records_of_ten_minutes(platform: Program) -> None:
    """A destination of another type would take the group's address for a bucket's; a record is billed by its bytes."""
    (log,) = platform.of("aws_flow_log")
    assert (log["log_destination_type"], log["max_aggregation_interval"]) == ("cloud-watch-logs", 600)
