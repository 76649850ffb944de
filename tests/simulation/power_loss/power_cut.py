"""What a disk holds after the power went: a model that is given a log of writes and syncs.

The model is a journalling file system (ext4 in its default mode), as unkind as it may be:

- Content counts once a sync of the file has *returned* that *began* after the write was recorded. What came
later
  may be there or not: overwritten blocks each for themselves and torn at 4 KiB, appended bytes as a prefix.
- A name (create, rename, remove) counts once its folder, or the file itself, was synced. Of later ones a
prefix is there:
  a journal keeps its order. Names may be there without the content: that is what writing aside and syncing
  is for.

`strict_names` takes the file's own sync away: POSIX promises a name only with its folder's sync. Our own
files are held to that.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from random import Random

BLOCK_BYTES = 4096
_HEADER = struct.Struct("<IB3xQqq")


class Op(IntEnum):
    """As in recorder.c; ACK is the test's own: something was promised."""

    OPEN = 1
    WRITE = 2
    SYNC = 3
    RENAME = 4
    UNLINK = 5
    TRUNCATE = 6
    MKDIR = 7
    SYNC_FOLDER = 8
    EXTEND = 9
    ACK = 100


@dataclass(frozen=True, slots=True)
class Entry:
    """One call. `order` rises through the log; `begin` of a sync is the order at which it was called.

    `number` is the offset of a write, the size of a truncate, 1 for an open that emptied the file.
    """

    order: int
    op: Op
    inode: int = 0
    number: int = 0
    begin: int = 0
    data: bytes = b""
    path: str = ""
    target: str = ""


def read_log(file: Path) -> list[Entry]:
    """Entries of a log that recorder.c wrote; a record that a kill cut off ends it."""
    raw = file.read_bytes()
    entries, at = [], 0
    while at + _HEADER.size <= len(raw):
        size, op, inode, number, begin = _HEADER.unpack_from(raw, at)
        payload = raw[at + _HEADER.size : at + _HEADER.size + size]
        if len(payload) < size:
            break
        entries.append(_entry(at, Op(op), inode, number, begin, payload))
        at += _HEADER.size + size
    return entries


def _entry(order: int, op: Op, inode: int, number: int, begin: int, payload: bytes) -> Entry:
    if op in (Op.WRITE, Op.ACK):
        return Entry(order, op, inode, number, begin, data=payload)
    path, _, target = payload.decode().partition("\0")
    return Entry(order, op, inode, number, begin, path=os.path.normpath(path) if path else "", target=target)


def acknowledge(log: int, what: object) -> None:
    """Append to a recorder's log that the test was promised something; `log` is a descriptor opened
    O_APPEND."""
    data = json.dumps(what).encode()
    os.write(log, _HEADER.pack(len(data), Op.ACK, 0, 0, 0) + data)


def promises(log: Sequence[Entry], at: int) -> list[object]:
    """What had been acknowledged before the cut."""
    return [json.loads(e.data) for e in log if e.op is Op.ACK and e.order < at]


@dataclass(slots=True, eq=False)
class _File:
    content: bytearray = field(default_factory=bytearray)
    pending: list[Entry] = field(default_factory=list)


@dataclass(slots=True)
class _NameChange:
    order: int
    file: _File | None  # None: a folder
    old: str
    new: str  # empty: removed


