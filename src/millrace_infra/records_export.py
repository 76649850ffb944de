"""A copy of an archive outside of its bucket: written, and compared object by object before the bucket goes.

A file lies in it under its own key. What was overwritten or deleted is a record as much, and Object Lock keeps it in
the bucket for as long: a former version lies in the copy under `.versions/<key>/<version>`.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from millrace.durable import writing
from millrace.errors import SettingError

FORMER: Final = ".versions"
"""Folder of a copy. The archive's own prefixes are words, without a dot."""
PIECE_BYTES: Final = 1 << 20
OTHERWISE: Final = "another content in the copy"


@dataclass(frozen=True)
class Version:
    """One content of a file. A deletion has none: the file's last version is a former one from then on."""

    key: str
    id: str
    size_bytes: int
    current: bool

    @property
    def place(self) -> str:
        """Where it lies in a copy."""
        return self.key if self.current else f"{FORMER}/{self.key}/{self.id}"


def versions(s3: Any, bucket: str) -> Iterator[Version]:
    """All of them; SettingError for a key that leads out of a folder, which none of the platform's does."""
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for one in page.get("Versions", ()):
            if one["Key"].startswith("/") or ".." in one["Key"].split("/"):
                want = "keys that stay inside a folder: look at who wrote it, and copy the bucket by hand"
                raise SettingError("archive", got=one["Key"], want=want)
            yield Version(one["Key"], one["VersionId"], one["Size"], one["IsLatest"])


def faults(s3: Any, bucket: str, folder: Path, *, former: bool) -> Iterator[str]:
    """What the copy lacks or holds otherwise; of former versions only where they are asked for.

    Content is compared by the SHA-256 that S3 keeps; where it keeps none the file is read from the archive.
    """
    for version in versions(s3, bucket):
        if not (version.current or former):
            continue
        fault = _fault(s3, bucket, version, folder)
        if not fault and not _sha256(s3, bucket, version) and not _reads_alike(s3, bucket, version, folder):
            fault = OTHERWISE
        if fault:
            yield f"{version.place}: {fault}"


def save(s3: Any, bucket: str, folder: Path) -> tuple[int, int]:
    """Write what the copy lacks; how many versions there are, and how many were fetched.

    What is whole is not fetched again: after an interruption the same call goes on.
    """
    count = fetched = 0
    for version in versions(s3, bucket):
        count += 1
        if _fault(s3, bucket, version, folder):
            with _body(s3, bucket, version) as body, writing(folder / version.place) as file:
                shutil.copyfileobj(body, file, PIECE_BYTES)
            fetched += 1
    return count, fetched


def _fault(s3: Any, bucket: str, version: Version, folder: Path) -> str:
    """As far as S3 says without reading the file."""
    file = folder / version.place
    if not file.is_file():
        return "not in the copy"
    if (found := file.stat().st_size) != version.size_bytes:
        return f"{found} bytes in the copy, {version.size_bytes} in the archive"
    wanted = _sha256(s3, bucket, version)
    return OTHERWISE if wanted and wanted != _digest(file) else ""


def _sha256(s3: Any, bucket: str, version: Version) -> str:
    """Of the whole file. Empty where S3 keeps none, or one over the sums of an upload's parts (its tag ends in `-3`).

    Source: Amazon S3 user guide, "Checking object integrity": over parts SHA-256 is composite alone.
    """
    head = s3.head_object(Bucket=bucket, Key=version.key, VersionId=version.id, ChecksumMode="ENABLED")
    return "" if "-" in head["ETag"] else str(head.get("ChecksumSHA256", ""))


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return base64.b64encode(hashlib.file_digest(stream, "sha256").digest()).decode()


def _reads_alike(s3: Any, bucket: str, version: Version, folder: Path) -> bool:
    with _body(s3, bucket, version) as body, (folder / version.place).open("rb") as stream:
        while piece := body.read(PIECE_BYTES):
            if piece != stream.read(len(piece)):
                return False
        return not stream.read(1)


def _body(s3: Any, bucket: str, version: Version) -> AbstractContextManager[Any]:
    return closing(s3.get_object(Bucket=bucket, Key=version.key, VersionId=version.id)["Body"])
