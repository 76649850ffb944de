"""When a reading is durable: committed, and read back over another connection.

Looks every 100 ms for new rows of a few critical tags, so each figure is too high by up to that: said, not mended.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
import psycopg

from benchmarks.pipeline.follower import quantiles
from millrace.names import TABLE_READING
from millrace.schema.partitions import WIDTH_US, name_of

PACE_S = 0.1
QUERY = "SELECT max(ctid), array_agg((tag_id, ts_us)) FILTER (WHERE tag_id = ANY(%s)) FROM {} WHERE ctid > %s::tid"
"""Rows behind the newest one seen, in order of writing: a look reads what is new and nothing else."""


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--postgres-url", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--warm-up", type=float, default=10.0)
    parser.add_argument("tags", nargs="+")
    chosen = parser.parse_args()
    seen: list[int] = []
    due: list[int] = []
    until = time.monotonic() + chosen.seconds
    ids: list[int] = []
    table, newest = "", "(0,0)"
    with psycopg.connect(chosen.postgres_url, autocommit=True) as connection:
        while time.monotonic() < until:
            begin = time.monotonic()
            if len(ids) < len(chosen.tags):
                rows = connection.execute("SELECT id FROM tag WHERE path = ANY(%s)", [chosen.tags]).fetchall()
                ids = [row[0] for row in rows]
            if table != (table := partition_now()):
                newest = "(0,0)"
            if connection.execute("SELECT to_regclass(%s)", [table]).fetchone() != (None,):
                found = connection.execute(QUERY.format(table).encode(), [ids, newest]).fetchone()
                newest = found[0] if found and found[0] else newest
                now_us = time.time_ns() // 1_000
                for _, ts_us in (found and found[1]) or ():
                    seen.append(now_us)
                    due.append(int(ts_us))
            time.sleep(max(0.0, PACE_S - (time.monotonic() - begin)))
    print(json.dumps(quantiles(np.array(seen), np.array(due), chosen.warm_up)), flush=True)
    return 0


def partition_now() -> str:
    """The table that readings of this hour are written to; the minutes around the hour are not looked at."""
    width_us = WIDTH_US[TABLE_READING]
    return name_of(TABLE_READING, time.time_ns() // 1_000 // width_us * width_us)


if __name__ == "__main__":
    raise SystemExit(main())
