"""The power goes at any moment: what was listed is whole. What was not listed may be missing: the stream has
it still."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np
import pytest
from power_cut import DiskModel, promises
from recording_disk import (
    ForgetsToWrite,
    NeverSyncs,
    NeverSyncsFolders,
    RecordingDisk,
    RenamesBeforeSync,
)

from millrace import batch, snapshots
from millrace.accounting import hash_rows, tag_hash
from millrace.batch import DataClass, Output, Reason, Reject, TagInfo, ValueKind
from millrace.clock import HandClock
from millrace.errors import SnapshotError
from millrace.settings import Settings
from millrace.sinks.archive import ArchiveSink
from millrace.sinks.contract import Ownership
from millrace.sinks.manifest import Segment

T0_US = 1_767_600_000_000_000
TAGS = [TagInfo(i, f"a/t-{i}", "gw", ValueKind.FLOAT, DataClass.STANDARD, True, 0, "") for i in range(3)]


class PromisingManifest:
    """Whatever is listed here is a promise, noted in the disk's log at that moment."""

    def __init__(self, disk: RecordingDisk) -> None:
        self._disk = disk
        self._listed: dict[str, Segment] = {}
        self._retired: list[str] = []

    def list_segment(self, shard: int, epoch: int, archived: int, segments: Sequence[Segment]) -> None:
        for segment in segments:
            self._listed[segment.file] = segment
            self._disk.promise(["listed", segment.file, segment.sha256])

    def replace_segments(self, shard: int, epoch: int, new: Segment, retired: Sequence[str]) -> None:
        self.list_segment(shard, epoch, 0, [new])
        self._retired += retired
        self._disk.promise(["not needed", *retired])

    def files(self, shard: int) -> list[Segment]:
        return sorted(self._listed.values(), key=lambda segment: segment.first_position)

    def retired_before(self, shard: int, age_s: float) -> list[str]:
        return list(self._retired)

    def forget(self, shard: int, epoch: int, files: Sequence[str]) -> None:
        for file in files:
            del self._listed[file]
        self._retired.clear()


def an_output(position: int, rng: np.random.Generator) -> Output:
    rows = np.zeros(50, batch.READING)
    rows["slot"] = rng.integers(0, 3, 50)
    rows["ts_us"], rows["value"], rows["quality"] = T0_US + np.arange(50), rng.normal(0, 1, 50), 192
    hashes = np.array([tag_hash(tag.path) for tag in TAGS], np.uint64)
    rows["hash"] = hash_rows(
        hashes, rows["slot"].copy(), rows["ts_us"].copy(), rows["value"].copy(), rows["quality"].copy()
    )
    empties = [batch.empty(t) for t in (batch.ROLLUP, batch.ANOMALY, batch.ALARM, batch.LEDGER)]
    rejects = [Reject(position, 0, "gw", Reason.OUT_OF_RANGE, T0_US, T0_US, "x", b"{}")]
    tags = TAGS if position == 1 else []
    return Output(0, position, position, T0_US, 1, rows, *empties, rejects=rejects, tags=tags, mark=position)


def run_archive(root: Path, disk: RecordingDisk) -> None:
    """Ten segments with rejects, a compaction, the removal of what it replaced, and two more segments."""
    sink = ArchiveSink(root, PromisingManifest(disk), Settings(), HandClock(), disk=disk)
    sink.open_shard(Ownership(0, 1))
    rng = np.random.default_rng(7)
    for position in range(1, 13):
        sink.write([an_output(position, rng)])
        while position == 10 and sink.maintain():
            """Until the merge is swapped in and what it replaced is gone."""


def broken_listings(folder: Path, promised: Sequence[object]) -> list[str]:
    """Listed files that are not there, or not as they were when they were listed."""
    owed: dict[str, str] = {}
    for kind, *what in promised:
        if kind == "listed":
            owed[what[0]] = what[1]
        else:
            for file in what:
                owed.pop(file, None)
    broken = []
    for file, sha256 in owed.items():
        path = folder / file
        if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
            broken.append(file)
    return broken


def broken_after_any_cut(root: Path, disk: RecordingDisk, target: Path, check) -> list[str]:
    """What is broken after the first cut that breaks something; every moment is tried."""
    model = DiskModel(root, strict_names=True)
    for at in range(len(disk.log) + 1):
        promised = promises(disk.log, at)
        for rng in (None, Random(at)):
            model.materialise(target, rng)
            if broken := check(target, promised):
                return [f"cut {at}: {name}" for name in broken]
        if at < len(disk.log):
            model.take(disk.log[at])
    return []


@pytest.mark.requirement("S-19")
def test_a_listed_segment_is_whole_after_any_power_cut(tmp_path: Path) -> None:
    root, disk = tmp_path / "archive", RecordingDisk()
    root.mkdir()
    run_archive(root, disk)
    assert len(promises(disk.log, 10**9)) > 20
    assert broken_after_any_cut(root, disk, tmp_path / "cut", broken_listings) == []


MUTATIONS = [NeverSyncs, NeverSyncsFolders, RenamesBeforeSync, ForgetsToWrite]


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_an_archive_that_leaves_a_step_out_is_caught(tmp_path: Path, mutation) -> None:
    root, disk = tmp_path / "archive", mutation()
    root.mkdir()
    run_archive(root, disk)
    assert broken_after_any_cut(root, disk, tmp_path / "cut", broken_listings)


def run_snapshots(root: Path, disk: RecordingDisk) -> None:
    """Six snapshots, two kept: listed after each is written, the rest removed after that."""
    listed: list[str] = []
    for position in range(1, 7):
        arrays = {"state": np.full(5_000, position), "noise": np.random.default_rng(position).normal(size=9)}
        file = snapshots.write(root, 0, 1, position, arrays, {"at": position}, folder_id="f", disk=disk)
        listed = [*listed, file.path.name][-2:]
        disk.promise(listed)
        snapshots.remove_unlisted(root, 0, 1, listed, disk)


def broken_snapshots(folder: Path, promised: Sequence[object]) -> list[str]:
    """Of the newest listed pair, those that cannot be read or hold another state."""
    broken = []
    for name in promised[-1] if promised else []:
        try:
            found = snapshots.read(folder / name, folder_id="f")
        except SnapshotError as error:
            broken.append(str(error))
            continue
        if found.meta["at"] != found.position or set(found.arrays["state"]) != {found.position}:
            broken.append(f"{name}: another state")
    return broken


@pytest.mark.requirement("S-19")
def test_both_listed_snapshots_are_readable_after_any_power_cut(tmp_path: Path) -> None:
    root, disk = tmp_path / "snapshots", RecordingDisk()
    root.mkdir()
    run_snapshots(root, disk)
    assert broken_after_any_cut(root, disk, tmp_path / "cut", broken_snapshots) == []


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_snapshot_that_leaves_a_step_out_is_caught(tmp_path: Path, mutation) -> None:
    root, disk = tmp_path / "snapshots", mutation()
    root.mkdir()
    run_snapshots(root, disk)
    assert broken_after_any_cut(root, disk, tmp_path / "cut", broken_snapshots)
