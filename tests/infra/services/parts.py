"""What the tests of the services look for: task definitions, their containers, policies by role."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.infra.program import Program, Resource

Build = Callable[..., Program]
LONG_RUNNING = ("worker", "api", "dashboard")
LISTENING = ("api", "dashboard")
TASKS = (*LONG_RUNNING, "migrate")


def definition(program: Program, task: str) -> Resource:
    return program.at(f"{task}/task/definition")


def containers(program: Program, task: str) -> dict[str, dict[str, Any]]:
    """By name."""
    return {one["name"]: one for one in json.loads(definition(program, task)["container_definitions"])}


def variables(program: Program, task: str) -> dict[str, str]:
    """What the program itself is told."""
    return {one["name"]: one["value"] for one in containers(program, task)[task]["environment"]}


def service(program: Program, name: str) -> Resource:
    return program.at(f"{name}/service")


def statements(program: Program, role: str) -> list[dict[str, Any]]:
    """Of the inline policies under a role's construct path."""
    return [
        statement
        for resource, statement in program.policies()
        if f"{role}/may-" in resource.path and resource.type == "aws_iam_role_policy"
    ]


def listener_rules(program: Program, listener: str) -> list[Resource]:
    return [rule for rule in program.of("aws_lb_listener_rule") if f"/{listener}/" in f"/{rule.path}"]
