"""The data folder: one identity, one owner at a time, one format.

folder.json       id, generation, format, shards: what makes this folder this folder
lock              held (flock) by the one supervisor that runs on it
token             the API's bearer token, readable by its owner only
settings.yaml     optional settings of this folder
run/              endpoints, sockets, process records: of no worth once the platform is down
postgres/ stream/ archive/ snapshots/ logs/
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import shutil
import tempfile
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from millrace.errors import DataFolderError
from millrace.local import sockets
from millrace.settings import Settings

FORMAT: Final = 1
"""Version of the folder's layout; another one is refused, never guessed at."""

IDENTITY_FILE: Final = "folder.json"

LOCK_TRIES: Final = 10
LOCK_TRY_S: Final = 0.05

FREE_AT_START_BYTES: Final = 256 * 1024**2
"""Less than this free and the servers would hit the wall while they start."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a data folder is. A new generation begins where a folder is restored or deliberately reset to go
    on.
    """

    id: str
    generation: int
    format: int
    shards: int

    @property
    def text(self) -> str:
        """As the stream, PostgreSQL and each snapshot carry it."""
        return f"{self.id}:{self.generation}"


class DataFolder:
    """A data folder that this process holds the lock of; give it back with `close()`."""

    def __init__(self, path: Path, identity: Identity, lock: int) -> None:
        self.path = path
        self.identity = identity
        self._lock = lock

    @classmethod
    def open(cls, settings: Settings) -> DataFolder:
        """Make or open the folder and lock it; DataFolderError says what is wrong and what to do."""
        path = settings.home.absolute()
        _check_free(path)
        _make(path)
        lock = _locked(path)
        try:
            _probe(path)
            return cls(path, _identified(path, settings), lock)
        except BaseException:
            _let_go(lock)
            raise

    @property
    def run(self) -> Path:
        return self.path / "run"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    def token(self, settings: Settings) -> str:
        """The API's token: the setting, else the one kept here, else a new one."""
        file = self.path / "token"
        if settings.api_token:
            write_private(file, settings.api_token)
        elif not file.exists() or not file.read_text().strip():
            # hex: one in 64 of the URL-safe ones begins with a dash, which every command takes for an option
            write_private(file, secrets.token_hex(24))
        return file.read_text().strip()

    def secret(self, name: str) -> str:
        """A password for an embedded server: made once, readable by the owner only."""
        file = self.path / "secrets" / name
        file.parent.mkdir(mode=0o700, exist_ok=True)
        if not file.exists():
            write_private(file, secrets.token_urlsafe(24))
        return file.read_text().strip()

    def announce(self, page: str) -> None:
        """Write into the lock where our page is, for a second start to read."""
        _announce(self._lock, page)

    def close(self) -> None:
        """Let the next start have it."""
        _let_go(self._lock)


def _let_go(lock: int) -> None:
    os.ftruncate(lock, 0)
    os.close(lock)


def write_private(file: Path, text: str) -> None:
    """Whole or not at all, 0600, synced."""
    write_whole(file, text, mode=0o600)


