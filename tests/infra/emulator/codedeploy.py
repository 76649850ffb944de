"""CodeDeploy: applications and deployment groups, whole. What is deployed to them is in traffic.py."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from moto.ecs.models import ecs_backends

from tests.infra.emulator import tags
from tests.infra.emulator.dispatch import ACCOUNT_ID, Call, Refused, answers, store

APPLICATIONS = store()
GROUPS = store()


def _application(call: Call) -> dict[str, Any]:
    name = call["applicationName"]
    if name not in APPLICATIONS[call.region]:
        raise Refused("ApplicationDoesNotExistException", f"No application found for name: {name}")
    return dict(APPLICATIONS[call.region][name])


@answers("codedeploy", "CreateApplication")
def create_application(call: Call) -> dict[str, Any]:
    name = call["applicationName"]
    if name in APPLICATIONS[call.region]:
        raise Refused("ApplicationAlreadyExistsException", f"Application {name} already exists")
    APPLICATIONS[call.region][name] = {
        "applicationId": str(uuid.uuid4()),
        "applicationName": name,
        "createTime": datetime.now(UTC),
        "linkedToGitHub": False,
        "computePlatform": call.get("computePlatform", "Server"),
    }
    tags.put(call.arn("codedeploy", f"application:{name}"), call.get("tags"))
    return {"applicationId": APPLICATIONS[call.region][name]["applicationId"]}


@answers("codedeploy", "GetApplication")
def get_application(call: Call) -> dict[str, Any]:
    return {"application": _application(call)}


@answers("codedeploy", "ListApplications")
def list_applications(call: Call) -> dict[str, Any]:
    return {"applications": sorted(APPLICATIONS[call.region])}


@answers("codedeploy", "DeleteApplication")
def delete_application(call: Call) -> dict[str, Any]:
    name = call["applicationName"]
    APPLICATIONS[call.region].pop(name, None)
    tags.forget(call.arn("codedeploy", f"application:{name}"))
    for key in [key for key in GROUPS[call.region] if key.startswith(f"{name}/")]:
        del GROUPS[call.region][key]
    return {}


def _check(call: Call, group: dict[str, Any]) -> None:
    """What CodeDeploy refuses of a group for ECS: a service that is not there, a style that cannot shift traffic."""
    if group["computePlatform"] != "ECS":
        return
    for service in group.get("ecsServices", ()):
        backend = ecs_backends[ACCOUNT_ID][call.region]
        found = [one for one in backend.services.values() if one.name == service["serviceName"]]
        if not found or service["clusterName"] not in backend.clusters:
            raise Refused("InvalidECSServiceException", f"No service found: {service}")
        if found[0].deployment_controller.get("type") != "CODE_DEPLOY":
            raise Refused(
                "InvalidECSServiceException", "Deployment controller of the service must be CODE_DEPLOY"
            )
    if group.get("deploymentStyle", {}).get("deploymentType") != "BLUE_GREEN":
        raise Refused("InvalidDeploymentStyleException", "For ECS deployment group, type must be BLUE_GREEN")


def _key(call: Call, name: str) -> str:
    return f"{call['applicationName']}/{name}"


_GIVEN = (
    "deploymentConfigName", "serviceRoleArn", "triggerConfigurations", "alarmConfiguration",
    "autoRollbackConfiguration", "deploymentStyle", "blueGreenDeploymentConfiguration", "loadBalancerInfo",
    "ecsServices", "outdatedInstancesStrategy", "terminationHookEnabled",
)  # fmt: skip


@answers("codedeploy", "CreateDeploymentGroup")
def create_group(call: Call) -> dict[str, Any]:
    application, name = _application(call), call["deploymentGroupName"]
    key = _key(call, name)
    if key in GROUPS[call.region]:
        raise Refused("DeploymentGroupAlreadyExistsException", f"{name} already exists")
    group = {
        "applicationName": call["applicationName"],
        "deploymentGroupId": str(uuid.uuid4()),
        "deploymentGroupName": name,
        "computePlatform": application["computePlatform"],
        "outdatedInstancesStrategy": "UPDATE",
        **{field: call[field] for field in _GIVEN if call.get(field) is not None},
    }
    _check(call, group)
    GROUPS[call.region][key] = group
    tags.put(call.arn("codedeploy", f"deploymentgroup:{key}"), call.get("tags"))
    return {"deploymentGroupId": group["deploymentGroupId"]}


def _group(call: Call, field: str = "deploymentGroupName") -> dict[str, Any]:
    _application(call)
    key = _key(call, call[field])
    if key not in GROUPS[call.region]:
        raise Refused(
            "DeploymentGroupDoesNotExistException", f"No Deployment Group found for name: {call[field]}"
        )
    return dict(GROUPS[call.region][key])


@answers("codedeploy", "GetDeploymentGroup")
def get_group(call: Call) -> dict[str, Any]:
    return {"deploymentGroupInfo": _group(call)}


@answers("codedeploy", "ListDeploymentGroups")
def list_groups(call: Call) -> dict[str, Any]:
    names = [one for one in GROUPS[call.region].values() if one["applicationName"] == call["applicationName"]]
    return {
        "applicationName": call["applicationName"],
        "deploymentGroups": [one["deploymentGroupName"] for one in names],
    }


@answers("codedeploy", "UpdateDeploymentGroup")
def update_group(call: Call) -> dict[str, Any]:
    group = _group(call, "currentDeploymentGroupName")
    before = _key(call, group["deploymentGroupName"])
    group |= {field: call[field] for field in _GIVEN if call.get(field) is not None}
    group["deploymentGroupName"] = call.get("newDeploymentGroupName") or group["deploymentGroupName"]
    _check(call, group)  # a change that is refused leaves the group as it was
    del GROUPS[call.region][before]
    GROUPS[call.region][_key(call, group["deploymentGroupName"])] = group
    return {"hooksNotCleanedUp": []}


@answers("codedeploy", "DeleteDeploymentGroup")
def delete_group(call: Call) -> dict[str, Any]:
    key = _key(call, call["deploymentGroupName"])
    GROUPS[call.region].pop(key, None)
    tags.forget(call.arn("codedeploy", f"deploymentgroup:{key}"))
    return {"hooksNotCleanedUp": []}


@answers("codedeploy", "ListTagsForResource")
def list_tags(call: Call) -> dict[str, Any]:
    return {"Tags": tags.of(call["ResourceArn"])}


@answers("codedeploy", "TagResource")
def tag(call: Call) -> dict[str, Any]:
    tags.put(call["ResourceArn"], call["Tags"])
    return {}


@answers("codedeploy", "UntagResource")
def untag(call: Call) -> dict[str, Any]:
    tags.take(call["ResourceArn"], call["TagKeys"])
    return {}
