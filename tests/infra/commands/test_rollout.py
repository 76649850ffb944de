"""After Terraform: the database is migrated first, only what is not running is moved, and all is steady at the end."""

from __future__ import annotations

import json
from typing import Any, Final
from unittest.mock import MagicMock

import pytest

from millrace.errors import MillraceError
from millrace_infra.rollout import POLL_S, WAITS_S_MAX, Rollout, RolloutFailed
from millrace_infra.traffic_shift import ShiftFailed, appspec, takes_all_traffic

OUTPUTS: dict[str, Any] = {
    "cluster_name": "c", "migrate_task_definition_arn": "d/migrate:1", "migrate_subnet_ids": ["s"],
    "migrate_security_group_id": "g",
    **{f"{name}_service_name": name for name in ("worker", "api", "dashboard")},
    **{f"{name}_task_definition_arn": f"d/{name}:2" for name in ("worker", "api", "dashboard")},
    **{f"{name}_tasks_min": 3 for name in ("worker", "api", "dashboard")},
    **{f"{name}_container_port": 8443 for name in ("api", "dashboard")},
    **{f"{name}_deployment_application": "a" for name in ("api", "dashboard")},
    **{f"{name}_deployment_group": name for name in ("api", "dashboard")},
}  # fmt: skip


STEPS: Final = (
    "BeforeInstall", "Install", "AfterInstall", "BeforeAllowTraffic", "AllowTraffic", "AfterAllowTraffic",
)  # fmt: skip


