"""S3: who may write access logs, and what a bucket's policy refuses.

moto knows a policy's statement only with one string for each of its parts, and no condition: it would refuse every
call where plain HTTP is refused. A statement with a condition counts for nothing here; ministack judges those.
"""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from typing import Any

from moto.iam.access_control import IAMPolicy, PermissionResult
from moto.s3.models import FakeBucket


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def may_log(target_bucket: Any, target_prefix: str | None) -> bool:
    """Whether the bucket's policy lets S3's log delivery write below the prefix."""
    if not target_bucket.policy:
        return False
    wanted = f"arn:aws:s3:::{target_bucket.name}/{target_prefix or ''}object"
    for statement in json.loads(target_bucket.policy.decode())["Statement"]:
        principal = statement.get("Principal", {})
        services = _listed(principal.get("Service")) if isinstance(principal, dict) else []
        if (
            statement["Effect"] == "Allow"
            and "logging.s3.amazonaws.com" in services
            and "s3:PutObject" in _listed(statement["Action"])
            and any(fnmatchcase(wanted, pattern) for pattern in _listed(statement["Resource"]))
        ):
            return True
    return False


def permission(self: Any, action: str, resource: str) -> PermissionResult:
    """What the policy says of an action, as far as it says it without conditions."""
    if self.policy is None:
        return PermissionResult.NEUTRAL
    policy = json.loads(self.policy.decode())
    policy["Statement"] = [one for one in policy["Statement"] if not one.get("Condition")]
    if not policy["Statement"]:
        return PermissionResult.NEUTRAL
    return IAMPolicy(json.dumps(policy)).is_action_permitted(action, resource)


FakeBucket.get_permission = permission  # type: ignore[method-assign]
FakeBucket._log_permissions_enabled_policy = staticmethod(may_log)  # type: ignore[method-assign]
