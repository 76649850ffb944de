"""Fixtures of the archive's tests; what they are made of is in archive_making.py."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from archive_making import MemoryManifest

from millrace.clock import HandClock
from millrace.settings import Settings
from millrace.sinks.archive import ArchiveSink
from millrace.sinks.contract import Ownership


@pytest.fixture
def manifest() -> MemoryManifest:
    return MemoryManifest()


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def open_sink(tmp_path: Path, manifest: MemoryManifest, clock: HandClock) -> Callable[..., ArchiveSink]:
    def open_(epoch: int = 1, shard: int = 0, **settings: object) -> ArchiveSink:
        sink = ArchiveSink(tmp_path, manifest, Settings(**settings), clock, folder_id="folder-1")
        manifest.epoch[shard] = epoch
        sink.open_shard(Ownership(shard, epoch))
        return sink

    return open_
