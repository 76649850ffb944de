"""CloudWatch: composite alarms. Metric alarms are moto's."""

from __future__ import annotations

import re
from typing import Any

from moto.cloudwatch.models import cloudwatch_backends

from tests.infra.emulator import tags
from tests.infra.emulator.dispatch import ACCOUNT_ID, Call, PassOn, Refused, answers, store

COMPOSITE = store()
_NAMED = re.compile(r"(?:ALARM|OK|INSUFFICIENT_DATA)\s*\(\s*\"?([^\")]+?)\"?\s*\)")


def _metric_alarms(call: Call) -> dict[str, Any]:
    return dict(cloudwatch_backends[ACCOUNT_ID][call.region].alarms)


def _check(call: Call) -> None:
    """A rule names alarms that exist: CloudWatch saves no other."""
    known = set(_metric_alarms(call)) | set(COMPOSITE[call.region])
    named = {name.rpartition(":alarm:")[2] for name in _NAMED.findall(call["AlarmRule"])}
    if not named:
        raise Refused("ValidationError", "AlarmRule must contain at least one alarm")
    if named - known:
        raise Refused("ValidationError", f"alarms {sorted(named - known)} in the alarm rule do not exist")


@answers("cloudwatch", "PutCompositeAlarm")
def put_composite_alarm(call: Call) -> dict[str, Any]:
    _check(call)
    name = call["AlarmName"]
    arn = call.arn("cloudwatch", f"alarm:{name}")
    if name not in COMPOSITE[call.region]:  # tags of a later call are ignored, as CloudWatch does
        tags.put(arn, call.get("Tags"))
    given = {key: value for key, value in call.params.items() if key != "Tags"}
    COMPOSITE[call.region][name] = {"ActionsEnabled": True, **given, "AlarmArn": arn, "StateValue": "OK"}
    return {}


@answers("cloudwatch", "DescribeAlarms")
def describe_alarms(call: Call) -> dict[str, Any]:
    if "CompositeAlarm" not in (call.get("AlarmTypes") or ()):
        raise PassOn
    named = call.get("AlarmNames")
    found = [one for name, one in COMPOSITE[call.region].items() if not named or name in named]
    return {"CompositeAlarms": found, "MetricAlarms": []}


@answers("cloudwatch", "DeleteAlarms")
def delete_alarms(call: Call) -> dict[str, Any]:
    ours = [name for name in call["AlarmNames"] if name in COMPOSITE[call.region]]
    if not ours:
        raise PassOn
    for name in ours:
        tags.forget(COMPOSITE[call.region].pop(name)["AlarmArn"])
    cloudwatch_backends[ACCOUNT_ID][call.region].delete_alarms(
        [name for name in call["AlarmNames"] if name not in ours]
    )
    return {}


def _is_composite(call: Call) -> bool:
    return any(one["AlarmArn"] == call["ResourceARN"] for one in COMPOSITE[call.region].values())


@answers("cloudwatch", "ListTagsForResource")
def list_tags(call: Call) -> dict[str, Any]:
    if not _is_composite(call):
        raise PassOn
    return {"Tags": tags.of(call["ResourceARN"])}


@answers("cloudwatch", "TagResource")
def tag(call: Call) -> dict[str, Any]:
    if not _is_composite(call):
        raise PassOn
    tags.put(call["ResourceARN"], call["Tags"])
    return {}


@answers("cloudwatch", "UntagResource")
def untag(call: Call) -> dict[str, Any]:
    if not _is_composite(call):
        raise PassOn
    tags.take(call["ResourceARN"], call["TagKeys"])
    return {}
