"""Promises about tiers, ways out, walls and the flow log, read from the JSON."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from millrace.errors import SettingError
from millrace_infra.network.addresses import Layout
from millrace_infra.network.egress import usd_per_h
from millrace_infra.network.end_point_services import INTERFACES
from millrace_infra.network.flows import EPHEMERAL, FLOWS, PARTIES, Flow, flows_of, parties_of
from millrace_infra.network.network_acls import entries
from millrace_infra.settings import Environment, load
from tests.infra.conftest import ENVIRONMENTS, FOLDER, SUFFIX
from tests.infra.network.conftest import NetworkAlone
from tests.infra.program import Program, Resource

TIERS = ("public", "private", "isolated")
GROUP_KEYS = ("security_groups", "security_group_ids", "vpc_security_group_ids")
SUBNET_KEYS = ("subnets", "subnet_ids", "subnet_id")
SUBNET_GROUP_KEYS = ("db_subnet_group_name", "subnet_group_name")


def environment_of(program: Program) -> Environment:
    name = program.json["provider"]["aws"][0]["default_tags"][0]["tags"]["environment"]
    return load(name, SUFFIX, folder=FOLDER)


@pytest.mark.requirement("S-14")
@pytest.mark.requirement("S-02")
def test_each_tier_has_a_subnet_in_every_zone_by_id(platform: Program) -> None:
    subnets = platform.of("aws_subnet")
    found = sorted((subnet["tags"]["tier"], subnet["availability_zone_id"]) for subnet in subnets)
    zone_ids = environment_of(platform).settings.zone_ids
    assert found == sorted((tier, zone_id) for tier in TIERS for zone_id in zone_ids)
    assert not any(subnet["map_public_ip_on_launch"] for subnet in subnets)


@pytest.mark.requirement("S-14")
def test_subnets_share_no_address_and_a_tier_is_one_block(platform: Program) -> None:
    layout = Layout(environment_of(platform).settings.network.cidr)
    blocks = {subnet: ipaddress.ip_network(subnet["cidr_block"]) for subnet in platform.of("aws_subnet")}
    for subnet, block in blocks.items():
        assert block.subnet_of(ipaddress.ip_network(layout.tier(subnet["tags"]["tier"])))
        assert not any(block.overlaps(other) for one, other in blocks.items() if one is not subnet)
        assert block.num_addresses >= 256


@pytest.mark.requirement("S-14")
def test_a_zone_uses_its_own_nat_gateway_where_each_has_one(platform: Program) -> None:
    settings = environment_of(platform).settings
    wanted = settings.zone_ids if settings.network.egress == "nat_per_zone" else settings.zone_ids[:1]
    nats = platform.of("aws_nat_gateway")
    assert sorted(nat.id.partition("nat-")[2].rpartition("_")[0] for nat in nats) == sorted(wanted)
    if len(wanted) == 1:
        return
    for route in platform.of("aws_route"):
        if "nat_gateway_id" in route.body:
            nat, table = platform.follow(route["nat_gateway_id"]), platform.follow(route["route_table_id"])
            assert nat is not None
            assert table is not None
            assert nat.path.partition("nat-")[2] == table.path.partition("routes-")[2]


@pytest.mark.requirement("S-14")
def test_a_nat_gateway_stands_in_its_zones_public_subnet_with_an_address_of_its_own(platform: Program) -> None:
    """In another zone's, the loss of one zone would take the way out of two."""
    addresses = set()
    for nat in platform.of("aws_nat_gateway"):
        subnet, address = platform.follow(nat["subnet_id"]), platform.follow(nat["allocation_id"])
        assert subnet is not None
        assert address is not None
        zone = nat.path.partition("nat-")[2]
        assert (subnet["availability_zone_id"], subnet["tags"]["tier"]) == (zone, "public")
        assert (address.type, address["domain"], address.path.partition("address-")[2]) == ("aws_eip", "vpc", zone)
        addresses.add(address.id)
        outwards = [f"aws_route.{one.id}" for one in platform.of("aws_route") if one.get("gateway_id")]
        assert set(outwards) <= set(nat["depends_on"]), "AWS refuses one in a VPC without a way to the internet"
    assert len(addresses) == len(platform.of("aws_eip"))
    assert [platform.follow(one["vpc_id"]) for one in platform.of("aws_internet_gateway")] == platform.of("aws_vpc")


