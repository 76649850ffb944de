"""S3: who may write access logs. moto knows a policy's statement only with one string for each of its parts."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from typing import Any

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


FakeBucket._log_permissions_enabled_policy = staticmethod(may_log)  # type: ignore[method-assign]
