"""ElastiCache: replication groups with their member clusters. Subnet groups are moto's, but for their end."""

from __future__ import annotations

from typing import Any

from tests.infra.emulator import tags
from tests.infra.emulator.cache_kept import PARAMETER_GROUPS, REPLICATION_GROUPS, USER_GROUPS, found, motos
from tests.infra.emulator.dispatch import Call, PassOn, Refused, answers

DOMAIN = "emulated.cache.amazonaws.com"


def _truth(call: Call, field: str) -> str:
    return "enabled" if call.get(field) else "disabled"


@answers("elasticache", "CreateReplicationGroup")
def create_replication_group(call: Call) -> dict[str, Any]:
    name = call["ReplicationGroupId"]
    if name in REPLICATION_GROUPS[call.region]:
        raise Refused("ReplicationGroupAlreadyExistsFault", f"{name} already exists")
    parameters = call.get("CacheParameterGroupName") or "default.redis7"
    if not parameters.startswith("default."):
        found(PARAMETER_GROUPS[call.region], parameters, "CacheParameterGroupNotFound")
    subnets = call.get("CacheSubnetGroupName") or "default"
    if subnets not in motos(call).cache_subnet_groups:
        raise Refused("CacheSubnetGroupNotFoundFault", f"{subnets} not found")
    for group in call.get("UserGroupIds") or ():
        found(USER_GROUPS[call.region], group, "UserGroupNotFound")
    answer = _described(call)
    if answer["MultiAZ"] == "enabled" and len(answer["MemberClusters"]) < 2:
        raise Refused("InvalidParameterCombination", "Multi-AZ needs at least one replica")
    REPLICATION_GROUPS[call.region][name] = {
        "answer": answer, "parameters": parameters, "subnets": subnets,
        "security": list(call.get("SecurityGroupIds") or ()), "request": dict(call.params),
    }  # fmt: skip
    tags.put(answer["ARN"], call.get("Tags"))
    return {"ReplicationGroup": answer}


def _described(call: Call) -> dict[str, Any]:
    name = call["ReplicationGroupId"]
    count = call.get("NumCacheClusters") or 1 + (call.get("ReplicasPerNodeGroup") or 0)
    members = [f"{name}-{number:03}" for number in range(1, count + 1)]
    port = call.get("Port") or 6379
    node_group = {
        "NodeGroupId": "0001", "Status": "available",
        "PrimaryEndpoint": {"Address": f"master.{name}.{DOMAIN}", "Port": port},
        "ReaderEndpoint": {"Address": f"replica.{name}.{DOMAIN}", "Port": port},
        "NodeGroupMembers": [
            {"CacheClusterId": member, "CacheNodeId": "0001", "CurrentRole": "replica" if n else "primary"}
            for n, member in enumerate(members)
        ],
    }  # fmt: skip
    logs = [dict(one) | {"Status": "active"} for one in call.get("LogDeliveryConfigurations") or ()]
    return {
        "ReplicationGroupId": name, "Description": call["ReplicationGroupDescription"], "Status": "available",
        "ARN": call.arn("elasticache", f"replicationgroup:{name}"),
        "MemberClusters": members, "NodeGroups": [node_group], "ClusterEnabled": False, "ClusterMode": "disabled",
        "CacheNodeType": call.get("CacheNodeType"), "Engine": call.get("Engine") or "redis",
        "AutomaticFailover": _truth(call, "AutomaticFailoverEnabled"), "MultiAZ": _truth(call, "MultiAZEnabled"),
        "SnapshotRetentionLimit": call.get("SnapshotRetentionLimit") or 0,
        "SnapshotWindow": call.get("SnapshotWindow") or "05:00-06:00",
        "AuthTokenEnabled": bool(call.get("AuthToken")),
        "TransitEncryptionEnabled": bool(call.get("TransitEncryptionEnabled")),
        "TransitEncryptionMode": call.get("TransitEncryptionMode") or "required",
        "AtRestEncryptionEnabled": bool(call.get("AtRestEncryptionEnabled")), "KmsKeyId": call.get("KmsKeyId"),
        "UserGroupIds": list(call.get("UserGroupIds") or ()), "LogDeliveryConfigurations": logs,
        "DataTiering": "disabled", "AutoMinorVersionUpgrade": call.get("AutoMinorVersionUpgrade", True),
        "NetworkType": call.get("NetworkType") or "ipv4", "IpDiscovery": call.get("IpDiscovery") or "ipv4",
    }  # fmt: skip


@answers("elasticache", "DescribeReplicationGroups")
def describe_replication_groups(call: Call) -> dict[str, Any]:
    kept, name = REPLICATION_GROUPS[call.region], call.get("ReplicationGroupId")
    groups = [found(kept, name, "ReplicationGroupNotFoundFault")] if name else list(kept.values())
    return {"ReplicationGroups": [one["answer"] for one in groups]}


