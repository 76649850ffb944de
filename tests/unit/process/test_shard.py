"""One shard end to end: what goes in is accounted for, and no cut, no snapshot, no replay changes an answer."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from millrace.assets.tag import SourceModel, TagModel
from millrace.batch import Frame, Output, Reason, Record
from millrace.process.shard import ShardProcess
from millrace.process.state import ProcessLimits, ShardState
from millrace.protocols import Limits, control, decode_record

T0 = 1_767_600_000_000_000


def decode(record: Record) -> list[Frame]:
    return decode_record(record, Limits())


def process(limits: ProcessLimits | None = None) -> ShardProcess:
    return ShardProcess(ShardState(0, limits or ProcessLimits()), decode)


def run(records: Sequence[Record], cuts: Sequence[int] = (), *, snapshots: bool = False) -> list[Output]:
    """Outputs of the records cut at these places, with a snapshot and a restore at each cut if asked for."""
    shard = process()
    outputs: list[Output] = []
    bounds = [0, *sorted(cuts), len(records)]
    for begin, end in itertools.pairwise(bounds):
        if end > begin:
            outputs += shard.step(records[begin:end])
        if snapshots:
            shard = ShardProcess(ShardState.restored(*shard.state.snapshot(), ProcessLimits()), decode)
    return outputs


def merged_rollups(outputs: Sequence[Output]) -> dict[tuple[int, int, int], list[Any]]:
    """Rollup rows merged by (slot, level, window): what a store holds in the end."""
    table: dict[tuple[int, int, int], list[Any]] = {}
    for row in np.concatenate([output.rollups for output in outputs]):
        key = int(row["slot"]), int(row["level"]), int(row["window_us"])
        cell = table.setdefault(key, [0, 0, np.inf, -np.inf])
        cell[0] += int(row["count"])
        cell[1] = (cell[1] + int(row["hash"])) % 2**64
        cell[2] = min(cell[2], np.inf if np.isnan(row["min"]) else float(row["min"]))
        cell[3] = max(cell[3], -np.inf if np.isnan(row["max"]) else float(row["max"]))
    return table


def answers(outputs: Sequence[Output]) -> dict[str, Any]:
    """Everything that no cut may change."""
    ledger: Counter[tuple[int, int, str]] = Counter()
    for row in np.concatenate([output.ledger for output in outputs]):
        for name in row.dtype.names[2:]:
            ledger[int(row["source"]), int(row["hour_us"]), name] += int(row[name])
    return {
        "readings": np.concatenate([output.readings for output in outputs]).tobytes(),
        "anomalies": sorted(map(str, np.concatenate([output.anomalies for output in outputs]))),
        "alarms": sorted(map(str, np.concatenate([output.alarms for output in outputs]))),
        "rollups": merged_rollups(outputs),
        "ledger": {key: value % 2**64 for key, value in ledger.items()},
        "rejects": [(r.position, r.index, r.reason) for output in outputs for r in output.rejects],
        "tags": [t.path for output in outputs for t in output.tags],
    }


def model(log: Any, number: int = 1) -> None:
    tags = tuple(
        TagModel(
            path=f"a/b/c/d/e/t{i}", source=f"s{i % 2}", period_us=200_000,
            data_class="critical" if i == 0 else "standard",
            high=80.0, range_high=1000.0, deadband=1.0,
        )
        for i in range(6)
    )  # fmt: skip
    sources = (SourceModel(name="s0"), SourceModel(name="s1"))
    log.put(control.encode(control.ModelChunk(number, 0, 1, True, sources, tags)), "model")


def busy(log: Any, seed: int) -> list[Record]:
    """Readings of modelled and unmodelled tags with everything that can go wrong, over 90 seconds."""
    rng = random.Random(seed)
    log.tick(0)
    model(log)
    for second in range(90):
        if second in range(40, 55):  # nothing comes: silence, then back
            log.tick(second)
            continue
        for step in range(4):
            at = second + step / 4
            for source in (0, 1):
                rows = []
                for i in range(source, 6, 2):
                    late = rng.random() < 0.05
                    value = rng.gauss(50, 1) + (40 if rng.random() < 0.01 else 0)
                    rows.append((f"a/b/c/d/e/t{i}", at - (rng.random() * 70 if late else 0), value))
                if rng.random() < 0.1:
                    rows.append(("free/tag", at, 1.0))
                    rows.append(("a/b/c/d/e/t0", at, 1e9))
                seq = rng.choice([None, None, None, 1]) if second > 5 else None
                log.frame(f"s{source}", rows, received=at, seq=seq)
                if rng.random() < 0.05:
                    log.put(log.records[-1].data, f"s{source}")
        log.tick(second + 1)
    log.put(control.encode(control.Mark(1, T0)))
    return log.records


@pytest.mark.requirement("S-19")
@pytest.mark.parametrize("seed", range(4))
def test_no_cut_into_batches_changes_an_answer(new_log: Any, seed: int) -> None:
    records = busy(new_log(), seed)
    whole = answers(run(records))
    rng = random.Random(seed)
    for _ in range(3):
        assert answers(run(records, rng.sample(range(len(records)), 40))) == whole
    assert len(whole["anomalies"]) > 0
    assert len(whole["alarms"]) > 0


@pytest.mark.parametrize("seed", range(3))
def test_a_snapshot_and_a_restore_change_no_answer(new_log: Any, seed: int) -> None:
    records = busy(new_log(), seed)
    cuts = random.Random(seed).sample(range(len(records)), 12)
    assert answers(run(records, cuts, snapshots=True)) == answers(run(records))


@pytest.mark.requirement("S-19")
def test_every_reading_is_accounted_for(new_log: Any) -> None:
    outputs = run(busy(new_log(), 7))
    ledger = np.concatenate([output.ledger for output in outputs])
    total = {name: int(ledger[name].astype(object).sum()) for name in ledger.dtype.names[2:]}
    assert total["received"] == total["duplicate"] + total["rejected"] + total["applied"] > 0
    assert total["duplicate"] > 0
    assert total["rejected"] > 0
    assert total["applied"] == sum(len(output.readings) for output in outputs)
    for level, amount in enumerate(("applied_1s", "applied_1m", "applied")):
        windows = [row for key, row in merged_rollups(outputs).items() if key[1] == level]
        assert sum(row[0] for row in windows) == total[amount] > 0
        assert sum(row[1] for row in windows) % 2**64 == total[amount + "_hash"] % 2**64
    assert total["applied_1s"] < total["applied_1m"]
    assert total["rejected"] == sum(sum(output.reject_counts.values()) for output in outputs)


@pytest.mark.requirement("S-19")
def test_what_each_resolution_owes_follows_the_model_with_late_readings_and_open_windows(log: Any) -> None:
    def change(number: int, *period_us: int) -> None:
        tags = tuple(TagModel(path=f"t{i}", source="s", period_us=p) for i, p in enumerate(period_us))
        chunk = control.ModelChunk(number, 0, 1, True, (SourceModel(name="s"),), tags)
        log.put(control.encode(chunk), "model")

    def second(at: float) -> None:
        rows = [("t0", at, 1.0), ("t1", at, 2.0), ("t0", at - 30, 3.0), ("t1", at - 30, 3.0)]
        log.frame("s", rows, received=at)
        log.tick(at + 0.5)

    log.tick(0)
    change(1, 200_000, 60_000_000)
    for at in range(1, 100):
        second(at)
    change(2, 60_000_000, 200_000)  # the first loses its seconds and minutes, the second wins them
    for at in range(100, 130):
        second(at)
    log.put(control.encode(control.Mark(1, T0)))
    outputs = run(log.records)
    ledger = np.concatenate([output.ledger for output in outputs])
    owed = [int(ledger[amount].sum()) for amount in ("applied_1s", "applied_1m", "applied")]
    assert owed == [2 * 99 + 2 * 30, 2 * 99 + 2 * 30, 4 * 129]
    for level, amount in enumerate(("applied_1s", "applied_1m", "applied")):
        windows = [row for key, row in merged_rollups(outputs).items() if key[1] == level]
        assert sum(row[0] for row in windows) == owed[level]
        assert sum(row[1] for row in windows) % 2**64 == int(ledger[amount + "_hash"].astype(object).sum()) % 2**64


@pytest.mark.requirement("S-19")
@pytest.mark.parametrize("sources_max", [10, 1], ids=["room", "no-room-for-a-source"])
def test_rejects_say_where_the_ledger_counts_them(new_log: Any, sources_max: int) -> None:
    log = new_log()
    log.frame("c", [("x", -400 * 86_400, 1.0), ("y", 3600, 1.0), ("z", 0, 1.0)], received=0)
    log.put(b"no record of ours", "c")
    log.put(control.MODEL_MAGIC + b"no control record", "c")
    shard = process(ProcessLimits(sources_max=sources_max))
    outputs = [*shard.step(busy(log, 7))]
    names = {0: "unknown"} | {n: name for output in outputs for n, name in output.sources.items()}
    wanted: Counter[tuple[str, int, str]] = Counter()
    for row in np.concatenate([output.ledger for output in outputs]):
        for amount in ("rejected", "rejected_hash"):
            wanted[names[int(row["source"])], int(row["hour_us"]), amount] += int(row[amount])
    found: Counter[tuple[str, int, str]] = Counter()
    rejects = [reject for output in outputs for reject in output.rejects]
    for reject in rejects:
        assert reject.counted is not None
        found[reject.counted.source, reject.counted.hour_us, "rejected"] += reject.count
        found[reject.counted.source, reject.counted.hour_us, "rejected_hash"] += reject.counted.hash
    assert {k: v % 2**64 for k, v in found.items()} == {k: v % 2**64 for k, v in wanted.items() if v}
    assert len({reject.reason for reject in rejects}) > 3
    assert ("unknown" in {key[0] for key in found}) is True


def reasons(outputs: Sequence[Output]) -> list[Reason]:
    return [reject.reason for output in outputs for reject in output.rejects]


def test_a_tag_of_another_source_is_a_reject(log: Any) -> None:
    model(log)
    log.frame("s1", [("a/b/c/d/e/t0", 1, 5.0), ("a/b/c/d/e/t1", 1, 5.0)])
    outputs = run(log.records)
    assert reasons(outputs) == [Reason.FOREIGN_SOURCE]
    assert len(outputs[-1].readings) == 1


def test_a_tag_that_the_model_gives_to_another_shard_is_a_reject(log: Any) -> None:
    from millrace.accounting import tag_hash

    claimed = tag_hash("x/y").to_bytes(8, "little")
    log.put(control.encode(control.ModelChunk(1, 0, 1, True, (), (), claimed)), "model")
    log.frame("s1", [("x/y", 1, 5.0)])
    assert reasons(run(log.records)) == [Reason.FOREIGN_SOURCE]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (("t", -40 * 86_400, 1.0), Reason.TIME_TOO_OLD),
        (("t", 20.0, 1.0), Reason.TIME_IN_FUTURE),
        (("t", 1.0, float("nan")), Reason.VALUE_MISSING),
        (("t", 1.0, float("inf")), Reason.NOT_FINITE),
        (("a/b/c/d/e/t1", 1.0, 1e6), Reason.OUT_OF_RANGE),
    ],
)
def test_a_reading_that_cannot_be_is_a_reject_with_its_reason(log: Any, row: Any, reason: Reason) -> None:
    model(log)
    log.frame("s1", [row], received=1.0)
    outputs = run(log.records)
    assert reasons(outputs) == [reason]
    assert len(outputs[-1].readings) == 0
    assert b'"tag"' in outputs[-1].rejects[0].payload


def test_a_gap_is_stored_and_enters_no_sum(log: Any) -> None:
    log.frame("s1", [("t", 1.0, float("nan"), 0), ("t", 1.5, 3.0)], received=2)
    log.put(control.encode(control.Mark(1, T0)))
    outputs = run(log.records)
    hour = next(row for row in outputs[-1].rollups if row["level"] == 2)
    assert (hour["count"], hour["bad"], hour["good"], hour["sum"]) == (2, 1, 1, 3.0)


def test_state_texts_become_codes_and_unknown_ones_rejects(log: Any) -> None:
    tag = TagModel(path="a/state", source="s1", kind="state", states=("idle", "running"))
    log.put(control.encode(control.ModelChunk(1, 0, 1, True, (), (tag,))), "model")
    rows = [("a/state", 1.0, 0.0), ("a/state", 1.1, 1.0), ("a/state", 1.2, 2.0)]
    log.frame("s1", rows, kinds=[3], states=("running", "idle", "on fire"))
    outputs = run(log.records)
    assert outputs[-1].readings["value"].tolist() == [1.0, 0.0]
    assert reasons(outputs) == [Reason.UNKNOWN_STATE]
    assert b"on fire" in outputs[-1].rejects[0].payload


def test_a_text_for_a_number_and_a_fraction_for_a_bool_are_the_wrong_kind(log: Any) -> None:
    tags = (TagModel(path="n", source="s1"), TagModel(path="b", source="s1", kind="bool"))
    log.put(control.encode(control.ModelChunk(1, 0, 1, True, (), tags)), "model")
    log.frame("s1", [("n", 1.0, 0.0)], kinds=[3], states=("running",))
    log.frame("s1", [("b", 1.0, 0.5)])
    assert reasons(run(log.records)) == [Reason.WRONG_KIND, Reason.WRONG_KIND]


def test_a_unit_that_is_not_the_models_is_a_reject_that_says_it_again(log: Any) -> None:
    tags = (TagModel(path="p", source="s1", unit="bar"), TagModel(path="on", source="s1", kind="bool"))
    log.put(control.encode(control.ModelChunk(1, 0, 1, True, (), tags)), "model")
    log.frame("s1", [("p", 1.0, 5.0)])
    log.frame("s1", [("p", 2.0, 5.0)], unit="bar")
    log.frame("s1", [("p", 3.0, 72.5), ("p", 3.5, 73.0)], unit="psi")
    log.frame("s1", [("free", 4.0, 1.0), ("on", 4.0, 1.0)], unit="psi")  # no model, or none that names a unit
    outputs = run(log.records)
    assert reasons(outputs) == [Reason.WRONG_UNIT] * 2
    assert len(outputs[-1].readings) == 4
    assert outputs[-1].rejects[0].payload == b'{"tag":"p","ts":%d,"value":72.5,"unit":"psi"}' % (T0 + 3_000_000)


def test_a_unit_is_judged_anew_when_the_model_changes(log: Any) -> None:
    for number, unit in ((1, "bar"), (2, "psi")):
        tag = TagModel(path="p", source="s1", unit=unit)
        log.put(control.encode(control.ModelChunk(number, 0, 1, True, (), (tag,))), "model")
        log.frame("s1", [("p", number, 5.0)], unit="bar")
        log.frame("s1", [("p", number + 0.5, 5.0)], unit="psi")
    rejects = [reject for output in run(log.records) for reject in output.rejects]
    assert [(r.reason, r.ts_us - T0) for r in rejects] == [
        (Reason.WRONG_UNIT, 1_500_000),
        (Reason.WRONG_UNIT, 2_000_000),
    ]


def test_new_tags_are_bounded_per_source(log: Any) -> None:
    log.frame("s1", [(f"t{i}", 1.0, 1.0) for i in range(5)])
    log.frame("s2", [(f"t{i}", 1.0, 1.0) for i in range(2)])
    shard = process(ProcessLimits(tags_per_source_max=3))
    assert Counter(reasons(shard.step(log.records))) == {Reason.TOO_MANY_TAGS: 2}
    shard = process(ProcessLimits(new_tags_per_source_day_max=4))
    assert Counter(reasons(shard.step(log.records))) == {Reason.TOO_MANY_NEW_TAGS: 1}


def test_more_sources_than_there_is_room_for_are_rejects(log: Any) -> None:
    for number in range(3):
        log.frame(f"s{number}", [("t", 1.0, 1.0)])
    outputs = process(ProcessLimits(sources_max=2)).step(log.records)
    assert reasons(outputs) == [Reason.TOO_MANY_SOURCES]
    assert outputs[-1].received == 3


def test_a_clock_that_stands_still_is_a_reject_in_the_end(log: Any) -> None:
    for _ in range(12):
        log.frame("s1", [("t", 1.0, 1.0)] * 100)
    outputs = run(log.records)
    assert Counter(reasons(outputs)) == {Reason.STUCK_CLOCK: 12 * 100 - 1001}


def test_integers_beyond_two_to_the_53_are_rejects(log: Any) -> None:
    tag = TagModel(path="n", source="s1", kind="integer")
    log.put(control.encode(control.ModelChunk(1, 0, 1, True, (), (tag,))), "model")
    log.frame("s1", [("n", 1.0, 2.0**54), ("n", 1.0, 1.5), ("n", 1.0, 7.0)])
    assert reasons(run(log.records)) == [Reason.INTEGER_INEXACT] * 2


def test_a_skipped_record_is_quarantined_whole_and_counted(log: Any) -> None:
    log.frame("s1", [("t", 1.0, 1.0)])
    log.frame("s1", [("t", 2.0, 1.0)])
    outputs = process().step(log.records, frozenset({1}))
    assert reasons(outputs) == [Reason.PROCESSING_FAILED]
    assert outputs[0].received == 2


def test_garbage_in_the_log_is_a_reject_and_the_shard_goes_on(log: Any) -> None:
    log.put(b"\x00\x01garbage", "s9")
    log.put(b"MRM1\xff\xff")
    log.frame("s1", [("t", 1.0, 1.0)])
    outputs = run(log.records)
    assert reasons(outputs) == [Reason.UNKNOWN_FORMAT, Reason.UNKNOWN_FORMAT]
    assert sum(len(output.readings) for output in outputs) == 1


def test_a_dead_source_raises_its_alarm_within_its_limit_and_two_seconds(log: Any) -> None:
    log.tick(0)
    model(log)
    for second in range(1, 31):
        if second <= 5:
            log.frame("s0", [("a/b/c/d/e/t0", second, 1.0)])
        log.frame("s1", [("a/b/c/d/e/t1", second, 1.0)])
        log.tick(second)
    alarms = np.concatenate([o.alarms for o in run(log.records)])
    raised = alarms[(alarms["slot"] == -1) & (alarms["kind"] == 0)]
    assert len(raised) == 1
    assert 15 <= (int(raised["ts_us"][0]) - T0) / 1e6 <= 17


@pytest.mark.parametrize("what", ["gap", "refusing", "step"])
def test_our_own_outage_is_nobodys_silence(log: Any, what: str) -> None:
    log.tick(0)
    model(log)
    shift = 0.0
    for second in range(1, 60):
        if 20 <= second < 40:
            if what == "refusing":
                log.tick(second, refusing=True)
            continue
        if what == "step" and second == 40:
            shift = 3_600.0
            log.tick(second + shift, clock_step=True)
        for source in ("s0", "s1"):
            tag = f"a/b/c/d/e/t{source[1]}"
            log.frame(source, [(tag, second + shift + i / 5, 1.0 + i) for i in range(5)], received=second + shift + 1)
        log.tick(second + shift + 1)
    alarms = np.concatenate([o.alarms for o in run(log.records)])
    assert len(alarms[alarms["slot"] == -1]) == 0


def test_a_model_change_is_effective_at_its_last_chunk_and_only_once(log: Any) -> None:
    tags = [TagModel(path=f"m{i}", source="s1", unit="bar") for i in range(2)]
    chunks = [control.ModelChunk(5, i, 2, True, (), (tags[i],)) for i in range(2)]
    log.frame("s1", [("m0", 1.0, 1.0)])
    for chunk in (chunks[1], chunks[1], chunks[0], chunks[0]):
        log.put(control.encode(chunk), "model")
    outputs = [output for record in log.records for output in run([record])]
    assert not any(t.modelled for t in outputs[0].tags)
    shard = process()
    seen = [shard.step([record])[0] for record in log.records]
    assert [[t.path for t in o.tags] for o in seen] == [["m0"], [], [], ["m0", "m1"], []]
    assert [o.model_number for o in seen] == [0, 0, 0, 5, 5]
    assert all(t.modelled and t.unit == "bar" for t in seen[3].tags)


def test_a_tag_has_one_class_in_an_output(log: Any) -> None:
    log.frame("s1", [("a/b/c/d/e/t0", 1.0, 1.0)])
    model(log)
    log.frame("s1", [("a/b/c/d/e/t1", 1.0, 1.0)])
    outputs = run(log.records)
    assert [(o.first_position, o.position, o.model_number) for o in outputs] == [(1, 1, 0), (2, 3, 1)]
