"""Is a copy of an archive whole? Compared with the bucket object by object, before the bucket goes."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def faults(s3: Any, bucket: str, folder: Path) -> Iterator[str]:
    """What the copy lacks or holds otherwise. Content is compared where S3 keeps a SHA-256, size always."""
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for one in page.get("Contents", ()):
            file = folder / one["Key"]
            if not file.is_file():
                yield f"{one['Key']}: not in the copy"
            elif file.stat().st_size != one["Size"]:
                yield f"{one['Key']}: {file.stat().st_size} bytes in the copy, {one['Size']} in the archive"
            elif (wanted := _sha256(s3, bucket, one["Key"])) and wanted != _digest(file):
                yield f"{one['Key']}: another content in the copy"


def _sha256(s3: Any, bucket: str, key: str) -> str:
    return str(s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED").get("ChecksumSHA256", ""))


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return base64.b64encode(hashlib.file_digest(stream, "sha256").digest()).decode()
