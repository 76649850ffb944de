"""One shard: records in, outputs out, the state in between.

    records -> decode -> deduplicate -> resolve tags -> judge readings -> detect -> roll up -> alarm -> Output

Time passes only in ticks. Any cut of the records into calls gives the same outputs, merged (law 5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from millrace.accounting import payload_hash
from millrace.batch import (
    ALARM,
    ANOMALY,
    I64,
    LEDGER,
    READING,
    ROLLUP,
    U8,
    CountedAs,
    Output,
    Reason,
    Record,
    Reject,
    Rows,
    TagInfo,
    empty,
)
from millrace.clock import HOUR_US, SECOND_US
from millrace.errors import ProtocolError
from millrace.process import ledger as fate
from millrace.process import reject
from millrace.process.accept import Accepted, Weighed, accept, weigh
from millrace.process.columns import Block, gather
from millrace.process.state import ShardState
from millrace.process.tags import UNKNOWN_NAME, UNKNOWN_SOURCE
from millrace.process.validate import judge_readings
from millrace.protocols import control
from millrace.protocols.frame_batch import Decode as Decode
from millrace.protocols.frame_batch import decode_batch

TICK_GAP_US = 2_500_000
"""Two ticks further apart than this: we were away, not the plant. Silence timers restart."""
GRACE_US = 3 * SECOND_US
"""What a source gets on top of its limit after our own outage."""


@dataclass(slots=True)
class _Draft:
    """An output under way."""

    readings: list[Rows] = field(default_factory=list)
    rollups: list[Rows] = field(default_factory=list)
    anomalies: list[Rows] = field(default_factory=list)
    alarms: list[Rows] = field(default_factory=list)
    ledger: list[Rows] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    changed: set[int] = field(default_factory=set)
    traces: list[tuple[str, int]] = field(default_factory=list)
    received: int = 0
    duplicates: int = 0
    late: int = 0
    mark: int = 0
    newest_received_us: int = 0
    sources_before: int = 0


class ShardProcess:
    """The pure process of one shard. `decode` turns a record into frames and never raises."""

    def __init__(self, state: ShardState, decode: Decode) -> None:
        self.state = state
        self._decode = decode
        self._draft = _Draft()

    def step(self, records: Sequence[Record], skips: frozenset[int] = frozenset()) -> list[Output]:
        """Outputs of the records, in order: one, unless an accounting mark ends an output or a model change begins one.

        `skips` are positions of records that killed the worker before: quarantined whole.
        """
        outputs: list[Output] = []
        begin = 0
        self._draft = _Draft(sources_before=len(self.state.sources.rows))
        waiting: list[Record] = []
        for place, record in enumerate(records):
            if record.position in skips:
                self._quarantine(record)
            elif control.is_control(record.data):
                self._frames(waiting)
                waiting = []
                if record.data[:4] == control.MODEL_MAGIC and place > begin:
                    outputs.append(self._finish(records[begin:place]))  # a tag has one class in an output
                    begin = place
                self._control(record)
                if self._draft.mark:
                    outputs.append(self._finish(records[begin : place + 1]))
                    begin = place + 1
            else:
                waiting.append(record)
        self._frames(waiting)
        if begin < len(records):
            outputs.append(self._finish(records[begin:]))
        return outputs

    # --- frames -----------------------------------------------------------------------------------

    def _frames(self, records: Sequence[Record]) -> None:
        if not records:
            return
        block = gather(self.state, decode_batch(records, self._decode))
        self._grow(block.new_slots)
        late = self._judge(block)
        weighed = self._account(block)
        door = self._account_door(block)
        self._draft.rejects.extend(block.rejects(weighed.hour * HOUR_US, weighed.row_hash, door))
        if weighed.accepted:
            self._apply(accept(block, weighed, late))
        self._draft.newest_received_us = max(self._draft.newest_received_us, block.newest_received_us)
        self._draft.traces.extend(block.traces())

    def _grow(self, new_slots: list[int]) -> None:
        state = self.state
        if state.configured != (state.tags.count, len(state.sources.rows)):
            state.grow()
            self._draft.changed.update(new_slots)

    def _judge(self, block: Block) -> U8:
        state = self.state
        return judge_readings(
            state.newest,
            state.tags.columns,
            state.tags.state_count,
            block.slot,
            block.ts_us,
            block.value,
            block.quality,
            block.received_us,
            block.reason,
            past_us=state.limits.past_us,
            future_us=state.limits.future_us,
            time_us=state.time_us,
        )

    def _account(self, block: Block) -> Weighed:
        """Count every reading by what became of it."""
        state, limits = self.state, self.state.limits
        weighed = weigh(
            block,
            state.tags.columns.critical,
            state.rollup.levels,
            past_us=limits.past_max_us,
            future_us=limits.future_max_us,
        )
        state.ledger.add_hours(block.source, weighed.hour, weighed.fate, weighed.row_hash)
        self._draft.received += len(block.slot)
        self._draft.duplicates += weighed.duplicates
        return weighed

    def _hours(self, ts_us: I64, received_us: I64) -> I64:
        """The hour that a reading counts under: of its own time, or of its receipt where its own cannot be (law 13)."""
        limits = self.state.limits
        possible = (ts_us >= received_us - limits.past_max_us) & (ts_us <= received_us + limits.future_max_us)
        hours: I64 = np.clip(np.where(possible, ts_us, received_us) // HOUR_US, 0, fate.HOUR_MAX)
        return hours

    def _account_door(self, block: Block) -> list[CountedAs]:
        """Count what the door refused; how, row by row."""
        refused = block.door_rows()
        if not refused:
            return []
        place, source, ts_us, received_us, duplicate, hashes = zip(*refused, strict=True)
        what = np.where(duplicate, fate.DUPLICATE, fate.REJECTED).astype(np.uint8)
        hours = self._hours(np.array(ts_us, np.int64), np.array(received_us, np.int64))
        self.state.ledger.add_hours(np.array(source, np.int32), hours, what, np.array(hashes, np.uint64))
        self._draft.received += len(refused)
        self._draft.duplicates += sum(duplicate)
        names = map(block.counted_source, place)
        return [CountedAs(*row) for row in zip(names, (hours * HOUR_US).tolist(), hashes, strict=True)]

    def _apply(self, accepted: Accepted) -> None:
        """Everything that accepted readings set in motion: roll up, detect, alarm."""
        state, draft = self.state, self._draft
        draft.readings.append(accepted.rows)
        draft.late += accepted.late
        state.rollup.step(accepted.slot, accepted.ts_us, accepted.value, accepted.quality, accepted.hash)
        slot, ts_us, value = accepted.in_order_slot, accepted.in_order_ts_us, accepted.in_order_value
        anomalies = state.detection.step(slot, ts_us, value)
        draft.anomalies.append(anomalies)
        draft.alarms.append(state.alarms.step(slot, ts_us, value, anomalies))

    # --- control ----------------------------------------------------------------------------------

    def _control(self, record: Record) -> None:
        try:
            message = control.decode(record.data)
        except ProtocolError:
            self._quarantine(record, Reason.UNKNOWN_FORMAT)
            return
        if isinstance(message, control.Tick):
            self._tick(message)
        elif isinstance(message, control.Mark):
            self._mark(message)
        else:
            self._model(message)

    def _tick(self, tick: control.Tick) -> None:
        state = self.state
        if tick.time_us <= state.time_us and not tick.clock_step:
            return
        gap_us = tick.time_us - state.time_us
        state.time_us = tick.time_us
        if tick.clock_step or tick.refusing or gap_us > TICK_GAP_US:
            state.restart_silence(GRACE_US)
        self._time_passed()

    def _time_passed(self) -> None:
        state, draft = self.state, self._draft
        count = state.tags.count
        arrival_us = state.newest.arrival_us[:count]
        sources_us = state.sources.arrivals_us()
        source_silent = state.time_us - sources_us > state.sources.silences_us()
        active = ~source_silent[np.array(state.tags.sources, np.int64)] if count else np.zeros(0, np.bool_)
        anomalies = state.detection.tick(state.time_us, arrival_us, active)
        draft.anomalies.append(anomalies)
        draft.alarms.append(state.alarms.tick(state.time_us, arrival_us, sources_us, active))
        draft.rollups.append(state.rollup.tick(state.time_us))
        draft.ledger.append(state.ledger.drain())

    def _mark(self, mark: control.Mark) -> None:
        draft = self._draft
        draft.rollups.append(self.state.rollup.flush())
        draft.ledger.append(self.state.ledger.drain())
        draft.mark = mark.number

    def _model(self, chunk: control.ModelChunk) -> None:
        changed = self.state.take_model_chunk(chunk)
        self._draft.changed.update(changed)

    def _quarantine(self, record: Record, reason: Reason = Reason.PROCESSING_FAILED) -> None:
        """A whole record aside, loudly: it counts as one reading of an unknown source in its received hour."""
        hour = min(max(record.arrival_us // HOUR_US, 0), fate.HOUR_MAX)
        counted = CountedAs(UNKNOWN_NAME, hour * HOUR_US, payload_hash(record.data))
        self._draft.rejects.append(reject.of_record(record, reason, counted))
        self._draft.received += 1
        self.state.ledger.add_hours(
            np.array([UNKNOWN_SOURCE], np.int32),
            np.array([hour], np.int64),
            np.array([fate.REJECTED], np.uint8),
            np.array([counted.hash], np.uint64),
        )

    # --- output -----------------------------------------------------------------------------------

    def _finish(self, records: Sequence[Record]) -> Output:
        state, draft = self.state, self._draft
        names = {n: state.sources.rows[n].name for n in range(draft.sources_before, len(state.sources.rows))}
        counts: dict[Reason, int] = {}
        for row in draft.rejects:
            counts[row.reason] = counts.get(row.reason, 0) + row.count
        closed, returned = state.take_restored()
        output = Output(
            shard=state.shard,
            position=records[-1].position,
            first_position=records[0].position,
            time_us=state.time_us,
            records=len(records),
            readings=_joined(draft.readings, READING),
            rollups=_joined(draft.rollups, ROLLUP),
            anomalies=_joined(closed + draft.anomalies, ANOMALY),
            alarms=_joined(returned + draft.alarms, ALARM),
            ledger=_joined(draft.ledger, LEDGER),
            rejects=draft.rejects,
            reject_counts=counts,
            tags=self._infos(),
            sources=names,
            received=draft.received,
            duplicates=draft.duplicates,
            late=draft.late,
            mark=draft.mark,
            model_number=state.model_number,
            newest_received_us=draft.newest_received_us,
            traces=draft.traces,
        )
        self._draft = _Draft(sources_before=len(state.sources.rows))
        return output

    def _infos(self) -> list[TagInfo]:
        state = self.state
        return [
            state.tags.info(slot, state.sources.rows[state.tags.sources[slot]].name)
            for slot in sorted(self._draft.changed)
        ]


def _joined(parts: list[Rows], dtype: np.dtype[np.void]) -> Rows:
    parts = [part for part in parts if len(part)]
    if not parts:
        return empty(dtype)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
