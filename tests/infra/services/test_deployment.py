"""How a next version comes, and goes again if it is bad."""

from __future__ import annotations

import pytest

from millrace.errors import SettingError
from tests.infra.program import Program
from tests.infra.services.conftest import API_ALARMS, WORKER_ALARMS
from tests.infra.services.parts import (
    LISTENING,
    LONG_RUNNING,
    definition,
    listener_rules,
    service,
    statements,
)


@pytest.mark.requirement("S-22")
@pytest.mark.parametrize("name", LISTENING)
def test_a_service_with_traffic_is_moved_by_codedeploy_between_two_groups(
    services: Program, name: str
) -> None:
    assert service(services, name)["deployment_controller"] == {"type": "CODE_DEPLOY"}
    group = services.at(f"deployment/{name}")
    pair = group["load_balancer_info"]["target_group_pair_info"]
    assert [one["name"] for one in pair["target_group"]] == [f"mr-{name}-blue-t1", f"mr-{name}-green-t1"]
    assert services.follow(pair["prod_traffic_route"]["listener_arns"][0]) == services.at("entry/https")
    assert services.follow(pair["test_traffic_route"]["listener_arns"][0]) == services.at("entry/test")
    assert group["deployment_style"] == {
        "deployment_type": "BLUE_GREEN",
        "deployment_option": "WITH_TRAFFIC_CONTROL",
    }
    first = services.follow(service(services, name)["load_balancer"][0]["target_group_arn"])
    assert first is not None
    assert first["name"] == f"mr-{name}-blue-t1"


@pytest.mark.requirement("S-22")
def test_the_api_moves_by_a_tenth_and_the_dashboard_at_once(services: Program) -> None:
    assert services.at("deployment/api")["deployment_config_name"].endswith("ECSCanary10Percent5Minutes")
    assert services.at("deployment/dashboard")["deployment_config_name"].endswith("ECSAllAtOnce")


@pytest.mark.requirement("S-22")
@pytest.mark.parametrize("name", LISTENING)
def test_a_bad_version_goes_back_by_itself_to_one_that_is_still_up(services: Program, name: str) -> None:
    group = services.at(f"deployment/{name}")
    back = group["auto_rollback_configuration"]
    assert back["enabled"] is True
    assert {"DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM"} <= set(back["events"])
    end = group["blue_green_deployment_config"]["terminate_blue_instances_on_deployment_success"]
    assert end["action"] == "TERMINATE"
    assert end["termination_wait_time_in_minutes"] >= 30


@pytest.mark.requirement("S-22")
def test_alarms_stop_a_deployment(services: Program) -> None:
    assert services.at("deployment/api")["alarm_configuration"] == {
        "enabled": True,
        "alarms": list(API_ALARMS),
        "ignore_poll_alarm_failure": False,
    }
    assert service(services, "worker")["alarms"] == {
        "alarm_names": list(WORKER_ALARMS),
        "enable": True,
        "rollback": True,
    }


def test_more_alarms_than_codedeploy_looks_at_are_refused() -> None:
    from millrace_infra.deployment import ALARMS_MAX, _bounded

    assert len(_bounded("api", ["a"] * ALARMS_MAX)) == ALARMS_MAX
    with pytest.raises(SettingError, match="10 at most"):
        _bounded("api", ["a"] * (ALARMS_MAX + 1))


@pytest.mark.requirement("S-22")
@pytest.mark.parametrize("name", LISTENING)
def test_terraform_puts_nothing_back_that_a_deployment_moved(services: Program, name: str) -> None:
    ignored = service(services, name)["lifecycle"]["ignore_changes"]
    assert set(ignored) == {
        "task_definition", "load_balancer", "network_configuration", "platform_version", "desired_count",
    }  # fmt: skip
    for listener in ("rules", "test-rules"):
        for rule in listener_rules(services, listener):
            assert rule["lifecycle"]["ignore_changes"] == ["action"]


@pytest.mark.requirement("S-22")
@pytest.mark.parametrize("name", LISTENING)
def test_a_service_is_made_after_the_rules_that_lead_to_its_target_groups(
    services: Program, name: str
) -> None:
    after = set(service(services, name)["depends_on"])
    led = set()
    for rule in services.of("aws_lb_listener_rule"):
        group = services.follow(rule["action"][0]["target_group_arn"])
        assert group is not None
        if f"-{name}-" in f"-{group['name']}-":
            assert rule.address in after
            led.add(group["name"])
    assert led == {f"mr-{name}-blue-t1", f"mr-{name}-green-t1"}


@pytest.mark.requirement("S-22")
def test_workers_of_two_versions_run_side_by_side(services: Program) -> None:
    worker = service(services, "worker")
    assert worker["deployment_controller"] == {"type": "ECS"}
    assert worker["deployment_minimum_healthy_percent"] == 100
    assert worker["deployment_maximum_percent"] == 200
    assert worker["deployment_circuit_breaker"] == {"enable": True, "rollback": True}
    # a new revision waits for the migration
    assert set(worker["lifecycle"]["ignore_changes"]) == {"task_definition", "desired_count"}


@pytest.mark.requirement("S-06")
@pytest.mark.parametrize("name", LONG_RUNNING)
def test_tasks_have_no_public_address_and_lie_in_every_zone(services: Program, name: str) -> None:
    found = service(services, name)
    network = found["network_configuration"]
    assert network["assign_public_ip"] is False
    assert all("private" in subnet for subnet in network["subnets"])
    assert len(network["subnets"]) == len(services.at("entry/alb")["subnets"]) >= 2
    assert found["launch_type"] == "FARGATE"
    assert found["platform_version"] == "1.4.0"
    assert services.follow(found["task_definition"]) == definition(services, name)


@pytest.mark.requirement("S-03")
@pytest.mark.parametrize("name", LONG_RUNNING)
def test_tags_reach_the_tasks(services: Program, name: str) -> None:
    assert service(services, name)["propagate_tags"] == "SERVICE"
    assert service(services, name)["enable_ecs_managed_tags"] is True


@pytest.mark.requirement("S-04")
@pytest.mark.parametrize("name", LONG_RUNNING)
def test_a_service_is_destroyed_with_its_tasks(services: Program, name: str) -> None:
    assert service(services, name)["force_delete"] is True


@pytest.mark.requirement("S-13")
def test_codedeploy_moves_these_services_and_hands_over_their_roles_only(services: Program) -> None:
    for statement in statements(services, "deployment/role"):
        if statement["Resource"] == ["*"]:
            reads = all(":Describe" in action for action in statement["Action"])
            assert reads or list(statement["Condition"]["ArnEquals"]) == ["ecs:cluster"]
        if "iam:PassRole" in statement["Action"]:
            assert statement["Condition"] == {
                "StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}
            }
            assert len(statement["Resource"]) == 4
            assert not any("worker" in arn for arn in statement["Resource"])
