"""The tests can fail: each rule is broken once, in the JSON, and its test must notice."""

# ruff: noqa: E501 (a row of the table is a line)

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.infra.edge import test_firewall as f
from tests.infra.edge import test_gateway as g
from tests.infra.edge.conftest import Build, body_of
from tests.infra.program import Program

Body = dict[str, Any]
LATEST = "/v1/tags/{path1}/latest"


def put(path: str, value: Any) -> Callable[[Body], None]:
    """Set what lies at a path of parts between bars."""

    def on(body: Body) -> None:
        *parents, last = path.split("|")
        place: Any = body
        for parent in parents:
            place = place[int(parent) if isinstance(place, list) else parent]
        place[int(last) if isinstance(place, list) else last] = value

    return on


def drop(path: str) -> Callable[[Body], None]:
    def on(body: Body) -> None:
        *parents, last = path.split("|")
        place: Any = body
        for parent in parents:
            place = place[int(parent) if isinstance(place, list) else parent]
        del place[int(last) if isinstance(place, list) else last]

    return on


API, STAGE, LINK, PLAN = (
    f"aws_api_gateway_{name}" for name in ("rest_api", "stage", "vpc_link", "usage_plan")
)
LIMITS, DOMAIN = "aws_api_gateway_method_settings", "aws_api_gateway_domain_name"
DEPLOYMENT = "aws_api_gateway_deployment"
ACL, LOG = "aws_wafv2_web_acl", "aws_wafv2_web_acl_logging_configuration"
INTEGRATION = f"paths|{LATEST}|get|x-amazon-apigateway-integration"
RESPONSES = "x-amazon-apigateway-gateway-responses"
COMMON, KNOWN_BAD, BODIES = "rule|2", "rule|3", "rule|4"

DEFINITION: list[tuple[Callable[[Body], None], Callable[..., None]]] = [
    (
        put("servers|0|x-amazon-apigateway-endpoint-configuration", {}),
        g.test_the_api_has_no_end_point_of_its_own,
    ),
    (put(f"paths|{LATEST}|get|security", []), g.test_every_operation_wants_a_key),
    (drop(f"paths|{LATEST}|get|security"), g.test_every_operation_wants_a_key),
    (
        put(f"{INTEGRATION}|uri", "http://internal-t1.dev.millrace.example.com/v1"),
        g.test_every_operation_goes_over_the_link_to_the_private_name_by_tls,
    ),
    (
        put(f"{INTEGRATION}|connectionType", "INTERNET"),
        g.test_every_operation_goes_over_the_link_to_the_private_name_by_tls,
    ),
    (
        put(f"{INTEGRATION}|tlsConfig", {"insecureSkipVerification": True}),
        g.test_every_operation_goes_over_the_link_to_the_private_name_by_tls,
    ),
    (
        put(f"{INTEGRATION}|timeoutInMillis", 60_000),
        g.test_every_operation_goes_over_the_link_to_the_private_name_by_tls,
    ),
    (
        drop(f"{INTEGRATION}|requestParameters|integration.request.path.path1"),
        g.test_what_stands_in_a_path_is_carried_over,
    ),
    (
        put("paths|/v1/rejects/replay|post|x-amazon-apigateway-request-validator", "parameters"),
        g.test_parameters_are_validated_everywhere_and_bodies_where_they_have_a_model,
    ),
    (put("x-amazon-apigateway-binary-media-types", []), g.test_bodies_that_are_no_json_pass_as_bytes),
    (drop(f"{RESPONSES}|THROTTLED"), g.test_what_the_edge_says_itself_is_a_problem_as_the_services),
    (
        put(
            f"{RESPONSES}|MISSING_AUTHENTICATION_TOKEN|responseTemplates|application/json",
            '{"what_to_do": "look"}',
        ),
        g.test_who_asks_for_what_is_not_offered_is_told_what_to_use_instead,
    ),
    (
        put(f"{RESPONSES}|THROTTLED|statusCode", "503"),
        g.test_what_the_edge_says_itself_is_a_problem_as_the_services,
    ),
]
RESOURCES: list[tuple[str, Callable[[Body], None], Callable[..., None]]] = [
    (API, put("disable_execute_api_endpoint", False), g.test_the_api_has_no_end_point_of_its_own),
    (DOMAIN, put("security_policy", "TLS_1_0"), g.test_the_domain_takes_tls_1_2_at_least),
    (LINK, put("target_arns", ["${aws_lb.entry_alb_00000000.arn}"]), g.test_the_link_leads_to_the_network_load_balancer),
    (LIMITS, put("settings|throttling_rate_limit", -1), g.test_all_callers_together_and_each_key_are_bounded),
    (PLAN, drop("quota_settings"), g.test_all_callers_together_and_each_key_are_bounded),
    (PLAN, put("throttle_settings|rate_limit", 10_000), g.test_all_callers_together_and_each_key_are_bounded),
    (STAGE, put("xray_tracing_enabled", False), g.test_the_stage_is_traced_measured_and_logged_with_the_requests_id),
    (STAGE, put("access_log_settings|format", '{"request_id": "$context.requestId", "k": "$input.header"}'), g.test_the_stage_is_traced_measured_and_logged_with_the_requests_id),
    (LIMITS, put("settings|data_trace_enabled", True), g.test_no_body_and_no_key_is_traced_into_the_log),
    (STAGE, put("cache_cluster_enabled", True), g.test_the_stage_neither_caches_nor_splits),
    (API, put("name", "api"), g.test_what_has_a_name_has_ours),
    (ACL, put(f"{COMMON}|override_action", {"count": {}}), f.test_the_managed_groups_act_as_they_say),
    (ACL, put(f"{COMMON}|statement|managed_rule_group_statement|rule_action_override", []), f.test_rules_that_look_into_bodies_only_count),
    (ACL, put(f"{KNOWN_BAD}|statement|managed_rule_group_statement|rule_action_override", []), f.test_rules_that_look_into_bodies_only_count),
    (ACL, put(f"{BODIES}|statement|and_statement|statement|0|or_statement|statement|6|label_match_statement|key", "awswaf:managed:aws:core-rule-set:Log4JRCE_Body"), f.test_a_marked_body_is_blocked_everywhere_but_at_ingest),
    (ACL, put(f"{BODIES}|action", {"count": {}}), f.test_a_marked_body_is_blocked_everywhere_but_at_ingest),
    (ACL, put(f"{BODIES}|priority", 1), f.test_a_marked_body_is_blocked_everywhere_but_at_ingest),
    (ACL, put("rule|0|statement|rate_based_statement|limit", 9), f.test_one_address_gets_no_more_than_the_api_takes),
    (ACL, put("default_action", {"block": {}}), f.test_the_firewall_stands_before_the_stage),
    ("aws_api_gateway_base_path_mapping", put("base_path", "v1"), g.test_the_domain_leads_to_the_stage),
    (ACL, put("rule|1|priority", 0), f.test_priorities_and_metrics_tell_the_rules_apart),
    (LOG, drop("redacted_fields|0"), f.test_the_log_has_its_group_and_leaves_the_secrets_out),
]  # fmt: skip


