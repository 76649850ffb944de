"""What a deployment does after Terraform: migrate the database, then start what is new and move traffic to it.

Terraform makes revisions, and services without tasks; these steps start them. Each may be repeated: what already runs
is left alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from millrace.errors import MillraceError
from millrace.names import SERVICE_API, SERVICE_DASHBOARD, SERVICE_WORKER
from millrace_infra.traffic_shift import TrafficShift
from millrace_infra.workspace import output_of

BLUE_GREEN: Final = (SERVICE_API, SERVICE_DASHBOARD)
ROLLING: Final = (SERVICE_WORKER,)
POLL_S: Final = 10.0
MIGRATION_S_MAX: Final = 900.0
"""It only adds (expand): what takes longer locks somebody out, and a person should look."""
ROLLOUT_S_MAX: Final = 1200.0
"""Of each wait for a service. A canary takes five minutes on purpose, a task three to start and two to end."""

WAITS_S_MAX: Final = 4500.0
"""Of all waits together. The hosted CI ends the job and the role's session after 7,200 s; Terraform, the images and
the first rotations have the rest."""


@dataclass
class Patience:
    """What is left of a deployment's time for waiting."""

    left_s: float = WAITS_S_MAX


class RolloutFailed(MillraceError):
    """A step after Terraform failed. What ran before runs still: deploy again after the cure."""


@dataclass(frozen=True)
class Rollout:
    """The platform that Terraform left, by its flat outputs, and how to reach it."""

    outputs: Mapping[str, Any]
    client: Callable[[str], Any]
    say: Callable[[str], None]
    sleep: Callable[[float], None] = time.sleep
    patience: Patience = field(default_factory=Patience)

    def output(self, name: str) -> Any:
        return output_of(self.outputs, name, RolloutFailed)

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
        """Each service at its newest revision, and steady there: moved if another one runs, waited for anyway."""
        for service in (*ROLLING, *BLUE_GREEN):
            newest = self.output(f"{service}_task_definition_arn")
            self._begin(service, newest)
            revision = newest.rpartition("/")[2]
            if self._running(service) != newest or self._gave_up(service):
                self.say(f"{service}: moving to {revision}")
                self._roll(service, newest) if service in ROLLING else self._shift(service, newest)
            self._until(service, ROLLOUT_S_MAX, lambda s=service, n=newest: self._steady(s, n))  # type: ignore[misc]
            self.say(f"{service}: runs {revision}")

    def _begin(self, service: str, newest: str) -> None:
        """Where no task is wanted, as in a service that Terraform made just now: as many as run at the least.

        A count above that is scaling's, and stays. Workers begin as a deployment, so that the circuit breaker watches
        them; of what CodeDeploy moves, ECS lets only the count be changed.
        """
        if self._described(service)["desiredCount"] > 0:
            return
        count = int(self.output(f"{service}_tasks_min"))
        self.say(f"{service}: starting {count} tasks")
        if service in ROLLING:
            self._roll(service, newest, desiredCount=count)
        else:
            self._update(service, desiredCount=count)

    def _described(self, service: str) -> dict[str, Any]:
        found = self.client("ecs").describe_services(
            cluster=self.output("cluster_name"), services=[self.output(f"{service}_service_name")]
        )["services"]
        if not found:
            raise RolloutFailed(f"the service {service} is not there: deploy the platform again")
        return dict(found[0])

    def _running(self, service: str) -> str:
        """The revision that takes traffic."""
        return str(_serving(self._described(service))["taskDefinition"])

    def _gave_up(self, service: str) -> bool:
        """ECS starts no more tasks of a first deployment that failed: there was no revision to go back to."""
        return service in ROLLING and _primary(self._described(service)).get("rolloutState") == "FAILED"

    def _steady(self, service: str, newest: str) -> bool:
        """As many tasks as are wanted, of that revision: a service that starts and ends its tasks is not there.

        None wanted is not steady either: a task set learns of the service's count a moment later.
        """
        described = self._described(service)
        serving = _serving(described)
        if service in ROLLING and not self._rolled(service, described, newest):
            return False
        wanted = serving.get("computedDesiredCount", described["desiredCount"])
        calm = serving.get("stabilityStatus", "STEADY_STATE") == "STEADY_STATE"
        return bool(calm and serving["taskDefinition"] == newest and serving["runningCount"] == wanted > 0)

    def _roll(self, service: str, newest: str, **more: Any) -> None:
        """Old and new side by side under shared leases; ECS's circuit breaker goes back by itself."""
        self._update(service, taskDefinition=newest, forceNewDeployment=True, **more)

    def _update(self, service: str, **changes: Any) -> None:
        self.client("ecs").update_service(
            cluster=self.output("cluster_name"), service=self.output(f"{service}_service_name"), **changes
        )

    def _rolled(self, service: str, described: Mapping[str, Any], newest: str) -> bool:
        primary = _primary(described)
        if primary["taskDefinition"] != newest or primary.get("rolloutState") == "FAILED":
            raise RolloutFailed(f"{service}: ECS went back to the former revision; its events say why")
        return bool(primary.get("rolloutState") == "COMPLETED")

    def _shift(self, service: str, newest: str) -> None:
        """A canary or all at once, as the group says; the version before stays up for a while."""
        shift = TrafficShift(
            service,
            self.output(f"{service}_deployment_application"),
            self.output(f"{service}_deployment_group"),
            self.client("codedeploy"),
            lambda what, done: self._until(what, ROLLOUT_S_MAX, done),
        )
        shift.make_room()
        if self._running(service) == newest:
            return
        shift.move_to(newest, int(self.output(f"{service}_container_port")))
        self.say(
            f"{service}: has all traffic; while the version before is kept, an alarm still sends it back"
        )

    def _until(self, what: str, seconds_max: float, done: Callable[[], bool]) -> None:
        seconds_max = min(seconds_max, self.patience.left_s)
        for _ in range(int(seconds_max / POLL_S)):
            if done():
                return
            self.sleep(POLL_S)
            self.patience.left_s -= POLL_S
        raise RolloutFailed(
            f"{what}: no end after {seconds_max:.0f} s; it goes on, look at it before you deploy again"
        )


def _primary(described: Mapping[str, Any]) -> Mapping[str, Any]:
    """The deployment that ECS works on; those before it stay in the list for a while."""
    found: Mapping[str, Any] = next(one for one in described["deployments"] if one["status"] == "PRIMARY")
    return found


def _serving(described: Mapping[str, Any]) -> Mapping[str, Any]:
    """What takes traffic: the primary task set where CodeDeploy moves it, else the service itself."""
    primary = [one for one in described.get("taskSets", ()) if one["status"] == "PRIMARY"]
    return (primary or [described])[0]
