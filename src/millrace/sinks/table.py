"""Every sink there is. To add one: docs/add/sink.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class SinkRow:
    """`module` and `type` say where it is (imported by who composes it), `durable` whether it has a
    position to keep."""

    name: str
    module: str
    type: str
    durable: bool
    purpose: str


SINKS: Final[tuple[SinkRow, ...]] = (
    SinkRow(
        "postgres",
        "millrace.sinks.postgres",
        "PostgresSink",
        True,
        "rollups, critical readings, events, ledger",
    ),
    SinkRow(
        "redis", "millrace.sinks.redis", "RedisSink", False, "latest values, live windows, new alarms at once"
    ),
    SinkRow("archive", "millrace.sinks.archive", "ArchiveSink", True, "every reading for years, as Parquet"),
    SinkRow("blackhole", "millrace.sinks.blackhole", "BlackholeSink", False, "nothing: for measuring"),
)
