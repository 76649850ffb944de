"""Time as input: one tick a second into every shard, so that silence can be told from a quiet second."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import structlog

from millrace import telemetry
from millrace.clock import SECOND_US, EdgeClock
from millrace.errors import MillraceError
from millrace.protocols import control
from millrace.stream.contract import Entry, Stream

PACE_S: Final = 1.0
CLOCK_STEP_US: Final = 2 * SECOND_US
PARTITION_KEY: Final = "tick"

log = structlog.get_logger(__name__)


class Ticker:
    """One per ingest process. A second that could not be appended is not repeated."""

    def __init__(
        self,
        stream: Stream,
        *,
        process: str,
        clock: EdgeClock,
        refusing: Callable[[int], bool] = lambda shard: False,
    ) -> None:
        """`refusing(shard)`: whether the door turns that shard's readings away; any callers' thread."""
        self._stream = stream
        self._process = process
        self._clock = clock
        self._refusing = refusing
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ticker", daemon=True)
        self._step_pending = False
        self.appended = 0
        self.missed = 0

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop; waits for an append under way, at most six seconds."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(6.0)

    def tick(self) -> bool:
        """Append one tick to each shard, in one call; False when the stream did not take it."""
        time_us = self._time_us()
        entries = [
            Entry(shard, PARTITION_KEY, self._encoded(time_us, shard))
            for shard in range(self._stream.shard_count)
        ]
        try:
            self._stream.append(entries)
        except MillraceError as error:
            self.missed += 1
            log.warning("tick_missed", error=str(error))
            return False
        self._step_pending = False
        self.appended += 1
        telemetry.INGEST_TICKS_APPENDED.inc(len(entries))
        return True

    def _time_us(self) -> int:
        """Edge time. A wall over two seconds away is taken over, and ticks say so until one is taken."""
        if abs(self._clock.step_us()) > CLOCK_STEP_US:
            log.warning("clock_step", step_s=self._clock.step_us() / SECOND_US)
            self._clock.resync()
            self._step_pending = True
        return self._clock.now_us()

    def _encoded(self, time_us: int, shard: int) -> bytes:
        return control.encode(
            control.Tick(
                time_us, self._process, refusing=self._refusing(shard), clock_step=self._step_pending
            )
        )

    def _run(self) -> None:
        due_s = self._clock.monotonic_s()
        while not self._stop.wait(max(0.0, due_s - self._clock.monotonic_s())):
            self.tick()
            now_s = self._clock.monotonic_s()
            due_s = max(due_s + PACE_S, now_s + PACE_S / 2)  # after an outage: no burst
