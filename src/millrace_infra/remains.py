"""What `destroy` removes beside Terraform, and what is left of a suffix afterwards.

Terraform knows neither the API keys that the rotation makes, nor a log group that a late writer made again, nor
a task definition's former revisions, which a rollback may need for as long as the environment lives. What is ours
is known by its whole name or by its tags: the end of a name may be the end of a neighbour's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from millrace.names import PROJECT, SERVICE_API, SERVICE_DASHBOARD, SERVICE_MIGRATE, SERVICE_WORKER
from millrace_infra.settings import Environment

DELETE_DEFINITIONS_MAX: Final = 10
"""Task definitions in one DeleteTaskDefinitions. Source: the Amazon ECS API reference."""
LOOK_S: Final = 30.0
LOOKS_MAX: Final = 11
"""Five minutes: the list is brought up to date behind the calls that it follows, a NAT gateway goes in as long."""
TASKS: Final = (SERVICE_API, SERVICE_DASHBOARD, SERVICE_MIGRATE, SERVICE_WORKER)
LOGS: Final = (*TASKS, "collector", "ecs-exec", "flow", "gateway", "redis", "rotation")
"""Nouns that have a task definition, and those that have a log group; a test holds both against the program."""
GONE: Final = ("deleted", "INACTIVE")
"""As EC2 and ECS call it."""
EXECUTION_LOGS: Final = "API-Gateway-Execution-Logs_"
"""What API Gateway calls its own group of a stage: then the API's id, which is gone by now, and the stage's name."""
SHARED_LOG_GROUPS: Final = {
    "RDSOSMetrics": "enhanced monitoring of all databases of the region; RDS makes it and keeps it",
    "/aws/apigateway/welcome": "API Gateway makes it when it is told of its log role",
}
"""Log groups that AWS keeps once per account and region: another suffix may still write there."""


@dataclass(frozen=True)
class Left:
    """Something that is still there. `until` is empty for what should not be."""

    arn: str
    until: str = ""


def remove_api_keys(environment: Environment, client: Callable[[str], Any]) -> list[str]:
    """Delete the keys that the rotation made, before their usage plan goes."""
    gateway = client("apigateway")
    ours = [
        key
        for page in gateway.get_paginator("get_api_keys").paginate()
        for key in page["items"]
        if _is_ours(environment, key.get("tags") or {})
    ]
    for key in ours:
        gateway.delete_api_key(apiKey=key["id"])
    return [key["name"] for key in ours]


def remove_what_terraform_leaves(environment: Environment, client: Callable[[str], Any]) -> None:
    """Log groups that came back, and every revision of our task definitions."""
    logs = client("logs")
    for name in _log_groups(logs):
        if is_our_log_group(environment, name):
            logs.delete_log_group(logGroupName=name)
    ecs = client("ecs")
    ours = {environment.names.of(service) for service in TASKS}
    arns = [arn for arn in _definitions(ecs) if _family(arn) in ours]
    for arn in arns:
        ecs.deregister_task_definition(taskDefinition=arn)
    for start in range(0, len(arns), DELETE_DEFINITIONS_MAX):
        ecs.delete_task_definitions(taskDefinitions=arns[start : start + DELETE_DEFINITIONS_MAX])


def is_our_log_group(environment: Environment, name: str) -> bool:
    """Of this suffix and no other: one that we make, or that AWS makes for what we make."""
    names = environment.names
    ours = {f"/{PROJECT}/{noun}-{environment.suffix}" for noun in LOGS} | {
        f"aws-waf-logs-{PROJECT}-{environment.suffix}",
        f"/aws/rds/cluster/{names.of('aurora', 'database')}/postgresql",
        f"/aws/ecs/containerinsights/{names.of('cluster')}/performance",
    }
    prefix, _, stage = name.partition("/")
    return name in ours or (prefix.startswith(EXECUTION_LOGS) and stage == names.of("stage"))


def _log_groups(logs: Any) -> list[str]:
    pages = logs.get_paginator("describe_log_groups").paginate()
    return [group["logGroupName"] for page in pages for group in page["logGroups"]]


def _definitions(ecs: Any) -> Iterator[str]:
    for page in ecs.get_paginator("list_task_definitions").paginate(status="ACTIVE"):
        yield from page["taskDefinitionArns"]


def _family(arn: str) -> str:
    return arn.rpartition("/")[2].partition(":")[0]


def remaining(environment: Environment, client: Callable[[str], Any]) -> list[Left]:
    """Everything that still carries this suffix's tags in this region, and its roles."""
    filters = [
        {"Key": "project", "Values": [PROJECT]},
        {"Key": "suffix", "Values": [environment.suffix]},
        {"Key": "environment", "Values": [environment.name]},
    ]
    pages = client("resourcegroupstaggingapi").get_paginator("get_resources").paginate(TagFilters=filters)
    tagged = [one["ResourceARN"] for page in pages for one in page["ResourceTagMappingList"]]
    arns = sorted({*tagged, *_roles(environment, client("iam"))})
    return [Left(arn, _until(arn, client)) for arn in arns if not _is_gone(arn, client)]


