"""The operational store: identity, shards, asset model, tags, readings, rollups, events, quarantine,
accounting.

Rules of the house:
- Times are bigint microseconds UTC (`…_us`), except server-side stamps, which are timestamptz (`…_at`).
- A position is numeric(60,0): Kinesis' go beyond 64 bits.
- A hash sum is bigint holding the 64 bits of an unsigned sum modulo 2^64; add with `wrapping_add`.
- Values are float8 and may be NaN (a gap); min … last of a rollup are NULL where there was no value.
- Columns of 8 bytes come first: PostgreSQL pads, and these tables hold billions of rows.
"""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None

IDENTITY = """
CREATE TABLE data_folder (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    identity text NOT NULL,                     -- id and generation, also in the stream and in each snapshot
    shards integer NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE shard (
    shard integer PRIMARY KEY,
    owner text NOT NULL DEFAULT '',             -- empty: released
    epoch bigint NOT NULL DEFAULT 0,            -- rises at each change of owner; guards every write
    lease_until timestamptz NOT NULL DEFAULT '-infinity',
    wanted_by text NOT NULL DEFAULT '',         -- who would like to have it handed over
    applied numeric(60, 0) NOT NULL DEFAULT 0,  -- in the transaction with the rows
    archived numeric(60, 0) NOT NULL DEFAULT 0,
    snapshot numeric(60, 0) NOT NULL DEFAULT 0, -- the older of the two kept: the stream is trimmed to it
    model_number bigint NOT NULL DEFAULT 0,
    mark bigint NOT NULL DEFAULT 0,             -- newest mark that was applied; 0: none is followed
    mark_position numeric(60, 0) NOT NULL DEFAULT 0,
    mark_time_us bigint NOT NULL DEFAULT 0,     -- the shard's time at the mark
    time_us bigint NOT NULL DEFAULT 0,          -- the shard's time at `applied`
    reading_floor_us bigint NOT NULL DEFAULT 0, -- event hours before it are not owed by `reading` any more
    rollup_1s_floor_us bigint NOT NULL DEFAULT 0,
    rollup_1m_floor_us bigint NOT NULL DEFAULT 0,
    applied_at timestamptz
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

CREATE TABLE snapshot (
    shard integer NOT NULL,
    position numeric(60, 0) NOT NULL,
    epoch bigint NOT NULL,
    file text NOT NULL,
    sha256 text NOT NULL DEFAULT '',
    bytes bigint NOT NULL DEFAULT 0,
    listed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (shard, position)
);

CREATE TABLE skip (                             -- whole records that are never processed again
    shard integer NOT NULL,
    position numeric(60, 0) NOT NULL,
    reason text NOT NULL,
    skipped_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (shard, position)
);

CREATE TABLE death (                            -- deaths of a worker inside one lone record
    shard integer NOT NULL,
    position numeric(60, 0) NOT NULL,
    deaths integer NOT NULL,
    last_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (shard, position)
);
"""

TAGS = """
CREATE TABLE model_change (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    made_at timestamptz NOT NULL DEFAULT now(),
    made_by text NOT NULL DEFAULT '',
    sha256 text NOT NULL,
    model bytea NOT NULL,                       -- the whole AssetModel, MessagePack
    appended boolean NOT NULL DEFAULT false     -- every shard has all its chunks
);

CREATE TABLE asset_source (
    name text COLLATE "C" PRIMARY KEY,
    silence_us bigint NOT NULL DEFAULT 0,
    description text NOT NULL DEFAULT ''
);

CREATE TABLE asset_tag (                        -- what the newest model says
    path text COLLATE "C" PRIMARY KEY,
    source text COLLATE "C" NOT NULL,
    kind smallint NOT NULL,
    data_class smallint NOT NULL,
    criticality smallint NOT NULL,
    period_us bigint NOT NULL,
    unit text NOT NULL,
    range_low float8, range_high float8,
    low_low float8, low float8, high float8, high_high float8,
    deadband float8 NOT NULL DEFAULT 0,
    on_delay_us bigint NOT NULL DEFAULT 0,
    off_delay_us bigint NOT NULL DEFAULT 0,
    silence_us bigint NOT NULL DEFAULT 0,
    states text[] NOT NULL DEFAULT '{}',
    description text NOT NULL DEFAULT ''
);
CREATE INDEX asset_tag_source ON asset_tag (source);

CREATE TABLE source (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE
);

CREATE TABLE tag (                              -- what readings came for; an id is never reused
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    path text COLLATE "C" NOT NULL,             -- COLLATE "C": a prefix of an ISA-95 path is an index range
    source text COLLATE "C" NOT NULL,
    tag_hash bigint NOT NULL,                   -- accounting.tag_hash(path) as a signed 64-bit integer
    shard integer NOT NULL,
    kind smallint NOT NULL,
    data_class smallint NOT NULL,
    modelled boolean NOT NULL,
    period_us bigint NOT NULL,
    unit text NOT NULL,
    first_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (path, source)
);
CREATE INDEX tag_source ON tag (source);
"""

