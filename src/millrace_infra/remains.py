"""What `destroy` removes beside Terraform, and what is left of a suffix afterwards.

Terraform knows neither the API keys that the rotation makes, nor a log group that a late writer made again, nor
a task definition's former revisions, which a rollback may need for as long as the environment lives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from millrace.names import PROJECT
from millrace_infra.settings import Environment

DELETE_DEFINITIONS_MAX: Final = 10
"""Task definitions in one DeleteTaskDefinitions. Source: the Amazon ECS API reference."""


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
    for page in logs.get_paginator("describe_log_groups").paginate():
        for group in page["logGroups"]:
            name = group["logGroupName"]
            if PROJECT in name and name.endswith(f"-{environment.suffix}"):
                logs.delete_log_group(logGroupName=name)
    ecs = client("ecs")
    arns = [arn for arn in _definitions(ecs) if _family(arn).endswith(f"-{environment.suffix}")]
    for arn in arns:
        ecs.deregister_task_definition(taskDefinition=arn)
    for start in range(0, len(arns), DELETE_DEFINITIONS_MAX):
        ecs.delete_task_definitions(taskDefinitions=arns[start : start + DELETE_DEFINITIONS_MAX])


def _definitions(ecs: Any) -> Iterator[str]:
    for page in ecs.get_paginator("list_task_definitions").paginate(status="ACTIVE"):
        yield from (arn for arn in page["taskDefinitionArns"] if _family(arn).startswith(f"{PROJECT}-"))


def _family(arn: str) -> str:
    return arn.rpartition("/")[2].partition(":")[0]


def remaining(environment: Environment, client: Callable[[str], Any]) -> list[Left]:
    """Everything that still carries this suffix's tags in this region."""
    filters = [
        {"Key": "project", "Values": [PROJECT]},
        {"Key": "suffix", "Values": [environment.suffix]},
        {"Key": "environment", "Values": [environment.name]},
    ]
    pages = client("resourcegroupstaggingapi").get_paginator("get_resources").paginate(TagFilters=filters)
    arns = sorted(one["ResourceARN"] for page in pages for one in page["ResourceTagMappingList"])
    return [Left(arn, _until(arn, client)) for arn in arns]


def _until(arn: str, client: Callable[[str], Any]) -> str:
    """The day on which a key that is pending deletion is gone."""
    if ":kms:" not in arn:
        return ""
    key = client("kms").describe_key(KeyId=arn)["KeyMetadata"]
    return str(key["DeletionDate"].date()) if key["KeyState"] == "PendingDeletion" else ""


def _is_ours(environment: Environment, tags: dict[str, str]) -> bool:
    return tags.get("project") == PROJECT and tags.get("suffix") == environment.suffix
