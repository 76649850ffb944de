"""After Terraform: the database is migrated first, and only what is not running is moved."""

from __future__ import annotations

import json
from typing import Any

import pytest

from millrace_infra.rollout import POLL_S, Rollout, RolloutFailed, appspec

OUTPUTS: dict[str, Any] = {
    "cluster_name": "c", "migrate_task_definition_arn": "d/migrate:1", "migrate_subnet_ids": ["s"],
    "migrate_security_group_id": "g",
    **{f"{name}_service_name": name for name in ("worker", "api", "dashboard")},
    **{f"{name}_task_definition_arn": f"d/{name}:2" for name in ("worker", "api", "dashboard")},
    **{f"{name}_container_port": 8443 for name in ("api", "dashboard")},
    **{f"{name}_deployment_application": "a" for name in ("api", "dashboard")},
    **{f"{name}_deployment_group": name for name in ("api", "dashboard")},
}  # fmt: skip


class FakeAws:
    """ECS and CodeDeploy as far as a rollout speaks to them; `running` is what takes traffic."""

    def __init__(self, *, exit_code: int = 0, status: str = "Succeeded", rollout: str = "COMPLETED") -> None:
        self.running = {name: f"d/{name}:1" for name in ("worker", "api", "dashboard")}
        self.exit_code, self.status, self.rollout = exit_code, status, rollout
        self.calls: list[str] = []
        self.polls = 0

    def __call__(self, service: str) -> FakeAws:
        return self

    def run_task(self, **asked: Any) -> dict[str, Any]:
        assert asked["networkConfiguration"]["awsvpcConfiguration"]["assignPublicIp"] == "DISABLED"
        self.calls.append("migrate")
        return {"tasks": [{"taskArn": "t"}], "failures": []}

    def describe_tasks(self, **_: Any) -> dict[str, Any]:
        self.polls += 1
        status = "STOPPED" if self.polls > 1 else "RUNNING"
        container = {"name": "migrate", "exitCode": self.exit_code}
        return {"tasks": [{"lastStatus": status, "stoppedReason": "because", "containers": [container]}]}

    def describe_services(self, services: list[str], **_: Any) -> dict[str, Any]:
        arn = self.running[services[0]]
        if services == ["worker"]:
            described: dict[str, Any] = {"taskDefinition": arn}
        else:  # what CodeDeploy moves has its revision in a task set
            described = {
                "taskDefinition": "d/first:1",
                "taskSets": [{"status": "PRIMARY", "taskDefinition": arn}],
            }
        return {
            "services": [described | {"deployments": [{"taskDefinition": arn, "rolloutState": self.rollout}]}]
        }

    def update_service(self, service: str, taskDefinition: str, **_: Any) -> None:  # noqa: N803
        self.calls.append(service)
        self.running[service] = taskDefinition

    def create_deployment(self, deploymentGroupName: str, revision: Any, **_: Any) -> dict[str, str]:  # noqa: N803
        spec = json.loads(revision["appSpecContent"]["content"])
        moved = spec["Resources"][0]["TargetService"]["Properties"]["TaskDefinition"]
        self.calls.append(deploymentGroupName)
        self.running[deploymentGroupName] = moved
        return {"deploymentId": "d-1"}

    def get_deployment(self, **_: Any) -> dict[str, Any]:
        return {"deploymentInfo": {"status": self.status, "errorInformation": {"message": "alarm"}}}


def rollout(aws: FakeAws, outputs: dict[str, Any] = OUTPUTS) -> tuple[Rollout, list[float]]:
    slept: list[float] = []
    return Rollout(outputs, aws, lambda _: None, slept.append), slept


@pytest.mark.requirement("S-22")
def test_each_service_is_moved_once_and_then_left_alone() -> None:
    aws = FakeAws()
    first, _ = rollout(aws)
    first.roll_out()
    assert aws.calls == ["worker", "api", "dashboard"]
    first.roll_out()
    assert aws.calls == ["worker", "api", "dashboard"]


def test_a_migration_is_waited_for() -> None:
    run, slept = rollout(FakeAws())
    run.migrate()
    assert slept == [POLL_S]


def test_a_migration_that_fails_stops_the_deployment() -> None:
    run, _ = rollout(FakeAws(exit_code=1))
    with pytest.raises(RolloutFailed, match="because"):
        run.migrate()


@pytest.mark.parametrize(
    ("aws", "said"),
    [(FakeAws(status="Failed"), "alarm"), (FakeAws(status="Stopped"), "stopped"),
     (FakeAws(rollout="FAILED"), "former revision"), (FakeAws(rollout="IN_PROGRESS"), "no end after")],
)  # fmt: skip
def test_a_deployment_that_does_not_succeed_is_an_error(aws: FakeAws, said: str) -> None:
    run, _ = rollout(aws)
    with pytest.raises(RolloutFailed, match=said):
        run.roll_out()


def test_a_platform_of_another_version_is_named_as_such() -> None:
    run, _ = rollout(FakeAws(), {})
    with pytest.raises(RolloutFailed, match="no output migrate_subnet_ids"):
        run.migrate()


def test_the_appspec_names_revision_container_and_port() -> None:
    content = json.loads(appspec("api", "d/api:2", 8443))
    properties = content["Resources"][0]["TargetService"]["Properties"]
    assert properties == {
        "TaskDefinition": "d/api:2", "LoadBalancerInfo": {"ContainerName": "api", "ContainerPort": 8443},
    }  # fmt: skip
