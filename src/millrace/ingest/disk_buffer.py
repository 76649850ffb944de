"""A producer's frames on disk until they are taken: append-only files, synced before a send is answered.

A file is a run of records: length u32, crc32 u32, kind u8, MessagePack. The first record of each file is its
head: the incarnation and the newest sequence number of each source, so that an older file may go. A torn
record at the end of the newest file was never answered for and is cut off. That a frame was taken is written
without a sync: lost, it is sent once more, with the same identity.
"""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from millrace.batch import Incarnation
from millrace.errors import DataFolderError

log = structlog.get_logger(__name__)

SEGMENT_BYTES: Final = 16 * 1024**2
_HEADER: Final = struct.Struct("<IIB")
_RECORD_BYTES_MAX: Final = 64 * 1024**2


class Head(msgspec.Struct, array_like=True):
    start_us: int
    nonce: int
    newest: dict[str, int]


class Kept(msgspec.Struct, array_like=True):
    """A frame that is not known to be taken."""

    source: str
    seq: int
    readings: int
    data: bytes


class Taken(msgspec.Struct, array_like=True):
    source: str
    seq: int


_KINDS: Final[tuple[type, ...]] = (Head, Kept, Taken)
_DECODERS: Final[tuple[msgspec.msgpack.Decoder[Any], ...]] = tuple(
    msgspec.msgpack.Decoder(kind) for kind in _KINDS
)
_encode = msgspec.msgpack.Encoder().encode


class DiskBuffer:
    """One process uses a folder at a time. Not safe for several threads: the producer holds its lock."""

    def __init__(self, folder: Path, incarnation: Incarnation, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        """Opens what an earlier life left; its incarnation then goes on, else the given one begins."""
        self.incarnation = incarnation
        self.newest: dict[str, int] = {}
        self._segment_bytes = segment_bytes
        self._folder = folder
        self._where: dict[tuple[str, int], int] = {}
        self._files: dict[int, int] = {}  # number -> frames in it that are not taken
        self._bytes: dict[int, int] = {}
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(folder)
        self._unsent = self._recover()
        self._begin(max(self._files, default=0) + 1)

    @property
    def bytes_held(self) -> int:
        return sum(self._bytes.values())

    def unsent(self) -> list[Kept]:
        """What an earlier life kept and did not see taken, in its order; handed out once."""
        unsent, self._unsent = self._unsent, []
        return unsent

    def keep(self, frames: Sequence[Kept]) -> None:
        """Durable when this returns. OSError (a full disk): nothing was kept."""
        at = self._bytes[self._number]
        try:
            self._write(b"".join(_record(1, frame) for frame in frames))
            os.fdatasync(self._file)
        except OSError:
            os.ftruncate(self._file, at)
            self._bytes[self._number] = at
            raise
        for frame in frames:
            self.newest[frame.source] = max(frame.seq, self.newest.get(frame.source, 0))
            self._where[frame.source, frame.seq] = self._number
        self._files[self._number] += len(frames)

    def taken(self, identities: Sequence[tuple[str, int]]) -> None:
        """These (source, seq) are in the stream."""
        known = [identity for identity in identities if identity in self._where]
        self._write(b"".join(_record(2, Taken(*identity)) for identity in known))
        for identity in known:
            self._files[self._where.pop(identity)] -= 1
        if self._bytes[self._number] >= self._segment_bytes:
            os.close(self._file)
            self._begin(self._number + 1)
        self._drop_oldest()

    def close(self) -> None:
        os.close(self._file)
        os.close(self._lock)

    def _path(self, number: int) -> Path:
        return self._folder / f"buffer-{number:08d}.log"

    def _begin(self, number: int) -> None:
        """A new file, its head and its name synced."""
        self._number = number
        self._file = os.open(self._path(number), os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_EXCL, 0o600)
        self._files[number] = self._bytes[number] = 0
        self._write(_record(0, Head(self.incarnation.start_us, self.incarnation.nonce, self.newest)))
        os.fdatasync(self._file)
        _sync_folder(self._folder)
        self._drop_oldest()

    def _drop_oldest(self) -> None:
        """Remove files in order, so that no frame outlives the record that it was taken."""
        while (oldest := min(self._files)) != self._number and self._files[oldest] == 0:
            self._path(oldest).unlink()
            del self._files[oldest], self._bytes[oldest]

    def _write(self, data: bytes) -> None:
        written = 0
        while written < len(data):
            written += os.write(self._file, data[written:])
        self._bytes[self._number] += len(data)

    def _recover(self) -> list[Kept]:
        kept: dict[tuple[str, int], Kept] = {}
        for path in sorted(self._folder.glob("buffer-*.log")):
            number = int(path.stem.removeprefix("buffer-"))
            self._files[number], self._bytes[number] = 0, path.stat().st_size
            data = path.read_bytes()
            whole_bytes = 0
            for end, record in _records(data):
                self._replay(record, number, kept)
                whole_bytes = end
            if whole_bytes < len(data):
                log.warning("producer_buffer_torn", file=str(path), torn_bytes=len(data) - whole_bytes)
        for identity in kept:
            self._files[self._where[identity]] += 1
        return list(kept.values())

    def _replay(self, record: object, number: int, kept: dict[tuple[str, int], Kept]) -> None:
        match record:
            case Head(start_us, nonce, newest):
                self.incarnation = Incarnation(start_us, nonce)
                self.newest |= newest
            case Kept(source, seq):
                kept[source, seq] = record
                self._where[source, seq] = number
                self.newest[source] = max(seq, self.newest.get(source, 0))
            case Taken(source, seq):
                kept.pop((source, seq), None)
                self._where.pop((source, seq), None)


def _record(kind: int, content: Head | Kept | Taken) -> bytes:
    payload = _encode(content)
    return _HEADER.pack(len(payload), zlib.crc32(payload), kind) + payload


def _records(data: bytes) -> Iterator[tuple[int, object]]:
    """(where it ends, record) up to the first that is torn."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, check, kind = _HEADER.unpack_from(data, at)
        payload = data[at + _HEADER.size : at + _HEADER.size + length]
        whole = len(payload) == length <= _RECORD_BYTES_MAX and kind < len(_KINDS)
        if not whole or zlib.crc32(payload) != check:
            return
        at += _HEADER.size + length
        yield at, _DECODERS[kind].decode(payload)


def _locked(folder: Path) -> int:
    lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise DataFolderError(
            f"{folder}: another producer uses this buffer; give each a folder of its own"
        ) from None
    return lock


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
