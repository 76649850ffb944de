"""How much disk is left, looked at on its own pace: a full disk kills the servers at their next write."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from millrace.clock import Clock

FREE_PACE_S: Final = 0.25
"""Pace of the question for free space: one system call."""
FOLDER_PACE_S: Final = 5.0
"""Pace of adding up the data folder: a walk over its files."""
FILES_MAX: Final = 200_000
"""Files looked at in one walk."""


class DiskGuard:
    """`check()` is cheap and may be called at each request; one caller at a time."""

    def __init__(self, folder: Path, *, free_min_bytes: int, folder_max_bytes: int, clock: Clock) -> None:
        self._folder = folder
        self._free_min_bytes = free_min_bytes
        self._folder_max_bytes = folder_max_bytes
        self._clock = clock
        self._free_at_s = self._folder_at_s = float("-inf")
        self.free_bytes = 0
        self.folder_bytes = 0

    def check(self) -> str:
        """What is wrong, for a person to read; empty when there is room."""
        self._look()
        if self.free_bytes < self._free_min_bytes:
            return (
                f"{self.free_bytes} bytes are free on the disk, wanted {self._free_min_bytes} "
                "(MILLRACE_DISK_FREE_MIN): free some space"
            )
        if self.folder_bytes >= self._folder_max_bytes:
            return (
                f"the data folder holds {self.folder_bytes} of {self._folder_max_bytes} bytes "
                "(MILLRACE_DISK_MAX): raise the bound or wait until retention frees some"
            )
        return ""

    def _look(self) -> None:
        now_s = self._clock.monotonic_s()
        if now_s - self._free_at_s >= FREE_PACE_S:
            self._free_at_s = now_s
            state = os.statvfs(self._folder)
            self.free_bytes = state.f_bavail * state.f_frsize
        if now_s - self._folder_at_s >= FOLDER_PACE_S:
            self._folder_at_s = now_s
            self.folder_bytes = bytes_under(self._folder)


def bytes_under(folder: Path) -> int:
    """Bytes that a folder's files take on the disk; what vanishes meanwhile counts as nothing."""
    total = files = 0
    waiting = [os.fspath(folder)]
    while waiting and files < FILES_MAX:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    files += 1
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        total += _bytes_of(entry)
        except OSError:
            continue
    return total


def _bytes_of(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_blocks * 512
    except OSError:
        return 0
