"""Each promise about the network sees its rule broken: one value changed in the JSON, and its test fails."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.infra.breaking import NOTICED, Body, Change, broken, drop, first, policy, put, without
from tests.infra.conftest import SUFFIX, Synthesize
from tests.infra.network import test_end_points as end_points
from tests.infra.network import test_network as network
from tests.infra.network import test_packets as packets
from tests.infra.network import test_roads as roads
from tests.infra.network import test_walls as walls
from tests.infra.network.conftest import NetworkAlone
from tests.infra.observability import test_logs as logs
from tests.infra.program import Program

ANYTHING = json.dumps({"Statement": [{"Effect": "Allow", "Action": ["kms:Decrypt"], "Resource": ["*"]}]})
TASK_ROLE = '{"Principal": {"Service": "ecs-tasks.amazonaws.com"}}'
TASK_POLICY = ANYTHING.replace("kms:Decrypt", "sns:Publish")
LEFT_OUT = ANYTHING.replace("kms:Decrypt", "kms:ScheduleKeyDeletion")
Promise = Callable[[Program], None]


def let_through(program: Program) -> None:
    end_points.test_what_a_role_may_call_its_end_point_lets_through(program, lambda *_: program)


KINDS: list[tuple[dict[str, dict[str, Any]], Promise]] = [
    ({"aws_subnet": {"availability_zone_id": "use1-az1"}}, network.test_each_tier_has_a_subnet_in_every_zone_by_id),
    ({"aws_subnet": {"map_public_ip_on_launch": True}}, network.test_each_tier_has_a_subnet_in_every_zone_by_id),
    ({"aws_subnet": {"cidr_block": "10.10.0.0/20"}}, network.test_subnets_share_no_address_and_a_tier_is_one_block),
    ({"aws_route": {"nat_gateway_id": "${aws_nat_gateway.network_egress_nat-use1-az1_0C81B2B1.id}"}},
     network.test_a_zone_uses_its_own_nat_gateway_where_each_has_one),
    *(({kind: change}, network.test_a_nat_gateway_stands_in_its_zones_public_subnet_with_an_address_of_its_own)
      for kind, change in (
          ("aws_nat_gateway", {"subnet_id": "${aws_subnet.network_public_subnet-use1-az1_0.id}"}),
          ("aws_nat_gateway", {"allocation_id": "eipalloc-1"}),
          ("aws_nat_gateway", {"depends_on": []}),
          ("aws_subnet", {"availability_zone_id": "use1-az1"}),
          ("aws_eip", {"domain": "standard"}),
          ("aws_internet_gateway", {"vpc_id": "vpc-other"}),
      )),
    ({"aws_vpc_endpoint": {"subnet_ids": ["${aws_subnet.network_isolated_subnet-use1-az1_F5C04558.id}"]}},
     network.test_what_has_a_partys_security_group_stands_in_the_partys_tier),
    ({"aws_default_security_group": {"ingress": [{"protocol": "-1"}]}},
     network.test_every_party_has_a_group_and_the_vpcs_default_group_lets_nothing_through),
    ({"aws_default_security_group": {"vpc_id": "vpc-other"}},
     network.test_every_party_has_a_group_and_the_vpcs_default_group_lets_nothing_through),
    ({"aws_flow_log": {"vpc_id": "vpc-other"}}, network.test_the_flow_log_keeps_all_traffic_in_our_log_group),
    ({"aws_vpc_security_group_egress_rule": {"description": "The API's queries"}},
     network.test_a_rules_description_has_only_letters_that_aws_takes),
    ({"aws_network_acl": {"ingress": [{}] * 21}}, network.test_the_network_acls_keep_within_the_quota),
    ({"aws_flow_log": {"traffic_type": "REJECT"}}, network.test_the_flow_log_keeps_all_traffic_in_our_log_group),
    ({"aws_flow_log": {"depends_on": []}}, network.test_the_flow_log_keeps_all_traffic_in_our_log_group),
    ({"aws_iam_role_policy": {"policy": ANYTHING}}, network.test_the_flow_log_keeps_all_traffic_in_our_log_group),
    ({"aws_nat_gateway": {"tags": {"Name": "nat"}}},
     network.test_everything_of_the_network_that_has_tags_has_our_name),
    ({"aws_vpc_endpoint": {"vpc_endpoint_type": "Gateway"}},
     end_points.test_there_are_the_end_points_that_the_egress_wants),
    ({"aws_vpc_endpoint": {"private_dns_enabled": False}},
     end_points.test_an_interface_end_point_answers_in_every_zone_under_the_services_own_name),
    ({"aws_vpc_endpoint": {"policy": ANYTHING}},
     end_points.test_an_end_point_lets_in_only_our_account_and_s3_besides_the_layers_of_images),
    ({"aws_iam_role": {"assume_role_policy": TASK_ROLE}, "aws_iam_role_policy": {"policy": LEFT_OUT}}, let_through),
    ({"aws_iam_role": {"assume_role_policy": TASK_ROLE}, "aws_iam_role_policy": {"policy": TASK_POLICY}},
     end_points.test_no_task_may_call_a_service_that_it_cannot_reach),
    ({"aws_cloudwatch_log_group": {"kms_key_id": "alias/aws/logs"}},
     logs.test_every_log_group_has_our_key_an_end_and_our_suffix),
    ({"aws_cloudwatch_log_group": {"retention_in_days": 1}},
     logs.test_every_log_group_has_our_key_an_end_and_our_suffix),
    ({"aws_cloudwatch_log_group": {"name": "/millrace/flow"}}, logs.test_the_key_of_the_logs_knows_every_log_group),
]  # fmt: skip
"""Of every resource of a kind these values are others."""


@pytest.mark.parametrize(("changes", "promise"), KINDS)
def test_a_broken_rule_breaks_its_promise(
    network_alone: NetworkAlone, changes: dict[str, dict[str, Any]], promise: Promise
) -> None:
    whole = network_alone("us-east-1")
    promise(whole)
    resources = dict(whole.json["resource"])
    for kind, values in changes.items():
        resources[kind] = {id_: {**body, **values} for id_, body in resources[kind].items()}
    with pytest.raises(AssertionError):
        promise(Program.changed(whole.name, {**whole.json, "resource": resources}))


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("network/transit/attachment", put("transit_gateway_id", "tgw-other")),
        ("network/transit/attachment", put("vpc_id", "vpc-other")),
        ("network/transit/attachment", lambda body: body["subnet_ids"].pop()),
        ("network/transit/people-0-use1-az1", put("destination_cidr_block", "10.99.0.0/16")),
        ("network/transit/people-0-use1-az1", put("depends_on", [])),
        ("", without("aws_ec2_transit_gateway_vpc_attachment")),
    ],
)
def test_a_broken_way_of_people_is_noticed(synthesize: Synthesize, path: str, change: Change) -> None:
    whole = synthesize("us-east-1")[f"millrace-{SUFFIX}"]
    promise = network.test_what_carries_people_reaches_every_zone_and_every_allowed_network_has_its_way_back
    promise(whole)
    with pytest.raises(NOTICED):
        promise(broken(whole, path, change))


OPEN = {"rule_no": 50, "action": "allow", "protocol": "-1", "cidr_block": "0.0.0.0/0", "from_port": 0, "to_port": 0}
NARROW = {"action": "allow", "protocol": "tcp", "cidr_block": "10.0.0.0/16", "from_port": 22, "to_port": 22}
ENTRIES = walls.test_a_network_acl_has_the_entries_that_the_table_needs_and_no_other
NUMBERS = walls.test_entries_have_numbers_of_their_own_with_room_between_them
RULES = walls.test_a_security_group_has_the_rules_that_the_table_names_and_no_other
OUT, IN = "network/security-groups/api-to-redis-6379", "network/security-groups/redis-from-api-6379"
SAYS = roads.test_the_network_says_nothing_that_no_promise_reads
ONE_VPC = roads.test_everything_of_the_network_lies_in_its_one_vpc_under_the_settings_addresses
OWN_TABLE = roads.test_each_subnet_uses_a_route_table_of_its_own_and_of_its_tier
ROADS = roads.test_a_tier_has_its_roads_and_no_other
NATS = roads.test_there_is_a_nat_gateway_for_each_that_the_settings_want_with_one_address
FLOW_LOG = roads.test_the_flow_log_is_sent_to_cloudwatch_in_records_of_ten_minutes
NAMES = roads.test_names_of_end_points_and_stores_resolve_inside_the_vpc
PERIMETER = end_points.test_an_end_point_lets_in_only_our_account_and_s3_besides_the_layers_of_images
ANSWERS = end_points.test_an_interface_end_point_answers_in_every_zone_under_the_services_own_name
ON_THE_WAY = end_points.test_a_gateway_end_point_is_on_the_way_of_every_private_subnet_and_of_no_other
ISOLATED, PRIVATE_ACL = "network/network-acls/isolated", "network/network-acls/private"
KINESIS = "network/end-points/kinesis-streams"


def longer(key: str, more: Body) -> Change:
    return lambda body: body[key].append(more)


PARTS: list[tuple[str, Change, Promise]] = [
    (ISOLATED, put("egress.0.from_port", 512), ENTRIES),
    (ISOLATED, put("egress.0.to_port", 60999), ENTRIES),
    (ISOLATED, put("ingress.0.from_port", 5431), ENTRIES),
    (ISOLATED, put("ingress.0.cidr_block", "0.0.0.0/0"), ENTRIES),
    (ISOLATED, put("ingress.0.protocol", "-1"), ENTRIES),
    (ISOLATED, put("ingress.0.action", "deny"), ENTRIES),
    (ISOLATED, lambda body: body["ingress"].insert(0, OPEN), ENTRIES),
    (ISOLATED, longer("ingress", {**NARROW, "rule_no": 900}), ENTRIES),
    (ISOLATED, lambda body: body["subnet_ids"].pop(), ENTRIES),
    (PRIVATE_ACL, lambda body: body["egress"].pop(), ENTRIES),
    (PRIVATE_ACL, put("ingress.1.rule_no", 100), NUMBERS),
    (PRIVATE_ACL, put("tags.tier", "public"), NUMBERS),
    ("network/network-acls/public", put("ingress.0.ipv6_cidr_block", "::/0"), SAYS),
    (OUT, put("from_port", 6378), RULES),
    (OUT, put("ip_protocol", "-1"), RULES),
    (OUT, put("description", "Something else"), RULES),
    (OUT, put("cidr_ipv4", "0.0.0.0/0"), SAYS),
    (IN, lambda body: [body.pop("referenced_security_group_id"), body.update(cidr_ipv6="::/0")], RULES),
    ("", lambda whole: whole["resource"][walls.INGRESS].popitem(), RULES),
    ("network/security-groups/api", put("revoke_rules_on_delete", False),
     walls.test_groups_that_name_each_other_are_emptied_before_they_go),
    ("network/security-groups/api", put("egress", [{"cidr_blocks": ["0.0.0.0/0"]}]), SAYS),
    ("network/isolated/routes-use1-az1", put("route", [{"cidr_block": "0.0.0.0/0"}]), SAYS),
    ("network/isolated/subnet-use1-az1", put("assign_ipv6_address_on_creation", True), SAYS),
    ("network/egress/nat-use1-az1", put("connectivity_type", "private"), SAYS),
    ("network/flow-log/log", drop("log_destination_type"), SAYS),
    ("network/flow-log/log", put("log_destination_type", "s3"), FLOW_LOG),
    ("network/vpc", put("cidr_block", "10.99.0.0/16"), ONE_VPC),
    ("network/isolated/subnet-use1-az1", put("vpc_id", "vpc-other"), ONE_VPC),
    (ISOLATED, put("vpc_id", "vpc-other"), ONE_VPC),
    ("network/vpc", put("enable_dns_hostnames", False), NAMES),
    ("network/vpc", put("enable_dns_support", False), NAMES),
    ("", lambda whole: whole["resource"]["aws_route_table_association"].popitem(), OWN_TABLE),
    ("", lambda whole: whole["resource"]["aws_route_table"].popitem(), OWN_TABLE),
    ("network/isolated/uses-use1-az1",
     put("route_table_id", "${aws_route_table.network_private_routes-use1-az1_94FBB142.id}"), OWN_TABLE),
    ("network/egress/private-use1-az1",
     put("nat_gateway_id", "${aws_nat_gateway.network_egress_nat-use1-az2_9F531E15.id}"), ROADS),
    ("network/egress/public-use1-az2",
     put("route_table_id", "${aws_route_table.network_isolated_routes-use1-az1_6906E7CF.id}"), ROADS),
    ("network/egress/public-use1-az2", put("destination_cidr_block", "10.99.0.0/16"), ROADS),
    ("network/egress/nat-use1-az2",
     put("subnet_id", "${aws_subnet.network_public_subnet-use1-az1_13A9710E.id}"), ROADS),
    ("network/egress/nat-use1-az2",
     put("allocation_id", "${aws_eip.network_egress_address-use1-az1_90524D0A.allocation_id}"), NATS),
    ("network/egress/public-use1-az1",
     put("route_table_id", "${aws_route_table.network_isolated_routes-use1-az1_6906E7CF.id}"),
     packets.test_data_has_no_way_out),
    (OUT, put("to_port", 6378), packets.test_each_flow_of_the_table_passes_and_no_other),
    ("", lambda whole: whole["resource"]["aws_eip"].popitem(), NATS),
    ("", without("aws_internet_gateway"), NATS),
    (KINESIS, policy(lambda found: found[0]["Condition"]["StringEquals"].pop("aws:ResourceAccount")), PERIMETER),
    (KINESIS, policy(lambda found: found[0]["Action"].pop()), PERIMETER),
    (KINESIS, policy(first("Effect", "Deny")), PERIMETER),
    (KINESIS, lambda body: body["subnet_ids"].__setitem__(1, body["subnet_ids"][0]), ANSWERS),
    (KINESIS, put("security_group_ids", []), ANSWERS),
    (KINESIS, drop("policy"), SAYS),
    ("network/gateway-end-points/s3", lambda body: body["route_table_ids"].pop(), ON_THE_WAY),
    ("network/gateway-end-points/s3", put("service_name", "com.amazonaws.eu-west-1.s3"),
     end_points.test_an_end_point_is_of_its_service_in_the_environments_own_region),
]  # fmt: skip


@pytest.mark.parametrize(("path", "change", "promise"), PARTS)
def test_a_hole_in_one_wall_or_a_road_too_many_is_noticed(
    synthesize: Synthesize, path: str, change: Change, promise: Promise
) -> None:
    whole = synthesize("us-east-1")[f"millrace-{SUFFIX}"]
    promise(whole)
    with pytest.raises(NOTICED):
        promise(broken(whole, path, change))


def test_every_promise_about_the_network_s_program_is_broken_once() -> None:
    """In a table of this file; what asks for more than one program, or for none, breaks its rule beside itself."""
    broken_here = {promise.__name__ for _, promise in KINDS} | {row[-1].__name__ for row in PARTS}
    broken_here.add("test_what_carries_people_reaches_every_zone_and_every_allowed_network_has_its_way_back")
    promises = {
        name
        for module in (network, end_points, walls, roads, packets)
        for name, promise in vars(module).items()
        if name.startswith("test_") and list(inspect.signature(promise).parameters) == ["platform"]
    }
    assert promises - broken_here == set()
