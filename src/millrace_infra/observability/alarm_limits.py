"""Limits that follow from an environment's settings: the table says why, here is the arithmetic."""

from __future__ import annotations

from typing import Final

from millrace.errors import SettingError
from millrace_infra.settings import Environment
from millrace_infra.settings.sizes import ON_DEMAND_BYTES_PER_S, SHARD_BYTES_PER_S

NEAR: Final = 0.8
"""Of a quota: a fifth is what is left to act in."""
GIB: Final = 2**30
_VCPUS: Final = {"medium": 2, "large": 2, "xlarge": 4}
_GIB_PER_VCPU: Final = {"t": 4, "m": 4, "r": 8, "x": 16}
"""By the family's first letter. Source: hardware specifications for DB instance classes for Aurora."""
CONNECTION_BYTES: Final = 9_531_392
CONNECTIONS_MAX: Final = 5_000
"""Aurora's default `max_connections` is the class's memory by the first number, and the second at most.
Source: Amazon Aurora user guide, managing Aurora PostgreSQL, maximum connections.
"""
OWN_SHARE: Final = 0.9
"""Of the memory, what the engine counts with: the rest is the host's own."""


def stream_age_ms(environment: Environment) -> float:
    """Half of the retention; at the whole of it records are gone."""
    return environment.settings.stream.retention_h * 3_600_000 / 2


def stream_bytes_per_min(environment: Environment) -> float:
    """Near what all shards take together."""
    stream = environment.settings.stream
    per_s = ON_DEMAND_BYTES_PER_S if stream.mode == "on_demand" else stream.shards * SHARD_BYTES_PER_S
    return NEAR * per_s * 60


def shard_bytes_in(period_s: int) -> float:
    """Near what one shard takes in that time."""
    return NEAR * SHARD_BYTES_PER_S * period_s


def secret_age_days(environment: Environment) -> float:
    """The rotation's own rhythm and two days: Secrets Manager rotates within the day that is due, and tries again."""
    return environment.settings.secrets.rotation_days + 2


def blocked_requests(environment: Environment) -> float:
    """In five minutes: a tenth of what the edge lets through at its throttle."""
    return 0.1 * environment.settings.edge.requests_per_s * 300


def memory_gib(instance_class: str) -> float:
    """Of an Aurora instance class such as `db.r7g.4xlarge`; SettingError for one that this does not know."""
    _, family, size = instance_class.split(".")
    if family[0] not in _GIB_PER_VCPU or not (size in _VCPUS or size.removesuffix("xlarge").isdigit()):
        known = "a class of the families t, m, r, x (or its memory, in alarm_limits.py)"
        raise SettingError("database.instance_class", got=instance_class, want=known)
    if family[0] == "t" and size == "medium":
        return 4.0  # two vCPUs like large, and half its memory
    vcpus = _VCPUS.get(size) or 4 * int(size.removesuffix("xlarge"))
    return float(vcpus * _GIB_PER_VCPU[family[0]])


def database_free_memory_bytes(environment: Environment) -> float:
    """A twentieth: Aurora keeps three quarters for its buffers by itself, a tenth is free on a calm day."""
    return 0.05 * memory_gib(environment.settings.database.instance_class) * GIB


def database_local_bytes(environment: Environment) -> float:
    """A tenth of the local disk, which is about twice the memory. It holds sorts and logs, not the tables."""
    return 0.1 * 2 * memory_gib(environment.settings.database.instance_class) * GIB


def database_connections(environment: Environment) -> float:
    """Near the most that the engine takes."""
    memory = OWN_SHARE * memory_gib(environment.settings.database.instance_class) * GIB
    return round(NEAR * min(CONNECTIONS_MAX, memory / CONNECTION_BYTES))
