"""ElastiCache: parameter groups, changes of a user, user groups. Users are moto's."""

from __future__ import annotations

from typing import Any

from tests.infra.emulator import tags
from tests.infra.emulator.cache_kept import PARAMETER_GROUPS, REPLICATION_GROUPS, USER_GROUPS, found, motos
from tests.infra.emulator.dispatch import Call, Refused, answers

# --- parameter groups


@answers("elasticache", "CreateCacheParameterGroup")
def create_parameter_group(call: Call) -> dict[str, Any]:
    name = call["CacheParameterGroupName"]
    if name in PARAMETER_GROUPS[call.region]:
        raise Refused("CacheParameterGroupAlreadyExists", f"{name} already exists")
    arn = call.arn("elasticache", f"parametergroup:{name}")
    fields = ("CacheParameterGroupName", "CacheParameterGroupFamily", "Description")
    group = {field: call[field] for field in fields} | {"ARN": arn, "IsGlobal": False}
    PARAMETER_GROUPS[call.region][name] = group | {"parameters": {}}
    tags.put(arn, call.get("Tags"))
    return {"CacheParameterGroup": group}


@answers("elasticache", "DescribeCacheParameterGroups")
def describe_parameter_groups(call: Call) -> dict[str, Any]:
    kept = PARAMETER_GROUPS[call.region]
    name = call.get("CacheParameterGroupName")
    groups = [found(kept, name, "CacheParameterGroupNotFound")] if name else list(kept.values())
    return {"CacheParameterGroups": groups}


@answers("elasticache", "ModifyCacheParameterGroup")
def modify_parameter_group(call: Call) -> dict[str, Any]:
    name = call["CacheParameterGroupName"]
    group = found(PARAMETER_GROUPS[call.region], name, "CacheParameterGroupNotFound")
    for one in call["ParameterNameValues"]:
        group["parameters"][one["ParameterName"]] = one["ParameterValue"]
    return {"CacheParameterGroupName": name}


@answers("elasticache", "ResetCacheParameterGroup")
def reset_parameter_group(call: Call) -> dict[str, Any]:
    name = call["CacheParameterGroupName"]
    group = found(PARAMETER_GROUPS[call.region], name, "CacheParameterGroupNotFound")
    for one in call.get("ParameterNameValues") or ():
        group["parameters"].pop(one["ParameterName"], None)
    return {"CacheParameterGroupName": name}


@answers("elasticache", "DescribeCacheParameters")
def describe_parameters(call: Call) -> dict[str, Any]:
    name = call["CacheParameterGroupName"]
    group = found(PARAMETER_GROUPS[call.region], name, "CacheParameterGroupNotFound")
    changed = [
        {"ParameterName": key, "ParameterValue": value, "Source": "user"}
        for key, value in group["parameters"].items()
    ]
    return {"Parameters": changed}


@answers("elasticache", "DeleteCacheParameterGroup")
def delete_parameter_group(call: Call) -> dict[str, Any]:
    name = call["CacheParameterGroupName"]
    group = found(PARAMETER_GROUPS[call.region], name, "CacheParameterGroupNotFound")
    if any(one["parameters"] == name for one in REPLICATION_GROUPS[call.region].values()):
        raise Refused("InvalidCacheParameterGroupState", f"{name} is in use")
    del PARAMETER_GROUPS[call.region][name]
    tags.forget(group["ARN"])
    return {}


# --- users and their groups


@answers("elasticache", "ModifyUser")
def modify_user(call: Call) -> dict[str, Any]:
    user = motos(call).users.get(call["UserId"])
    if user is None:
        raise Refused("UserNotFound", f"User {call['UserId']} not found.")
    user.access_string = call.get("AccessString") or user.access_string
    if call.get("AuthenticationMode"):
        user.authentication_type = call["AuthenticationMode"]["Type"]
        user.passwords = call["AuthenticationMode"].get("Passwords") or []
    return {"UserId": user.id, "UserName": user.name, "Status": user.status, "ARN": user.arn}


@answers("elasticache", "CreateUserGroup")
def create_user_group(call: Call) -> dict[str, Any]:
    name = call["UserGroupId"]
    if name in USER_GROUPS[call.region]:
        raise Refused("UserGroupAlreadyExists", f"User group {name} already exists.")
    arn = call.arn("elasticache", f"usergroup:{name}")
    group = {
        "UserGroupId": name, "Engine": call["Engine"], "Status": "active", "ARN": arn,
        "UserIds": _users(call, call.get("UserIds") or []), "MinimumEngineVersion": "6.0",
        "ReplicationGroups": [],
    }  # fmt: skip
    USER_GROUPS[call.region][name] = group
    tags.put(arn, call.get("Tags"))
    return group


def _users(call: Call, ids: list[str]) -> list[str]:
    """A group's users exist, and one of them is named `default`: ElastiCache takes no group without."""
    users = motos(call).users
    missing = [one for one in ids if one not in users]
    if missing:
        raise Refused("UserNotFound", f"User {missing[0]} not found.")
    if "default" not in {users[one].name for one in ids}:
        raise Refused("DefaultUserRequired", "User group must have a user with the name default.")
    return ids


@answers("elasticache", "DescribeUserGroups")
def describe_user_groups(call: Call) -> dict[str, Any]:
    kept, name = USER_GROUPS[call.region], call.get("UserGroupId")
    return {"UserGroups": [found(kept, name, "UserGroupNotFound")] if name else list(kept.values())}


@answers("elasticache", "ModifyUserGroup")
def modify_user_group(call: Call) -> dict[str, Any]:
    group = found(USER_GROUPS[call.region], call["UserGroupId"], "UserGroupNotFound")
    left = [one for one in group["UserIds"] if one not in (call.get("UserIdsToRemove") or ())]
    group["UserIds"] = _users(call, left + list(call.get("UserIdsToAdd") or ()))
    USER_GROUPS[call.region][call["UserGroupId"]] = group
    return group


@answers("elasticache", "DeleteUserGroup")
def delete_user_group(call: Call) -> dict[str, Any]:
    name = call["UserGroupId"]
    group = found(USER_GROUPS[call.region], name, "UserGroupNotFound")
    if any(name in one["answer"]["UserGroupIds"] for one in REPLICATION_GROUPS[call.region].values()):
        raise Refused("InvalidUserGroupState", f"User group {name} is in use.")
    del USER_GROUPS[call.region][name]
    tags.forget(group["ARN"])
    return group | {"Status": "deleting"}
