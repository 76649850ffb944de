"""The REST API: one door, a key on every call, limits, a log, and the way to the service."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from millrace_infra.edge.exposure import EXPOSURE
from millrace_infra.edge.problems import PROBLEMS
from tests.infra.conftest import SUFFIX
from tests.infra.edge.conftest import body_of
from tests.infra.program import Program, Resource


def operations(program: Program) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, operation)
        for path, item in body_of(program)["paths"].items()
        for method, operation in item.items()
    ]


def settings(program: Program) -> Any:
    from millrace_infra.settings import load
    from tests.infra.conftest import FOLDER

    return load(program.environment, SUFFIX, folder=FOLDER).edge


def only(program: Program, type_: str) -> Resource:
    (found,) = program.of(type_)
    return found


# --- the door -------------------------------------------------------------------------------------------


@pytest.mark.requirement("S-10")
def test_the_api_has_no_end_point_of_its_own(edge: Program) -> None:
    assert only(edge, "aws_api_gateway_rest_api")["disable_execute_api_endpoint"] is True
    (server,) = body_of(edge)["servers"]
    assert server["x-amazon-apigateway-endpoint-configuration"] == {"disableExecuteApiEndpoint": True}


@pytest.mark.requirement("S-12")
def test_the_domain_takes_tls_1_2_at_least(edge: Program) -> None:
    domain = only(edge, "aws_api_gateway_domain_name")
    assert domain["security_policy"] == "TLS_1_2"
    assert domain["domain_name"] == settings(edge).domain
    assert domain["regional_certificate_arn"] == settings(edge).certificate_arn
    assert domain["endpoint_configuration"] == {"types": ["REGIONAL"]}


def test_the_domain_leads_to_the_stage(edge: Program) -> None:
    mapping = only(edge, "aws_api_gateway_base_path_mapping")
    assert "base_path" not in mapping.body, "the contract's paths begin at the root"
    for key, type_ in (
        ("api_id", "aws_api_gateway_rest_api"),
        ("stage_name", "aws_api_gateway_stage"),
        ("domain_name", "aws_api_gateway_domain_name"),
    ):
        assert edge.follow(mapping[key]) == only(edge, type_)


@pytest.mark.requirement("S-10")
def test_every_operation_wants_a_key(edge: Program) -> None:
    scheme = body_of(edge)["components"]["securitySchemes"]["api_key"]
    assert scheme == {"type": "apiKey", "name": "x-api-key", "in": "header"}
    assert body_of(edge)["x-amazon-apigateway-api-key-source"] == "HEADER"
    assert [
        (path, method) for path, method, one in operations(edge) if one.get("security") != [{"api_key": []}]
    ] == []


@pytest.mark.requirement("S-11")
def test_no_key_is_a_resource(edge: Program) -> None:
    assert edge.of("aws_api_gateway_api_key", "aws_api_gateway_usage_plan_key") == []


# --- the way to the service -----------------------------------------------------------------------------


@pytest.mark.requirement("S-10")
def test_every_operation_goes_over_the_link_to_the_private_name_by_tls(edge: Program) -> None:
    for path, method, operation in operations(edge):
        integration = operation["x-amazon-apigateway-integration"]
        assert integration["type"] == "http_proxy"
        assert integration["httpMethod"] == method.upper()
        assert integration["uri"] == f"https://{settings(edge).internal_domain}{path}"
        assert (integration["connectionType"], integration["connectionId"]) == (
            "VPC_LINK",
            "${stageVariables.vpcLinkId}",
        )
        assert integration["timeoutInMillis"] <= 29_000
        assert "tlsConfig" not in integration, "the certificate is checked"


@pytest.mark.requirement("S-10")
def test_the_link_leads_to_the_network_load_balancer(edge: Program) -> None:
    link = only(edge, "aws_api_gateway_vpc_link")
    (target,) = link["target_arns"]
    balancer = edge.follow(target)
    assert balancer is not None
    assert balancer["load_balancer_type"] == "network"
    assert edge.follow(only(edge, "aws_api_gateway_stage")["variables"]["vpcLinkId"]) == link


def test_what_stands_in_a_path_is_carried_over(edge: Program) -> None:
    for path, _, operation in operations(edge):
        carried = operation["x-amazon-apigateway-integration"]["requestParameters"]
        names = re.findall(r"\{(\w+)\}", path)
        for name in names:
            assert carried[f"integration.request.path.{name}"] == f"method.request.path.{name}"
        assert len(carried) == len(names)
        declared = [one["name"] for one in operation.get("parameters", []) if one["in"] == "path"]
        assert declared == names


@pytest.mark.requirement("S-10")
def test_parameters_are_validated_everywhere_and_bodies_where_they_have_a_model(edge: Program) -> None:
    validators = body_of(edge)["x-amazon-apigateway-request-validators"]
    for _, _, operation in operations(edge):
        validator = validators[operation["x-amazon-apigateway-request-validator"]]
        assert validator["validateRequestParameters"] is True
        assert validator["validateRequestBody"] is ("requestBody" in operation)
    assert any("requestBody" in operation for _, _, operation in operations(edge))


def test_bodies_that_are_no_json_pass_as_bytes(edge: Program) -> None:
    binary = body_of(edge)["x-amazon-apigateway-binary-media-types"]
    assert {"application/vnd.apache.arrow.stream", "application/vnd.millrace.frame"} <= set(binary)
    assert "application/json" not in binary, "a binary body is not validated"


@pytest.mark.requirement("S-10")
def test_what_the_edge_says_itself_is_a_problem_as_the_services(edge: Program) -> None:
    said = body_of(edge)["x-amazon-apigateway-gateway-responses"]
    assert said.keys() == {problem.kind for problem in PROBLEMS}
    assert {"DEFAULT_4XX", "DEFAULT_5XX", "THROTTLED", "QUOTA_EXCEEDED", "INVALID_API_KEY"} <= said.keys()
    for kind, response in said.items():
        headers = response["responseParameters"]
        assert headers["gatewayresponse.header.Content-Type"] == "'application/problem+json'"
        problem = json.loads(rendered(response["responseTemplates"]["application/json"]))
        assert {"type", "title", "code", "detail", "what_to_do", "request_id"} <= problem.keys()
        assert str(problem.get("status", "")) == response.get("statusCode", "")
        assert ("gatewayresponse.header.Retry-After" in headers) == (
            response.get("statusCode") in ("429", "504")
        ), kind


@pytest.mark.requirement("S-10")
def test_who_asks_for_what_is_not_offered_is_told_what_to_use_instead(edge: Program) -> None:
    """The stream of events, above all: API Gateway gathers an answer before it gives one."""
    said = body_of(edge)["x-amazon-apigateway-gateway-responses"]["MISSING_AUTHENTICATION_TOKEN"]
    problem = json.loads(rendered(said["responseTemplates"]["application/json"]))
    assert "/v1/live" in EXPOSURE.hidden
    for path, hidden in EXPOSURE.hidden.items():
        assert path not in body_of(edge)["paths"]
        assert f"{path} is not offered here, {hidden.instead}" in problem["what_to_do"]


def rendered(template: str) -> str:
    """What API Gateway makes of it: names replaced, no template language."""
    for name, value in (
        ("$context.error.messageString", '"Forbidden"'),
        ("$context.error.validationErrorString", "[missing]"),
        ("$context.requestId", "id"),
    ):
        template = template.replace(name, value)
    return template


# --- limits and log -------------------------------------------------------------------------------------


@pytest.mark.requirement("S-10")
def test_all_callers_together_and_each_key_are_bounded(edge: Program) -> None:
    declared = settings(edge)
    limits = only(edge, "aws_api_gateway_method_settings")
    assert limits["method_path"] == "*/*"
    assert limits["settings"]["throttling_rate_limit"] == declared.requests_per_s
    assert limits["settings"]["throttling_burst_limit"] == declared.burst
    plan = only(edge, "aws_api_gateway_usage_plan")
    assert plan["throttle_settings"]["rate_limit"] <= declared.requests_per_s / 2
    assert plan["throttle_settings"]["burst_limit"] <= declared.burst / 2
    assert plan["quota_settings"] == {"limit": declared.requests_per_day, "period": "DAY"}
    (stage,) = plan["api_stages"]
    assert edge.follow(stage["api_id"]) == only(edge, "aws_api_gateway_rest_api")
    assert edge.follow(stage["stage"]) == only(edge, "aws_api_gateway_stage")


@pytest.mark.requirement("S-23")
def test_the_stage_is_traced_measured_and_logged_with_the_requests_id(edge: Program) -> None:
    stage = only(edge, "aws_api_gateway_stage")
    assert stage["xray_tracing_enabled"] is True
    group = edge.follow(stage["access_log_settings"]["destination_arn"])
    assert group is not None
    assert group["name"] == f"/millrace/gateway-{SUFFIX}"
    logged = json.loads(stage["access_log_settings"]["format"])
    assert logged["request_id"] == "$context.requestId"
    assert not re.search('authorization|apiKey"|querystring|header', json.dumps(logged), re.IGNORECASE)
    measured = only(edge, "aws_api_gateway_method_settings")["settings"]
    assert measured["metrics_enabled"] is True
    assert measured["logging_level"] == "ERROR"


@pytest.mark.requirement("S-11")
def test_no_body_and_no_key_is_traced_into_the_log(edge: Program) -> None:
    assert only(edge, "aws_api_gateway_method_settings")["settings"]["data_trace_enabled"] is False


def test_the_stage_neither_caches_nor_splits(edge: Program) -> None:
    stage = only(edge, "aws_api_gateway_stage")
    assert stage["cache_cluster_enabled"] is False
    assert "canary_settings" not in stage.body


def test_a_new_definition_is_deployed_before_the_old_one_goes(edge: Program, built: Any) -> None:
    deployment = only(edge, "aws_api_gateway_deployment")
    assert deployment["lifecycle"]["create_before_destroy"] is True
    assert re.fullmatch(r"[0-9a-f]{64}", deployment["triggers"]["definition"])
    hashes = {
        only(built(name), "aws_api_gateway_deployment")["triggers"]["definition"]
        for name in ("dev", "us-east-1", "eu-central-1")
    }
    assert len(hashes) == 3, "another text, another deployment"


@pytest.mark.requirement("S-03")
def test_what_has_a_name_has_ours(edge: Program) -> None:
    names = {
        "aws_api_gateway_rest_api": ("name", "millrace-gateway"),
        "aws_api_gateway_stage": ("stage_name", "millrace-stage"),
        "aws_api_gateway_usage_plan": ("name", "millrace-integrations"),
        "aws_api_gateway_vpc_link": ("name", "millrace-gateway"),
        "aws_wafv2_web_acl": ("name", "millrace-firewall"),
    }
    for type_, (key, name) in names.items():
        assert only(edge, type_)[key] == f"{name}-{SUFFIX}"
        assert only(edge, type_)["tags"]["Name"] == f"{name}-{SUFFIX}"
