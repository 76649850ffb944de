"""A durable sink on its own thread: the pipeline goes on while a commit or a segment is written.

Bounded: `waiting_rows` says how far a shard is ahead, and the pipeline holds the shard back at the bound.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice

from millrace import telemetry
from millrace.batch import Output
from millrace.clock import Clock
from millrace.errors import OwnershipLost, Unavailable
from millrace.sinks.contract import Ownership, Sink

log = telemetry.logger(__name__)

OUTPUTS_PER_WRITE = 2_048
RETRY_FIRST_S = 0.1
RETRY_MAX_S = 5.0


class StoreThread:
    """Offers outputs to a sink in order, again and again until it takes them.

    `on_lost(shard)` is called from this thread when the sink says that a shard belongs to another,
    `on_written(outputs, seconds)` after each write that took everything.
    """

    def __init__(
        self,
        sink: Sink,
        clock: Clock,
        *,
        interval_s: float,
        on_lost: Callable[[int], None],
        on_written: Callable[[Sequence[Output], float], None] = lambda _outputs, _seconds: None,
    ) -> None:
        self.sink = sink
        self._clock = clock
        self._interval_s = interval_s
        self._on_lost = on_lost
        self._on_written = on_written
        self._changed = threading.Condition()
        self._between_writes = threading.Lock()
        self._queue: deque[Output] = deque()
        self._rows: dict[int, int] = {}
        self._writing = False
        self._stopping = False
        self.written: dict[int, int] = {}  # position up to which the sink took everything, per shard
        self.failure: BaseException | None = None
        self.unavailable = ""  # why nothing is written at the moment
        self._thread = threading.Thread(target=self._run, name=f"store-{sink.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def offer(self, output: Output) -> None:
        """Queue an output; never blocks. Nobody is woken: the thread keeps its own pace (woken by each of 160 outputs
        a second, the two store threads of a worker cost as much as the writes)."""
        with self._changed:
            self._queue.append(output)
            self._rows[output.shard] = self._rows.get(output.shard, 0) + _weight(output)

    def waiting_rows(self, shard: int) -> int:
        """Rows of a shard that were offered and are not taken yet."""
        return self._rows.get(shard, 0)

    def open_shard(self, ownership: Ownership) -> int:
        """Begin with a shard, between two writes; what the sink holds of it."""
        with self._between_writes:
            return self.sink.open_shard(ownership)

    def close_shard(self, shard: int) -> None:
        """The shard is not ours any more: forget what waits, between two writes."""
        self._forget(shard)
        with self._between_writes:
            self._forget(shard)
            self.sink.close_shard(shard)

    def drain(self, timeout_s: float) -> bool:
        """Wait until everything is taken; False after the time-out."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._queue and not self._writing, timeout=timeout_s)

    def stop(self) -> None:
        """End the thread; what waits is in the stream and will be replayed."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(15.0)

    # --- the thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            pause_s = 0.0
            while not self._stopping:
                begin_s = self._clock.monotonic_s()
                pause_s = self._turn(pause_s)
                rest_s = max(pause_s, self._interval_s - (self._clock.monotonic_s() - begin_s))
                with self._changed:
                    if not self._stopping:
                        self._changed.wait_for(lambda: self._stopping, timeout=rest_s)
        except BaseException as error:  # the pipeline sees it at its next turn and ends loudly
            log.error("store_thread_died", sink=self.sink.name, error=repr(error), exc_info=True)
            self.failure = error

    def _turn(self, pause_s: float) -> float:
        """One write; the pause before the next try, 0 when all went well."""
        with self._changed:
            outputs = list(islice(self._queue, OUTPUTS_PER_WRITE))
            self._writing = True
        try:
            begin_s = self._clock.monotonic_s()
            with self._between_writes:
                mine = [output for output in outputs if output.shard in self._rows]
                written = self.sink.write(mine)
            if mine and not written.retry:
                self._on_written(mine, self._clock.monotonic_s() - begin_s)
            self._taken(outputs, written.retry)
            if written.retry:  # the sink has counted why: one that buffers does so long before it asks
                return self._put_off(pause_s, "the sink asks for a retry")
            self.unavailable = ""
            return 0.0
        except OwnershipLost as lost:
            log.warning("ownership_lost", sink=self.sink.name, shard=lost.shard)
            self._forget(lost.shard)
            self._on_lost(lost.shard)
            return 0.0
        except Unavailable as error:
            telemetry.will_retry(self.sink.name)
            return self._put_off(pause_s, str(error))
        finally:
            with self._changed:
                self._writing = False
                self._changed.notify_all()

    def _put_off(self, pause_s: float, why: str) -> float:
        """The same again later; said once."""
        if not self.unavailable:
            log.warning("sink_away", sink=self.sink.name, error=why)
        self.unavailable = why
        return _longer(pause_s)

    def _taken(self, outputs: Sequence[Output], retry: Sequence[Output]) -> None:
        again = {id(output) for output in retry}
        with self._changed:
            for output in outputs:
                if id(output) in again or output.shard not in self._rows:
                    continue
                self.written[output.shard] = output.position
                self._rows[output.shard] -= _weight(output)
            gone = {id(output) for output in outputs} - again
            self._queue = deque(output for output in self._queue if id(output) not in gone)

    def _forget(self, shard: int) -> None:
        with self._changed:
            self._queue = deque(output for output in self._queue if output.shard != shard)
            self._rows.pop(shard, None)
            self.written.pop(shard, None)


def _weight(output: Output) -> int:
    """Rows that an output keeps in memory."""
    return len(output.readings) + len(output.rollups) + len(output.rejects) + 1


def _longer(pause_s: float) -> float:
    return min(RETRY_MAX_S, max(RETRY_FIRST_S, 2 * pause_s))
