"""Application Auto Scaling: tags of a scalable target; the targets are moto's."""

from __future__ import annotations

from typing import Any

from moto.applicationautoscaling.models import applicationautoscaling_backends

from tests.infra.emulator import tags
from tests.infra.emulator.dispatch import ACCOUNT_ID, Call, PassOn, Refused, answers


def _key(resource_id: str, dimension: str) -> str:
    """A target's ARN is moto's to choose, after its tags have come: they are kept under what names it."""
    return f"scalable-target {resource_id} {dimension}"


def _known(call: Call) -> str:
    backend = applicationautoscaling_backends[ACCOUNT_ID][call.region]
    for targets in backend.targets.values():
        for target in targets.values():
            if target.arn == call["ResourceARN"]:
                return _key(target.resource_id, target.scalable_dimension)
    raise Refused("ResourceNotFoundException", f"No scalable target {call['ResourceARN']}")


@answers("application-autoscaling", "RegisterScalableTarget")
def register(call: Call) -> dict[str, Any]:
    given = [{"Key": key, "Value": value} for key, value in (call.get("Tags") or {}).items()]
    tags.put(_key(call["ResourceId"], call["ScalableDimension"]), given)
    raise PassOn


@answers("application-autoscaling", "DeregisterScalableTarget")
def deregister(call: Call) -> dict[str, Any]:
    tags.forget(_key(call["ResourceId"], call["ScalableDimension"]))
    raise PassOn


@answers("application-autoscaling", "ListTagsForResource")
def list_tags(call: Call) -> dict[str, Any]:
    return {"Tags": {tag["Key"]: tag["Value"] for tag in tags.of(_known(call))}}


@answers("application-autoscaling", "TagResource")
def tag(call: Call) -> dict[str, Any]:
    tags.put(_known(call), [{"Key": key, "Value": value} for key, value in call["Tags"].items()])
    return {}


@answers("application-autoscaling", "UntagResource")
def untag(call: Call) -> dict[str, Any]:
    tags.take(_known(call), call["TagKeys"])
    return {}