@pytest.mark.requirement("S-14")
def test_what_has_a_partys_security_group_stands_in_the_partys_tier(platform: Program) -> None:
    for resource in platform:
        for block in blocks_of(resource.body):
            parties = {party_of(platform, value) for key in GROUP_KEYS for value in listed(block.get(key))}
            tiers = set(tiers_of(platform, block))
            if parties and tiers:
                assert tiers == {PARTIES[party] for party in parties}, resource.path


def blocks_of(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        yield value
    for inner in value.values() if isinstance(value, Mapping) else value:
        if isinstance(inner, Mapping | list):
            yield from blocks_of(inner)


def listed(value: str | list[str] | None) -> list[str]:
    return [value] if isinstance(value, str) else value or []


def party_of(program: Program, value: str) -> str:
    group = program.follow(value)
    assert group is not None, value
    return group.path.rpartition("/")[2]


def tiers_of(program: Program, block: Mapping[str, Any]) -> Iterator[str]:
    for key in SUBNET_KEYS:
        for value in listed(block.get(key)):
            subnet = program.follow(value)
            assert subnet is not None, value
            yield subnet["tags"]["tier"]
    for key in SUBNET_GROUP_KEYS:
        if group := program.follow(str(block.get(key, ""))):
            yield from tiers_of(program, group.body)


@pytest.mark.requirement("S-14")
def test_every_party_has_a_group_and_the_vpcs_default_group_lets_nothing_through(platform: Program) -> None:
    egress = environment_of(platform).settings.network.egress
    groups = {group.path.rpartition("/")[2] for group in platform.of("aws_security_group")}
    assert groups == set(parties_of(egress))
    (default,) = platform.of("aws_default_security_group")
    assert default.body.keys().isdisjoint({"ingress", "egress"})
    assert [platform.follow(default["vpc_id"])] == platform.of("aws_vpc")


def test_a_rules_description_has_only_letters_that_aws_takes(platform: Program) -> None:
    kinds = ("aws_vpc_security_group_ingress_rule", "aws_vpc_security_group_egress_rule")
    for rule in platform.of(*kinds):
        assert re.fullmatch(r"[A-Za-z0-9 ._\-:/()#,@\[\]+=;{}!$*]{1,255}", rule["description"]), rule.path
    for group in platform.of("aws_security_group"):
        assert re.fullmatch(r"[A-Za-z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{1,255}", group["description"]), group.path


def test_the_network_acls_keep_within_the_quota(platform: Program) -> None:
    for acl in platform.of("aws_network_acl"):
        for direction in ("ingress", "egress"):
            assert 1 <= len(acl[direction]) <= 20, acl.path


def test_too_many_allowed_networks_are_refused_with_what_is_wanted(network_alone: NetworkAlone) -> None:
    people = tuple(f"10.{200 + index}.0.0/16" for index in range(20))
    with pytest.raises(SettingError, match="20 in one direction at most"):
        network_alone("dev", people=people)


def test_a_row_at_the_end_of_the_flow_table_moves_no_entry() -> None:
    layout, people = Layout("10.0.0.0/16"), ("192.168.0.0/24",)
    rows = flows_of("nat_per_zone")
    more = (
        Flow("dashboard", "efs", 2049, EPHEMERAL, "More"),
        Flow("worker", "redis", 16379, EPHEMERAL, "More"),
    )
    longer = (*rows, *more)
    before, after = entries(rows, layout, people), entries(longer, layout, people)
    assert after[: len(before)] == before
    assert len(after) > len(before)


def test_an_answer_passes_on_the_return_ports_of_its_row_and_on_no_other() -> None:
    """At both ends, and at the public subnet in between."""
    layout = Layout("10.0.0.0/16")
    for target, tiers in (("aurora", {"private", "isolated"}), ("internet", {"private", "public"})):
        flow = Flow("worker", target, 5432, (32768, 60999), "One")
        found = entries([flow], layout, [])
        assert {entry.ports for entry in found} == {(5432, 5432), (32768, 60999)}
        assert {entry.tier for entry in found if entry.ports == flow.return_ports} == tiers


def test_the_flow_table_has_no_row_twice() -> None:
    rows = [(flow.source, flow.target, flow.port) for flow in FLOWS]
    assert len(rows) == len(set(rows))


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_an_environment_has_interface_end_points_where_they_are_cheaper_than_nat(name: str) -> None:
    settings = load(name, SUFFIX, folder=FOLDER).settings
    addresses = len(INTERFACES) * len(settings.zone_ids)
    gb_per_h = 2 * settings.load.bytes_per_s * 3600 / 1e9  # once in, once out
    without = usd_per_h(nat_gateways=1, end_point_addresses=0, gb_per_h=gb_per_h)
    cost = usd_per_h(nat_gateways=1, end_point_addresses=addresses, gb_per_h=gb_per_h)
    assert (cost < without) == (settings.network.egress != "nat"), (cost, without)


@pytest.mark.requirement("S-14")
def test_the_flow_log_keeps_all_traffic_in_our_log_group(platform: Program) -> None:
    (log,) = platform.of("aws_flow_log")
    group = platform.follow(log["log_destination"])
    assert log["traffic_type"] == "ALL"
    assert [platform.follow(log["vpc_id"])] == platform.of("aws_vpc")
    assert group is not None
    assert group["name"] == f"/millrace/flow-{SUFFIX}"
    role = platform.follow(log["iam_role_arn"])
    assert role is not None
    (policy,) = (one for one in platform.of("aws_iam_role_policy") if platform.follow(one["role"]) == role)
    assert "*" not in actions_and_resources(policy)
    assert f"aws_iam_role_policy.{policy.id}" in log["depends_on"], "or it is refused before it may write"


def actions_and_resources(policy: Resource) -> list[str]:
    statements = json.loads(policy["policy"])["Statement"]
    return [value for one in statements for value in (*one["Action"], *one["Resource"])]


@pytest.mark.requirement("S-14")
@pytest.mark.requirement("S-02")
def test_what_carries_people_reaches_every_zone_and_every_allowed_network_has_its_way_back(platform: Program) -> None:
    """An attachment carries a zone's traffic only if it has a subnet there."""
    environment = environment_of(platform)
    network = environment.settings.network
    attachments = platform.of("aws_ec2_transit_gateway_vpc_attachment")
    assert len(attachments) == bool(network.transit_gateway_id)
    for one in attachments:
        assert one["transit_gateway_id"] == network.transit_gateway_id
        assert [platform.follow(one["vpc_id"])] == platform.of("aws_vpc")
        subnets = [platform.follow(id_) for id_ in one["subnet_ids"]]
        zones = [found["availability_zone_id"] for found in subnets if found and found["tags"]["tier"] == "private"]
        assert sorted(zones) == sorted(environment.settings.zone_ids)
        back = [route for route in platform.of("aws_route") if route.get("transit_gateway_id")]
        assert len(back) == len(zones) * len(network.allowed_networks)
        assert {route["destination_cidr_block"] for route in back} == set(network.allowed_networks)
        assert all(one.address in route["depends_on"] for route in back), "AWS refuses a way to what is not attached"


@pytest.mark.requirement("S-03")
def test_everything_of_the_network_that_has_tags_has_our_name(platform: Program) -> None:
    for resource in platform:
        if resource.path.startswith("network/") and "tags" in resource.body:
            assert resource["tags"]["Name"].endswith(SUFFIX), resource.path
