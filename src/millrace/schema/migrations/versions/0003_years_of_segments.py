"""Segments of a span, and retired ones, found without walking the list of all years.

A year of 100,000 readings/s lists 520,000 segments. A raw hour of some months ago cost 10 ms before the first file was
opened, and asking for retired ones 320 ms, twice a shard and half a minute (docs/decisions/0013-a-year-of-segments.md).
"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"

INDEXES = """
CREATE INDEX segment_shard_time ON segment (shard, max_ts_us, min_ts_us) WHERE kind = 'readings';
CREATE INDEX segment_retired ON segment (shard, retired_at) WHERE retired_at IS NOT NULL;
DROP INDEX segment_time;
"""


def upgrade() -> None:
    """From 0002."""
    op.get_bind().exec_driver_sql(INDEXES)
