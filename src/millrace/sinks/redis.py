"""The fast path: every batch as one blob into the real-time store, at once, before PostgreSQL commits.

The store may lose everything at any time, and may be away: then this sink counts what it could not say and
costs the pipeline at most `timeout_s` a second. When the store is back empty (its fence is gone), the owner's
state is published again in full: tag table, latest values and the raw window, out of `reseed(shard)`.

The server refuses a blob whose (epoch, position) is not above the shard's fence, so a worker that woke up
after another took its shard over cannot put old values over new ones.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import valkey
from valkey.exceptions import NoScriptError, OutOfMemoryError, ValkeyError

from millrace import names, telemetry
from millrace.batch import Output, Rows, TagInfo
from millrace.clock import Clock
from millrace.schema import live
from millrace.schema.ids import detector_name, event_id
from millrace.schema.live import AlarmEvent, AnomalyEvent, Latest, LiveBlob
from millrace.sinks.contract import Ownership, Written

log = telemetry.logger(__name__)

LATEST_EVERY_S = 5.0
AWAY_S = 1.0  # after a failure the store is left alone this long
CACHE_SHARE = 0.8  # of the real-time store's memory for live logs; the rest for latest values and the server
PIPELINE_MAX = 64  # blobs in one round trip
WINDOW_PIPELINE_MAX = 256
PART_ROWS = 200_000  # readings in one blob of a window that is published again
NO_LIMIT = 10**9

# KEYS: fence, live log. ARGV: fence text, blob, age in ms, entries to keep at most, 1 = the log begins anew.
# -1: the store has no fence (it lost its data); 0: refused, another is ahead; else the entry's id.
_PUBLISH = """
local held = server.call('GET', KEYS[1])
if ARGV[5] == '1' then
  if held and string.sub(held, 1, 20) > string.sub(ARGV[1], 1, 20) then return 0 end
else
  if not held then return -1 end
  if held >= ARGV[1] then return 0 end
