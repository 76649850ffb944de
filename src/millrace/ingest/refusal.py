"""A whole request that the door turns away: the status, a reason, and when to come again.

The reasons here are the door's own; a body's own fault carries a name out of `batch.Reason`.
"""

from __future__ import annotations

from typing import Final

from millrace.errors import MillraceError

TOO_FAST: Final = "rate"  # the source has used up its share
STREAM_FULL: Final = "stream_full"
DISK_NEARLY_FULL: Final = "disk_nearly_full"
STREAM_UNAVAILABLE: Final = "stream_unavailable"  # outcome unknown: send again with the same identity
TOO_MANY_SOURCES: Final = "too_many_sources"
BUSY: Final = "queue_full"  # as much is waiting for the stream as may wait
CATCHING_UP: Final = "lag"  # workers lag: each source gets its fair share only


class Refusal(MillraceError):
    """`retry_after_s` is 0 where sending the same again cannot help."""

    def __init__(self, status: int, reason: str, detail: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(f"{status} {reason}: {detail}")
        self.status = status
        self.reason = reason
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.retryable = status in {429, 503}
