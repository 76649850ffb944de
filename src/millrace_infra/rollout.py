"""What a deployment does after Terraform: migrate the database, then move traffic to what is new.

Terraform makes revisions; these steps start them. Each may be repeated: what already runs is left alone.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from millrace.errors import MillraceError
from millrace.names import SERVICE_API, SERVICE_DASHBOARD, SERVICE_WORKER

BLUE_GREEN: Final = (SERVICE_API, SERVICE_DASHBOARD)
ROLLING: Final = (SERVICE_WORKER,)
POLL_S: Final = 10.0
MIGRATION_S_MAX: Final = 1800.0
ROLLOUT_S_MAX: Final = 3600.0
"""A canary waits minutes on purpose, and an old task has two minutes to end."""


class RolloutFailed(MillraceError):
    """A step after Terraform failed. What ran before runs still: deploy again after the cure."""


@dataclass(frozen=True)
class Rollout:
    """The platform that Terraform left, by its flat outputs, and how to reach it."""

    outputs: Mapping[str, Any]
    client: Callable[[str], Any]
    say: Callable[[str], None]
    sleep: Callable[[float], None] = time.sleep

    def output(self, name: str) -> Any:
        if name not in self.outputs:
            raise RolloutFailed(
                f"the platform has no output {name}: it was made by another version, deploy it again"
            )
        return self.outputs[name]

    def migrate(self) -> None:
        """Run the migration task once, and wait for it: traffic moves to nothing that lacks its tables."""
        ecs = self.client("ecs")
        network = {
            "subnets": list(self.output("migrate_subnet_ids")),
            "securityGroups": [self.output("migrate_security_group_id")],
            "assignPublicIp": "DISABLED",
        }
        started = ecs.run_task(
            cluster=self.output("cluster_name"),
            taskDefinition=self.output("migrate_task_definition_arn"),
            launchType="FARGATE",
            networkConfiguration={"awsvpcConfiguration": network},
        )
        if not started["tasks"]:
            raise RolloutFailed(f"the migration did not start: {started['failures']}")
        arn = started["tasks"][0]["taskArn"]
        self.say(f"migration: {arn}")
        self._until("the migration", MIGRATION_S_MAX, lambda: self._migrated(arn))

    def _migrated(self, arn: str) -> bool:
        task = self.client("ecs").describe_tasks(cluster=self.output("cluster_name"), tasks=[arn])["tasks"][0]
        if task["lastStatus"] != "STOPPED":
            return False
        codes = {one["name"]: one.get("exitCode") for one in task["containers"]}
        if codes.get("migrate") != 0:
            reason = task.get("stoppedReason", "no reason given")
            raise RolloutFailed(f"the migration ended with {codes}: {reason}; its log group says more")
        return True

    def roll_out(self) -> None:
        """A deployment for each service whose newest revision is not the running one."""
        for service in (*ROLLING, *BLUE_GREEN):
            newest = self.output(f"{service}_task_definition_arn")
            if self._running(service) == newest:
                self.say(f"{service}: runs {newest.rpartition('/')[2]} already")
                continue
            self.say(f"{service}: moving to {newest.rpartition('/')[2]}")
            if service in ROLLING:
                self._roll(service, newest)
            else:
                self._shift(service, newest)

    def _described(self, service: str) -> dict[str, Any]:
        found = self.client("ecs").describe_services(
            cluster=self.output("cluster_name"), services=[self.output(f"{service}_service_name")]
        )["services"]
        if not found:
            raise RolloutFailed(f"the service {service} is not there: deploy the platform again")
        return dict(found[0])

    def _running(self, service: str) -> str:
        """The revision that takes traffic: of the primary task set where CodeDeploy moves it."""
        described = self._described(service)
        primary = [one for one in described.get("taskSets", ()) if one["status"] == "PRIMARY"]
        return str((primary or [described])[0]["taskDefinition"])

    def _roll(self, service: str, newest: str) -> None:
        """Old and new side by side under shared leases; ECS's circuit breaker goes back by itself."""
        self.client("ecs").update_service(
            cluster=self.output("cluster_name"),
            service=self.output(f"{service}_service_name"),
            taskDefinition=newest,
        )
        self._until(service, ROLLOUT_S_MAX, lambda: self._rolled(service, newest))

    def _rolled(self, service: str, newest: str) -> bool:
        deployments = self._described(service)["deployments"]
        ours = [one for one in deployments if one["taskDefinition"] == newest]
        if not ours or ours[0].get("rolloutState") == "FAILED":
            raise RolloutFailed(f"{service}: ECS went back to the former revision; its events say why")
        return bool(ours[0].get("rolloutState") == "COMPLETED")

    def _shift(self, service: str, newest: str) -> None:
        spec = appspec(service, newest, int(self.output(f"{service}_container_port")))
        started = self.client("codedeploy").create_deployment(
            applicationName=self.output(f"{service}_deployment_application"),
            deploymentGroupName=self.output(f"{service}_deployment_group"),
            revision={
                "revisionType": "AppSpecContent",
                "appSpecContent": {"content": spec, "sha256": hashlib.sha256(spec.encode()).hexdigest()},
            },
        )["deploymentId"]
        self._until(service, ROLLOUT_S_MAX, lambda: self._shifted(service, started))

    def _shifted(self, service: str, deployment: str) -> bool:
        info = self.client("codedeploy").get_deployment(deploymentId=deployment)["deploymentInfo"]
        if info["status"] in ("Failed", "Stopped"):
            reason = info.get("errorInformation", {}).get("message", "no reason given")
            raise RolloutFailed(f"{service}: deployment {deployment} {info['status'].lower()}: {reason}")
        return bool(info["status"] == "Succeeded")

    def _until(self, what: str, seconds_max: float, done: Callable[[], bool]) -> None:
        for _ in range(int(seconds_max / POLL_S)):
            if done():
                return
            self.sleep(POLL_S)
        raise RolloutFailed(
            f"{what}: no end after {seconds_max:.0f} s; it goes on, look at it before you deploy again"
        )


def appspec(service: str, task_definition: str, port: int) -> str:
    """What CodeDeploy shifts traffic to: this revision, at this container and port."""
    load_balancer = {"ContainerName": service, "ContainerPort": port}
    properties = {"TaskDefinition": task_definition, "LoadBalancerInfo": load_balancer}
    target = {"TargetService": {"Type": "AWS::ECS::Service", "Properties": properties}}
    return json.dumps({"version": 0.0, "Resources": [target]})