READINGS = """
CREATE FUNCTION wrapping_add(a bigint, b bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN
    (((a >> 32) + (b >> 32) + (((a & 4294967295) + (b & 4294967295)) >> 32)) << 32)
    | (((a & 4294967295) + (b & 4294967295)) & 4294967295);

CREATE TABLE reading (                          -- raw readings of critical tags
    ts_us bigint NOT NULL,
    value float8 NOT NULL,
    tag_id integer NOT NULL,
    quality smallint NOT NULL
) PARTITION BY RANGE (ts_us);
CREATE INDEX reading_ts ON reading USING brin (ts_us) WITH (pages_per_range = 32);
"""

# `count` counts all readings, min … last only good and uncertain values: NULL where there was none.
ROLLUP = """
CREATE TABLE {table} (
    window_us bigint NOT NULL,
    min float8, max float8, sum float8 NOT NULL,
    first_us bigint, first float8, last_us bigint, last float8,
    hash bigint NOT NULL,
    tag_id integer NOT NULL,
    count integer NOT NULL, good integer NOT NULL, uncertain integer NOT NULL, bad integer NOT NULL,
    PRIMARY KEY (tag_id, window_us){include}
) PARTITION BY RANGE (window_us);
"""
# Rows lie window by window, so a year of one tag is 8,760 pages of the table. Its key carries what a history reads:
# some 150 pages of the index instead, for 20 MB a day at 10,000 tags.
INCLUDE_1H = " INCLUDE (min, max, sum, first, last, count, good, uncertain)"

EVENTS = """
CREATE TABLE anomaly (
    id uuid PRIMARY KEY,
    tag_id integer,                             -- NULL: of the whole source
    path text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    detector text NOT NULL,
    state smallint NOT NULL,                    -- batch.OPENED, CLOSED, CLOSED_DETECTOR_CHANGED
    start_us bigint NOT NULL,
    end_us bigint NOT NULL,
    score float8 NOT NULL,
    value float8 NOT NULL,
    expected float8 NOT NULL,
    shard integer NOT NULL
);
CREATE INDEX anomaly_start ON anomaly (start_us);
CREATE INDEX anomaly_path_start ON anomaly (path, start_us);
CREATE INDEX anomaly_open ON anomaly (shard) WHERE state = 0;

CREATE TABLE alarm (
    id uuid PRIMARY KEY,
    tag_id integer,
    path text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    rule text NOT NULL,
    state text NOT NULL,                        -- 'active' or 'returned'
    start_us bigint NOT NULL,                   -- when the condition began
    raised_us bigint NOT NULL,
    returned_us bigint,
    value float8 NOT NULL,
    limit_value float8 NOT NULL,
    shard integer NOT NULL
);
CREATE INDEX alarm_state_start ON alarm (state, start_us);
CREATE INDEX alarm_path_start ON alarm (path, start_us);

CREATE TABLE alarm_event (
    alarm_id uuid NOT NULL,
    ts_us bigint NOT NULL,
    event text NOT NULL,                        -- 'raised' or 'returned'
    value float8 NOT NULL,
    PRIMARY KEY (alarm_id, ts_us, event)
);
CREATE INDEX alarm_event_ts ON alarm_event (ts_us);

CREATE TABLE audit_event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    actor text NOT NULL,
    action text NOT NULL,
    object text NOT NULL,
    detail jsonb NOT NULL DEFAULT '{}'
);
"""

