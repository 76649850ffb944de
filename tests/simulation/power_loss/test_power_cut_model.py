"""The model keeps what was synced, and may lose everything else."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from power_cut import Entry, Op, replay
from recording_disk import RecordingDisk

from millrace.durable import make_folders, writing


def cut(disk: RecordingDisk, root: Path, target: Path, at: int, seed: int | None = None, strict: bool = True):
    rng = None if seed is None else Random(seed)
    replay(disk.log, at, root, target, rng=rng, strict_names=strict)
    return {str(p.relative_to(target)): p.read_bytes() for p in target.rglob("*") if p.is_file()}


def test_a_file_written_through_durable_is_whole_or_absent_at_every_cut(tmp_path: Path) -> None:
    root, disk = tmp_path / "live", RecordingDisk()
    root.mkdir()
    with writing(root / "a" / "b" / "file", disk) as file:
        file.write(b"x" * 10_000)
        file.write(b"y" * 10_000)
    wanted = b"x" * 10_000 + b"y" * 10_000
    seen = set()
    for at in range(len(disk.log) + 1):
        for seed in (None, 1, 2, 3, 4, 5):
            found = cut(disk, root, tmp_path / "cut", at, seed).get("a/b/file")
            assert found in (None, wanted)
            seen.add(found is None)
    assert seen == {True, False}
    assert cut(disk, root, tmp_path / "cut", len(disk.log))["a/b/file"] == wanted


def test_unsynced_content_is_lost_or_torn(tmp_path: Path) -> None:
    root, disk = tmp_path / "live", RecordingDisk()
    root.mkdir()
    descriptor = disk.create(root / "f")
    disk.write(descriptor, b"kept")
    disk.sync(descriptor)
    disk.write(descriptor, b"late" * 3_000)
    disk.sync_folder(root)
    disk.close(descriptor)
    assert cut(disk, root, tmp_path / "cut", 9)["f"] == b"kept"
    found = {cut(disk, root, tmp_path / "cut", 9, seed)["f"] for seed in range(30)}
    assert len(found) > 3
    assert all((b"kept" + b"late" * 3_000).startswith(content) for content in found)


@pytest.mark.parametrize("strict", [True, False])
def test_a_name_without_its_folders_sync_may_be_gone(tmp_path: Path, strict: bool) -> None:
    root, disk = tmp_path / "live", RecordingDisk()
    root.mkdir()
    descriptor = disk.create(root / "f")
    disk.write(descriptor, b"content")
    disk.sync(descriptor)
    disk.close(descriptor)
    found = cut(disk, root, tmp_path / "cut", 9, strict=strict)
    assert found == ({} if strict else {"f": b"content"})
    disk.rename(root / "f", root / "g")
    assert "g" not in cut(disk, root, tmp_path / "cut", 9, strict=strict)
    disk.sync_folder(root)
    assert cut(disk, root, tmp_path / "cut", 9, strict=strict) == {"g": b"content"}


def test_a_name_may_survive_without_its_content(tmp_path: Path) -> None:
    root, disk = tmp_path / "live", RecordingDisk()
    root.mkdir()
    descriptor = disk.create(root / "f")
    disk.write(descriptor, b"content" * 4_000)
    disk.close(descriptor)
    disk.rename(root / "f", root / "g")
    disk.sync_folder(root)
    assert cut(disk, root, tmp_path / "cut", 9)["g"] == b""


def test_a_sync_covers_only_what_was_written_before_it_began(tmp_path: Path) -> None:
    log = [
        Entry(0, Op.OPEN, 1, 1, path=f"{tmp_path}/live/f"),
        Entry(1, Op.WRITE, 1, 0, data=b"before"),
        Entry(3, Op.WRITE, 1, 6, data=b"during"),
        Entry(4, Op.SYNC, 1, begin=2),
    ]
    replay(log, 9, tmp_path / "live", tmp_path / "cut")
    assert (tmp_path / "cut" / "f").read_bytes() == b"before"


def test_an_overwritten_block_survives_whole_or_not(tmp_path: Path) -> None:
    path = f"{tmp_path}/live/f"
    log = [
        Entry(0, Op.OPEN, 1, 1, path=path),
        Entry(1, Op.WRITE, 1, 0, data=b"o" * 16_384),
        Entry(2, Op.SYNC, 1, begin=2),
        Entry(3, Op.WRITE, 1, 0, data=b"n" * 16_384),
    ]
    patterns = set()
    for seed in range(40):
        replay(log, 9, tmp_path / "live", tmp_path / "cut", rng=Random(seed))
        content = (tmp_path / "cut" / "f").read_bytes()
        assert all(len(set(content[i : i + 4096])) == 1 for i in range(0, 16_384, 4096))
        patterns.add(content[::4096])
    assert len(patterns) > 8


def test_a_removed_file_may_come_back_until_its_folder_is_synced(tmp_path: Path) -> None:
    root, disk = tmp_path / "live", RecordingDisk()
    make_folders(root)
    with writing(root / "f", disk) as file:
        file.write(b"content")
    disk.remove(root / "f")
    assert cut(disk, root, tmp_path / "cut", 99) == {"f": b"content"}
    disk.sync_folder(root)
    assert cut(disk, root, tmp_path / "cut", 99) == {}
