"""X-Ray: groups, sampling rules, encryption."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tests.infra.emulator import tags
from tests.infra.emulator.dispatch import Call, Refused, answers, store

GROUPS = store()
RULES = store()
ENCRYPTION = store()
PRIORITY_MAX = 9999


def _group(call: Call) -> dict[str, Any]:
    for group in GROUPS[call.region].values():
        if call.get("GroupARN") == group["GroupARN"] or call.get("GroupName") == group["GroupName"]:
            return dict(group)
    raise Refused("InvalidRequestException", "Group not found")


@answers("xray", "CreateGroup")
def create_group(call: Call) -> dict[str, Any]:
    name = call["GroupName"]
    if name in GROUPS[call.region]:
        raise Refused("InvalidRequestException", f"Group {name} already exists")
    arn = call.arn("xray", f"group/{name}/EMULATED")
    GROUPS[call.region][name] = _described(call, {"GroupName": name, "GroupARN": arn})
    tags.put(arn, call.get("Tags"))
    return {"Group": GROUPS[call.region][name]}


def _described(call: Call, group: dict[str, Any]) -> dict[str, Any]:
    given = {
        key: call[key] for key in ("FilterExpression", "InsightsConfiguration") if call.get(key) is not None
    }
    insights = {"InsightsEnabled": False, "NotificationsEnabled": False} | given.pop(
        "InsightsConfiguration", {}
    )
    return group | given | {"InsightsConfiguration": insights}


@answers("xray", "GetGroup")
def get_group(call: Call) -> dict[str, Any]:
    return {"Group": _group(call)}


@answers("xray", "GetGroups")
def get_groups(call: Call) -> dict[str, Any]:
    return {"Groups": list(GROUPS[call.region].values())}


@answers("xray", "UpdateGroup")
def update_group(call: Call) -> dict[str, Any]:
    group = _described(call, _group(call))
    GROUPS[call.region][group["GroupName"]] = group
    return {"Group": group}


@answers("xray", "DeleteGroup")
def delete_group(call: Call) -> dict[str, Any]:
    group = _group(call)
    del GROUPS[call.region][group["GroupName"]]
    tags.forget(group["GroupARN"])
    return {}


def _rule(call: Call, wanted: dict[str, Any]) -> dict[str, Any]:
    for record in RULES[call.region].values():
        rule = record["SamplingRule"]
        if wanted.get("RuleName") == rule["RuleName"] or wanted.get("RuleARN") == rule["RuleARN"]:
            return dict(record)
    raise Refused("InvalidRequestException", "Sampling rule not found")


@answers("xray", "CreateSamplingRule")
def create_sampling_rule(call: Call) -> dict[str, Any]:
    rule = call["SamplingRule"]
    name = rule["RuleName"]
    if name in RULES[call.region]:
        raise Refused("InvalidRequestException", f"Sampling rule {name} already exists")
    if not 1 <= rule["Priority"] <= PRIORITY_MAX:
        raise Refused("InvalidRequestException", f"Priority: wanted 1 to {PRIORITY_MAX}")
    now = datetime.now(UTC)
    arn = call.arn("xray", f"sampling-rule/{name}")
    RULES[call.region][name] = {
        "SamplingRule": {"Attributes": {}, **rule, "RuleARN": arn},
        "CreatedAt": now,
        "ModifiedAt": now,
    }
    tags.put(arn, call.get("Tags"))
    return {"SamplingRuleRecord": RULES[call.region][name]}


@answers("xray", "GetSamplingRules")
def get_sampling_rules(call: Call) -> dict[str, Any]:
    return {"SamplingRuleRecords": list(RULES[call.region].values())}


@answers("xray", "UpdateSamplingRule")
def update_sampling_rule(call: Call) -> dict[str, Any]:
    update = call["SamplingRuleUpdate"]
    record = _rule(call, update)
    changed = {
        key: value for key, value in update.items() if value is not None and not key.startswith("Rule")
    }
    record |= {"SamplingRule": record["SamplingRule"] | changed, "ModifiedAt": datetime.now(UTC)}
    RULES[call.region][record["SamplingRule"]["RuleName"]] = record
    return {"SamplingRuleRecord": record}


@answers("xray", "DeleteSamplingRule")
def delete_sampling_rule(call: Call) -> dict[str, Any]:
    record = _rule(call, call.params)
    del RULES[call.region][record["SamplingRule"]["RuleName"]]
    tags.forget(record["SamplingRule"]["RuleARN"])
    return {"SamplingRuleRecord": record}


@answers("xray", "PutEncryptionConfig")
def put_encryption_config(call: Call) -> dict[str, Any]:
    if (call["Type"] == "KMS") != bool(call.get("KeyId")):
        raise Refused("InvalidRequestException", "KeyId is for the type KMS, and needed there")
    ENCRYPTION[call.region] = {"Type": call["Type"], "KeyId": call.get("KeyId"), "Status": "ACTIVE"}
    return {"EncryptionConfig": ENCRYPTION[call.region]}


@answers("xray", "GetEncryptionConfig")
def get_encryption_config(call: Call) -> dict[str, Any]:
    return {"EncryptionConfig": ENCRYPTION[call.region] or {"Type": "NONE", "Status": "ACTIVE"}}


@answers("xray", "ListTagsForResource")
def list_tags(call: Call) -> dict[str, Any]:
    return {"Tags": tags.of(call["ResourceARN"])}


@answers("xray", "TagResource")
def tag(call: Call) -> dict[str, Any]:
    tags.put(call["ResourceARN"], call["Tags"])
    return {}


@answers("xray", "UntagResource")
def untag(call: Call) -> dict[str, Any]:
    tags.take(call["ResourceARN"], call["TagKeys"])
    return {}