def _roles(environment: Environment, iam: Any) -> Iterator[str]:
    """AWS's list of tagged things has none of IAM's. The end of a role's name is whole: a suffix is one word."""
    end = f"-{environment.region}-{environment.suffix}"
    for page in iam.get_paginator("list_roles").paginate():
        for role in page["Roles"]:
            if role["RoleName"].startswith(f"{PROJECT}-") and role["RoleName"].endswith(end):
                yield role["Arn"]


def _is_gone(arn: str, client: Callable[[str], Any]) -> bool:
    """Whether its own service calls it deleted. A NAT gateway is shown for an hour after it was, a service and a
    cluster of ECS for longer, tags and all. Source: the VPC user guide, Delete a NAT gateway; the ECS API reference.
    """
    kind, _, name = arn.rpartition(":")[2].partition("/")
    if kind == "natgateway":
        one = [{"Name": "nat-gateway-id", "Values": [name]}]
        states = [found["State"] for found in client("ec2").describe_nat_gateways(Filter=one)["NatGateways"]]
    elif ":ecs:" in arn and kind == "cluster":
        states = [found["status"] for found in client("ecs").describe_clusters(clusters=[arn])["clusters"]]
    elif ":ecs:" in arn and kind == "service":
        states = _service_states(client("ecs"), cluster=name.partition("/")[0], service=arn)
    else:
        return False
    return all(state in GONE for state in states)


def _service_states(ecs: Any, *, cluster: str, service: str) -> list[str]:
    try:
        found = ecs.describe_services(cluster=cluster, services=[service])["services"]
    except ecs.exceptions.ClusterNotFoundException:
        return []
    return [one["status"] for one in found]


def settled(
    environment: Environment, client: Callable[[str], Any], sleep: Callable[[float], None] = time.sleep
) -> list[Left]:
    """What remains once AWS's list of tagged things has caught up with what was deleted."""
    left = remaining(environment, client)
    for _ in range(LOOKS_MAX - 1):
        if all(one.until for one in left):
            break
        sleep(LOOK_S)
        left = remaining(environment, client)
    return left


def shared(environment: Environment, client: Callable[[str], Any]) -> list[tuple[str, str]]:
    """(what, why it stays): all that the account has once, and that no suffix may take with it."""
    from millrace_infra.account import adoptable
    from millrace_infra.stack import state_bucket

    found = set(_log_groups(client("logs")))
    groups = [(f"log group {name}", why) for name, why in SHARED_LOG_GROUPS.items() if name in found]
    stack = f"stack {PROJECT}-account"
    kept = [
        (
            stack,
            "what make bootstrap made: the state's bucket and key, settings of the region, the CI's roles",
        )
    ]
    if environment.settings.state.kind == "s3":
        folder = f"s3://{state_bucket(environment)}/{PROJECT}-"
        states = [f"{folder}{suffix}/terraform.tfstate" for suffix in _stacks(environment)]
        kept += [(f"state {state}", "empty now; its former versions stay for 90 days") for state in states]
    kept += [(arn, "of the account, whoever made it") for _, arn in adoptable(environment)]
    return groups + kept


def _stacks(environment: Environment) -> tuple[str, str]:
    return environment.suffix, f"registry-{environment.suffix}"


def _until(arn: str, client: Callable[[str], Any]) -> str:
    """The day on which a key that is pending deletion is gone."""
    if ":kms:" not in arn:
        return ""
    key = client("kms").describe_key(KeyId=arn)["KeyMetadata"]
    return str(key["DeletionDate"].date()) if key["KeyState"] == "PendingDeletion" else ""


def _is_ours(environment: Environment, tags: dict[str, str]) -> bool:
    return tags.get("project") == PROJECT and tags.get("suffix") == environment.suffix
