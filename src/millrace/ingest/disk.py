"""How much disk is left, looked at on its own pace: a full disk kills the servers at their next write."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from millrace.clock import Clock

FREE_PACE_S: Final = 0.25
"""Pace of the question for free space: one system call."""
FOLDER_PACE_S: Final = 5.0
"""Pace of adding up the data folder: a walk over its files."""
FILES_A_LOOK: Final = 20_000
"""Files looked at before the free space is asked for again (0.1 s); a larger folder takes several looks."""


class DiskGuard:
    """`check()` is cheap and may be called at each request; one caller at a time."""

    def __init__(self, folder: Path, *, free_min_bytes: int, folder_max_bytes: int, clock: Clock) -> None:
        self._folder = folder
        self._free_min_bytes = free_min_bytes
        self._folder_max_bytes = folder_max_bytes
        self._clock = clock
        self._free_at_s = self._folder_at_s = float("-inf")
        self._walk: Walk | None = None
        self.free_bytes = 0
        self.folder_bytes = 0

    def check(self) -> str:
        """What is wrong, for a person to read; empty when there is room."""
        self._look()
        if self.free_bytes < self._free_min_bytes:
            return (
                f"{_gb(self.free_bytes)} are free on the disk, wanted {_gb(self._free_min_bytes)} "
                "(MILLRACE_DISK_FREE_MIN): free some space"
            )
        if self.folder_bytes >= self._folder_max_bytes:
            return (
                f"the data folder holds {_gb(self.folder_bytes)}, wanted less than {_gb(self._folder_max_bytes)} "
                "(MILLRACE_DISK_MAX): raise the bound or wait until retention frees some"
            )
        return ""

    def _look(self) -> None:
        now_s = self._clock.monotonic_s()
        if now_s - self._free_at_s >= FREE_PACE_S:
            self._free_at_s = now_s
            state = os.statvfs(self._folder)
            self.free_bytes = state.f_bavail * state.f_frsize
        if self._walk is None and now_s - self._folder_at_s >= FOLDER_PACE_S:
            self._folder_at_s = now_s
            self._walk = Walk(self._folder)
        if self._walk is not None and self._walk.step(FILES_A_LOOK):
            self.folder_bytes, self._walk = self._walk.bytes, None


def _gb(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.2f} GB"


class Walk:
    """Adds up a folder in steps, all of it: a count that stopped somewhere would never reach the bound."""

    def __init__(self, folder: Path) -> None:
        self.bytes = 0
        self._sizes = sizes_under(folder)

    def step(self, files_max: int) -> bool:
        """Go on with the next files; whether there were no more."""
        files = 0
        for size in islice(self._sizes, files_max):
            files += 1
            self.bytes += size
        return files < files_max


def sizes_under(folder: Path) -> Iterator[int]:
    """Bytes that each of a folder's files takes on the disk; what vanishes meanwhile counts as nothing."""
    waiting = [os.fspath(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        yield _bytes_of(entry)
        except OSError:
            continue


def _bytes_of(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_blocks * 512
    except OSError:
        return 0