def write_whole(file: Path, text: str, *, mode: int = 0o644) -> None:
    """Replace a small file so that a reader, or a crash, sees the old or the new one, never a part."""
    aside = file.with_name(file.name + ".new")
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        os.write(handle, text.encode())
        os.fsync(handle)
    finally:
        os.close(handle)
    os.replace(aside, file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_identity(path: Path) -> Identity | None:
    """The folder's identity, None where there is none yet; DataFolderError when it is damaged or of
    another format.
    """
    file = path / IDENTITY_FILE
    try:
        content: Any = json.loads(file.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise DataFolderError(
            f"{file} is damaged ({error}). Restore it from a copy, or choose another folder with "
            f"MILLRACE_HOME, "
            "or give this one up with `millrace reset`."
        ) from None
    return _checked(file, content)


def _checked(file: Path, content: Any) -> Identity:
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT and isinstance(found, int):
        raise DataFolderError(
            f"{file.parent} is a data folder of format {found}, this Millrace reads format {FORMAT}. "
            "Run the Millrace that made it, or choose another folder with MILLRACE_HOME."
        )
    try:
        return Identity(**content)
    except TypeError:
        raise DataFolderError(
            f"{file} is damaged: found {sorted(content) if isinstance(content, dict) else content!r}, wanted "
            "id, generation, format, shards. Restore it from a copy, or give the folder up with `millrace "
            "reset`."
        ) from None


def running_pid(path: Path) -> int:
    """Process that holds the folder's lock, 0 when nobody does, -1 when it does not say who it is.

    Takes nothing for longer than the look; `_taken` allows for such looks.
    """
    try:
        handle = os.open(path / "lock", os.O_RDWR)
    except OSError:
        return 0
    try:
        return 0 if _taken(handle) else _said(handle)[0]
    finally:
        os.close(handle)


def _taken(lock: int) -> bool:
    """Take the lock, with patience for somebody who only looks or has not yet said who he is."""
    for _ in range(LOCK_TRIES):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            pid, _ = _said(lock)
            if pid > 0 and psutil.pid_exists(pid):  # else the word of a killed one, and somebody looks
                return False
            time.sleep(LOCK_TRY_S)
    return False


def _said(lock: int) -> tuple[int, str]:
    """What the holder wrote into the lock: its pid (-1: nothing yet) and where its page is."""
    pid, _, page = os.pread(lock, 512, 0).decode(errors="replace").strip().partition(" ")
    return (int(pid) if pid.isdecimal() else -1), page


def require_removable(path: Path) -> None:
    """DataFolderError for a folder that is in use or that we did not make."""
    pid = running_pid(path)
    if pid:
        raise DataFolderError(f"{path} is in use by process {pid}. Stop it first (Ctrl-C there), then reset.")
    if not (path / IDENTITY_FILE).exists() and not (path / "lock").exists():
        raise DataFolderError(
            f"{path} is no data folder of Millrace (no folder.json in it); nothing was deleted."
        )


def remove(path: Path) -> None:
    """Delete the folder with all that it holds, its identity last, so that an interrupted reset can be
    repeated.
    """
    require_removable(path)
    sockets.remove_short(path / "run")
    for entry in sorted(path.iterdir(), key=lambda entry: entry.name in {IDENTITY_FILE, "lock"}):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    path.rmdir()


def _make(path: Path) -> None:
    try:
        new = not path.exists()
        path.mkdir(parents=True, exist_ok=True)
        if not new:
            _require_ours(path)
        for name in ("run", "logs"):
            (path / name).mkdir(exist_ok=True)
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        raise DataFolderError(
            f"{path} cannot be written ({error.strerror}). Make it writable, or choose another folder "
            f"with MILLRACE_HOME."
        ) from None
    except OSError as error:
        raise _no_space(path, error) from None


def _require_ours(path: Path) -> None:
    if not (path / "lock").exists() and any(_foreign(path)):
        raise DataFolderError(
            f"{path} holds other files ({', '.join(sorted(_foreign(path))[:3])}, …) and is no data "
            f"folder. "
            "Choose an empty one with MILLRACE_HOME."
        )


def _foreign(path: Path) -> list[str]:
    """What is in a folder that nobody has locked yet and that no user of Millrace puts there."""
    return [entry.name for entry in path.iterdir() if entry.name not in {"settings.yaml", "run", "logs"}]


def _locked(path: Path) -> int:
    try:
        handle = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise DataFolderError(
            f"{path} cannot be written ({error.strerror}). Make it writable, or choose another folder "
            f"with MILLRACE_HOME."
        ) from None
    if not _taken(handle):
        pid, page = _said(handle)
        os.close(handle)
        raise DataFolderError(
            f"Millrace is already running on {path} as pid {pid if pid > 0 else 'unknown'}, page at "
            f"{page or '(still starting)'}. Stop it first (Ctrl-C there), or choose another folder with "
            "MILLRACE_HOME."
        )
    _announce(handle, "")
    return handle


def _announce(lock: int, page: str) -> None:
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()} {page}".encode(), 0)


def _identified(path: Path, settings: Settings) -> Identity:
    identity = read_identity(path)
    if identity is None:
        leftovers = [name for name in ("postgres", "stream", "archive") if (path / name).exists()]
        if leftovers:
            raise DataFolderError(
                f"{path} holds data ({', '.join(leftovers)}) but no folder.json. Restore that file from a "
                f"copy, "
                "or choose another folder with MILLRACE_HOME, or give this one up with `millrace reset`."
            )
        identity = Identity(uuid.uuid4().hex, 1, FORMAT, settings.shards)
        write_whole(path / IDENTITY_FILE, json.dumps(asdict(identity), indent=2) + "\n")
    elif "shards" in settings.model_fields_set and settings.shards != identity.shards:
        raise DataFolderError(
            f"{path} was made with {identity.shards} shards, MILLRACE_SHARDS says {settings.shards}. The "
            f"number is fixed "
            f"per folder: set it to {identity.shards} (or leave it out), or choose another folder with "
            f"MILLRACE_HOME."
        )
    return identity


def _check_free(path: Path) -> None:
    """Before anything is made there."""
    disk = shutil.disk_usage(existing(path))
    if disk.free < FREE_AT_START_BYTES and disk.total:  # /proc has neither, and says so itself
        raise DataFolderError(
            f"Only {disk.free // 2**20} MiB are free on the disk of {path}, a start needs "
            f"{FREE_AT_START_BYTES // 2**20} MiB. "
            "Free some space, or choose a folder on another disk with MILLRACE_HOME. Nothing was changed."
        )


def existing(path: Path) -> Path:
    """The folder itself, or the nearest above it that is there."""
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.is_dir())


def require_writable(path: Path) -> None:
    """DataFolderError where a start could not write its folder. Tried and taken back, not asked: root is told that it
    may write to a read-only mount or below /proc.
    """
    at = existing(path)
    file = next((part for part in (path, *path.parents) if part.exists() and not part.is_dir()), None)
    if file is not None:
        raise DataFolderError(f"{file} is a file, wanted a folder. Choose another one with MILLRACE_HOME.")
    if at == path:
        _require_ours(path)
    try:
        with tempfile.TemporaryDirectory(prefix=".millrace-probe-", dir=at) as probe:
            write_whole(Path(probe) / "probe", "x" * 4096)
    except OSError as error:
        raise DataFolderError(
            f"{path}: nothing can be written in {at} ({error.strerror}), wanted: files that are synced. Make it "
            "writable, or choose another folder with MILLRACE_HOME."
        ) from None


def _probe(path: Path) -> None:
    probe = path / "run" / "probe"
    try:
        write_whole(probe, "x" * 4096)
        probe.unlink()
    except OSError as error:
        raise _no_space(path, error) from None


def _no_space(path: Path, error: OSError) -> DataFolderError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DataFolderError(
            f"The disk of {path} is full. Free some space, or choose a folder on another disk with "
            f"MILLRACE_HOME. "
            "Nothing was damaged."
        )
    return DataFolderError(
        f"{path} cannot be used ({error.strerror}). Choose another folder with MILLRACE_HOME."
    )
