"""Each promise about the network sees its rule broken: one value changed in the JSON, and its test fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.infra.breaking import NOTICED, Change, broken, put, without
from tests.infra.conftest import SUFFIX, Synthesize
from tests.infra.network import test_end_points as end_points
from tests.infra.network import test_network as network
from tests.infra.network.conftest import NetworkAlone
from tests.infra.observability import test_logs as logs
from tests.infra.program import Program

ANYTHING = json.dumps({"Statement": [{"Effect": "Allow", "Action": ["kms:Decrypt"], "Resource": ["*"]}]})
TASK_ROLE = '{"Principal": {"Service": "ecs-tasks.amazonaws.com"}}'
TASK_POLICY = ANYTHING.replace("kms:Decrypt", "sns:Publish")
LEFT_OUT = ANYTHING.replace("kms:Decrypt", "kms:ScheduleKeyDeletion")
Promise = Callable[[Program], None]


def bounded(program: Program) -> None:
    end_points.test_an_end_point_lets_in_only_our_account_and_s3_besides_the_layers_of_images(
        lambda *_: program
    )


def let_through(program: Program) -> None:
    end_points.test_what_a_role_may_call_its_end_point_lets_through(program, lambda *_: program)


@pytest.mark.parametrize(
    ("changes", "promise"),
    [
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
        ({"aws_vpc_endpoint": {"policy": ANYTHING}}, bounded),
        ({"aws_iam_role": {"assume_role_policy": TASK_ROLE}, "aws_iam_role_policy": {"policy": LEFT_OUT}}, let_through),
        ({"aws_iam_role": {"assume_role_policy": TASK_ROLE}, "aws_iam_role_policy": {"policy": TASK_POLICY}},
         end_points.test_no_task_may_call_a_service_that_it_cannot_reach),
        ({"aws_cloudwatch_log_group": {"kms_key_id": "alias/aws/logs"}},
         logs.test_every_log_group_has_our_key_an_end_and_our_suffix),
        ({"aws_cloudwatch_log_group": {"retention_in_days": 1}},
         logs.test_every_log_group_has_our_key_an_end_and_our_suffix),
        ({"aws_cloudwatch_log_group": {"name": "/millrace/flow"}}, logs.test_the_key_of_the_logs_knows_every_log_group),
    ],
)  # fmt: skip
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
