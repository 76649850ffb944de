"""One deployment of CodeDeploy: started, watched until traffic has moved, and made room for.

CodeDeploy calls a deployment in progress until the tasks of the version before are gone, an hour after traffic has
moved (`deployment.SHIFTS`). So its status is no end to wait for. What ends the watch: the new task set takes all
traffic and the last step of the life cycle, `AfterAllowTraffic`, is done. Until the old tasks go, an alarm may still
send traffic back: `blue-green-failed` says so.

In that hour CodeDeploy refuses another deployment of the group. Whoever deploys again gives the way back up: the
wait is ended first, and with it the old tasks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from millrace.errors import MillraceError

LAST_STEP: Final = "AfterAllowTraffic"
DONE: Final = ("Succeeded", "Skipped")
"""A step without a hook of ours succeeds at once. Source: CodeDeploy API, LifecycleEvent."""
BEGUN: Final = ("InProgress", "Baking", "Ready")
UNDER_WAY: Final = ("Created", "Queued", *BEGUN)
FAILED: Final = ("Failed", "Stopped")
ALL_TRAFFIC: Final = 100.0

Until = Callable[[str, Callable[[], bool]], None]


class ShiftFailed(MillraceError):
    """CodeDeploy stopped: traffic is on the version before."""


@dataclass(frozen=True)
class TrafficShift:
    """The deployments of one service. `until(what, done)` waits, with a bound."""

    service: str
    application: str
    group: str
    codedeploy: Any
    until: Until

    def make_room(self) -> None:
        """Wait for a deployment that is under way; end the wait of one that only keeps its old tasks."""
        found = self.codedeploy.list_deployments(
            applicationName=self.application,
            deploymentGroupName=self.group,
            includeOnlyStatuses=list(UNDER_WAY),
        )["deployments"]
        for one in found:
            what = f"{self.service}: deployment {one}, which was under way"
            self.until(what, lambda one=one: self._ended(one) or self._has_moved(one))  # type: ignore[misc]
            if not self._ended(one):
                self.codedeploy.continue_deployment(deploymentId=one, deploymentWaitType="TERMINATION_WAIT")
                self.until(what, lambda one=one: self._ended(one))  # type: ignore[misc]

    def move_to(self, task_definition: str, port: int) -> None:
        """Returns once all traffic is on that revision."""
        spec = appspec(self.service, task_definition, port)
        started = self.codedeploy.create_deployment(
            applicationName=self.application,
            deploymentGroupName=self.group,
            revision={
                "revisionType": "AppSpecContent",
                "appSpecContent": {"content": spec, "sha256": hashlib.sha256(spec.encode()).hexdigest()},
            },
        )["deploymentId"]
        self.until(f"{self.service}: deployment {started}", lambda: self._moved(started))

    def _moved(self, deployment: str) -> bool:
        info = self._info(deployment)
        if info["status"] in FAILED:
            reason = info.get("errorInformation", {}).get("message", "no reason given")
            raise ShiftFailed(f"{self.service}: deployment {deployment} {info['status'].lower()}: {reason}")
        return info["status"] == "Succeeded" or self._has_moved(deployment)

    def _has_moved(self, deployment: str) -> bool:
        if self._info(deployment)["status"] not in BEGUN:
            return False  # it has no targets yet
        targets = self.codedeploy.list_deployment_targets(deploymentId=deployment)["targetIds"]
        return bool(targets) and all(self._takes_all(deployment, one) for one in targets)

    def _takes_all(self, deployment: str, target_id: str) -> bool:
        found = self.codedeploy.get_deployment_target(deploymentId=deployment, targetId=target_id)
        return takes_all_traffic(found["deploymentTarget"]["ecsTarget"])

    def _ended(self, deployment: str) -> bool:
        return self._info(deployment)["status"] not in UNDER_WAY

    def _info(self, deployment: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.codedeploy.get_deployment(deploymentId=deployment)["deploymentInfo"]
        return found


def takes_all_traffic(target: Mapping[str, Any]) -> bool:
    """Whether the new task set of an `ecsTarget` has all traffic, and nothing is left to do for it."""
    steps = {one["lifecycleEventName"]: one["status"] for one in target.get("lifecycleEvents", ())}
    new = [one for one in target.get("taskSetsInfo", ()) if one.get("taskSetLabel") == "Green"]
    return steps.get(LAST_STEP) in DONE and [one.get("trafficWeight") for one in new] == [ALL_TRAFFIC]


def appspec(service: str, task_definition: str, port: int) -> str:
    """What CodeDeploy shifts traffic to: this revision, at this container and port."""
    load_balancer = {"ContainerName": service, "ContainerPort": port}
    properties = {"TaskDefinition": task_definition, "LoadBalancerInfo": load_balancer}
    target = {"TargetService": {"Type": "AWS::ECS::Service", "Properties": properties}}
    return json.dumps({"version": 0.0, "Resources": [target]})
