"""Sends rejects again, as frames of the quarantine's own series: `schema/quarantine.py` makes twice once."""

from __future__ import annotations

from millrace.api.store import Store
from millrace.batch import Incarnation
from millrace.clock import Clock
from millrace.protocols import frame as frame_codec
from millrace.protocols import json_text
from millrace.protocols.limits import Limits
from millrace.schema.quarantine import Lot, RejectFilter, begin_replay, finish_replay
from millrace.stream.contract import Entry, Stream, shard_of

REPLAY_LIFE = Incarnation(0, 0)  # the series has one life: its numbers never begin anew


class Replay:
    """Blocking; called in the API's bounded pool."""

    def __init__(self, store: Store, stream: Stream, limits: Limits, clock: Clock) -> None:
        self._store, self._stream, self._limits, self._clock = store, stream, limits, clock

    def __call__(self, wanted: RejectFilter) -> dict[str, int]:
        """How many rejects went into how many frames; each frame is durable before its rows are marked."""
        frames = rejects = 0
        with self._store.connection() as connection:
            for lot in begin_replay(connection, wanted):
                self._stream.append([self._entry(lot)])
                finish_replay(connection, lot)
                frames += 1
                rejects += len(lot.rejects)
        return {"frames": frames, "rejects": rejects}

    def _entry(self, lot: Lot) -> Entry:
        now_us = self._clock.now_us()
        body = b"\n".join(reject.payload.replace(b"\n", b" ") for reject in lot.rejects)
        columns = json_text.decode(body, content="ndjson", limits=self._limits, received_ts_us=now_us)
        frame = columns.frame(lot.source, REPLAY_LIFE, lot.number, now_us)
        frame.replay = True
        shard = shard_of(lot.source, self._stream.shard_count)
        return Entry(shard, lot.source, frame_codec.encode(frame))
