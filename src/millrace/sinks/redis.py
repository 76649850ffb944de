"""The fast path: every batch as one blob into the real-time store, at once, before PostgreSQL commits.

The store may lose everything at any time, and may be away: then what could not be said waits (`unsaid.py`), within a
bound, and the pipeline loses at most `timeout_s` a second once it is known. When the store is back empty (its fence is
gone), or more waited than there is room for, which is counted, the owner's state is published again in full: tag table,
latest values and the raw window, out of `reseed(shard)`.

The server refuses a blob whose (epoch, position) is not above the shard's fence, so a worker that woke up
after another took its shard over cannot put old values over new ones.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import valkey
from valkey.exceptions import NoScriptError, OutOfMemoryError, ValkeyError

from millrace import names, telemetry
from millrace.batch import Output
from millrace.clock import Clock
from millrace.schema import live
from millrace.schema.live import LiveBlob
from millrace.sinks.contract import Ownership, Written
from millrace.sinks.live_shard import PART_ROWS, LiveShard, Seed
from millrace.sinks.unsaid import Unsaid

log = telemetry.logger(__name__)

LATEST_EVERY_S = 5.0
AWAY_FIRST_S = 0.1  # after a failure the store is left alone this long, after each further one twice as long
AWAY_MAX_S = 1.0
CACHE_SHARE = 0.8  # of the real-time store's memory for live logs; the rest for latest values and the server
UNSAID_ROWS_MAX = 3_000_000  # 66 MB; six seconds of a worker's half of a million readings/s
WINDOW_PIPELINE_MAX = 256

# KEYS: fence and live log of each blob. ARGV[1]: age in ms that a blob may reach; then for each blob its fence text,
# its bytes, the entries to keep at most (0: as many as are young enough), 1 = the log begins anew.
# An answer each: -1: the store has no fence (it lost its data); 0: refused, another is ahead; 1: taken.
_PUBLISH = """
local oldest = string.format('%.0f', server.call('TIME')[1] * 1000 - ARGV[1])
local answers = {}
for i = 1, #KEYS / 2 do
  local fence, log, at = KEYS[2 * i - 1], KEYS[2 * i], 4 * i - 2
  local held = server.call('GET', fence)
  local answer = 1
  if ARGV[at + 3] == '1' then
    if held and string.sub(held, 1, 20) > string.sub(ARGV[at], 1, 20) then answer = 0 end
  elseif not held then
    answer = -1
  elseif held >= ARGV[at] then
    answer = 0
  end
  if answer == 1 then
    if ARGV[at + 2] == '0' then
      server.call('XADD', log, 'MINID', '~', oldest, '*', 'b', ARGV[at + 1])
    else
      server.call('XADD', log, 'MAXLEN', '~', ARGV[at + 2], '*', 'b', ARGV[at + 1])
    end
    server.call('SET', fence, ARGV[at])
  end
  answers[i] = answer
