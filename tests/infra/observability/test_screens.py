"""Promises about dashboards and traces."""

from __future__ import annotations

import json
import re
from itertools import combinations
from typing import Any

import pytest

from millrace_infra.observability.alarm_row import STAGES
from millrace_infra.observability.alarm_table import ROWS
from tests.infra.conftest import SUFFIX
from tests.infra.observability.alarms import alarms, row_of, rows_of
from tests.infra.program import Program

pytestmark = pytest.mark.requirement("S-23")
NAME_MAX = 32
"""Of X-Ray's groups and sampling rules."""


def widgets(program: Program, noun: str) -> list[dict[str, Any]]:
    (found,) = [
        one
        for one in program.of("aws_cloudwatch_dashboard")
        if re.fullmatch(rf"millrace-{noun}-[a-z]+-[a-z]+-\d-{SUFFIX}", one["dashboard_name"])
    ]
    body: list[dict[str, Any]] = json.loads(found["dashboard_body"])["widgets"]
    # source: CloudWatch quotas, dashboards
    assert len(body) <= 500
    return body


def test_every_row_of_the_table_is_drawn_with_its_limit(watch: Program) -> None:
    limits = {row_of(one).name: one["threshold"] for one in alarms(watch)}
    graphs = {
        one["properties"]["title"].partition(" ")[0]: one["properties"]
        for one in widgets(watch, "detail")
        if one["type"] == "metric"
    }
    assert set(graphs) == rows_of(watch)
    for name, graph in graphs.items():
        (line,) = graph["annotations"]["horizontal"]
        assert line["value"] == limits[name], name
        drawn = [one for one in graph["metrics"] if one[-1].get("visible", True)]
        assert len(drawn) == len([one for one in alarms(watch) if row_of(one).name == name]), name


def test_the_stages_come_in_the_order_of_the_flow(watch: Program) -> None:
    headings = [
        one["properties"]["markdown"].removeprefix("## ")
        for one in widgets(watch, "detail")
        if one["type"] == "text"
    ]
    assert headings == list(STAGES.values())


def test_the_overview_shows_the_state_of_every_alarm(watch: Program) -> None:
    shown = [
        watch.follow(arn)
        for one in widgets(watch, "overview")
        if one["type"] == "alarm"
        for arn in one["properties"]["alarms"]
    ]
    composite = watch.of("aws_cloudwatch_composite_alarm")
    assert {one.path for one in shown if one is not None} == {
        one.path for one in [*alarms(watch), *composite]
    }
    promises = [one for one in widgets(watch, "overview") if one["type"] == "metric"]
    assert len(promises) == len([row for row in ROWS if row.stage == "promises"])


def test_no_widget_lies_on_another_or_beside_the_screen(watch: Program) -> None:
    for noun in ("overview", "detail"):
        placed = widgets(watch, noun)
        assert all(one["x"] + one["width"] <= 24 for one in placed)
        for a, b in combinations(placed, 2):
            apart_x = a["x"] + a["width"] <= b["x"] or b["x"] + b["width"] <= a["x"]
            apart_y = a["y"] + a["height"] <= b["y"] or b["y"] + b["height"] <= a["y"]
            assert apart_x or apart_y, (noun, a["properties"], b["properties"])


def test_a_line_over_an_expression_draws_its_own_parts(peak: Program) -> None:
    """Several alarms share a graph: the parts of each have names of their own."""
    for one in widgets(peak, "detail"):
        lines = [line[-1] for line in one["properties"].get("metrics", [])]
        ids = [line["id"] for line in lines if "id" in line]
        assert len(set(ids)) == len(ids), one["properties"]["title"]
        for line in lines:
            if "expression" in line and not line["expression"].startswith("SELECT"):
                assert set(re.findall(r"\b[a-z]+\d+\b", line["expression"])) <= set(ids)


# --- traces -----------------------------------------------------------------------------------------


def test_the_edge_s_requests_are_sampled_by_rules_of_this_stage_alone(watch: Program) -> None:
    rules = sorted(watch.of("aws_xray_sampling_rule"), key=lambda rule: int(rule["priority"]))
    assert [rule["url_path"] for rule in rules] == ["/v1/health/*", "/v1/readings*", "*"]
    region = watch.json["provider"]["aws"][0]["region"]
    for rule in rules:
        assert rule["resource_arn"] == f"arn:aws:apigateway:{region}::/restapis/abc123/stages/millrace-stage-{SUFFIX}"
        assert rule["service_type"] == "AWS::ApiGateway::Stage"
        assert rule["priority"] < 10_000, "X-Ray's own rule takes everything"
        assert len(rule["rule_name"]) <= NAME_MAX
        assert rule["rule_name"].endswith(f"-{SUFFIX}")
    assert len({rule["priority"] for rule in rules}) == len(rules)


def test_a_health_check_is_never_traced_and_a_question_often(watch: Program) -> None:
    rules = watch.of("aws_xray_sampling_rule")
    rates = {rule["url_path"]: (rule["reservoir_size"], rule["fixed_rate"]) for rule in rules}
    assert rates["/v1/health/*"] == (0, 0)
    assert rates["*"][1] > rates["/v1/readings*"][1] > 0


def test_the_traces_of_a_deployment_are_found_together(watch: Program) -> None:
    (group,) = watch.of("aws_xray_group")
    assert group["group_name"] == f"millrace-traces-{SUFFIX}"
    assert len(group["group_name"]) <= NAME_MAX
    assert f'annotation.suffix = "{SUFFIX}"' in group["filter_expression"]


def test_the_group_finds_the_annotation_that_the_collector_makes(watch: Program) -> None:
    """An attribute of a span is an annotation only where the exporter is told to index it."""
    from millrace_infra.services.collector import collector

    definition = collector(image="i", log_group="g", suffix=SUFFIX, region="eu-central-1")
    variables = {one["name"]: one["value"] for one in definition["environment"]}
    config = json.loads(variables["AOT_CONFIG_CONTENT"])
    pipeline = config["service"]["pipelines"]["traces"]
    added = {
        action["key"]: action["value"]
        for name in pipeline["processors"]
        if name.startswith("attributes/")
        for action in config["processors"][name]["actions"]
        if action["action"] in ("insert", "upsert")
    }
    indexed = {key: added[key] for key in config["exporters"]["awsxray"]["indexed_attributes"]}
    assert pipeline["exporters"] == ["awsxray"]
    (group,) = watch.of("aws_xray_group")
    assert dict(re.findall(r'annotation\.(\w+) = "([^"]+)"', group["filter_expression"])) == indexed != {}


def test_what_belongs_to_the_account_is_in_no_suffix(watch: Program) -> None:
    assert watch.of("aws_xray_encryption_config", "aws_xray_resource_policy") == []


def test_the_longest_suffix_fits_x_ray_s_names() -> None:
    pytest.importorskip("constructs")
    from millrace_infra.naming import SUFFIX_LENGTH_MAX
    from millrace_infra.observability.tracing import RULES

    longest = max(len(f"millrace-{name}-") for name in ("traces", *(rule.name for rule in RULES)))
    assert longest + SUFFIX_LENGTH_MAX <= NAME_MAX