class FakeCodeDeploy:
    """CodeDeploy as far as a rollout speaks to it: each look is a step further on its way.

    Traffic has moved after `looks` of them; then it is in progress until somebody ends the wait, as for an hour
    there. `ends` says how one ends that does not get as far.
    """

    def __init__(self, aws: FakeAws, *, looks: int = 3, ends: str = "") -> None:
        self.aws, self.looks, self.ends = aws, looks, ends
        self.deployments: dict[str, dict[str, Any]] = {}

    def create_deployment(self, deploymentGroupName: str, revision: Any, **_: Any) -> dict[str, str]:  # noqa: N803
        active = self.list_deployments(deploymentGroupName=deploymentGroupName)["deployments"]
        assert active == [], "CodeDeploy: the deployment group already has an active deployment"
        spec = json.loads(revision["appSpecContent"]["content"])
        moved = spec["Resources"][0]["TargetService"]["Properties"]["TaskDefinition"]
        self.aws.calls.append(deploymentGroupName)
        made = {"group": deploymentGroupName, "revision": moved, "seen": 0, "status": "Created"}
        self.deployments[f"d-{len(self.deployments) + 1}"] = made
        return {"deploymentId": f"d-{len(self.deployments)}"}

    def get_deployment(self, deploymentId: str) -> dict[str, Any]:  # noqa: N803
        one = self.deployments[deploymentId]
        self._go_on(one)
        return {"deploymentInfo": {"status": one["status"], "errorInformation": {"message": "alarm"}}}

    def list_deployments(self, deploymentGroupName: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        ours = {id_: one for id_, one in self.deployments.items() if one["group"] == deploymentGroupName}
        return {
            "deployments": [id_ for id_, one in ours.items() if one["status"] in ("Created", "InProgress")]
        }

    def list_deployment_targets(self, deploymentId: str) -> dict[str, Any]:  # noqa: N803
        assert self.deployments[deploymentId]["status"] != "Created", "DeploymentNotStartedException"
        return {"targetIds": ["c:service"]}

    def get_deployment_target(self, deploymentId: str, targetId: str) -> dict[str, Any]:  # noqa: N803
        seen = self.deployments[deploymentId]["seen"]
        weight = 100.0 if seen >= self.looks else 10.0
        last = "Succeeded" if seen > self.looks else "InProgress"
        target = {
            "lifecycleEvents": [{"lifecycleEventName": one, "status": "Succeeded"} for one in STEPS[:-1]]
            + [{"lifecycleEventName": STEPS[-1], "status": last}],
            "taskSetsInfo": [
                {"taskSetLabel": "Blue", "trafficWeight": 100.0 - weight},
                {"taskSetLabel": "Green", "trafficWeight": weight},
            ],
        }
        return {"deploymentTarget": {"deploymentTargetType": "ECSTarget", "ecsTarget": target}}

    def continue_deployment(self, deploymentId: str, deploymentWaitType: str) -> None:  # noqa: N803
        one = self.deployments[deploymentId]
        assert deploymentWaitType == "TERMINATION_WAIT"
        assert one["seen"] > self.looks, "InvalidDeploymentStatusException: traffic has not moved"
        self.aws.calls.append(f"end the wait of {one['group']}")
        one["status"] = "Succeeded"

    def _go_on(self, one: dict[str, Any]) -> None:
        if one["status"] not in ("Created", "InProgress"):
            return
        one["seen"] += 1
        one["status"] = "InProgress"
        if self.ends and one["seen"] >= 2:
            one["status"] = self.ends
        elif one["seen"] >= self.looks:
            self.aws.running[one["group"]] = one["revision"]


class FakeAws:
    """ECS as far as a rollout speaks to it; `running` is what takes traffic, `starting` how many tasks still start.

    Tasks of `never` start and end for ever. `wanted` tasks are a service's; its task set has `computed` them some looks
    later.
    """

    def __init__(
        self, *, exit_code: int = 0, ends: str = "", rollout: str = "COMPLETED", never: str = ""
    ) -> None:
        self.running = {name: f"d/{name}:1" for name in ("worker", "api", "dashboard")}
        self.exit_code, self.rollout, self.never = exit_code, rollout, never
        self.rollout_again = ""
        self.starting = dict.fromkeys(self.running, 0)
        self.wanted = dict.fromkeys(self.running, 2)
        self.computed = dict(self.wanted)
        self.late = dict.fromkeys(self.running, 0)
        self.calls: list[str] = []
        self.polls = 0
        self.codedeploy = FakeCodeDeploy(self, ends=ends)

    def __call__(self, service: str) -> Any:
        return self.codedeploy if service == "codedeploy" else self

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
        (name,) = services
        self.starting[name] = max(0, self.starting[name] - 1)
        behind = 1 if name == self.never else self.starting[name]
        self.late[name] = max(0, self.late[name] - 1)
        if not self.late[name]:
            self.computed[name] = self.wanted[name]
        wanted, computed = self.wanted[name], self.computed[name]
        counts = {"desiredCount": wanted, "runningCount": max(0, wanted - behind)}
        state = "IN_PROGRESS" if behind and self.rollout == "COMPLETED" else self.rollout
        deployments = [
            {"status": "PRIMARY", "taskDefinition": self.running[name], "rolloutState": state},
            {"status": "ACTIVE", "taskDefinition": "d/old:0", "rolloutState": "COMPLETED"},
        ]
        if name == "worker":
            return {
                "services": [{"taskDefinition": self.running[name], "deployments": deployments, **counts}]
            }
        # what CodeDeploy moves has its revision in a task set; while it keeps the old one, twice as many run
        primary = {
            "status": "PRIMARY", "taskDefinition": self.running[name], "computedDesiredCount": computed,
            "runningCount": max(0, computed - behind), "stabilityStatus": "STABILIZING" if behind else "STEADY_STATE",
        }  # fmt: skip
        old = {"status": "ACTIVE", "taskDefinition": "d/old:0", "computedDesiredCount": 2, "runningCount": 2}
        described = {"taskDefinition": "d/first:1", "taskSets": [old, primary], "deployments": []}
        return {
            "services": [described | {"desiredCount": wanted, "runningCount": max(0, wanted + 2 - behind)}]
        }

    def update_service(self, service: str, cluster: str, **changes: Any) -> None:
        assert cluster == "c"
        if "desiredCount" in changes:
            self.wanted[service], self.late[service] = changes["desiredCount"], 4
            self.calls.append(f"{changes['desiredCount']} of {service}")
        if service != "worker":
            assert set(changes) == {"desiredCount"}, "ECS: of a service that CodeDeploy moves, only the count"
            return
        assert changes["forceNewDeployment"] or changes["taskDefinition"] != self.running[service], (
            "nothing to do"
        )
        self.calls.append(service)
        self.rollout = self.rollout_again or self.rollout
        self.running[service] = changes["taskDefinition"]
        self.starting[service] = 3


def rollout(aws: FakeAws, outputs: dict[str, Any] = OUTPUTS) -> tuple[Rollout, list[float]]:
    slept: list[float] = []
    return Rollout(outputs, aws, lambda _: None, slept.append), slept


def newer(generation: int) -> dict[str, Any]:
    names = ("worker", "api", "dashboard")
    return OUTPUTS | {f"{name}_task_definition_arn": f"d/{name}:{generation}" for name in names}


@pytest.mark.requirement("S-22")
def test_each_service_is_moved_once_and_then_left_alone() -> None:
    aws = FakeAws()
    first, _ = rollout(aws)
    first.roll_out()
    assert aws.calls == ["worker", "api", "dashboard"]
    first.roll_out()
    assert aws.calls == ["worker", "api", "dashboard"]


@pytest.mark.requirement("S-22")
def test_an_upgrade_ends_when_traffic_has_moved_and_not_when_the_old_tasks_are_gone() -> None:
    aws = FakeAws()
    run, slept = rollout(aws)
    run.roll_out()
    found = {one["group"]: one for one in aws.codedeploy.deployments.values()}
    assert {one["status"] for one in found.values()} == {"InProgress"}
    assert aws.running == {name: f"d/{name}:2" for name in ("worker", "api", "dashboard")}
    assert sum(slept) < 600


@pytest.mark.requirement("S-22")
def test_a_second_upgrade_within_the_hour_ends_the_wait_of_the_first() -> None:
    aws = FakeAws()
    rollout(aws)[0].roll_out()
    rollout(aws, newer(3))[0].roll_out()
    assert aws.calls[3:] == ["worker", "end the wait of api", "api", "end the wait of dashboard", "dashboard"]
    assert aws.running["api"] == "d/api:3"


def test_a_deployment_that_somebody_else_began_is_waited_for_before_ours_begins() -> None:
    aws = FakeAws()
    theirs = {"group": "api", "revision": "d/api:7", "seen": 0, "status": "Created"}
    aws.codedeploy.deployments["d-0"] = theirs
    run, _ = rollout(aws)
    run.roll_out()
    assert theirs["status"] == "Succeeded"
    assert aws.calls == ["worker", "end the wait of api", "api", "dashboard"]


@pytest.mark.parametrize(
    ("last", "weight", "moved"),
    [("Succeeded", 100.0, True), ("Skipped", 100.0, True), ("InProgress", 100.0, False), ("Succeeded", 10.0, False),
     ("Failed", 100.0, False)],
)  # fmt: skip
def test_traffic_has_moved_when_the_new_tasks_have_all_of_it_and_the_last_step_is_done(
    last: str, weight: float, moved: bool
) -> None:
    steps = [{"lifecycleEventName": "AfterAllowTraffic", "status": last}]
    sets = [{"taskSetLabel": "Green", "trafficWeight": weight}]
    assert takes_all_traffic({"lifecycleEvents": steps, "taskSetsInfo": sets}) is moved


def test_a_target_that_has_not_begun_takes_nothing() -> None:
    assert not takes_all_traffic({})


@pytest.mark.requirement("S-22")
@pytest.mark.parametrize("service", ["worker", "api", "dashboard"])
def test_a_service_that_runs_the_newest_revision_is_waited_for_until_it_is_steady(service: str) -> None:
    """As after the first deployment: Terraform made the service, and its tasks still start."""
    aws = FakeAws()
    aws.running = {name: f"d/{name}:2" for name in aws.running}
    aws.starting[service] = 5
    run, slept = rollout(aws)
    run.roll_out()
    assert aws.calls == []
    assert slept, "it was not waited for"
    assert aws.starting[service] == 0


def made_without_tasks(revision: int = 2) -> FakeAws:
    """As Terraform leaves a first deployment."""
    aws = FakeAws()
    aws.running = {name: f"d/{name}:{revision}" for name in aws.running}
    aws.wanted = dict.fromkeys(aws.running, 0)
    aws.computed = dict(aws.wanted)
    return aws


FIRST: Final = ["3 of worker", "worker", "3 of api", "3 of dashboard"]


@pytest.mark.requirement("S-22")
def test_a_first_deployment_starts_what_terraform_made_without_tasks_and_waits_for_it() -> None:
    aws = made_without_tasks()
    run, slept = rollout(aws)
    run.roll_out()
    assert aws.calls == FIRST
    assert aws.wanted == dict.fromkeys(aws.running, 3)
    assert (aws.computed["api"], aws.computed["dashboard"]) == (3, 3)
    assert len(slept) >= 3, "one was called steady before it had a task"


@pytest.mark.requirement("S-22")
def test_deploy_starts_tasks_after_the_migration_and_the_first_rotations(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from millrace_infra import first_rotation, images, preflight, rollout, workspace
    from millrace_infra.commands.deploy import deploy

    done: list[str] = []

    def noted(step: str) -> MagicMock:
        return MagicMock(side_effect=lambda *_, **__: done.append(step))

    place = MagicMock()
    place.return_value.terraform.return_value.__enter__.return_value.apply = noted("terraform")
    monkeypatch.setattr(workspace, "workspace", place)
    unasked = ((preflight, "require"), (images, "chosen_sources"), (images, "need_docker"))
    for module, name in ((workspace, "write_outputs"), *unasked):
        monkeypatch.setattr(module, name, MagicMock())
    monkeypatch.setattr(images, "copy_all", MagicMock(return_value={}))
    monkeypatch.setattr(rollout.Rollout, "migrate", noted("migrate"))
    monkeypatch.setattr(first_rotation.FirstRotation, "run", noted("rotate"))
    monkeypatch.setattr(rollout.Rollout, "roll_out", noted("start"))
    deploy("dev", "t1")
    assert done == ["terraform", "terraform", "migrate", "rotate", "start"]


@pytest.mark.requirement("S-22")
def test_a_second_deployment_leaves_the_count_of_a_running_service_to_scaling() -> None:
    """Above the least and below it: what was started once is never started again, nor lowered."""
    aws = made_without_tasks()
    rollout(aws)[0].roll_out()
    aws.wanted |= {"worker": 26, "api": 1}
    rollout(aws)[0].roll_out()
    assert aws.calls == FIRST
    rollout(aws, newer(3))[0].roll_out()
    assert aws.wanted == {"worker": 26, "api": 1, "dashboard": 3}


@pytest.mark.requirement("S-22")
def test_a_deployment_that_ended_before_its_tasks_were_started_goes_on_with_the_newest_revision() -> None:
    """The migration failed, and the cure came with new images: workers of the old ones are never started."""
    aws = made_without_tasks(revision=1)
    rollout(aws)[0].roll_out()
    assert aws.calls == ["3 of worker", "worker", "3 of api", "api", "3 of dashboard", "dashboard"]
    assert aws.running == {name: f"d/{name}:2" for name in aws.running}


@pytest.mark.requirement("S-22")
def test_workers_whose_first_deployment_failed_are_started_again() -> None:
    """The circuit breaker ended the first deployment, and there was no revision to go back to."""
    aws = FakeAws(rollout="FAILED")
    aws.rollout_again = "COMPLETED"
    aws.running = {name: f"d/{name}:2" for name in aws.running}
    rollout(aws)[0].roll_out()
    assert aws.calls == ["worker"]


@pytest.mark.requirement("S-22")
@pytest.mark.parametrize("service", ["worker", "api", "dashboard"])
def test_a_service_whose_tasks_start_and_end_for_ever_is_an_error(service: str) -> None:
    aws = FakeAws(never=service)
    aws.running = {name: f"d/{name}:2" for name in aws.running}
    run, _ = rollout(aws)
    with pytest.raises(RolloutFailed, match=f"{service}: no end after 1200 s"):
        run.roll_out()


def test_all_waits_together_have_a_bound() -> None:
    run, slept = rollout(FakeAws(rollout="IN_PROGRESS"))
    for _ in range(10):
        with pytest.raises(RolloutFailed, match="no end after"):
            run.roll_out()
    assert sum(slept) == WAITS_S_MAX


@pytest.mark.requirement("S-25")
def test_a_deployment_s_waits_leave_time_in_the_ci_s_job_and_in_the_role_s_session() -> None:
    from pathlib import Path

    import yaml

    from millrace_infra.ci_access import SESSION_S
    from millrace_infra.first_rotation import ROTATION_S_MAX
    from millrace_infra.secrets import ROTATED

    jobs = yaml.safe_load((Path(__file__).parents[3] / ".github/workflows/deploy.yml").read_text())["jobs"]
    waits = WAITS_S_MAX + ROTATION_S_MAX * len(ROTATED)
    for job in jobs.values():
        if any("make deploy" in step.get("run", "") for step in job["steps"]):
            assert waits + 1800 <= min(job["timeout-minutes"] * 60, SESSION_S)


def test_a_migration_is_waited_for() -> None:
    run, slept = rollout(FakeAws())
    run.migrate()
    assert slept == [POLL_S]


def test_a_migration_that_fails_stops_the_deployment() -> None:
    run, _ = rollout(FakeAws(exit_code=1))
    with pytest.raises(RolloutFailed, match="because"):
        run.migrate()


@pytest.mark.parametrize(
    ("aws", "error", "said"),
    [(FakeAws(ends="Failed"), ShiftFailed, "alarm"), (FakeAws(ends="Stopped"), ShiftFailed, "stopped"),
     (FakeAws(rollout="FAILED"), RolloutFailed, "former revision"),
     (FakeAws(rollout="IN_PROGRESS"), RolloutFailed, "no end after")],
)  # fmt: skip
def test_a_deployment_that_does_not_succeed_is_an_error(
    aws: FakeAws, error: type[MillraceError], said: str
) -> None:
    run, _ = rollout(aws)
    with pytest.raises(error, match=said):
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