end
return answers
"""


class RedisSink:
    """Real-time store as a sink; not durable, never retries, never raises for a dead server.

    `detectors` and `rules` name the numbers in anomaly and alarm rows. `keep_s` is how long a blob stays.
    Not thread-safe: one thread, the worker's main loop, owns it.
    """

    name = "redis"
    durable = False

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        shard_count: int,
        detectors: Sequence[str],
        rules: Sequence[str],
        keep_s: float = 130.0,
        bytes_max: int = 1024**3,
        reseed: Callable[[int], Seed] | None = None,
        timeout_s: float = 0.25,
        unsaid_rows_max: int = UNSAID_ROWS_MAX,
    ) -> None:
        self._client = valkey.Valkey.from_url(
            url,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=None,
            retry_on_timeout=False,
        )
        self._clock = clock
        self._detectors, self._rules = tuple(detectors), tuple(rules)
        self._keep_ms = round(keep_s * 1000)
        self._shard_bytes_max = int(bytes_max * CACHE_SHARE) // shard_count
        self._reseed = reseed
        self._sha = ""
        self._shards: dict[int, LiveShard] = {}
        self._unsaid, self._unsaid_rows_max = Unsaid(), unsaid_rows_max
        self._away_s = self._away_until_s = 0.0
        self.losses = 0  # blobs that could not be said
        self.refused = 0  # blobs that the server refused: another owner is ahead, or it had taken them

    def open_shard(self, ownership: Ownership) -> int:
        """Begin to write; the position that the store holds, 0 when it holds nothing or is away."""
        self._shards[ownership.shard] = LiveShard(ownership.shard, ownership.epoch)
        try:
            held = self._client.get(names.fence_key(ownership.shard))
        except ValkeyError as error:
            self._away(error)
            return 0
        position = live.fence_position(held.decode()) if held else 0  # type: ignore[union-attr]
        self._shards[ownership.shard].previous = position
        return position

    def position(self, shard: int) -> int:
        """The newest position offered; the store may hold less."""
        return self._shards[shard].position

    def write(self, outputs: Sequence[Output]) -> Written:
        """Say the outputs, behind those that wait; all are accepted, what is given up is counted in `losses`."""
        self._unsaid.extend(self._absorb(output) for output in outputs if output.shard in self._shards)
        while len(self._unsaid) and self._clock.monotonic_s() >= self._away_until_s:
            blobs = self._unsaid.first()
            if self._guarded(blobs):
                self._unsaid.drop(len(blobs))
                self._away_s = 0.0
        if self._unsaid.weight_rows > self._unsaid_rows_max:
            self._forget(list(self._unsaid))
            self._unsaid.drop(len(self._unsaid))
        return Written(accepted=sum(len(output.readings) for output in outputs), rejected=0)

    def close_shard(self, shard: int) -> None:
        """Stop writing for a shard."""
        self._shards.pop(shard, None)
        self._unsaid.forget(shard)

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()  # type: ignore[no-untyped-call]

    def _absorb(self, output: Output) -> LiveBlob:
        return self._shards[output.shard].absorb(output, self._detectors, self._rules)

    # --- what the server is told ------------------------------------------------------------------

    def _guarded(self, blobs: list[LiveBlob]) -> bool:
        """Send blobs; whatever happens to the store, the pipeline goes on. False: they are to wait. What the store took
        although its answer was lost, it refuses when it is said again."""
        shards = {blob.shard for blob in blobs}
        try:
            for shard in shards:
                if not self._shards[shard].seeded:
                    self._publish_all(shard, self._unsaid)
            lost = self._send(self._behind_seed(blobs))
            for shard in lost:
                log.info("real_time_store_is_empty", shard=shard)
                self._publish_all(shard, self._unsaid)
            self._send(self._behind_seed([blob for blob in blobs if blob.shard in lost]), anew=lost)
            self._publish_latest_if_due(shards)
        except OutOfMemoryError as error:
            self._shed(error)
            self._forget(blobs, again=False)
        except ValkeyError as error:
            self._away(error)
            return False
        return True

    def _behind_seed(self, blobs: list[LiveBlob]) -> list[LiveBlob]:
        """Blobs that the last publication of everything did not hold."""
        return [blob for blob in blobs if blob.position > self._shards[blob.shard].seeded_to]

    def _send(self, blobs: list[LiveBlob], anew: Collection[int] = ()) -> set[int]:
        """The shards whose fence is gone. For shards in `anew` the first blob sets it."""
        begins = set(anew)
        flags = []
        for blob in blobs:
            flags.append(blob.shard in begins)
            begins.discard(blob.shard)
        answers = self._say(blobs, flags)
        self.refused += answers.count(0)
        return {blob.shard for blob, answer in zip(blobs, answers, strict=True) if answer == -1}

    def _say(self, blobs: Sequence[LiveBlob], anew: Sequence[bool]) -> list[int]:
        """One call of the script for all blobs: one round trip, and who follows the logs wakes once, not per blob."""
        if not blobs:
            return []
        keys: list[str] = []
        arguments: list[Any] = [self._keep_ms]
        for blob, begins in zip(blobs, anew, strict=True):
            keys += (names.fence_key(blob.shard), names.live_key(blob.shard))
            data = live.encode(blob)
            entries = self._entries_max(blob.shard, len(data))
            arguments += (live.fence(blob.epoch, blob.position), data, entries, 1 if begins else 0)
        try:
            return self._ask(keys, arguments)
        except ValkeyError:
            for blob in blobs:
                self._shards[blob.shard].uncount()
            raise

    def _ask(self, keys: Sequence[str], arguments: Sequence[Any]) -> list[int]:
        try:
            answers: Any = self._client.evalsha(self._script_sha(), len(keys), *keys, *arguments)
        except NoScriptError:  # a server that began anew is taught, and asked once more
            self._sha = ""
            answers = self._client.evalsha(self._script_sha(), len(keys), *keys, *arguments)
        return list(answers)

    def _entries_max(self, shard: int, size: int) -> int:
        now_s = self._clock.monotonic_s()
        return self._shards[shard].entries_max(size, now_s, self._keep_ms / 1e3, self._shard_bytes_max)

    def _run(self, pipeline: Any) -> list[Any]:
        """The answers of commands that stand for themselves; the first error is raised."""
        answers: list[Any] = pipeline.execute()
        return answers

    def _script_sha(self) -> str:
        if not self._sha:
            self._sha = str(self._client.script_load(_PUBLISH))
        return self._sha

    def _publish_all(self, number: int, said: Iterable[LiveBlob]) -> None:
        """Tag table, latest values and, where the store has no log of the shard, the raw window.

        `said`: what is about to be said; the window may hold its readings already, and then carries its events.
        """
        shard = self._shards[number]
        begins = shard.window_due or not self._client.exists(names.fence_key(number))
        seed = self._reseed(number) if self._reseed else Seed(shard.position, shard.time_us, [], shard.latest)
        shard.take(seed)
        if not begins:
            return
        self._client.delete(names.live_key(number))
        waiting: list[LiveBlob] = []
        for blob in shard.window_blobs(seed, said):
            waiting.append(blob)
            if len(waiting) >= WINDOW_PIPELINE_MAX or sum(map(len, waiting)) >= PART_ROWS:
                self._send_window(waiting)
                waiting = []
        self._send_window(waiting)
        if seed.window:
            shard.seeded_to, shard.window_due = seed.window[-1].position, False

    def _send_window(self, blobs: list[LiveBlob]) -> None:
        """Parts of one position follow each other, so the fence is set by each."""
        self._say(blobs, [True] * len(blobs))

    def _publish_latest_if_due(self, shards: Iterable[int]) -> None:
        now_s = self._clock.monotonic_s()
        due = [number for number in shards if self._shards[number].latest_due_s <= now_s]
        if not due:
            return
        pipeline = self._client.pipeline(transaction=False)
        for number in due:
            self._queue_latest(pipeline, number, self._shards[number])
        self._run(pipeline)
        for number in due:
            self._shards[number].latest_due_s = now_s + LATEST_EVERY_S
            self._shards[number].tags_changed = False

    def _queue_latest(self, pipeline: Any, number: int, shard: LiveShard) -> None:
        key = names.latest_key(number)
        count = min(len(shard.latest.ts_us), max(shard.tags, default=-1) + 1)
        pipeline.set(
            key, live.encode_latest(number, shard.epoch, shard.position, shard.time_us, shard.latest, count)
        )
        if shard.tags_changed:
            pipeline.set(live.tags_key(key), live.encode_tags(list(shard.tags.values())))

    # --- when the server is not well --------------------------------------------------------------

    def _away(self, error: ValkeyError) -> None:
        """Leave the store alone for a while; what it did not take waits, and is said again."""
        telemetry.will_retry(self.name)
        self._away_s = min(AWAY_MAX_S, max(AWAY_FIRST_S, 2 * self._away_s))
        self._away_until_s = self._clock.monotonic_s() + self._away_s
        log.warning(
            "real_time_store_away", error=str(error)[:200], waiting=len(self._unsaid), losses=self.losses
        )

    def _forget(self, blobs: list[LiveBlob], *, again: bool = True) -> None:
        """Count what was not said; `again`: everything is published again when the store is back."""
        self.losses += len(blobs)
        telemetry.SINK_LOSSES.labels(self.name).inc(len(blobs))
        for blob in blobs:
            self._shards[blob.shard].forget(again=again and self._reseed is not None)

    def _shed(self, error: ValkeyError) -> None:
        """The store is full: give half of every live log up, keep less from now on."""
        self._shard_bytes_max = max(self._shard_bytes_max // 2, 64 * 1024)
        log.warning("real_time_store_full", error=str(error)[:200], shard_bytes_max=self._shard_bytes_max)
        try:
            for number, shard in self._shards.items():
                self._client.xtrim(names.live_key(number), maxlen=len(shard.sizes) // 2, approximate=True)
        except ValkeyError as worse:
            self._away(worse)
