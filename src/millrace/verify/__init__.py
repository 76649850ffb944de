"""Is every reading accounted for? The stores are counted themselves, at a mark, and compared.

    mark -> wait until every shard has applied and archived it -> count ledger, archive, rollups,
    readings -> compare

Per (source, event hour): received = duplicate + rejected + applied in the ledger; applied = rows of the
archive's files = counts of the 1 h rollups; rejected = lines of the archive's quarantine files; applied critical = rows
of `reading`; applied while the tag had rollups of a minute, of a second = counts of `rollup_1m`, `rollup_1s`: each for
the hours that the table still owes. Beside each count stands the sum of the rows' 64-bit hashes, so that two equal
counts cannot hide a swap. Per shard: rejected = `reject_count`.

The fast pass reads the archive's footers and sums, and the newest rollups of a minute and a second; `full` reads every
row of all again, checks each SHA-256, and that windows of the same readings say the same values in each resolution.
"""

from __future__ import annotations

from pathlib import Path

import psycopg

from millrace.clock import Clock, EdgeClock
from millrace.errors import StoreUnavailable
from millrace.stream.contract import Stream
from millrace.verify import archive, marks, stores
from millrace.verify.compare import compare
from millrace.verify.progress import Tell, nobody
from millrace.verify.report import Hole, Report

__all__ = ["Hole", "Report", "verify"]


def verify(
    url: str,
    archive_root: Path,
    stream: Stream,
    *,
    full: bool = False,
    timeout_s: float = 60.0,
    clock: Clock | None = None,
    tell: Tell = nobody,
) -> Report:
    """Count everything up to now. Safe while the platform runs; it writes only its marks.

    `timeout_s` bounds the wait for the marks; StoreUnavailable, naming the shard that lags, when it runs out
    (is a worker running?) or when PostgreSQL does not answer. `tell` hears how far it is.
    """
    clock = clock or EdgeClock()
    started_s = clock.monotonic_s()
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=10, options=stores.OPTIONS) as connection:
            placed = marks.place(connection, stream, clock)
            marks.wait(connection, placed, clock, timeout_s, tell)
            with stores.snapshot(connection):
                at = marks.check(connection, placed)
                files = archive.count(connection, archive_root, placed, full=full, tell=tell)
                counted = stores.count(connection, at, full=full, tell=tell)
    except psycopg.Error as error:
        raise StoreUnavailable(f"PostgreSQL: {str(error).strip()}") from error
    return compare(counted, files, full=full, seconds_taken=clock.monotonic_s() - started_s)
