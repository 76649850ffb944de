"""What a reading costs in the archive: bytes, CPU to write, time to read one tag's raw hour.

python benchmarks/micro/archive.py            one shard of plant-100k: 12,500 readings/s, 60 segments of
a minute python benchmarks/micro/archive.py --minutes 10
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from millrace import batch
from millrace.accounting import hash_rows, tag_hash
from millrace.batch import DataClass, Output, Rows, TagInfo, ValueKind
from millrace.clock import HandClock
from millrace.schema.segments import FooterCache, read_tag, recount
from millrace.settings import Settings
from millrace.sinks.archive import ArchiveSink
from millrace.sinks.contract import Ownership
from millrace.sinks.manifest import Segment

T0_US = 1_767_600_000_000_000
TAGS = 1_250
RATE = 12_500
MINUTE_US = 60_000_000


class ListOnly:
    """A manifest that costs nothing."""

    def __init__(self) -> None:
        self.listed: dict[str, Segment] = {}
        self.retired: list[str] = []

    def list_segment(self, shard: int, epoch: int, archived: int, segments: Sequence[Segment]) -> None:
        self.listed.update({segment.file: segment for segment in segments})

    def replace_segments(self, shard: int, epoch: int, new: Segment, retired: Sequence[str]) -> None:
        for file in retired:
            del self.listed[file]
        self.listed[new.file] = new

    def files(self, shard: int) -> list[Segment]:
        return sorted(self.listed.values(), key=lambda segment: segment.first_position)

    def retired_before(self, shard: int, age_s: float) -> list[str]:
        return []

    def forget(self, shard: int, epoch: int, files: Sequence[str]) -> None:
        """Nothing is retired here."""


def tag_table() -> list[TagInfo]:
    paths = [f"acme/lyon/press-shop/line-{i % 10}/press-{i // 25:02d}/signal-{i:05d}" for i in range(TAGS)]
    return [
        TagInfo(i, path, f"gw-{i % 13}", ValueKind.FLOAT, DataClass.STANDARD, True, 100_000, "C")
        for i, path in enumerate(paths)
    ]


def minute(tags: Sequence[TagInfo], number: int, decimals: int, rng: np.random.Generator) -> Rows:
    """A minute of sensor-like readings with jitter, in order of arrival, one in a hundred late."""
    n = RATE * 60
    rows = np.zeros(n, batch.READING)
    rows["slot"] = rng.permutation(np.arange(n) % TAGS)
    late = rng.random(n) < 0.01
    rows["ts_us"] = (
        T0_US + number * MINUTE_US + np.arange(n) * 80 + rng.integers(0, 2_000, n) - late * 5_000_000
    )
    drift = np.cumsum(rng.normal(0, 0.002, n))
    rows["value"] = np.round(20 + rows["slot"] % 97 + drift + rng.normal(0, 0.2, n), decimals)
    rows["quality"] = np.where(rng.random(n) < 0.001, 0, 192)
    rows["late"] = late
    hashes = np.array([tag_hash(tag.path) for tag in tags], np.uint64)
    rows["hash"] = hash_rows(
        hashes, rows["slot"].copy(), rows["ts_us"].copy(), rows["value"].copy(), rows["quality"].copy()
    )
    return rows


def an_output(position: int, rows: Rows, tags: Sequence[TagInfo], mark: int) -> Output:
    empties = [batch.empty(t) for t in (batch.ROLLUP, batch.ANOMALY, batch.ALARM, batch.LEDGER)]
    return Output(0, position, position, T0_US, 1, rows, *empties, tags=list(tags), mark=mark)


def stall_of_others(work: threading.Thread) -> float:
    """The longest that another Python thread had to wait for its turn while `work` ran, in ms."""
    worst = 0.0
    work.start()
    while work.is_alive():
        before = time.perf_counter()
        time.sleep(0.001)
        worst = max(worst, time.perf_counter() - before - 0.001)
    return worst * 1e3


def write_minutes(root: Path, minutes: int, decimals: int) -> tuple[ArchiveSink, ListOnly, list[TagInfo]]:
    manifest, tags = ListOnly(), tag_table()
    sink = ArchiveSink(root, manifest, Settings(), HandClock())
    sink.open_shard(Ownership(0, 1))
    rng = np.random.default_rng(42)
    costs, stalls, position = [], [], 0
    for number in range(minutes):
        rows = minute(tags, number, decimals, rng)
        for part in np.array_split(rows, 600):
            position += 1
            sink.write([an_output(position, part, tags if position == 1 else (), 0)])
        position += 1
        last = an_output(position, rows[:0], (), position)
        cpu = time.process_time()
        stalls.append(stall_of_others(threading.Thread(target=sink.write, args=([last],))))
        costs.append((time.process_time() - cpu) / len(rows) * 1e6)
    sizes = [segment.bytes / segment.rows for segment in manifest.files(0)]
    print(
        f"write, values of {decimals} decimals: {np.mean(sizes):.2f} bytes/reading,"
        f" {np.median(costs):.3f} us CPU/reading,"
        f" another thread waited {np.median(stalls):.0f} ms (worst {max(stalls[1:], default=0):.0f})"
    )
    return sink, manifest, tags


def read_hours(root: Path, manifest: ListOnly, tags: Sequence[TagInfo], what: str) -> None:
    files = [root / segment.file for segment in manifest.files(0)]
    rng = np.random.default_rng(3)
    cache = FooterCache()
    times = []
    for tag in rng.choice(len(tags), 20, replace=False):
        begin = time.perf_counter()
        ts_us, _, _ = read_tag(files, tags[tag].path, None, T0_US, T0_US + 3_600_000_000, footers=cache)
        times.append((time.perf_counter() - begin) * 1e3)
    print(
        f"read a tag's raw hour from {what} ({len(files)} files, {len(ts_us)} readings):"
        f" {times[0]:.0f} ms with cold footers, then p50 {np.median(times[1:]):.1f} ms,"
        f" worst {max(times[1:]):.1f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=int, default=60)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        write_minutes(Path(folder) / "noise", 3, 15)
        root = Path(folder) / "archive"
        sink, manifest, tags = write_minutes(root, arguments.minutes, 2)
        read_hours(root, manifest, tags, "segments")
        cpu, rows = time.process_time(), 0
        while (known := set(manifest.listed)) and sink.maintain():
            rows += sum(segment.rows for file, segment in manifest.listed.items() if file not in known)
        if rows:
            print(f"compaction: {(time.process_time() - cpu) / rows * 1e6:.3f} us CPU per reading rewritten")
            read_hours(root, manifest, tags, "compacted segments")
        begin = time.perf_counter()
        segment = manifest.files(0)[0]
        recount(root / segment.file)
        print(f"recount: {(time.perf_counter() - begin) / segment.rows * 1e6:.3f} us per reading")


if __name__ == "__main__":
    main()
