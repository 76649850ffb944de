"""Every hop is TLS, and what could be asked without it refuses."""

from __future__ import annotations

import json
import re

import pytest

from tests.infra.program import Program

TLS_ONLY = {"Bool": {"aws:SecureTransport": "false"}}
POLICIES = {"TLS13": "ELBSecurityPolicy-TLS13-1-2-"}
PASSED_ON = {"entry/nlb-listener", "entry/alb-target"}
"""The network load balancer passes TLS on as it is: the end of it is the application load balancer."""
CLEAR_PORTS = {21, 23, 25, 80, 8080}


@pytest.mark.requirement("S-12")
def test_every_listener_and_target_is_tls(stack: Program) -> None:
    clear = set()
    for resource in stack.of("aws_lb_listener", "aws_lb_target_group"):
        if resource["protocol"] not in ("HTTPS", "TLS"):
            clear.add(resource.path.removesuffix("/group"))
        elif resource.type == "aws_lb_listener":
            assert resource["ssl_policy"].startswith(POLICIES["TLS13"]), resource.path
        check = resource.get("health_check")
        assert check is None or check["protocol"] == "HTTPS", resource.path
    assert clear == (PASSED_ON if stack.of("aws_lb") else set())


@pytest.mark.requirement("S-12")
def test_no_store_is_asked_without_tls(stack: Program) -> None:
    for cache in stack.of("aws_elasticache_replication_group"):
        assert cache["transit_encryption_enabled"] is True
        assert cache["transit_encryption_mode"] == "required"
    for group in stack.of("aws_rds_cluster_parameter_group"):
        set_to = {one["name"]: one["value"] for one in group["parameter"]}
        assert set_to["rds.force_ssl"] == "1"
        assert set_to["ssl_min_protocol_version"] in ("TLSv1.2", "TLSv1.3")
    for definition in stack.of("aws_ecs_task_definition"):
        for volume in definition.get("volume") or ():
            mounted = volume.get("efs_volume_configuration")
            assert mounted is None or mounted["transit_encryption"] == "ENABLED", definition.path


@pytest.mark.requirement("S-12")
def test_what_has_a_policy_of_its_own_refuses_without_tls(stack: Program) -> None:
    refusing = ("aws_s3_bucket_policy", "aws_efs_file_system_policy", "aws_sns_topic_policy")
    for resource in stack.of(*refusing):
        denied = [
            s for s in resource.statements() if s["Effect"] == "Deny" and s.get("Condition") == TLS_ONLY
        ]
        assert denied, resource.path
        assert denied[0]["Principal"] in ("*", {"AWS": "*"}), resource.path
    assert len(stack.of("aws_s3_bucket_policy")) == len(stack.of("aws_s3_bucket"))
    assert len(stack.of("aws_efs_file_system_policy")) == len(stack.of("aws_efs_file_system"))


@pytest.mark.requirement("S-12")
def test_nothing_is_called_by_http_or_on_a_port_that_is_never_tls(stack: Program) -> None:
    for rule in stack.of("aws_vpc_security_group_ingress_rule", "aws_vpc_security_group_egress_rule"):
        ports = range(int(rule["from_port"]), int(rule["to_port"]) + 1)
        assert not CLEAR_PORTS & set(ports), rule.path
    addresses = re.findall(r"http://[^\s\"\\]+", json.dumps(stack.json["resource"]))
    # a side-car is asked inside its task, and no packet leaves it; a name in XML is no address
    assert {one for one in addresses if not re.match(r"http://(localhost|127\.0\.0\.1)[:/]", one)} == set()


@pytest.mark.requirement("S-12")
def test_the_only_way_in_takes_no_old_tls(stack: Program) -> None:
    for domain in stack.of("aws_api_gateway_domain_name"):
        assert domain["security_policy"] == "TLS_1_2", domain.path
    for api in stack.of("aws_api_gateway_rest_api"):
        assert api["disable_execute_api_endpoint"] is True, api.path
    for topic in stack.of("aws_sns_topic_subscription"):
        assert topic["protocol"] != "http", topic.path
