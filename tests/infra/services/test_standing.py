"""Where the services stand, who may knock, on which port, and that what scales a service is that service's."""

# ruff: noqa: E501 (a row of the table is a line)

from __future__ import annotations

from typing import Any

import pytest

from millrace_infra.settings import Settings, load
from millrace_infra.settings.sizes import TaskSize
from tests.infra.breaking import NOTICED, Change, broken, put
from tests.infra.conftest import FOLDER, SUFFIX
from tests.infra.program import Program
from tests.infra.services.parts import LISTENING, LONG_RUNNING, TASKS, containers, definition, service

DIMENSION = ("ecs", "ecs:service:DesiredCount")
PORTS = {"api": 8443, "dashboard": 8444}
"""As the flow table has them."""


def settings(program: Program) -> Settings:
    return load(program.environment, SUFFIX, folder=FOLDER).settings


@pytest.mark.requirement("S-14")
@pytest.mark.requirement("S-06")
@pytest.mark.parametrize("name", LONG_RUNNING)
def test_a_service_stands_in_the_private_subnet_of_every_zone_behind_its_own_group(
    platform: Program, name: str
) -> None:
    """The packet walker knows the groups; here they are on the tasks."""
    found = service(platform, name)
    network = found["network_configuration"]
    subnets = [platform.follow(one) for one in network["subnets"]]
    zones = [
        one["availability_zone_id"] for one in subnets if one is not None and one["tags"]["tier"] == "private"
    ]
    assert sorted(zones) == sorted(settings(platform).zone_ids)
    groups = [platform.follow(one) for one in network["security_groups"]]
    assert [one.path for one in groups if one is not None] == [f"network/security-groups/{name}"]
    assert not network["assign_public_ip"]
    assert platform.follow(found["cluster"]) == platform.at("cluster/cluster")


@pytest.mark.requirement("S-12")
@pytest.mark.parametrize("name", LISTENING)
def test_the_load_balancer_calls_the_program_where_it_listens_and_the_flow_table_lets_it(
    platform: Program, name: str
) -> None:
    (target,) = service(platform, name)["load_balancer"]
    assert (target["container_name"], target["container_port"]) == (name, PORTS[name])
    assert [one["containerPort"] for one in containers(platform, name)[name]["portMappings"]] == [PORTS[name]]


@pytest.mark.requirement("S-06")
@pytest.mark.parametrize("name", LONG_RUNNING)
def test_scaling_moves_the_service_that_it_is_of_between_the_declared_counts(
    platform: Program, name: str
) -> None:
    target, size = platform.at(f"{name}-scaling/target"), getattr(settings(platform), name)
    assert isinstance(size, TaskSize)
    cluster, moved = (part for part in target["resource_id"].removeprefix("service/").split("/"))
    assert (platform.follow(cluster), platform.follow(moved)) == (
        platform.at("cluster/cluster"),
        service(platform, name),
    )
    assert (target["service_namespace"], target["scalable_dimension"]) == DIMENSION
    most = min(size.count_max, settings(platform).stream.shards) if name == "worker" else size.count_max
    assert (target["min_capacity"], target["max_capacity"]) == (size.count_min, most)


@pytest.mark.requirement("S-06")
@pytest.mark.parametrize("name", LONG_RUNNING)
def test_a_policy_of_scaling_is_its_target_s(platform: Program, name: str) -> None:
    target = platform.at(f"{name}-scaling/target")
    policies = [
        one for one in platform.of("aws_appautoscaling_policy") if one.path.startswith(f"{name}-scaling/")
    ]
    assert policies
    for one in policies:
        for key in ("resource_id", "service_namespace", "scalable_dimension"):
            assert platform.follow(one[key]) == target, f"{one.path}: {key}"
        kind = "StepScaling" if name == "worker" else "TargetTrackingScaling"
        assert one["policy_type"] == kind
        assert f"{'step' if name == 'worker' else 'target_tracking'}_scaling_policy_configuration" in one.body


@pytest.mark.requirement("S-13")
@pytest.mark.parametrize("task", TASKS)
def test_a_task_runs_as_its_own_roles_and_mounts_the_one_file_system(platform: Program, task: str) -> None:
    """What a role may do is proven elsewhere; here it is that task's, and no neighbour's."""
    found = definition(platform, task)
    for key, role in (("task_role_arn", "task-role"), ("execution_role_arn", "execution-role")):
        assert platform.follow(found[key]) == platform.at(f"{task}/task/{role}/role")
    for volume in found["volume"]:
        for mounted in [volume["efs_volume_configuration"]] if "efs_volume_configuration" in volume else []:
            assert platform.follow(mounted["file_system_id"]) == platform.at("shared-storage/system")
            point = platform.follow(mounted["authorization_config"]["access_point_id"])
            assert point == platform.at(f"shared-storage/point-{task}")


