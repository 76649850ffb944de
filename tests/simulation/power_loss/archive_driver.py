"""The archive at work against a real PostgreSQL, run under the recorder as a process of its own.

    python archive_driver.py <libpq url> <archive folder> <recorder's log> [mutation]

Twelve segments, a compaction, four more; each listed position is acknowledged in the log.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
from power_cut import acknowledge

from millrace import batch
from millrace.accounting import hash_rows, tag_hash
from millrace.batch import DataClass, Output, TagInfo, ValueKind
from millrace.clock import EdgeClock
from millrace.durable import Disk
from millrace.settings import Settings
from millrace.sinks.archive import ArchiveSink
from millrace.sinks.postgres.manifest import PostgresManifest
from millrace.sinks.postgres.ownership import Owners

T0_US = 1_767_600_000_000_000
TAGS = [TagInfo(i, f"a/b/t-{i}", "gw", ValueKind.FLOAT, DataClass.STANDARD, True, 0, "") for i in range(5)]
ROWS = 2_000


class NeverSyncs(Disk):
    """Mutation: the content is not synced."""

    def sync(self, descriptor: int) -> None:
        """Left out."""


def an_output(position: int, rng: np.random.Generator) -> Output:
    rows = np.zeros(ROWS, batch.READING)
    rows["slot"] = rng.integers(0, len(TAGS), ROWS)
    rows["ts_us"] = T0_US + position * 1_000_000 + np.arange(ROWS)
    rows["value"], rows["quality"] = rng.normal(0, 1, ROWS), 192
    hashes = np.array([tag_hash(tag.path) for tag in TAGS], np.uint64)
    columns = (rows[name].copy() for name in ("slot", "ts_us", "value", "quality"))
    rows["hash"] = hash_rows(hashes, *columns)
    empties = [batch.empty(t) for t in (batch.ROLLUP, batch.ANOMALY, batch.ALARM, batch.LEDGER)]
    return Output(
        0, position, position, T0_US, 1, rows, *empties, tags=TAGS if position == 1 else [], mark=position
    )


def main(url: str, root: str, log_file: str, mutation: str = "") -> None:
    settings = Settings()
    owners = Owners(url, "driver", settings)
    owners.prepare("folder-1", 1)
    held = owners.acquire(0)
    assert held is not None
    disk = NeverSyncs() if mutation else Disk()
    manifest = PostgresManifest(url, settings, owner="driver")
    sink = ArchiveSink(Path(root), manifest, settings, EdgeClock(), disk=disk)
    sink.open_shard(held.ownership)
    log = os.open(log_file, os.O_WRONLY | os.O_APPEND)
    rng = np.random.default_rng(5)
    for position in range(1, 17):
        sink.write([an_output(position, rng)])
        assert sink.position(0) == position, sink.failure
        acknowledge(log, position)
        while position == 12 and sink.maintain():
            """Until the merge is swapped in."""


if __name__ == "__main__":
    main(*sys.argv[1:])
