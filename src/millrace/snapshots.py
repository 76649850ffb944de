"""Snapshot files: a shard's state at a position, on storage that the next owner reaches too.

    "MRS1" | header length, uint32 | header, MessagePack | arrays, one zstd frame | xxh3-128 of all before it

A file is written aside, synced and renamed (`durable`), and counts only once it is listed in PostgreSQL.
Reading checks the checksum first, then format version, data folder and name: a damaged or foreign snapshot
is an error, never a strange state.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import xxhash
import zstandard

from millrace.durable import ASIDE_SUFFIX, DISK, Disk, remove, writing
from millrace.errors import SnapshotError

MAGIC: Final = b"MRS1"
FORMAT_VERSION: Final = 1
STATE_BYTES_MAX: Final = 4 * 1024**3
_CHECKSUM_BYTES: Final = 16
_ZSTD_LEVEL: Final = 1

Arrays = Mapping[str, npt.NDArray[Any]]


class _Array(msgspec.Struct, frozen=True, array_like=True):
    name: str
    descr: str  # NumPy's description of the type, structured ones included
    shape: tuple[int, ...]
    size_bytes: int


class _Header(msgspec.Struct, frozen=True):
    version: int
    folder_id: str
    shard: int
    epoch: int
    position: str  # up to 60 digits
    body_bytes: int
    arrays: tuple[_Array, ...]
    meta: dict[str, Any]


@dataclass(frozen=True, slots=True)
class SnapshotFile:
    """A snapshot that is on the disk, whole and synced. `checksum` is xxh3-128 in hexadecimal."""

    path: Path
    shard: int
    epoch: int
    position: int
    size_bytes: int
    checksum: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a snapshot held. The arrays are writable and belong to the caller."""

    shard: int
    epoch: int
    position: int
    arrays: dict[str, npt.NDArray[Any]]
    meta: dict[str, Any]


_NAME = re.compile(r"^snap-(\d+)-(\d+)-(\d+)\.mrs$")


def file_name(shard: int, epoch: int, position: int) -> str:
    """Name of a snapshot's file inside the snapshot folder."""
    return f"snap-{shard}-{epoch}-{position}.mrs"


def write(
    folder: Path,
    shard: int,
    epoch: int,
    position: int,
    arrays: Arrays,
    meta: Mapping[str, Any],
    *,
    folder_id: str = "",
    disk: Disk = DISK,
) -> SnapshotFile:
    """Write a snapshot durably; OSError leaves nothing behind. `meta` is anything MessagePack can carry."""
    path = folder / file_name(shard, epoch, position)
    checksum = xxhash.xxh3_128()
    with writing(path, disk) as file:
        for part in _encode(shard, epoch, position, arrays, meta, folder_id):
            checksum.update(part)
            file.write(part)
        file.write(checksum.digest())
    return SnapshotFile(path, shard, epoch, position, file.size_bytes, checksum.hexdigest())


def _encode(
    shard: int, epoch: int, position: int, arrays: Arrays, meta: Mapping[str, Any], folder_id: str
) -> list[bytes]:
    described = []
    compressor = zstandard.ZstdCompressor(_ZSTD_LEVEL).compressobj()
    body = []
    for name, array in arrays.items():
        whole = np.ascontiguousarray(array)
        descr = repr(np.lib.format.dtype_to_descr(whole.dtype))
        described.append(_Array(name, descr, tuple(array.shape), whole.nbytes))
        body.append(compressor.compress(whole.reshape(-1).view(np.uint8).data))
    body.append(compressor.flush())
    header = msgspec.msgpack.encode(
        _Header(
            version=FORMAT_VERSION,
            folder_id=folder_id,
            shard=shard,
            epoch=epoch,
            position=str(position),
            body_bytes=sum(map(len, body)),
            arrays=tuple(described),
            meta=dict(meta),
        )
    )
    return [MAGIC, len(header).to_bytes(4, "little"), header, *body]


