"""Files that nobody needs: those never listed by an owner that is gone, and those retired long enough ago."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path
from typing import Final

from millrace.durable import ASIDE_SUFFIX, DISK, Disk, remove
from millrace.schema.segments import parse_name, shard_folder
from millrace.sinks.manifest import Manifest

RETIRED_KEPT_S: Final = 600.0
"""How long a compacted-away file stays: no query may run longer (the API cuts its own off at 30 s)."""


def remove_unlisted(root: Path, shard: int, epoch: int, listed: Set[str], disk: Disk = DISK) -> list[str]:
    """Remove a shard's files of lower epochs that are not `listed`; their names.

    Call it only while holding `epoch`, with the list read after taking it: a lower epoch can list nothing
    any more.
    """
    removed = []
    for path in sorted((root / shard_folder(shard)).glob("date=*/*")):
        name = parse_name(path.name.removesuffix(ASIDE_SUFFIX))
        file = path.relative_to(root).as_posix()
        if name is None or name.shard != shard or name.epoch >= epoch or file in listed:
            continue
        remove(path, disk)
        removed.append(file)
    return removed


def remove_retired(root: Path, manifest: Manifest, shard: int, epoch: int, disk: Disk = DISK) -> list[str]:
    """Delete files retired for longer than any query runs, then take them off the list; their names."""
    files = manifest.retired_before(shard, RETIRED_KEPT_S)
    for file in files:
        remove(root / file, disk)
    if files:
        manifest.forget(shard, epoch, files)
    return files
