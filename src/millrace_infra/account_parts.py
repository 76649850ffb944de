"""What the account's own stack has beside its state, and how to see that it is there.

A stack that stopped half way, or that another program undid, is found here and not by the service that needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from millrace.names import PROJECT

Clients = Callable[[str], Any]

SERVICE_LINKED: Final = {
    "autoscaling-ecs": (
        "ecs.application-autoscaling.amazonaws.com", "AWSServiceRoleForApplicationAutoScaling_ECSService",
    ),
    "backup": ("backup.amazonaws.com", "AWSServiceRoleForBackup"),
    "ecs": ("ecs.amazonaws.com", "AWSServiceRoleForECS"),
    "efs": ("elasticfilesystem.amazonaws.com", "AWSServiceRoleForAmazonElasticFileSystem"),
    "elasticache": ("elasticache.amazonaws.com", "AWSServiceRoleForElastiCache"),
    "gateway": ("ops.apigateway.amazonaws.com", "AWSServiceRoleForAPIGateway"),
    "load-balancing": ("elasticloadbalancing.amazonaws.com", "AWSServiceRoleForElasticLoadBalancing"),
    "rds": ("rds.amazonaws.com", "AWSServiceRoleForRDS"),
    "transit-gateway": ("transitgateway.amazonaws.com", "AWSServiceRoleForVPCTransitGateway"),
    "waf-logging": ("wafv2.amazonaws.com", "AWSServiceRoleForWAFV2Logging"),
}  # fmt: skip
"""Noun -> (service, the name that AWS gives its role). Two suffixes that both made one would race for it."""
BACKED_UP: Final = ("Aurora", "EFS")
"""Kinds that AWS Backup leaves out of every plan until the region opts in."""


def traces(client: Clients) -> list[str]:
    found = client("xray").get_encryption_config()["EncryptionConfig"]
    return [] if found.get("Type") == "KMS" else ["X-Ray's key"]


def backups(client: Clients) -> list[str]:
    chosen = client("backup").describe_region_settings().get("ResourceTypeOptInPreference", {})
    return [f"Backup of {kind}" for kind in BACKED_UP if not chosen.get(kind)]


def scanning(client: Clients) -> list[str]:
    rules = client("ecr").get_registry_scanning_configuration()["scanningConfiguration"].get("rules", ())
    on_push = [rule for rule in rules if rule["scanFrequency"] != "MANUAL"]
    filters = {one["filter"] for rule in on_push for one in rule["repositoryFilters"]}
    return [] if filters & {f"{PROJECT}-*", "*"} else [f"scanning of {PROJECT}-*"]


def service_roles(client: Clients) -> list[str]:
    iam = client("iam")
    return [name for _, name in SERVICE_LINKED.values() if not _role_is_there(iam, name)]


def _role_is_there(iam: Any, name: str) -> bool:
    try:
        iam.get_role(RoleName=name)
    except iam.exceptions.NoSuchEntityException:
        return False
    return True


PARTS: Final[Mapping[str, Callable[[Clients], list[str]]]] = {
    "encryption of traces": traces,
    "opt-in of backups": backups,
    "scanning of images": scanning,
    "service-linked roles": service_roles,
}
"""Part -> what of it is missing."""
