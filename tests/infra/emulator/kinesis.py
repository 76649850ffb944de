"""Kinesis: a stream's tags, which moto drops when a stream is made. The streams are moto's."""

from __future__ import annotations

from typing import Any

from tests.infra.emulator import tags
from tests.infra.emulator.dispatch import Call, PassOn, answers


def _arn(call: Call) -> str:
    for field in ("ResourceARN", "StreamARN"):
        if call.get(field):
            return str(call[field])
    return call.arn("kinesis", f"stream/{call['StreamName']}")


def _pairs(given: dict[str, str] | None) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in (given or {}).items()]


@answers("kinesis", "CreateStream")
def create(call: Call) -> dict[str, Any]:
    tags.put(_arn(call), _pairs(call.get("Tags")))
    raise PassOn


@answers("kinesis", "DeleteStream")
def delete(call: Call) -> dict[str, Any]:
    tags.forget(_arn(call))
    raise PassOn


@answers("kinesis", "AddTagsToStream")
@answers("kinesis", "TagResource")
def tag(call: Call) -> dict[str, Any]:
    tags.put(_arn(call), _pairs(call["Tags"]))
    return {}


@answers("kinesis", "RemoveTagsFromStream")
@answers("kinesis", "UntagResource")
def untag(call: Call) -> dict[str, Any]:
    tags.take(_arn(call), call["TagKeys"])
    return {}


@answers("kinesis", "ListTagsForStream")
@answers("kinesis", "ListTagsForResource")
def list_tags(call: Call) -> dict[str, Any]:
    return {"Tags": tags.of(_arn(call)), "HasMoreTags": False}