@pytest.mark.requirement("S-14")
@pytest.mark.requirement("S-02")
@pytest.mark.parametrize("noun", ["alb", "nlb"])
def test_a_load_balancer_stands_in_every_zone_behind_its_own_group(platform: Program, noun: str) -> None:
    """And the inner one passes on across zones: a zone whose balancer has no healthy task behind it answers too."""
    balancer = platform.at(f"entry/{noun}")
    private = [one for one in platform.of("aws_subnet") if one["tags"]["tier"] == "private"]
    assert sorted(balancer["subnets"]) == sorted("${" + one.address + ".id}" for one in private)
    groups = [platform.follow(one) for one in balancer["security_groups"]]
    assert groups == [platform.at(f"network/security-groups/{noun}")]
    assert balancer["load_balancer_type"] == {"alb": "application", "nlb": "network"}[noun]
    assert noun == "alb" or balancer["enable_cross_zone_load_balancing"] is True


BALANCER = test_a_load_balancer_stands_in_every_zone_behind_its_own_group
NETWORK = "network_configuration"
ROLES = test_a_task_runs_as_its_own_roles_and_mounts_the_one_file_system
BROKEN: list[tuple[str, Change, Any, str]] = [
    ("api/service", put(f"{NETWORK}.security_groups", []), test_a_service_stands_in_the_private_subnet_of_every_zone_behind_its_own_group, "api"),
    ("worker/service", lambda body: body[NETWORK]["subnets"].pop(), test_a_service_stands_in_the_private_subnet_of_every_zone_behind_its_own_group, "worker"),
    ("worker/service", put(f"{NETWORK}.assign_public_ip", True), test_a_service_stands_in_the_private_subnet_of_every_zone_behind_its_own_group, "worker"),
    ("dashboard/service", put("cluster", "default"), test_a_service_stands_in_the_private_subnet_of_every_zone_behind_its_own_group, "dashboard"),
    ("api/service", put("load_balancer.0.container_port", 8444), test_the_load_balancer_calls_the_program_where_it_listens_and_the_flow_table_lets_it, "api"),
    ("api/service", put("load_balancer.0.container_name", "collector"), test_the_load_balancer_calls_the_program_where_it_listens_and_the_flow_table_lets_it, "api"),
    ("api-scaling/target", put("resource_id", "service/millrace-cluster-t1/millrace-worker-t1"), test_scaling_moves_the_service_that_it_is_of_between_the_declared_counts, "api"),
    ("api-scaling/target", put("max_capacity", 12), test_scaling_moves_the_service_that_it_is_of_between_the_declared_counts, "api"),
    ("dashboard-scaling/policy", put("resource_id", "service/a/b"), test_a_policy_of_scaling_is_its_target_s, "dashboard"),
    ("api/task/definition", put("task_role_arn", "${aws_iam_role.worker_task_task-role_1.arn}"), ROLES, "api"),
    ("migrate/task/definition", put("execution_role_arn", "arn:aws:iam::123456789012:role/other"), ROLES, "migrate"),
    ("worker/task/definition", put("volume.1.efs_volume_configuration.file_system_id", "fs-other"), ROLES, "worker"),
    ("worker/task/definition", put("volume.1.efs_volume_configuration.authorization_config.access_point_id", "fsap-other"), ROLES, "worker"),
    ("entry/nlb", lambda body: body["subnets"].pop(), BALANCER, "nlb"),
    ("entry/nlb", put("enable_cross_zone_load_balancing", False), BALANCER, "nlb"),
    ("entry/alb", put("security_groups", ["${aws_security_group.network_security-groups_api_92BDE795.id}"]), BALANCER, "alb"),
    ("entry/alb", lambda body: body.pop("load_balancer_type"), BALANCER, "alb"),
    ("worker-scaling/down", put("policy_type", "TargetTrackingScaling"), test_a_policy_of_scaling_is_its_target_s, "worker"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "change", "promise", "name"), BROKEN)
def test_a_broken_place_is_noticed(dev: Program, path: str, change: Change, promise: Any, name: str) -> None:
    promise(dev, name)
    with pytest.raises(NOTICED):
        promise(broken(dev, path, change), name)
