"""Whether the door must turn everybody away: looked at beside the requests, which then pay nothing."""

from __future__ import annotations

import threading
from typing import Final

import structlog

from millrace import telemetry
from millrace.errors import Unavailable
from millrace.ingest.disk import DiskGuard
from millrace.ingest.refusal import DISK_NEARLY_FULL, STREAM_FULL, Refusal
from millrace.stream.contract import Stream

PACE_S: Final = 0.1
RETRY_AFTER_S: Final = 5.0

log = structlog.get_logger(__name__)


class Guard:
    """Disk and stream against their bounds. `check()` from any thread."""

    def __init__(self, stream: Stream, disk: DiskGuard | None) -> None:
        self._stream = stream
        self._disk = disk
        self._refusal: tuple[str, str] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="guard", daemon=True)

    def start(self) -> None:
        self.look()
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(6.0)

    def check(self) -> None:
        """Refusal(429) while there is no room."""
        if refusal := self._refusal:
            raise Refusal(429, refusal[0], refusal[1], retry_after_s=RETRY_AFTER_S)

    @property
    def refusing(self) -> bool:
        return self._refusal is not None

    @property
    def refusal(self) -> tuple[str, str] | None:
        """Reason and detail of what everybody is answered; None while the door is open."""
        return self._refusal

    def look(self) -> None:
        """Ask disk and stream. A stream that does not answer is no reason: its append will say so."""
        found, before = self._found(), self._refusal
        self._refusal = found
        if (found and found[0]) != (before and before[0]):
            log.warning("door_refuses" if found else "door_opens", reason=found[0] if found else "")

    def _found(self) -> tuple[str, str] | None:
        if self._disk and (detail := self._disk.check()):
            return DISK_NEARLY_FULL, detail
        try:
            headroom = self._stream.headroom()
        except Unavailable:
            return None
        telemetry.STREAM_BYTES_HELD.set(headroom.bytes_held)
        if headroom.full:
            return (
                STREAM_FULL,
                f"the stream holds {headroom.bytes_held} of {headroom.bytes_max} bytes until trimmed",
            )
        return None

    def _run(self) -> None:
        while not self._stop.wait(PACE_S):
            try:
                self.look()
            except Exception:  # the guard must outlive a folder that vanished for a moment
                log.exception("guard_failed")
