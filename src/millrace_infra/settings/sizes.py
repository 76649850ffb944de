"""What an environment declares of load and sizes, each checked against what AWS takes."""

from __future__ import annotations

import math
from typing import Annotated, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from millrace_infra.settings.machines import CACHE, DATABASE, check_machine
from millrace_infra.settings.section import Impossible, Section

SHARD_BYTES_PER_S: Final = 1_000_000
SHARD_RECORDS_PER_S: Final = 1_000
"""What one Kinesis shard takes in a second. Source: Kinesis Data Streams quotas."""
ON_DEMAND_BYTES_PER_S: Final = 4_000_000
ON_DEMAND_RECORDS_PER_S: Final = 4_000
"""What a fresh on-demand stream takes before it has grown. Source: the same page."""
RECORD_BYTES_MAX: Final = 1_048_576
"""What Kinesis takes as one record. Source: the same page."""

FARGATE_MEMORY_MIB: Final[dict[int, tuple[int, ...]]] = {
    256: (512, 1024, 2048),
    512: tuple(range(1024, 4097, 1024)),
    1024: tuple(range(2048, 8193, 1024)),
    2048: tuple(range(4096, 16385, 1024)),
    4096: tuple(range(8192, 30721, 1024)),
    8192: tuple(range(16384, 61441, 4096)),
    16384: tuple(range(32768, 122881, 8192)),
}
"""Memory that Fargate offers by CPU units. Source: Amazon ECS task definition parameters for Fargate."""


class Load(Section):
    """What the plant sends at its peak."""

    events_per_s: Annotated[int, Field(ge=1, le=1_000_000)]
    """Readings at the peak."""
    event_bytes: Annotated[int, Field(ge=8, le=100_000)] = 200
    """On the wire. 200 B is an NDJSON line; our frames take 12."""
    events_per_record: Annotated[int, Field(ge=1, le=10_000)] = 50
    """How many share a record of the stream: a frame holds what a gateway measured in one go."""
    headroom: Annotated[float, Field(ge=1.0, le=10.0)] = 1.25
    """A shard is never even: sources hash unevenly and a restart sends a burst."""

    @property
    def bytes_per_s(self) -> float:
        return self.events_per_s * self.event_bytes * self.headroom

    @property
    def records_per_s(self) -> float:
        return self.events_per_s / self.events_per_record * self.headroom

    @property
    def shards_wanted(self) -> int:
        by_bytes = math.ceil(self.bytes_per_s / SHARD_BYTES_PER_S)
        return max(1, by_bytes, math.ceil(self.records_per_s / SHARD_RECORDS_PER_S))

    @model_validator(mode="after")
    def _record_fits(self) -> Self:
        if self.event_bytes * self.events_per_record > RECORD_BYTES_MAX:
            raise Impossible(
                self.events_per_record,
                f"{RECORD_BYTES_MAX // self.event_bytes} at most: events of {self.event_bytes} B, and Kinesis takes no "
                f"record of more than {RECORD_BYTES_MAX} B",
                key="events_per_record",
            )
        return self


class StreamSize(Section):
    mode: Literal["provisioned", "on_demand"] = "provisioned"
    """On demand, a fresh stream takes 4 MB/s and 4,000 records/s: a load beyond it is refused."""
    shards: Annotated[int, Field(ge=1, le=500)] = 1
    """Ignored on demand."""
    retention_h: Annotated[int, Field(ge=24, le=8760)] = 48
    """How long the stream keeps what no store has yet."""


class TaskSize(Section):
    """One ECS service's tasks."""

    cpu: int
    """CPU units, 1024 a core."""
    memory_mib: int
    """What Fargate offers beside that CPU."""
    count_min: Annotated[int, Field(ge=1, le=500)]
    """Tasks that run when nothing happens; workers no more than the shards."""
    count_max: Annotated[int, Field(ge=1, le=500)]
    """Scaling goes no further; workers never beyond the shards."""
    storage_gib: Annotated[int, Field(ge=21, le=200)] = 21
    """Scratch disk of a task."""

    @model_validator(mode="after")
    def _offered(self) -> Self:
        if self.memory_mib not in (offered := FARGATE_MEMORY_MIB.get(self.cpu, ())):
            raise Impossible(
                f"cpu {self.cpu} with {self.memory_mib} MiB",
                (f"one of {list(offered)} MiB" if offered else f"a cpu out of {list(FARGATE_MEMORY_MIB)}")
                + ": the other is not offered by Fargate",
            )
        if self.count_max < self.count_min:
            raise Impossible(self.count_max, f"{self.count_min} at least, as count_min says", key="count_max")
        return self


class DatabaseSize(Section):
    instance_class: str
    """db.r7g.large and the like: of the writer and of each reader."""
    readers: Annotated[int, Field(ge=1, le=14)] = 1
    """Each in another zone, as far as there are zones."""
    backup_days: Annotated[int, Field(ge=1, le=35)] = 35
    """How far back Aurora brings the database, to a second."""
    insights_days: Literal[7, 31, 93, 731] = 7
    """How long Performance Insights keeps what it saw."""

    @field_validator("instance_class")
    @classmethod
    def _offered(cls, name: str) -> str:
        return check_machine(name, service="db", families=DATABASE)


class CacheSize(Section):
    node_type: str
    """cache.r7g.large and the like."""
    replicas: Annotated[int, Field(ge=1, le=5)] = 1
    """Beside the primary; one of them takes over."""

    @field_validator("node_type")
    @classmethod
    def _offered(cls, name: str) -> str:
        return check_machine(name, service="cache", families=CACHE)