QUARANTINE = """
CREATE TABLE reject (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    position numeric(60, 0) NOT NULL,
    received_ts_us bigint NOT NULL,
    ts_us bigint NOT NULL,                      -- 0: no time could be read
    series bigint,                              -- number of the replay that took it; see schema/quarantine.py
    replayed_at timestamptz,
    shard integer NOT NULL,
    index integer NOT NULL,
    count integer NOT NULL,
    reason text NOT NULL,
    source text COLLATE "C" NOT NULL,           -- empty: could not be read
    tag text COLLATE "C" NOT NULL,
    payload bytea NOT NULL
);
CREATE INDEX reject_received ON reject (received_ts_us);
CREATE INDEX reject_reason ON reject (reason, received_ts_us);
CREATE INDEX reject_series ON reject (source, series) WHERE series IS NOT NULL AND replayed_at IS NULL;

CREATE TABLE reject_count (                     -- all of them, also those beyond the bound of `reject`
    shard integer NOT NULL,
    hour_us bigint NOT NULL,                    -- of the shard's time when they were applied
    reason text NOT NULL,
    count bigint NOT NULL,
    PRIMARY KEY (shard, hour_us, reason)
);

CREATE TABLE replay_series (
    source text COLLATE "C" PRIMARY KEY,
    newest bigint NOT NULL
);
"""

ACCOUNTING = """
CREATE TABLE ledger (
    hour_us bigint NOT NULL,
    received bigint NOT NULL, received_hash bigint NOT NULL,
    duplicate bigint NOT NULL, duplicate_hash bigint NOT NULL,
    rejected bigint NOT NULL, rejected_hash bigint NOT NULL,
    applied bigint NOT NULL, applied_hash bigint NOT NULL,
    critical bigint NOT NULL, critical_hash bigint NOT NULL,
    shard integer NOT NULL,                     -- in the key, so that two workers never wait for one row
    source_id integer NOT NULL,
    PRIMARY KEY (shard, source_id, hour_us)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
CREATE INDEX ledger_hour ON ledger (hour_us);

CREATE TABLE since_mark (                       -- what each store was given after the shard's newest mark
    hour_us bigint NOT NULL,
    received bigint NOT NULL, received_hash bigint NOT NULL,
    duplicate bigint NOT NULL, duplicate_hash bigint NOT NULL,
    rejected bigint NOT NULL, rejected_hash bigint NOT NULL,
    applied bigint NOT NULL, applied_hash bigint NOT NULL,
    critical bigint NOT NULL, critical_hash bigint NOT NULL,
    rollup bigint NOT NULL, rollup_hash bigint NOT NULL,
    reading bigint NOT NULL, reading_hash bigint NOT NULL,
    shard integer NOT NULL,
    source_id integer NOT NULL,
    PRIMARY KEY (shard, source_id, hour_us)
) WITH (fillfactor = 50);

CREATE TABLE segment (
    file text COLLATE "C" PRIMARY KEY,          -- relative to the archive's root
    kind text NOT NULL,                         -- 'readings' or 'quarantine'
    shard integer NOT NULL,
    epoch bigint NOT NULL,
    first_position numeric(60, 0) NOT NULL,
    last_position numeric(60, 0) NOT NULL,
    rows bigint NOT NULL,
    min_ts_us bigint NOT NULL,
    max_ts_us bigint NOT NULL,
    bytes bigint NOT NULL,
    sha256 text NOT NULL,
    counts jsonb NOT NULL,                      -- [[source, hour_us, count, hash], …]
    state text NOT NULL,                        -- 'listed', 'retired', 'shipped'
    listed_at timestamptz NOT NULL DEFAULT now(),
    retired_at timestamptz
);
CREATE INDEX segment_shard ON segment (shard, last_position);
CREATE INDEX segment_time ON segment (max_ts_us, min_ts_us) WHERE kind = 'readings';
"""


def upgrade() -> None:
    """From an empty database."""
    connection = op.get_bind()
    keys = {"rollup_1s": "", "rollup_1m": "", "rollup_1h": INCLUDE_1H}
    rollups = [ROLLUP.format(table=table, include=include) for table, include in keys.items()]
    for statements in (IDENTITY, TAGS, READINGS, *rollups, EVENTS, QUARANTINE, ACCOUNTING):
        connection.exec_driver_sql(statements)
