"""CodeDeploy: deployments on ECS. All traffic is moved at once, in name only; the old tasks are kept until told.

Refused is what CodeDeploy refuses: a second deployment of a group beside one that is under way, a specification that
is not what its digest says, a revision or a container that is not there.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from typing import Any, Final

from moto.ecs.models import ecs_backends

from tests.infra.emulator.codedeploy import GROUPS
from tests.infra.emulator.dispatch import ACCOUNT_ID, Call, Refused, answers, store

DEPLOYMENTS = store()
UNDER_WAY: Final = "InProgress"


def _deployment(call: Call) -> dict[str, Any]:
    found: dict[str, Any] | None = DEPLOYMENTS[call.region].get(call["deploymentId"])
    if found is None:
        raise Refused("DeploymentDoesNotExistException", f"no deployment {call['deploymentId']}")
    return found


def _of_group(call: Call) -> list[dict[str, Any]]:
    key = (call["applicationName"], call["deploymentGroupName"])
    return [
        one
        for one in DEPLOYMENTS[call.region].values()
        if (one["applicationName"], one["deploymentGroupName"]) == key
    ]


@answers("codedeploy", "CreateDeployment")
def create_deployment(call: Call) -> dict[str, Any]:
    key = f"{call['applicationName']}/{call['deploymentGroupName']}"
    if key not in GROUPS[call.region]:
        raise Refused("DeploymentGroupDoesNotExistException", f"No Deployment Group found for name: {key}")
    under_way = [one["deploymentId"] for one in _of_group(call) if one["status"] == UNDER_WAY]
    if under_way:
        raise Refused(
            "DeploymentLimitExceededException", f"{key} already has an active deployment {under_way[0]}"
        )
    (service,) = GROUPS[call.region][key]["ecsServices"]
    backend = ecs_backends[ACCOUNT_ID][call.region]
    backend.services[f"{service['clusterName']}:{service['serviceName']}"].task_definition = _revision(call)
    number = f"d-{uuid.uuid4().hex[:9].upper()}"
    DEPLOYMENTS[call.region][number] = {
        "deploymentId": number,
        "applicationName": call["applicationName"],
        "deploymentGroupName": call["deploymentGroupName"],
        "status": UNDER_WAY,
    }
    return {"deploymentId": number}


def _revision(call: Call) -> str:
    """The task definition that the specification names, once all of it holds."""
    content = call["revision"]["appSpecContent"]
    if hashlib.sha256(content["content"].encode()).hexdigest() != content["sha256"]:
        raise Refused("InvalidRevisionException", "the content is not what its SHA-256 says")
    (resource,) = json.loads(content["content"])["Resources"]
    wanted = resource["TargetService"]["Properties"]
    balanced = wanted["LoadBalancerInfo"]
    definition = ecs_backends[ACCOUNT_ID][call.region].describe_task_definition(wanted["TaskDefinition"])
    ports = [
        port["containerPort"]
        for one in definition.container_definitions
        if one["name"] == balanced["ContainerName"]
        for port in one.get("portMappings", ())
    ]
    if balanced["ContainerPort"] not in ports:
        raise Refused(
            "InvalidRevisionException", f"{balanced} is no container and port of {definition.family}"
        )
    return str(definition.arn)


@answers("codedeploy", "ListDeployments")
def list_deployments(call: Call) -> dict[str, Any]:
    wanted = call.get("includeOnlyStatuses")
    return {
        "deployments": [
            one["deploymentId"] for one in _of_group(call) if not wanted or one["status"] in wanted
        ]
    }


@answers("codedeploy", "GetDeployment")
def get_deployment(call: Call) -> dict[str, Any]:
    return {"deploymentInfo": _deployment(call)}


@answers("codedeploy", "ListDeploymentTargets")
def list_targets(call: Call) -> dict[str, Any]:
    return {"targetIds": [f"target:{_deployment(call)['deploymentId']}"]}


@answers("codedeploy", "GetDeploymentTarget")
def get_target(call: Call) -> dict[str, Any]:
    _deployment(call)
    target = {
        "deploymentId": call["deploymentId"],
        "targetId": call["targetId"],
        "lifecycleEvents": [{"lifecycleEventName": "AfterAllowTraffic", "status": "Succeeded"}],
        "taskSetsInfo": [
            {"taskSetLabel": "Blue", "trafficWeight": 0.0},
            {"taskSetLabel": "Green", "trafficWeight": 100.0},
        ],
    }
    return {"deploymentTarget": {"deploymentTargetType": "ECSTarget", "ecsTarget": target}}


@answers("codedeploy", "ContinueDeployment")
def continue_deployment(call: Call) -> dict[str, Any]:
    _deployment(call)["status"] = "Succeeded"
    return {}