@answers("elasticache", "ModifyReplicationGroup")
def modify_replication_group(call: Call) -> dict[str, Any]:
    name = call["ReplicationGroupId"]
    kept = found(REPLICATION_GROUPS[call.region], name, "ReplicationGroupNotFoundFault")
    merged = kept["request"] | {key: value for key, value in call.params.items() if value is not None}
    changed = Call(call.region, merged)
    kept |= {"request": merged, "answer": _described(changed)}
    kept["parameters"] = merged.get("CacheParameterGroupName") or kept["parameters"]
    kept["security"] = list(merged.get("SecurityGroupIds") or ())
    REPLICATION_GROUPS[call.region][name] = kept
    return {"ReplicationGroup": kept["answer"]}


@answers("elasticache", "DeleteReplicationGroup")
def delete_replication_group(call: Call) -> dict[str, Any]:
    name = call["ReplicationGroupId"]
    kept = found(REPLICATION_GROUPS[call.region], name, "ReplicationGroupNotFoundFault")
    del REPLICATION_GROUPS[call.region][name]
    tags.forget(kept["answer"]["ARN"])
    return {"ReplicationGroup": kept["answer"] | {"Status": "deleting"}}


@answers("elasticache", "DescribeCacheClusters")
def describe_clusters(call: Call) -> dict[str, Any]:
    wanted = call.get("CacheClusterId")
    clusters = [
        _member(call, kept, member)
        for kept in REPLICATION_GROUPS[call.region].values()
        for member in kept["answer"]["MemberClusters"]
        if wanted in (None, member)
    ]
    if wanted and not clusters:
        raise PassOn
    return {"CacheClusters": clusters}


def _member(call: Call, kept: dict[str, Any], member: str) -> dict[str, Any]:
    answer, request = kept["answer"], kept["request"]
    shared = (
        "ReplicationGroupId", "CacheNodeType", "Engine", "SnapshotRetentionLimit", "SnapshotWindow",
        "AuthTokenEnabled", "TransitEncryptionEnabled", "AtRestEncryptionEnabled", "AutoMinorVersionUpgrade",
        "LogDeliveryConfigurations", "NetworkType", "IpDiscovery",
        "TransitEncryptionMode",
    )  # fmt: skip
    return {
        **{key: answer[key] for key in shared}, "CacheClusterId": member, "CacheClusterStatus": "available",
        "ARN": call.arn("elasticache", f"cluster:{member}"), "NumCacheNodes": 1,
        "EngineVersion": f"{request.get('EngineVersion') or '7.1'}.0",
        "PreferredMaintenanceWindow": request.get("PreferredMaintenanceWindow") or "sun:05:00-sun:06:00",
        "CacheParameterGroup": {
            "CacheParameterGroupName": kept["parameters"], "ParameterApplyStatus": "in-sync",
        },
        "CacheSubnetGroupName": kept["subnets"],
        "SecurityGroups": [{"SecurityGroupId": one, "Status": "active"} for one in kept["security"]],
        "CacheNodes": [
            {
                "CacheNodeId": "0001", "CacheNodeStatus": "available",
                "Endpoint": {"Address": f"{member}.{DOMAIN}", "Port": request.get("Port") or 6379},
            }
        ],
    }  # fmt: skip


@answers("elasticache", "DeleteCacheSubnetGroup")
def delete_subnet_group(call: Call) -> dict[str, Any]:
    name = call["CacheSubnetGroupName"]
    if name not in motos(call).cache_subnet_groups:
        raise Refused("CacheSubnetGroupNotFoundFault", f"{name} not found")
    if any(kept["subnets"] == name for kept in REPLICATION_GROUPS[call.region].values()):
        raise Refused("CacheSubnetGroupInUse", f"{name} is in use")
    del motos(call).cache_subnet_groups[name]
    return {}


# --- tags of what is kept here; the rest asks moto


def _ours(call: Call) -> bool:
    kept = [one["answer"] for one in REPLICATION_GROUPS[call.region].values()]
    kept += [*PARAMETER_GROUPS[call.region].values(), *USER_GROUPS[call.region].values()]
    return any(one["ARN"] == call["ResourceName"] for one in kept) or ":cluster:" in call["ResourceName"]


@answers("elasticache", "ListTagsForResource")
def list_tags(call: Call) -> dict[str, Any]:
    if not _ours(call):
        raise PassOn
    return {"TagList": tags.of(call["ResourceName"])}


@answers("elasticache", "AddTagsToResource")
def tag(call: Call) -> dict[str, Any]:
    if not _ours(call):
        raise PassOn
    tags.put(call["ResourceName"], call["Tags"])
    return {"TagList": tags.of(call["ResourceName"])}


@answers("elasticache", "RemoveTagsFromResource")
def untag(call: Call) -> dict[str, Any]:
    if not _ours(call):
        raise PassOn
    tags.take(call["ResourceName"], call["TagKeys"])
    return {"TagList": tags.of(call["ResourceName"])}
