"""Compiled kernels are kept beside their source; this sees to it that none outlives what it was compiled from.

numba looks at the file of a kernel itself, not at those whose kernels it calls and takes in: after a change
there it would go on with the old code. So when any file with kernels is younger than the stamp, all of them
are compiled again.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

STAMP: Final = "kernels.stamp"
LOCK: Final = "kernels.lock"


def forget_stale(package: Path) -> int:
    """Remove what was compiled under `package` if a source changed since; returns how many files went.

    Before the first kernel is loaded. A folder that cannot be written is left as it is: who installed it there
    installed its sources with it.
    """
    stamp = package / "__pycache__" / STAMP
    compiled = list(_compiled(package))
    if compiled and _newest_ns(compiled) <= _changed_ns(stamp):
        return 0
    try:
        for file in compiled:
            file.unlink(missing_ok=True)
        stamp.parent.mkdir(exist_ok=True)
        stamp.touch()
    except OSError:
        return 0
    return len(compiled)


@contextmanager
def one_at_a_time(package: Path) -> Iterator[None]:
    """Whoever compiles inside does it for all: the workers of a first start would each compile the same.

    A kill lets the next one in. Where nothing can be written nothing is kept, so nobody waits.
    """
    try:
        lock = (package / "__pycache__" / LOCK).open("wb")
    except OSError:
        yield
        return
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _compiled(package: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(package):
        if folder.endswith("__pycache__"):
            yield from (Path(folder, name) for name in names if name.endswith((".nbi", ".nbc")))


def _newest_ns(compiled: list[Path]) -> int:
    """When a source of these changed last. A file's name begins with its module's."""
    sources = {file.parents[1] / f"{file.name.partition('.')[0]}.py" for file in compiled}
    return max(_changed_ns(source) for source in sources)


def _changed_ns(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0