def read(path: Path, *, folder_id: str | None = None) -> Snapshot:
    """A snapshot out of its file; SnapshotError when it is damaged, of another format or of another data
    folder."""
    try:
        data = memoryview(path.read_bytes())
    except OSError as error:
        raise SnapshotError(
            f"{path}: cannot be read ({error.strerror}); use the other kept snapshot"
        ) from None
    header, body = _checked(path, data)
    name = _NAME.match(path.name)
    if name is None or (int(name[1]), int(name[2]), name[3]) != (header.shard, header.epoch, header.position):
        raise SnapshotError(f"{path}: holds {file_name(header.shard, header.epoch, int(header.position))}")
    if folder_id is not None and header.folder_id != folder_id:
        raise SnapshotError(f"{path}: made by data folder {header.folder_id!r}, this is {folder_id!r}")
    arrays = _decode_arrays(path, header, body)
    return Snapshot(header.shard, header.epoch, int(header.position), arrays, header.meta)


def _checked(path: Path, data: memoryview) -> tuple[_Header, memoryview]:
    """Header and body of bytes whose checksum is right."""
    content, checksum = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
    if len(data) < 8 + _CHECKSUM_BYTES or bytes(data[:4]) != MAGIC:
        raise SnapshotError(f"{path}: {len(data)} bytes that are no snapshot; use the other kept snapshot")
    if xxhash.xxh3_128_digest(content) != bytes(checksum):
        raise SnapshotError(f"{path}: damaged (its checksum does not fit); use the other kept snapshot")
    header_end = 8 + int.from_bytes(data[4:8], "little")
    try:
        version = msgspec.msgpack.decode(content[8:header_end]).get("version")
        if version != FORMAT_VERSION:
            raise SnapshotError(f"{path}: snapshot format {version}, this release reads {FORMAT_VERSION}")
        header = msgspec.msgpack.decode(content[8:header_end], type=_Header)
    except (msgspec.DecodeError, AttributeError) as error:
        raise SnapshotError(f"{path}: its header cannot be read ({error})") from None
    return header, content[header_end:]


def _decode_arrays(path: Path, header: _Header, body: memoryview) -> dict[str, npt.NDArray[Any]]:
    wanted = sum(array.size_bytes for array in header.arrays)
    if wanted > STATE_BYTES_MAX:
        raise SnapshotError(f"{path}: claims {wanted} bytes of state, {STATE_BYTES_MAX} is the bound")
    state = bytearray()
    for chunk in zstandard.ZstdDecompressor().read_to_iter(body):
        state += chunk
        if len(state) > wanted:
            break
    if len(state) != wanted:
        raise SnapshotError(f"{path}: {len(state)} bytes of state, its header says {wanted}")
    arrays: dict[str, npt.NDArray[Any]] = {}
    offset = 0
    for entry in header.arrays:
        dtype = np.lib.format.descr_to_dtype(ast.literal_eval(entry.descr))
        part = state[offset : offset + entry.size_bytes]
        arrays[entry.name] = np.frombuffer(part, dtype).reshape(entry.shape)
        offset += entry.size_bytes
    return arrays


def remove_unlisted(
    folder: Path, shard: int, epoch: int, listed: Collection[str], disk: Disk = DISK
) -> list[str]:
    """Remove a shard's snapshots that no one may need any more; their names.

    `listed` are the names in PostgreSQL (two are kept). Call it after a listing is committed, or when the
    shard was taken over. What this epoch has written and not listed yet stays, unless it is older than all
    that are listed.
    """
    listed_names = [match for name in listed if (match := _NAME.match(name))]
    oldest = min((int(match[3]) for match in listed_names), default=0)
    removed = []
    for path in sorted(folder.glob(f"snap-{shard}-*.mrs*")):
        match = _NAME.match(path.name.removesuffix(ASIDE_SUFFIX))
        if match is None or int(match[1]) != shard or path.name in listed:
            continue
        ours_and_old = int(match[2]) == epoch and int(match[3]) < oldest and path.suffix != ASIDE_SUFFIX
        if int(match[2]) < epoch or ours_and_old:
            remove(path, disk)
            removed.append(path.name)
    return removed
