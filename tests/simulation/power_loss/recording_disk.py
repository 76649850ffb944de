"""The project's own file operations, recorded: a `durable.Disk` that keeps a log, and ones that leave a step
out."""

from __future__ import annotations

import json
from pathlib import Path

from power_cut import Entry, Op

from millrace.durable import Disk


class RecordingDisk(Disk):
    """Does what a disk does and writes it down, in the form that `power_cut.replay` takes."""

    def __init__(self) -> None:
        self.log: list[Entry] = []
        self._inode_of: dict[int, int] = {}
        self._inodes = 0

    def note(self, op: Op, **what: object) -> None:
        order = len(self.log)
        self.log.append(Entry(order, op, begin=order, **what))  # type: ignore[arg-type]

    def promise(self, what: object) -> None:
        """Somebody was told so."""
        self.note(Op.ACK, data=json.dumps(what).encode())

    def create(self, path: Path) -> int:
        descriptor = super().create(path)
        self._inodes += 1
        self._inode_of[descriptor] = self._inodes
        self.note(Op.OPEN, inode=self._inodes, number=1, path=str(path))
        self._offset = {**getattr(self, "_offset", {}), descriptor: 0}
        return descriptor

    def write(self, descriptor: int, data: bytes | memoryview) -> None:
        super().write(descriptor, data)
        offset = self._offset[descriptor]
        self.note(Op.WRITE, inode=self._inode_of[descriptor], number=offset, data=bytes(data))
        self._offset[descriptor] = offset + len(bytes(data))

    def sync(self, descriptor: int) -> None:
        super().sync(descriptor)
        self.note(Op.SYNC, inode=self._inode_of[descriptor])

    def rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        self.note(Op.RENAME, path=str(source), target=str(target))

    def remove(self, path: Path) -> None:
        super().remove(path)
        self.note(Op.UNLINK, path=str(path))

    def make_folder(self, path: Path) -> None:
        super().make_folder(path)
        self.note(Op.MKDIR, path=str(path))

    def sync_folder(self, path: Path) -> None:
        super().sync_folder(path)
        self.note(Op.SYNC_FOLDER, path=str(path))


class NeverSyncs(RecordingDisk):
    """Mutation: the content is not synced."""

    def sync(self, descriptor: int) -> None:
        """Left out."""


class NeverSyncsFolders(RecordingDisk):
    """Mutation: the name is not synced."""

    def sync_folder(self, path: Path) -> None:
        """Left out."""


class RenamesBeforeSync(RecordingDisk):
    """Mutation: the new name first, the content's sync after it and after what is listed then."""

    def __init__(self) -> None:
        super().__init__()
        self._owed: list[int] = []

    def sync(self, descriptor: int) -> None:
        self._owed.append(self._inode_of[descriptor])

    def promise(self, what: object) -> None:
        super().promise(what)
        while self._owed:
            self.note(Op.SYNC, inode=self._owed.pop())


class ForgetsToWrite(RecordingDisk):
    """Mutation: the last write of each file is synced only in part: the sync begins before the write is
    made."""

    def sync(self, descriptor: int) -> None:
        super().sync(descriptor)
        last = self.log.pop()
        before = max(e.order for e in self.log if e.op is Op.WRITE and e.inode == last.inode)
        self.log.append(Entry(last.order, Op.SYNC, last.inode, begin=before))