ELSEWHERE = {
    "test_no_key_is_a_resource", "test_a_new_definition_is_deployed_before_the_old_one_goes",
    "test_what_counts_is_blocked_again_or_has_a_reason_not_to_be",
}  # fmt: skip
"""Broken by tests of their own, below."""


def broken(program: Program, type_: str, change: Callable[[Body], None]) -> Program:
    content = json.loads(program.text)
    (body,) = content["resource"][type_].values()
    change(body)
    return Program(program.name, json.dumps(content))


def in_definition(change: Callable[[Body], None]) -> Callable[[Body], None]:
    def on(body: Body) -> None:
        document = json.loads(body["body"].replace("$${", "${"))
        change(document)
        body["body"] = json.dumps(document).replace("${", "$${")

    return on


@pytest.mark.parametrize(
    ("type_", "change", "test"),
    [*RESOURCES, *((API, in_definition(change), test) for change, test in DEFINITION)],
)
def test_a_broken_rule_makes_its_test_fail(
    built: Build, type_: str, change: Callable[[Body], None], test: Callable[..., None]
) -> None:
    dev = built("dev")
    test(dev)
    with pytest.raises((AssertionError, KeyError)):
        test(broken(dev, type_, change))


def test_every_promise_of_the_edge_is_broken_once() -> None:
    promises = {name for module in (g, f) for name in vars(module) if name.startswith("test_")}
    assert promises == {row[-1].__name__ for row in (*RESOURCES, *DEFINITION)} | ELSEWHERE


def test_a_key_as_a_resource_makes_its_test_fail(built: Build) -> None:
    content = json.loads(built("dev").text)
    content["resource"]["aws_api_gateway_api_key"] = {"k": {"name": "k"}}
    with pytest.raises(AssertionError):
        g.test_no_key_is_a_resource(Program("edge", json.dumps(content)))
    assert body_of(built("dev"))


def test_a_definition_that_changes_and_is_not_deployed_makes_its_test_fail(built: Build) -> None:
    def same(name: str) -> Program:
        return broken(built(name), DEPLOYMENT, put("triggers", {"definition": "0" * 64}))

    promise = g.test_a_new_definition_is_deployed_before_the_old_one_goes
    promise(built("dev"), built)
    with pytest.raises(AssertionError):
        promise(built("dev"), same)
    with pytest.raises(AssertionError):
        promise(broken(built("dev"), DEPLOYMENT, put("lifecycle|create_before_destroy", False)), built)


def test_a_rule_that_counts_without_a_reason_makes_its_test_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f, "MANAGED", {**f.MANAGED, "another": ("RestrictedExtensions_URIPATH",)})
    with pytest.raises(AssertionError):
        f.test_what_counts_is_blocked_again_or_has_a_reason_not_to_be()
