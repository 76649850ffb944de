"""Container definitions, as ECS reads them: what holds for each, and a program of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from millrace.names import SERVICE_COLLECTOR

USER: Final = "10001:10001"
"""Made by the image; the access points of the shared file system know it by this number."""
SCRATCH_VOLUME: Final = "scratch"
SCRATCH_FOLDER: Final = "/tmp"  # a volume of the task, nobody else's  # nosec B108
SHARED_VOLUME: Final = "shared"
SHARED_FOLDER: Final = "/mnt/shared"
STOP_S_MAX: Final = 120
"""The longest that Fargate waits between SIGTERM and SIGKILL. Source: ECS container definition parameters."""
NOFILE: Final = 65_535
"""A connection is a file. The only limit that Fargate lets a task raise."""


@dataclass(frozen=True)
class Program:
    """What one of our containers runs and how it is looked after."""

    service: str
    health: Sequence[str]
    """Command that ends with 0 while the program is well."""
    start_s: int
    """How long a new one may take before an ill answer counts (300 at most)."""
    stop_s: int
    """How long it may take to end after SIGTERM."""
    port: int = 0
    command: Sequence[str] = ()
    """In the place of the image's own."""
    shared: Literal["", "read", "write"] = ""
    """What it may do on the shared file system; nothing if empty, and then it is not mounted."""
    variables: Mapping[str, str] = field(default_factory=dict)


def program(what: Program, *, image: str, log_group: str, region: str, collected: bool) -> dict[str, Any]:
    """The program's own container."""
    mounts = [_mount(SCRATCH_VOLUME, SCRATCH_FOLDER)]
    if what.shared:
        mounts.append(_mount(SHARED_VOLUME, SHARED_FOLDER, read_only=what.shared == "read"))
    content = confined(what.service, image, log_group, region) | {
        "essential": True,
        "mountPoints": mounts,
        "environment": told(what.variables),
        "stopTimeout": what.stop_s,
        "ulimits": [{"name": "nofile", "softLimit": NOFILE, "hardLimit": NOFILE}],
    }
    if what.health:
        content["healthCheck"] = {
            "command": ["CMD", *what.health],
            "interval": 30,
            "timeout": 10,
            "retries": 3,
            "startPeriod": what.start_s,
        }
    if what.port:
        content["portMappings"] = [{"containerPort": what.port, "hostPort": what.port, "protocol": "tcp"}]
    if what.command:
        content["entryPoint"], content["command"] = [what.command[0]], list(what.command[1:])
    if collected:
        content["dependsOn"] = [{"containerName": SERVICE_COLLECTOR, "condition": "START"}]
    return content


def confined(name: str, image: str, log_group: str, region: str) -> dict[str, Any]:
    """What holds for every container: no root, nothing to write to but its volumes, no capability, an init process."""
    return {
        "name": name,
        "image": image,
        "user": USER,  # the collector's image too, which is not ours, whoever it would run as
        "readonlyRootFilesystem": True,
        # init reaps what a health check leaves and passes signals on
        "linuxParameters": {"initProcessEnabled": True, "capabilities": {"drop": ["ALL"]}},
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": log_group,
                "awslogs-region": region,
                "awslogs-stream-prefix": name,
                # a log that cannot be written must not hold the program up
                "mode": "non-blocking",
                "max-buffer-size": "4m",
            },
        },
    }


def _mount(volume: str, folder: str, *, read_only: bool = False) -> dict[str, Any]:
    return {"sourceVolume": volume, "containerPath": folder, "readOnly": read_only}


def told(variables: Mapping[str, str]) -> list[dict[str, str]]:
    """In the order of the names: the same program gives the same bytes, and AWS the same revision."""
    return [{"name": name, "value": variables[name]} for name in sorted(variables)]
