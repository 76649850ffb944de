"""The way in: TLS on every hop, nothing public, the dashboard for allowed networks only."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.infra.conftest import ENVIRONMENTS, FOLDER, SUFFIX
from tests.infra.program import Program
from tests.infra.services.parts import LISTENING, Build, containers, listener_rules


def conditions(rule: object) -> dict[str, list[str]]:
    return {kind: one[kind]["values"] for one in rule["condition"] for kind in one}  # type: ignore[index]


@pytest.mark.requirement("S-14")
def test_no_load_balancer_has_a_public_address(services: Program) -> None:
    balancers = services.of("aws_lb")
    assert len(balancers) == 2
    for balancer in balancers:
        assert balancer["internal"] is True
        assert balancer["enable_deletion_protection"] is False
        assert len(balancer["security_groups"]) == 1
        assert all("private" in subnet for subnet in balancer["subnets"])


@pytest.mark.requirement("S-12")
def test_every_hop_to_a_task_is_tls(services: Program) -> None:
    for id_ in ("https", "test"):
        listener = services.at(f"entry/{id_}")
        assert listener["protocol"] == "HTTPS"
        assert listener["ssl_policy"] == "ELBSecurityPolicy-TLS13-1-2-2021-06"
        assert listener["certificate_arn"].startswith("arn:aws:acm:")
        assert listener["default_action"][0]["fixed_response"]["status_code"] == "404"
    for group in services.of("aws_lb_target_group"):
        if group["target_type"] == "ip":
            assert group["protocol"] == "HTTPS"
            assert group["health_check"]["protocol"] == "HTTPS"
    for service in LISTENING:
        told = {one["name"]: one["value"] for one in containers(services, service)[service]["environment"]}
        assert told["MILLRACE_TLS_FOLDER"].startswith("/tmp/")


def test_the_network_load_balancer_passes_tls_on_to_the_other_one(services: Program) -> None:
    balancer = services.at("entry/nlb")
    # security groups block what comes over a private link unless this is off
    assert balancer["enforce_security_group_inbound_rules_on_private_link_traffic"] == "off"
    listener = services.at("entry/nlb-listener")
    assert (listener["protocol"], listener["port"]) == ("TCP", 443)
    group = services.follow(listener["default_action"][0]["target_group_arn"])
    assert group is not None
    assert (group["target_type"], group["protocol"], group["port"]) == ("alb", "TCP", 443)
    assert group["health_check"]["protocol"] == "HTTPS"
    attachment = services.at("entry/alb-attachment")
    assert services.follow(attachment["target_id"]) == services.at("entry/alb")
    assert attachment["port"] == services.at("entry/https")["port"]
    assert services.at("entry/https").address in attachment["depends_on"]


def test_the_health_check_of_the_network_load_balancer_is_answered_without_a_host(services: Program) -> None:
    path = services.at("entry/alb-target")["health_check"]["path"]
    first = min(listener_rules(services, "rules"), key=lambda rule: rule["priority"])
    assert path in conditions(first)["path_pattern"]
    assert "host_header" not in conditions(first)


@pytest.mark.parametrize("listener", ["rules", "test-rules"])
def test_the_api_comes_before_the_dashboard(services: Program, listener: str) -> None:
    by_id = {rule.path.rpartition("/")[2]: rule for rule in listener_rules(services, listener)}
    assert conditions(by_id["api"])["path_pattern"] == ["/v1/*", "/openapi.json"]
    assert by_id["health"]["priority"] < by_id["api"]["priority"] < by_id["dashboard-0"]["priority"]


@pytest.mark.requirement("S-14")
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_dashboard_opens_for_allowed_networks_only(built: Build, name: str) -> None:
    from millrace_infra.entry.routes import NOBODY

    network = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())["network"]
    for listener in ("rules", "test-rules"):
        found = [rule for rule in listener_rules(built(name), listener) if "dashboard" in rule.path]
        assert found
        for rule in found:
            assert conditions(rule)["source_ip"] == network.get("allowed_networks", [NOBODY])
            assert conditions(rule)["host_header"]


def test_many_networks_take_several_rules_and_none_lets_nobody_in() -> None:
    from millrace_infra.entry.routes import NOBODY, routes
    from millrace_infra.settings import load

    environment = load("dev", SUFFIX, folder=FOLDER)

    def networks(*allowed: str) -> list[tuple[str, ...]]:
        network = environment.settings.network.model_copy(update={"allowed_networks": allowed})
        settings = environment.settings.model_copy(update={"network": network})
        changed = type(environment)(environment.name, environment.suffix, settings)
        return [tuple(route.networks) for route in routes(changed) if route.service == "dashboard"]

    many = tuple(f"10.{number}.0.0/16" for number in range(6))
    assert networks(*many) == [many[:4], many[4:]]
    assert networks() == [(NOBODY,)]


@pytest.mark.requirement("S-11")
def test_the_sign_in_leaves_no_secret_in_the_state(services: Program) -> None:
    assert "authenticate_oidc" not in services.text
    assert "authenticate-oidc" not in services.text
    told = {one["name"] for one in containers(services, "dashboard")["dashboard"]["environment"]}
    assert {"MILLRACE_OIDC_ISSUER", "MILLRACE_OIDC_CLIENT_ID", "MILLRACE_DASHBOARD_URL"} <= told


def test_sessions_of_the_dashboard_stick_and_calls_of_the_api_do_not(services: Program) -> None:
    for colour in ("blue", "green"):
        assert services.at(f"entry/dashboard-{colour}/group")["stickiness"]["enabled"] is True
        assert services.at(f"entry/api-{colour}/group")["stickiness"]["enabled"] is False


@pytest.mark.requirement("S-03")
@pytest.mark.parametrize("suffix", [SUFFIX, "a23456789012"])
def test_names_of_load_balancers_and_target_groups_fit(built: Build, suffix: str) -> None:
    program = built("dev", "", suffix)
    for resource in program.of("aws_lb", "aws_lb_target_group"):
        assert len(resource["name"]) <= 32
        assert resource["name"].endswith(f"-{suffix}")


@pytest.mark.requirement("S-23")
def test_the_access_log_lies_in_a_private_bucket_that_only_the_balancer_writes_to(services: Program) -> None:
    log = services.at("entry/alb")["access_logs"]
    assert log["enabled"] is True
    bucket = services.follow(log["bucket"])
    assert bucket is not None
    assert bucket["force_destroy"] is True
    policy = services.at("entry/access-log/policy")
    assert policy.address in services.at("entry/alb")["depends_on"]
    allowed = [one for one in json.loads(policy["policy"])["Statement"] if one["Effect"] == "Allow"]
    assert [one["Principal"] for one in allowed] == [
        {"Service": "logdelivery.elasticloadbalancing.amazonaws.com"}
    ]
    assert allowed[0]["Resource"][0].endswith(f"/{log['prefix']}/AWSLogs/123456789012/*")
    assert services.at("entry/alb")["drop_invalid_header_fields"] is True


def test_the_internal_name_is_known_inside_the_vpc(services: Program) -> None:
    zone, record = services.at("entry/zone"), services.at("entry/record")
    assert zone["force_destroy"] is True
    assert len(zone["vpc"]) == 1
    assert services.follow(record["alias"]["name"]) == services.at("entry/alb")
    told = {
        one["name"]: one["value"] for one in containers(services, "dashboard")["dashboard"]["environment"]
    }
    assert told["MILLRACE_API_URL"] == f"https://{record['name']}"


def test_images_are_built_as_the_user_that_the_task_names() -> None:
    text = (Path(__file__).parents[3] / "containers" / "Dockerfile").read_text()
    assert "USER 10001:10001" in text
    assert 'VOLUME ["/tmp"]' in text
    assert "--require-hashes" in text
    for service in ("worker", "api", "dashboard"):
        assert f"FROM runtime AS {service}\n" in text
        assert f'ENTRYPOINT ["python", "-m", "millrace.{service}"]' in text
        lock = (Path(__file__).parents[3] / "requirements" / f"image-{service}.txt").read_text()
        assert lock.count("--hash=sha256:") > 100
