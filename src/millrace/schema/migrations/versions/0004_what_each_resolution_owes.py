"""The ledger says what each resolution owes, and a mark what went to each store after it.

`applied_1m` and `applied_1s` are counted by `process` when a reading is applied, so that `rollup_1m` and `rollup_1s`
can be recounted by hour even where the model gave or took a resolution in between. NULL: an older release, which did
not count, began the hour; such hours are not compared. Quarantine files of older releases were counted under the
reading's own time however impossible; their counts are emptied, which says "not counted as the ledger does".
"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"

OWED = """
ALTER TABLE ledger
    ADD COLUMN applied_1m bigint, ADD COLUMN applied_1m_hash bigint,
    ADD COLUMN applied_1s bigint, ADD COLUMN applied_1s_hash bigint;
DROP TABLE since_mark;
CREATE TABLE since_mark (                       -- what each store was given after the shard's newest mark
    hour_us bigint NOT NULL,
    received bigint NOT NULL, received_hash bigint NOT NULL,
    duplicate bigint NOT NULL, duplicate_hash bigint NOT NULL,
    rejected bigint NOT NULL, rejected_hash bigint NOT NULL,
    applied bigint NOT NULL, applied_hash bigint NOT NULL,
    critical bigint NOT NULL, critical_hash bigint NOT NULL,
    applied_1m bigint NOT NULL, applied_1m_hash bigint NOT NULL,
    applied_1s bigint NOT NULL, applied_1s_hash bigint NOT NULL,
    rollup_1h bigint NOT NULL, rollup_1h_hash bigint NOT NULL,
    rollup_1m bigint NOT NULL, rollup_1m_hash bigint NOT NULL,
    rollup_1s bigint NOT NULL, rollup_1s_hash bigint NOT NULL,
    reading bigint NOT NULL, reading_hash bigint NOT NULL,
    reject_count bigint NOT NULL, reject_count_hash bigint NOT NULL,  -- under source 0, hour 0: it is by shard
    shard integer NOT NULL,
    source_id integer NOT NULL,
    PRIMARY KEY (shard, source_id, hour_us)
) WITH (fillfactor = 50);
UPDATE shard SET mark = 0;                      -- what came after an older mark was not kept for every store
UPDATE segment SET counts = '[]' WHERE kind = 'quarantine';
"""


def upgrade() -> None:
    """From 0003."""
    op.get_bind().exec_driver_sql(OWED)
