"""Where the servers' sockets are: below the data folder, or a short private folder where that path is too long.

The short one is ours alone: made anew at each start with a random name, removed at the stop. What a killed run left is
removed at the next start, or with the data folder.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

SOCKET_PATH_BYTES_MAX: Final = 103  # macOS; Linux takes 107


def place(run: Path) -> Path:
    """A folder for sockets, with one for PostgreSQL's in it."""
    near = run / "sockets"
    remove_short(run)
    if len(os.fsencode(near / "postgres" / ".s.PGSQL.5432.lock")) > SOCKET_PATH_BYTES_MAX:
        short = Path(tempfile.mkdtemp(prefix="millrace-"))
        os.chmod(short, 0o711)  # nosec B103 # PostgreSQL may run as another user; the folders in it are private
        shutil.rmtree(near, ignore_errors=True)
        near.symlink_to(short)
        near = short
    near.mkdir(exist_ok=True)
    (near / "postgres").mkdir(mode=0o700, exist_ok=True)
    return near


def remove_short(run: Path) -> None:
    """Remove the short folder and the link to it; nothing where there is none."""
    near = run / "sockets"
    with contextlib.suppress(OSError):
        if near.is_symlink():
            shutil.rmtree(os.readlink(near), ignore_errors=True)
            near.unlink()
