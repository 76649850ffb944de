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

PACE_S = 0.1
LOOK_BACK_US = 5_000_000
QUERY = "SELECT tag_id, ts_us FROM reading WHERE ts_us > %s AND tag_id = ANY(%s)"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--postgres-url", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--warm-up", type=float, default=10.0)
    parser.add_argument("tags", nargs="+")
    chosen = parser.parse_args()
    known: set[tuple[int, int]] = set()
    seen: list[int] = []
    due: list[int] = []
    until = time.monotonic() + chosen.seconds
    ids: list[int] = []
    with psycopg.connect(chosen.postgres_url, autocommit=True) as connection:
        while time.monotonic() < until:
            begin = time.monotonic()
            if len(ids) < len(chosen.tags):
                rows = connection.execute("SELECT id FROM tag WHERE path = ANY(%s)", [chosen.tags]).fetchall()
                ids = [row[0] for row in rows]
            after_us = (due[-1] if due else time.time_ns() // 1_000) - LOOK_BACK_US // 5
            for key in connection.execute(QUERY, [after_us, ids]).fetchall():
                if key not in known:
                    known.add(key)
                    seen.append(time.time_ns() // 1_000)
                    due.append(key[1])
            time.sleep(max(0.0, PACE_S - (time.monotonic() - begin)))
    # Rows older than the look-back when first seen were late ones, or our own start.
    print(json.dumps(quantiles(np.array(seen), np.array(due), chosen.warm_up)), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