class DiskModel:
    """Takes entries in order; `materialise` writes what the disk holds. `root` is the recorded folder."""

    def __init__(self, root: Path, base: Path | None = None, *, strict_names: bool = False) -> None:
        self._root = str(root)
        self._strict = strict_names
        self._names: dict[str, _File] = {}  # as running processes see it
        self._durable: dict[str, _File] = {}
        self._folders: set[str] = {self._root}
        self._durable_folders: set[str] = {self._root}
        self._changes: list[_NameChange] = []
        self._inodes: dict[int, _File] = {}
        if base is not None:
            self._load(root, base)

    def _load(self, root: Path, base: Path) -> None:
        """Begin with a copy of the folder, all of it durable; inodes are those of the recorded folder."""
        for path in base.rglob("*"):
            live = root / path.relative_to(base)
            if path.is_dir():
                self._folders.add(str(live))
                self._durable_folders.add(str(live))
            elif path.is_file():
                file = _File(bytearray(path.read_bytes()))
                self._names[str(live)] = self._durable[str(live)] = file
                if live.exists():
                    self._inodes[live.stat().st_ino] = file

    def inodes_of(self, inodes: dict[str, int]) -> None:
        """Inodes of the base's files, by path below the root, as they were when recording began."""
        self._inodes = {ino: self._names[f"{self._root}/{p}"] for p, ino in inodes.items()}

    def take(self, entry: Entry) -> None:
        """The next entry of the log."""
        if entry.op is Op.OPEN:
            self._open(entry)
        elif entry.op in (Op.WRITE, Op.TRUNCATE, Op.EXTEND):
            if (file := self._inodes.get(entry.inode)) is not None:
                file.pending.append(entry)
        elif entry.op is Op.SYNC:
            self._sync(entry)
        elif entry.op is Op.SYNC_FOLDER:
            self._sync_folder(entry)
        elif entry.op in (Op.RENAME, Op.UNLINK, Op.MKDIR):
            self._rename(entry)

    def _open(self, entry: Entry) -> None:
        if not self._inside(entry.path):
            return
        file = self._names.get(entry.path)
        if file is None:
            file = self._names[entry.path] = _File()
            self._changes.append(_NameChange(entry.order, file, "", entry.path))
        self._inodes[entry.inode] = file
        if entry.number:
            file.pending.append(Entry(entry.order, Op.TRUNCATE, entry.inode, 0))

    def _sync(self, entry: Entry) -> None:
        file = self._inodes.get(entry.inode)
        if file is None:
            return
        for write in [e for e in file.pending if e.order < entry.begin]:
            _apply(file.content, write)
        file.pending = [e for e in file.pending if e.order >= entry.begin]
        if not self._strict:
            path = next((p for p, f in self._names.items() if f is file), "")
            self._settle(lambda c: c.order < entry.begin and (c.file is file or _is_above(c.new, path)))

    def _sync_folder(self, entry: Entry) -> None:
        def touched(change: _NameChange) -> bool:
            parents = {os.path.dirname(name) for name in (change.old, change.new) if name}
            return change.order < entry.begin and entry.path in parents

        self._settle(touched)

    def _settle(self, wanted) -> None:  # type: ignore[no-untyped-def]
        for change in [c for c in self._changes if wanted(c)]:
            _change_name(self._durable, self._durable_folders, change)
            self._changes.remove(change)

    def _rename(self, entry: Entry) -> None:
        if entry.op is Op.MKDIR:
            change = _NameChange(entry.order, None, "", entry.path)
        elif entry.path not in self._names:
            return  # written before the recording, or inside libc
        elif entry.op is Op.UNLINK:
            change = _NameChange(entry.order, self._names[entry.path], entry.path, "")
        else:
            change = _NameChange(
                entry.order, self._names[entry.path], entry.path, os.path.normpath(entry.target)
            )
        if self._inside(change.old or change.new):
            _change_name(self._names, self._folders, change)
            self._changes.append(change)

    def _inside(self, path: str) -> bool:
        return path.startswith(self._root + "/")

    def materialise(self, target: Path, rng: Random | None) -> None:
        """Write the folder as after the cut. Without `rng` nothing survives that was not synced."""
        names, folders = dict(self._durable), set(self._durable_folders)
        kept = rng.randint(0, len(self._changes)) if rng else 0
        for change in self._changes[:kept]:
            _change_name(names, folders, change)
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for folder in sorted(folders):
            if all(str(parent) in folders for parent in _parents_inside(folder, self._root)):
                (target / os.path.relpath(folder, self._root)).mkdir(parents=True, exist_ok=True)
        for path, file in names.items():
            place = target / os.path.relpath(path, self._root)
            if place.parent.is_dir():
                place.write_bytes(_surviving(file, rng))


def _parents_inside(folder: str, root: str) -> list[Path]:
    return [parent for parent in Path(folder).parents if str(parent).startswith(root)]


def _is_above(folder: str, path: str) -> bool:
    return bool(folder) and path.startswith(folder + "/")


def _change_name(names: dict[str, _File], folders: set[str], change: _NameChange) -> None:
    if change.file is None:
        folders.add(change.new)
        return
    if change.old and names.get(change.old) is change.file:
        del names[change.old]
    if change.new:
        names[change.new] = change.file


def _apply(content: bytearray, entry: Entry) -> None:
    """An entry as it was meant."""
    if entry.op is Op.TRUNCATE:
        del content[entry.number :]
    end = entry.number + len(entry.data)
    if len(content) < end:
        content.extend(bytes(end - len(content)))
    content[entry.number : end] = entry.data


def _surviving(file: _File, rng: Random | None) -> bytes:
    """Content after the cut: what was synced, and of the rest what chance leaves."""
    if rng is None:
        return bytes(file.content)
    content = bytearray(file.content)
    growing = True  # appended bytes survive as a prefix
    for entry in file.pending:
        if entry.op is not Op.WRITE:
            if growing and rng.random() < 0.5:
                _apply(content, entry)
            continue
        for offset in range(0, len(entry.data), BLOCK_BYTES):
            at, block = entry.number + offset, entry.data[offset : offset + BLOCK_BYTES]
            if at + len(block) <= len(file.content):
                if rng.random() < 0.5:
                    content[at : at + len(block)] = block
            elif growing and rng.random() < 0.8 and at <= len(content):
                content[at : at + len(block)] = block
            else:
                growing = False
                torn = block[: rng.randint(0, len(block))]
                if at <= len(content) <= at + len(torn):
                    content[at : at + len(torn)] = torn
                break
    return bytes(content)


def replay(
    log: Sequence[Entry],
    at: int,
    root: Path,
    target: Path,
    *,
    base: Path | None = None,
    inodes: dict[str, int] | None = None,
    rng: Random | None = None,
    strict_names: bool = False,
) -> Path:
    """`target`, made to hold what the disk holds when the power goes before the entry of order `at`.

    `root` was recorded, `base` is its copy from before (`inodes` its inodes then), everything in it durable.
    """
    model = DiskModel(root, base, strict_names=strict_names)
    if inodes is not None:
        model.inodes_of(inodes)
    for entry in log:
        if entry.order >= at:
            break
        model.take(entry)
    model.materialise(target, rng)
    return target
