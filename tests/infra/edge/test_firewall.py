"""The firewall: which rules there are, what they do to readings, and what their log leaves out."""

from __future__ import annotations

from typing import Any

import pytest

from millrace_infra.edge.firewall import ALSO_COUNTED, BODY_RULES, MANAGED
from tests.infra.conftest import SUFFIX
from tests.infra.edge.test_gateway import only, settings
from tests.infra.program import Program


def rules(program: Program) -> dict[str, dict[str, Any]]:
    return {rule["name"]: rule for rule in only(program, "aws_wafv2_web_acl")["rule"]}


@pytest.mark.requirement("S-10")
def test_the_firewall_stands_before_the_stage(edge: Program) -> None:
    association = only(edge, "aws_wafv2_web_acl_association")
    assert edge.follow(association["resource_arn"]) == only(edge, "aws_api_gateway_stage")
    assert edge.follow(association["web_acl_arn"]) == only(edge, "aws_wafv2_web_acl")
    acl = only(edge, "aws_wafv2_web_acl")
    assert (acl["scope"], acl["default_action"]) == ("REGIONAL", {"allow": {}})


@pytest.mark.requirement("S-10")
def test_the_managed_groups_act_as_they_say(edge: Program) -> None:
    found = rules(edge)
    for group in MANAGED:
        assert found[group]["override_action"] == {"none": {}}, (
            "a count here would switch the whole group off"
        )
        said = found[group]["statement"]["managed_rule_group_statement"]
        assert (said["vendor_name"], said["name"]) == ("AWS", group)
    assert {"AWSManagedRulesCommonRuleSet", "AWSManagedRulesKnownBadInputsRuleSet"} <= found.keys()


@pytest.mark.requirement("S-10")
def test_rules_that_look_into_bodies_only_count(edge: Program) -> None:
    """A body of readings may hold any text; a reading that looks like an attack must not cost its neighbours."""
    counted = set()
    for group, names in MANAGED.items():
        said = rules(edge)[group]["statement"]["managed_rule_group_statement"]
        found = {one["name"]: one["action_to_use"] for one in said.get("rule_action_override", ())}
        assert found == {name: {"count": {}} for name in names}
        counted |= set(found)
    assert counted >= {"SizeRestrictions_BODY", "Log4JRCE_BODY", "JavaDeserializationRCE_BODY"}


@pytest.mark.requirement("S-10")
def test_a_marked_body_is_blocked_everywhere_but_at_ingest(edge: Program) -> None:
    rule = rules(edge)["bodies-but-readings"]
    assert rule["action"] == {"block": {}}
    for group in BODY_RULES:
        assert rule["priority"] > rules(edge)[group]["priority"], "labels must be there first"
    marked, elsewhere = rule["statement"]["and_statement"]["statement"]
    labels = {one["label_match_statement"]["key"] for one in marked["or_statement"]["statement"]}
    assert labels == {label for names in BODY_RULES.values() for label in names.values()}
    assert len(labels) == 7
    for label in labels:
        assert label.partition("awswaf:managed:aws:")[2].partition(":")[0] in (
            "core-rule-set",
            "known-bad-inputs",
        )
    (ingest,) = elsewhere["not_statement"]["statement"]
    assert ingest["byte_match_statement"]["search_string"] == "/v1/readings"
    assert ingest["byte_match_statement"]["positional_constraint"] == "ENDS_WITH"


def test_what_counts_is_blocked_again_or_has_a_reason_not_to_be() -> None:
    counted = {rule for rules_of in MANAGED.values() for rule in rules_of}
    blocked = {rule for rules_of in BODY_RULES.values() for rule in rules_of}
    assert (
        counted - blocked == {"NoUserAgent_HEADER"} == {rule for one in ALSO_COUNTED.values() for rule in one}
    )


@pytest.mark.requirement("S-10")
def test_one_address_gets_no_more_than_the_api_takes(edge: Program) -> None:
    rule = rules(edge)["rate"]
    assert rule["action"] == {"block": {}}
    said = rule["statement"]["rate_based_statement"]
    assert said["aggregate_key_type"] == "IP"
    assert said["limit"] == settings(edge).requests_per_s * said["evaluation_window_sec"]
    assert 10 <= said["limit"] <= 2_000_000_000


def test_priorities_and_metrics_tell_the_rules_apart(edge: Program) -> None:
    found = rules(edge).values()
    assert len({rule["priority"] for rule in found}) == len(found)
    assert all(rule["visibility_config"]["metric_name"] == rule["name"] for rule in found)


@pytest.mark.requirement("S-23")
def test_the_log_has_its_group_and_leaves_the_secrets_out(edge: Program) -> None:
    log = only(edge, "aws_wafv2_web_acl_logging_configuration")
    (destination,) = log["log_destination_configs"]
    group = edge.follow(destination)
    assert group is not None
    assert group["name"] == f"aws-waf-logs-millrace-{SUFFIX}"
    assert {one["single_header"]["name"] for one in log["redacted_fields"]} == {"authorization", "x-api-key"}
