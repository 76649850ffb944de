"""A file is whole or it is not there: write aside, sync, rename, sync the folder.

The order matters. Without the first sync a power cut can leave the new name over an empty file; without the
second the name itself can be gone although somebody was told that it exists. Every file that another store
points at (segments, quarantine files, snapshots) is written through here, and through `Disk`, so that a test
can record what was written and synced, cut the power at any moment, and leave one step out to see who
notices.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ASIDE_SUFFIX = ".aside"
"""Ending of a file that is being written. Nobody reads one; whoever owns the folder may remove it."""


class Disk:
    """The file operations that durability rests on, and nothing else."""

    def create(self, path: Path) -> int:
        """A descriptor of a new, empty file."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)

    def write(self, descriptor: int, data: bytes | memoryview) -> None:
        """All of `data`, appended."""
        rest = memoryview(data)
        while len(rest):
            rest = rest[os.write(descriptor, rest) :]

    def sync(self, descriptor: int) -> None:
        """Returns once the file's content is on the disk."""
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        os.replace(source, target)

    def remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def make_folder(self, path: Path) -> None:
        path.mkdir(mode=0o750, exist_ok=True)

    def sync_folder(self, path: Path) -> None:
        """Returns once the folder's names are on the disk."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


DISK = Disk()


class AsideFile:
    """What `writing` hands out: takes bytes, counts and hashes them on the way."""

    def __init__(self, disk: Disk, descriptor: int) -> None:
        self._disk = disk
        self._descriptor = descriptor
        self._hash = hashlib.sha256()
        self.size_bytes = 0
        self.closed = False

    def write(self, data: bytes | memoryview) -> int:
        """Append; also called by pyarrow with its buffers.

        After the end of its `writing` block the bytes go nowhere: pyarrow's writer, collected as garbage
        after a failure, tries to write a footer then, and the descriptor's number may be another file's by
        now.
        """
        view = memoryview(data)
        if self.closed:
            return view.nbytes
        self._disk.write(self._descriptor, view)
        self._hash.update(view)
        self.size_bytes += view.nbytes
        return view.nbytes

    def tell(self) -> int:
        return self.size_bytes

    def flush(self) -> None:
        """Nothing is held back here."""

    def close(self) -> None:
        """The file stays open until `writing` has synced it: only that sets `closed`."""

    @property
    def sha256(self) -> str:
        """Of everything written so far, in hexadecimal."""
        return self._hash.hexdigest()


@contextmanager
def writing(path: Path, disk: Disk = DISK) -> Iterator[AsideFile]:
    """Write `path` so that it appears whole and durable when the block ends, or not at all.

    OSError (no space, no right) leaves neither the file nor its aside copy behind.
    """
    make_folders(path.parent, disk)
    aside = path.with_name(path.name + ASIDE_SUFFIX)
    descriptor = disk.create(aside)
    file = AsideFile(disk, descriptor)
    try:
        try:
            yield file
            disk.sync(descriptor)
        finally:
            file.closed = True
            disk.close(descriptor)
        disk.rename(aside, path)
    except BaseException:
        with suppress(OSError):
            disk.remove(aside)
        raise
    disk.sync_folder(path.parent)


def write_bytes(path: Path, data: bytes, disk: Disk = DISK) -> AsideFile:
    """A whole small file at once."""
    with writing(path, disk) as file:
        file.write(data)
    return file


def make_folders(path: Path, disk: Disk = DISK) -> None:
    """A folder and its parents, each one's name durable in its parent."""
    if path.is_dir():
        return
    make_folders(path.parent, disk)
    disk.make_folder(path)
    disk.sync_folder(path.parent)


def remove(path: Path, disk: Disk = DISK) -> None:
    """Remove a file if it is there. Not synced: a file that comes back is removed again by its next owner."""
    disk.remove(path)
