"""The operational store as a sink, the shards' ownership, the archive's manifest, retention."""

from __future__ import annotations

from millrace.sinks.postgres.manifest import PostgresManifest
from millrace.sinks.postgres.ownership import Held, Owners, Positions
from millrace.sinks.postgres.retention import Retention
from millrace.sinks.postgres.sink import PostgresSink

__all__ = ["Held", "Owners", "Positions", "PostgresManifest", "PostgresSink", "Retention"]
