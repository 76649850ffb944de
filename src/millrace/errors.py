"""What can go wrong, as one small tree.

    MillraceError
    ├── SettingError            a setting is missing or impossible         (not retryable, exit 2)
    ├── DataFolderError         the data folder is not what we expect      (not retryable, exit 2)
    ├── AssetModelError         a line of the asset model is wrong         (not retryable, exit 2)
    ├── ProtocolError           bytes that no decoder understands          (not retryable)
    ├── OwnershipLost           another process owns the shard now         (not retryable here)
    ├── SnapshotError           a snapshot is damaged or of another kind   (not retryable)
    └── Unavailable             a server does not answer at the moment     (retryable)
        ├── StreamUnavailable       outcome of the last append may be unknown
        │   └── StreamFull          the stream holds as much as it may; nothing was appended
        ├── StoreUnavailable        PostgreSQL
        └── CacheUnavailable        the real-time store

Bad *data* is never an exception: it is a row in the rejects, with a reason (`batch.Reason`).
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class MillraceError(Exception):
    """Root of everything we raise on purpose."""

    retryable: bool = False
    exit_code: int = 1


class SettingError(MillraceError):
    """A setting is missing or impossible: says what was found, what was wanted."""

    exit_code = 2

    def __init__(self, name: str, *, got: object, want: str) -> None:
        super().__init__(f"{name}: found {got!r}, wanted {want}")
        self.name = name


class DataFolderError(MillraceError):
    """The data folder cannot be used as it is; the message ends with what to do."""

    exit_code = 2


class AssetModelError(MillraceError):
    """The asset model file is wrong; one line per mistake, each with its line number."""

    exit_code = 2

    def __init__(self, mistakes: Iterable[str]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(self.mistakes))


class ProtocolError(MillraceError):
    """Bytes that a decoder refuses; `reason` is a name out of `batch.Reason`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class OwnershipLost(MillraceError):
    """The shard's epoch has moved on: stop writing for it at once."""

    def __init__(self, shard: int, epoch: int) -> None:
        super().__init__(f"shard {shard}: epoch {epoch} is no longer the owner's")
        self.shard = shard
        self.epoch = epoch


class SnapshotError(MillraceError):
    """A snapshot is damaged, or made by another data folder or format."""


class Unavailable(MillraceError):
    """A server does not answer at the moment; the same call may work later."""

    retryable = True


class StreamUnavailable(Unavailable):
    """The stream does not answer; an append under way may or may not have happened."""


class StreamFull(StreamUnavailable):
    """The stream holds as much as it may; nothing was appended."""


class StoreUnavailable(Unavailable):
    """PostgreSQL does not answer."""


class CacheUnavailable(Unavailable):
    """The real-time store does not answer."""


def nearest(word: str, known: Iterable[str]) -> str:
    """' (did you mean X?)' for a mistyped word, or an empty string."""
    match = get_close_matches(word, list(known), n=1)
    return f" (did you mean {match[0]}?)" if match else ""
