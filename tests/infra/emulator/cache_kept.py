"""What our ElastiCache keeps, by region, for the modules that answer its calls."""

from __future__ import annotations

from typing import Any

from moto.elasticache.models import elasticache_backends

from tests.infra.emulator.dispatch import ACCOUNT_ID, Call, Refused, store

PARAMETER_GROUPS = store()
USER_GROUPS = store()
REPLICATION_GROUPS = store()


def motos(call: Call) -> Any:
    """moto's ElastiCache, which keeps users and subnet groups."""
    return elasticache_backends[ACCOUNT_ID][call.region]


def found(kept: dict[str, Any], name: str, code: str) -> dict[str, Any]:
    if name not in kept:
        raise Refused(code, f"{name} not found.")
    return dict(kept[name])
