"""One thread puts what concurrent requests bring into the stream together: one call and one sync for all.

While a call is under way the next group gathers. So one append is in flight per source, its frames keep their
order, and the more requests come at once, the less each costs.
"""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final

import structlog

from millrace.clock import Clock
from millrace.errors import MillraceError, StreamFull, StreamUnavailable
from millrace.stream.contract import Entry, Stream

GROUP_ENTRIES_MAX: Final = 1_024
GROUP_BYTES_MAX: Final = 8_000_000
WAITING_BYTES_MAX: Final = 64_000_000
WAITING_ENTRIES_MAX: Final = 20_000
UNKNOWN_RETRY_S: Final = 2.0
"""An append whose outcome is unknown is repeated with the same bytes for so long, then given up."""
RETRY_FIRST_S: Final = 0.02
RETRY_MAX_S: Final = 0.5

log = structlog.get_logger(__name__)


class QueueFull(MillraceError):
    """As much waits for the stream as may wait; nothing was queued."""

    retryable = True


@dataclass(slots=True)
class _Waiting:
    entry: Entry
    series: Hashable  # frames of one series stay in order, and fail in order
    done: Future[int] = field(default_factory=Future)


class Appender:
    """`submit` from any thread; the future gives the record's position once it is durable."""

    def __init__(
        self,
        stream: Stream,
        *,
        clock: Clock,
        retry_s: float = UNKNOWN_RETRY_S,
        waiting_bytes_max: int = WAITING_BYTES_MAX,
        rng: random.Random | None = None,
    ) -> None:
        self._stream = stream
        self._clock = clock
        self._retry_s = retry_s
        self._waiting_bytes_max = waiting_bytes_max
        self._rng = rng or random.Random()
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="appender", daemon=True)
        self.calls = 0
        self.retries = 0

    def start(self) -> None:
        self._thread.start()

    def close(self, timeout_s: float = 5.0) -> None:
        """Append what waits, as far as the time allows; what is left fails as unavailable."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        self._fail(self._take_all(), StreamUnavailable("ingest is stopping"))

    def submit(self, entry: Entry, series: Hashable) -> Future[int]:
        """Queue one record; QueueFull when too much waits."""
        waiting = _Waiting(entry, series)
        with self._changed:
            size = self._waiting_bytes + len(entry.data)
            if self._closing or size > self._waiting_bytes_max or len(self._waiting) >= WAITING_ENTRIES_MAX:
                raise QueueFull(f"{self._waiting_bytes} bytes wait for the stream already")
            self._waiting.append(waiting)
            self._waiting_bytes = size
            self._changed.notify()
        return waiting.done

    def _run(self) -> None:
        while group := self._next_group():
            try:
                self._append(group)
            except Exception as error:  # the thread must outlive any one group
                log.exception("append_failed")
                self._fail(group, StreamUnavailable(f"append failed: {error}"))

    def _next_group(self) -> list[_Waiting]:
        """What waits, up to one call's bound; empty only when closing."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            group: list[_Waiting] = []
            size = 0
            while self._waiting and len(group) < GROUP_ENTRIES_MAX and size < GROUP_BYTES_MAX:
                group.append(self._waiting.popleft())
                size += len(group[-1].entry.data)
                group[-1].done.set_running_or_notify_cancel()  # from here on nobody can take it back
            self._waiting_bytes -= size
            return group

    def _append(self, group: list[_Waiting]) -> None:
        try:
            positions = self._append_until_known([waiting.entry for waiting in group])
        except StreamUnavailable as error:
            self._fail(group + self._take_behind(group), error)
            return
        for waiting, position in zip(group, positions, strict=True):
            if not waiting.done.cancelled():  # a request that was given up before its turn
                waiting.done.set_result(position)

    def _append_until_known(self, entries: list[Entry]) -> list[int]:
        """The same bytes again while the outcome is unknown, within `retry_s`."""
        deadline_s = self._clock.monotonic_s() + self._retry_s
        pause_s = RETRY_FIRST_S
        while True:
            try:
                self.calls += 1
                return self._stream.append(entries)
            except StreamFull:
                raise
            except StreamUnavailable:
                if self._closing or self._clock.monotonic_s() + pause_s > deadline_s:
                    raise
            self.retries += 1
            self._clock.sleep(pause_s * self._rng.uniform(0.5, 1.0))
            pause_s = min(2 * pause_s, RETRY_MAX_S)

    def _take_behind(self, group: list[_Waiting]) -> list[_Waiting]:
        """Frames queued behind a failed one of their series: their sender repeats them after it, in order."""
        series = {waiting.series for waiting in group}
        with self._changed:
            behind = [waiting for waiting in self._waiting if waiting.series in series]
            self._waiting = deque(waiting for waiting in self._waiting if waiting.series not in series)
            self._waiting_bytes -= sum(len(waiting.entry.data) for waiting in behind)
        return behind

    def _take_all(self) -> list[_Waiting]:
        with self._changed:
            left = list(self._waiting)
            self._waiting.clear()
            self._waiting_bytes = 0
        return left

    @staticmethod
    def _fail(group: list[_Waiting], error: StreamUnavailable) -> None:
        for waiting in group:
            if not waiting.done.done():
                waiting.done.set_exception(error)
