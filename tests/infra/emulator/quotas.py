"""Service Quotas: what AWS gives to everybody is told of no quota, so that nobody waits for it again and again."""

from __future__ import annotations

from typing import Any

from tests.infra.emulator.dispatch import Call, Refused, answers


@answers("service-quotas", "GetAWSDefaultServiceQuota")
def default_quota(call: Call) -> dict[str, Any]:
    """moto has no answer, which an SDK takes for a fault that passes; AWS says so of a quota that it does not list."""
    raise Refused("NoSuchResourceException", f"no default of {call['ServiceCode']} {call['QuotaCode']} here")