end
local id = server.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', 'b', ARGV[2])
local now = server.call('TIME')
server.call('XTRIM', KEYS[2], 'MINID', '~', tostring(math.floor(now[1] * 1000 - ARGV[3])))
server.call('SET', KEYS[1], ARGV[1])
return id
"""


@dataclass(slots=True)
class WindowPart:
    """Raw readings of whole records `first_position … position`, in order of arrival.

    What the archive has not listed is one part: from `archived + 1` to the newest position that was
    processed, with all its readings, also those that still wait to be taken by the archive.
    """

    first_position: int
    position: int
    readings: Rows  # READING


@dataclass(slots=True)
class Seed:
    """All that the store must hold of a shard, out of its owner's state. `position`: the newest processed."""

    position: int
    time_us: int
    tags: list[TagInfo]
    latest: Latest
    window: list[WindowPart] = field(default_factory=list)
    sources: dict[int, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Shard:
    """What the sink knows of a shard that it writes for."""

    epoch: int
    position: int = 0
    previous: int = 0
    tags: dict[int, TagInfo] = field(default_factory=dict)
    sources: dict[int, str] = field(default_factory=dict)
    latest: Latest = field(default_factory=lambda: Latest.of_size(64))
    time_us: int = 0
    tags_changed: bool = False
    latest_due_s: float = 0.0
    seeded: bool = False
    window_due: bool = False  # the store missed something: say the raw window again
    seeded_to: int = 0  # the last publication of everything held the raw readings up to here
    window_previous: int = 0
    sizes: deque[tuple[float, int]] = field(
        default_factory=deque
    )  # (when, bytes) of the log's blobs, oldest first
    held_bytes: int = 0

    def entries_max(self, size: int, now_s: float, keep_s: float, bytes_max: int) -> int:
        """How many entries the log may hold once a blob of `size` bytes is in it."""
        self.sizes.append((now_s, size))
        self.held_bytes += size
        while len(self.sizes) > 1 and (self.sizes[0][0] < now_s - keep_s or self.held_bytes > bytes_max):
            self.held_bytes -= self.sizes.popleft()[1]
        return len(self.sizes) if self.held_bytes + size > bytes_max else NO_LIMIT


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
        self._shards: dict[int, _Shard] = {}
        self._away_until_s = 0.0
        self.losses = 0  # blobs that could not be said
        self.refused = 0  # blobs that the server refused: another owner is ahead

    def open_shard(self, ownership: Ownership) -> int:
        """Begin to write; the position that the store holds, 0 when it holds nothing or is away."""
        self._shards[ownership.shard] = _Shard(epoch=ownership.epoch)
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
        """Say the outputs; all are accepted, what the store did not take is counted in `losses`."""
        blobs = [(output, self._absorb(output)) for output in outputs if output.shard in self._shards]
        rows = sum(len(output.readings) for output in outputs)
        if blobs and self._clock.monotonic_s() < self._away_until_s:
            self._forget([blob for _, blob in blobs])
            return Written(accepted=rows, rejected=0)
        for start in range(0, len(blobs), PIPELINE_MAX):
            self._guarded([blob for _, blob in blobs[start : start + PIPELINE_MAX]])
        return Written(accepted=rows, rejected=0)

    def close_shard(self, shard: int) -> None:
        """Stop writing for a shard."""
        self._shards.pop(shard, None)

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()  # type: ignore[no-untyped-call]

    # --- what an output becomes -------------------------------------------------------------------

    def _absorb(self, output: Output) -> LiveBlob:
        """Take an output into what we know of its shard; its blob."""
        shard = self._shards[output.shard]
        for tag in output.tags:
            shard.tags[tag.slot] = tag
            shard.tags_changed = True
        shard.sources.update(output.sources)
        slot, ts_us, value, quality, late = live.columns_of(output.readings)
        if len(slot):
            shard.latest = shard.latest.grown(int(slot.max()) + 1)
            in_order = late == 0
            if in_order.all():
                shard.latest.take(slot, ts_us, value, quality)
            else:
                shard.latest.take(slot[in_order], ts_us[in_order], value[in_order], quality[in_order])
        shard.position, shard.time_us = output.position, output.time_us
        blob = LiveBlob(
            output.shard,
            shard.epoch,
            output.first_position,
            output.position,
            shard.previous,
            output.time_us,
            output.newest_received_us,
            slot,
            ts_us,
            value,
            quality,
            late,
            list(output.tags),
            self._anomalies(shard, output.anomalies),
            self._alarms(shard, output.alarms),
        )
        shard.previous = output.position
        return blob

    def _anomalies(self, shard: _Shard, rows: Rows) -> list[AnomalyEvent]:
        out = []
        for row in rows:
            path, source = _concerned(shard, int(row["slot"]), int(row["source"]))
            detector = detector_name(self._detectors, int(row["detector"]))
            start_us = int(row["start_us"])
            out.append(
                AnomalyEvent(
                    id=str(event_id(path, source, detector, start_us)),
                    path=path,
                    source=source,
                    detector=detector,
                    kind=int(row["kind"]),
                    start_us=start_us,
                    end_us=int(row["end_us"]),
                    score=float(row["score"]),
                    value=_finite(row["value"]),
                    expected=_finite(row["expected"]),
                )
            )
        return out

    def _alarms(self, shard: _Shard, rows: Rows) -> list[AlarmEvent]:
        out = []
        for row in rows:
            path, source = _concerned(shard, int(row["slot"]), int(row["source"]))
            rule, start_us = detector_name(self._rules, int(row["rule"])), int(row["start_us"])
            out.append(
                AlarmEvent(
                    id=str(event_id(path, source, rule, start_us)),
                    path=path,
                    source=source,
                    rule=rule,
                    kind=int(row["kind"]),
                    start_us=start_us,
                    ts_us=int(row["ts_us"]),
                    value=_finite(row["value"]),
                    limit=_finite(row["limit"]),
                )
            )
        return out

    # --- what the server is told ------------------------------------------------------------------

    def _guarded(self, blobs: list[LiveBlob]) -> None:
        """Send blobs; whatever happens to the store, the pipeline goes on."""
        shards = {blob.shard for blob in blobs}
        try:
            for shard in shards:
                if not self._shards[shard].seeded:
                    self._publish_all(shard, blobs)
            lost = self._send(self._behind_seed(blobs))
            for shard in lost:
                log.info("real_time_store_is_empty", shard=shard)
                self._publish_all(shard, blobs)
            self._send(self._behind_seed([blob for blob in blobs if blob.shard in lost]), anew=lost)
            self._publish_latest_if_due(shards)
        except OutOfMemoryError as error:
            self._shed(error)
            self._forget(blobs, again=False)
        except ValkeyError as error:
            self._away(error)
            self._forget(blobs)

    def _behind_seed(self, blobs: list[LiveBlob]) -> list[LiveBlob]:
        """Blobs that the last publication of everything did not hold."""
        return [blob for blob in blobs if blob.position > self._shards[blob.shard].seeded_to]

    def _send(self, blobs: list[LiveBlob], anew: Collection[int] = ()) -> set[int]:
        """One round trip; the shards whose fence is gone. For shards in `anew` the first blob sets it."""
        begins = set(anew)
        empty: set[int] = set()
        pipeline = self._client.pipeline(transaction=False)
        for blob in blobs:
            self._queue(pipeline, blob, blob.shard in begins)
            begins.discard(blob.shard)
        for blob, answer in zip(blobs, self._run(pipeline), strict=True):
            if answer == -1:
                empty.add(blob.shard)
            elif answer == 0:
                self.refused += 1
        return empty

    def _queue(self, pipeline: Any, blob: LiveBlob, anew: bool) -> None:
        shard, data = self._shards[blob.shard], live.encode(blob)
        pipeline.evalsha(
            self._script_sha(),
            2,
            names.fence_key(blob.shard),
            names.live_key(blob.shard),
            live.fence(blob.epoch, blob.position),
            data,
            self._keep_ms,
            shard.entries_max(
                len(data), self._clock.monotonic_s(), self._keep_ms / 1e3, self._shard_bytes_max
            ),
            1 if anew else 0,
        )

    def _run(self, pipeline: Any) -> list[Any]:
        """The answers; the first error is raised, a server that forgot the script is taught again."""
        answers: list[Any] = pipeline.execute(raise_on_error=False)
        for answer in answers:
            if isinstance(answer, NoScriptError):
                self._sha = ""
            if isinstance(answer, ValkeyError):
                raise answer
        return answers

    def _script_sha(self) -> str:
        if not self._sha:
            self._sha = str(self._client.script_load(_PUBLISH))
        return self._sha

    def _publish_all(self, number: int, said: Sequence[LiveBlob]) -> None:
        """Tag table, latest values and, where the store has no log of the shard, the raw window.

        `said`: what is about to be said; the window may hold its readings already, and then carries its events.
        """
        shard = self._shards[number]
        begins = shard.window_due or not self._client.exists(names.fence_key(number))
        seed = self._reseed(number) if self._reseed else Seed(shard.position, shard.time_us, [], shard.latest)
        shard.tags.update({tag.slot: tag for tag in seed.tags})
        shard.sources.update(seed.sources)
        shard.latest = seed.latest.grown(max(shard.tags, default=-1) + 1)
        shard.tags_changed, shard.latest_due_s, shard.seeded = True, 0.0, True
        shard.seeded_to = 0
        if not begins:
            return
        self._client.delete(names.live_key(number))
        waiting: list[LiveBlob] = []
        told = [blob for blob in said if blob.shard == number]
        tags = seed.tags  # in the first blob: who follows since before this start has read no tag table
        for part in seed.window:
            for blob in self._window_blobs(number, shard, part):
                blob.tags, tags = tags, []
                _carry_events(blob, told)
                told = []
                waiting.append(blob)
                if len(waiting) >= WINDOW_PIPELINE_MAX or sum(map(len, waiting)) >= PART_ROWS:
                    self._send_window(waiting)
                    waiting = []
        self._send_window(waiting)
        if seed.window:
            shard.seeded_to, shard.window_due = seed.window[-1].position, False

    def _send_window(self, blobs: list[LiveBlob]) -> None:
        """One round trip; parts of one position follow each other, so the fence is set by each."""
        pipeline = self._client.pipeline(transaction=False)
        for blob in blobs:
            self._queue(pipeline, blob, True)
        self._run(pipeline)

    def _window_blobs(self, number: int, shard: _Shard, part: WindowPart) -> Iterator[LiveBlob]:
        previous, shard.window_previous = shard.window_previous, part.position
        for at in range(0, max(len(part.readings), 1), PART_ROWS):
            slot, ts_us, value, quality, late = live.columns_of(part.readings[at : at + PART_ROWS])
            yield LiveBlob(
                number,
                shard.epoch,
                part.first_position,
                part.position,
                previous,
                shard.time_us,
                0,
                slot,
                ts_us,
                value,
                quality,
                late,
                part=min(at // PART_ROWS, 255),
            )

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

    def _queue_latest(self, pipeline: Any, number: int, shard: _Shard) -> None:
        key = names.latest_key(number)
        count = min(len(shard.latest.ts_us), max(shard.tags, default=-1) + 1)
        pipeline.set(
            key, live.encode_latest(number, shard.epoch, shard.position, shard.time_us, shard.latest, count)
        )
        if shard.tags_changed:
            pipeline.set(live.tags_key(key), live.encode_tags(list(shard.tags.values())))

    # --- when the server is not well --------------------------------------------------------------

    def _away(self, error: ValkeyError) -> None:
        """Leave the store alone for a while."""
        self._away_until_s = self._clock.monotonic_s() + AWAY_S
        log.warning("real_time_store_away", error=str(error)[:200], losses=self.losses)

    def _forget(self, blobs: list[LiveBlob], *, again: bool = True) -> None:
        """Count what was not said; `again`: everything is published again when the store is back."""
        self.losses += len(blobs)
        telemetry.SINK_LOSSES.labels(self.name).inc(len(blobs))
        for blob in blobs:
            shard = self._shards[blob.shard]
            shard.previous, shard.latest_due_s, shard.tags_changed = 0, 0.0, True
            if again and self._reseed:
                shard.seeded, shard.window_due = False, True

    def _shed(self, error: ValkeyError) -> None:
        """The store is full: give half of every live log up, keep less from now on."""
        self._shard_bytes_max = max(self._shard_bytes_max // 2, 64 * 1024)
        log.warning("real_time_store_full", error=str(error)[:200], shard_bytes_max=self._shard_bytes_max)
        try:
            for number, shard in self._shards.items():
                self._client.xtrim(names.live_key(number), maxlen=len(shard.sizes) // 2, approximate=True)
        except ValkeyError as worse:
            self._away(worse)


def _carry_events(blob: LiveBlob, told: Sequence[LiveBlob]) -> None:
    """Say the events of blobs that may not be said themselves, since a window holds their readings."""
    blob.anomalies += [event for other in told for event in other.anomalies]
    blob.alarms += [event for other in told for event in other.alarms]


def _concerned(shard: _Shard, slot: int, source: int) -> tuple[str, str]:
    """(path, source) that a row speaks of; the path is empty for a whole source."""
    tag = shard.tags.get(slot)
    if tag is not None:
        return tag.path, tag.source
    return "", shard.sources.get(source, "unknown")


def _finite(value: float) -> float | None:
    """JSON and MessagePack readers know no NaN."""
    return float(value) if math.isfinite(value) else None
