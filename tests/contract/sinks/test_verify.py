"""`verify` over real stores: equal when nothing is missing, and the name of the hole when something is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
import zstandard

from millrace.batch import LEVEL_1H, LEVEL_1M, LEVEL_1S
from millrace.clock import DAY_US, HOUR_US, MINUTE_US, HandClock
from millrace.errors import StoreUnavailable
from millrace.protocols import control
from millrace.settings import Settings
from millrace.sinks.archive import ArchiveSink
from millrace.sinks.postgres import Owners, PostgresManifest, PostgresSink, Retention
from millrace.stream.contract import Entry
from millrace.verify import Report, rollups, verify

Query = Callable[..., list[tuple[Any, ...]]]


class Flow:
    """A platform of two shards without threads: a mark that is appended is processed at once.

    `after_mark` readings of every shard are applied behind the mark, in the same transaction, before
    anybody counts.
    """

    shard_count = 2

    def __init__(
        self, url: str, root: Path, sink: PostgresSink, owners: Owners, clock: HandClock, plant: Any
    ) -> None:
        self.url, self.root, self.sink, self.clock = url, root, sink, clock
        self.owners = owners
        self.manifest = PostgresManifest(url, Settings())
        self.archive = ArchiveSink(root, self.manifest, Settings(), clock)
        self.plants = [plant(shard=shard, seed=shard) for shard in range(self.shard_count)]
        self.rng = np.random.default_rng(11)
        self.after_mark = 0
        self.dead: set[int] = set()
        for shard in range(self.shard_count):
            self.take_over(shard)

    def take_over(self, shard: int) -> None:
        held = self.owners.acquire(shard)
        assert held is not None
        self.sink.open_shard(held.ownership)
        self.archive.open_shard(held.ownership)

    def times(self, n: int) -> list[int]:
        return sorted((self.clock.now_us() - self.rng.integers(0, 3 * HOUR_US, n)).tolist())

    def run(self, batches: int = 4, rows: int = 120, *, rejects: int = 0) -> None:
        for _ in range(batches):
            outputs = [plant.output(self.times(rows), time_us=self.clock.now_us()) for plant in self.plants]
            for plant, output in zip(self.plants, outputs, strict=True):
                plant.reject(output, rejects)
            self.apply(outputs)

    def apply(self, outputs: Sequence[Any]) -> None:
        assert not self.sink.write(outputs).retry
        self.archive.write(outputs)

    def append(self, entries: Sequence[Entry]) -> list[int]:
        positions = []
        for entry in entries:
            mark = control.decode(entry.data)
            assert isinstance(mark, control.Mark)
            plant = self.plants[entry.shard]
            positions.append(plant.position + 1)
            if entry.shard in self.dead:
                continue
            marked = plant.output([], time_us=self.clock.now_us())
            marked.mark = mark.number
            behind = plant.output(self.times(self.after_mark), time_us=self.clock.now_us())
            plant.reject(behind, self.after_mark // 10)
            self.apply([marked, behind])
        return positions

    def verify(self, *, full: bool = False) -> Report:
        return verify(self.url, self.root, self, full=full, timeout_s=0.3, clock=self.clock)  # type: ignore[arg-type]


@pytest.fixture
def flow(
    url: str, tmp_path: Path, sink: PostgresSink, owners: Owners, clock: HandClock, plant: Any
) -> Iterator[Flow]:
    flow = Flow(url, tmp_path / "archive", sink, owners, clock, plant)
    yield flow
    flow.archive.close()
    flow.manifest.close()


def stages(report: Report) -> set[str]:
    return {hole.stage for hole in report.holes}


@pytest.mark.requirement("S-19")
@pytest.mark.parametrize("full", [False, True], ids=["fast", "full"])
def test_verify_says_equal_while_the_flow_goes_on_behind_the_mark(flow: Flow, full: bool) -> None:
    flow.run()
    flow.after_mark = 70
    report = flow.verify(full=full)
    assert report.holes == ()
    assert (report.applied, report.archived, report.rolled_up) == (960, 960, 960)
    assert report.readings == report.critical > 300
    again = flow.verify(full=full)
    assert (again.equal, again.applied) == (True, 960 + 2 * 70)


FINE = ("rollup_1m", "rollup_1s")
NEWEST = "(tag_id, window_us) = (SELECT tag_id, max(window_us) FROM {0} GROUP BY 1 LIMIT 1)"
FINE_THEFTS = [
    (f"{what} WHERE {NEWEST} RETURNING tag_id, window_us".format(table), table)
    for table in FINE
    for what in ("DELETE FROM {0}", "UPDATE {0} SET count = count + 1", "UPDATE {0} SET hash = hash # 1")
]
FINE_IDS = [f"{table}-{what}" for table in FINE for what in ("lost", "count", "hash")]


@pytest.mark.requirement("S-19")
def test_verify_of_an_empty_platform_is_equal(flow: Flow) -> None:
    assert flow.verify().equal


@pytest.mark.requirement("S-19")
@pytest.mark.parametrize("full", [False, True], ids=["fast", "full"])
@pytest.mark.parametrize("after", [0, 50], ids=["quiet", "flowing"])
@pytest.mark.parametrize(
    ("theft", "stage"),
    [
        ("DELETE FROM reading WHERE ctid = (SELECT min(ctid) FROM reading) AND tableoid = "
         "(SELECT min(tableoid) FROM reading) RETURNING tag_id, ts_us", "reading"),
        ("UPDATE reading SET value = value + 1 WHERE (tag_id, ts_us) = (SELECT tag_id, min(ts_us) "
         "FROM reading WHERE value <> 'NaN' GROUP BY 1 LIMIT 1) RETURNING tag_id, ts_us", "reading"),
        ("DELETE FROM rollup_1h WHERE (tag_id, window_us) = (SELECT tag_id, max(window_us) FROM rollup_1h "
         "GROUP BY 1 LIMIT 1) RETURNING tag_id, window_us", "rollup_1h"),
        ("UPDATE rollup_1h SET hash = hash # 1 WHERE (tag_id, window_us) = (SELECT tag_id, max(window_us) "
         "FROM rollup_1h GROUP BY 1 LIMIT 1) RETURNING tag_id, window_us", "rollup_1h"),
        *FINE_THEFTS,
    ],
    ids=["reading-lost", "reading-altered", "rollup-lost", "rollup-hash", *FINE_IDS],
)  # fmt: skip
def test_one_row_taken_away_is_named(
    flow: Flow, query: Query, theft: str, stage: str, after: int, full: bool
) -> None:
    flow.run()
    ((tag_id, ts_us),) = query(theft)
    flow.after_mark = after
    report = flow.verify(full=full)
    (source,) = query("SELECT source FROM tag WHERE id = %s", [tag_id])[0]
    assert [(h.stage, h.source, h.hour_us) for h in report.holes] == [
        (stage, source, ts_us // HOUR_US * HOUR_US)
    ]


@pytest.mark.requirement("S-19")
@pytest.mark.parametrize("table", FINE)
@pytest.mark.parametrize("what", ["min = min - 1", "max = max + 1", "sum = sum + 0.5", "last_us = last_us + 1"])
def test_an_altered_value_of_a_rollup_is_named_by_the_full_pass(
    flow: Flow, query: Query, table: str, what: str
) -> None:
    flow.run()
    assert flow.verify(full=True).equal
    ((tag_id, window_us),) = query(
        f"UPDATE {table} SET {what} WHERE (tag_id, window_us) = (SELECT tag_id, window_us FROM {table} "
        "WHERE first IS NOT NULL ORDER BY last_us DESC LIMIT 1) RETURNING tag_id, window_us"
    )
    ((source, path),) = query("SELECT source, path FROM tag WHERE id = %s", [tag_id])
    holes = flow.verify(full=True).holes
    assert {(h.source, h.hour_us) for h in holes} == {(source, window_us // HOUR_US * HOUR_US)}
    for hole in holes:  # one of seconds against minutes, one of minutes against hours
        assert table in hole.line()
        assert path in hole.line()
    assert holes


@pytest.mark.requirement("S-19")
@pytest.mark.parametrize("table", FINE)
def test_the_fast_pass_leaves_older_rollups_to_the_full_one_and_says_so(
    flow: Flow, query: Query, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow.run()
    flow.clock.time_us += DAY_US
    flow.run(1)
    monkeypatch.setattr(rollups, "ROWS_FAST", 1)
    query(f"DELETE FROM {table} WHERE ctid = (SELECT min(ctid) FROM {table}) AND tableoid = "
          f"(SELECT tableoid FROM {table} ORDER BY window_us LIMIT 1) RETURNING 1")  # fmt: skip
    report = flow.verify()
    assert report.equal
    assert report.rollup_hours_left_out > 0
    assert stages(flow.verify(full=True)) == {table}
    query(f"DELETE FROM {table} WHERE window_us < %s RETURNING 1", [flow.clock.now_us() - 20 * HOUR_US])
    assert table in stages(flow.verify())  # emptied partitions are seen without counting


@pytest.mark.requirement("S-19")
@pytest.mark.parametrize("full", [False, True], ids=["fast", "full"])
def test_each_tag_owes_the_resolutions_that_it_had_when_its_readings_were_applied(
    flow: Flow, query: Query, full: bool
) -> None:
    for plant in flow.plants:
        plant.levels = {0: (LEVEL_1H,), 1: (LEVEL_1M, LEVEL_1H)}
    flow.run()
    for plant in flow.plants:  # the model gives and takes; late readings follow the new one
        plant.levels = {0: (LEVEL_1S, LEVEL_1M, LEVEL_1H), 2: (LEVEL_1H,)}
    flow.run()
    flow.after_mark = 50
    report = flow.verify(full=full)
    assert report.holes == ()
    assert 0 < report.owed_1s == report.rolled_up_1s < report.owed_1m == report.rolled_up_1m < report.applied
    query("DELETE FROM rollup_1m WHERE tag_id = (SELECT min(tag_id) FROM rollup_1m) RETURNING 1")
    assert stages(flow.verify(full=full)) == {"rollup_1m"}


@pytest.mark.requirement("S-19")
@pytest.mark.requirement("S-20")
@pytest.mark.parametrize("full", [False, True], ids=["fast", "full"])
def test_partitions_that_retention_dropped_are_not_owed(flow: Flow, query: Query, full: bool) -> None:
    query("DELETE FROM shard WHERE shard > 1 RETURNING 1")
    flow.run()
    applied = flow.verify().owed_1s
    flow.clock.time_us += 4 * DAY_US
    flow.run()
    retention = Retention(flow.url, flow.clock, Settings())
    assert any(name.startswith("rollup_1s") for name in retention.sweep())
    retention.close()
    report = flow.verify(full=full)
    assert report.holes == ()
    assert report.owed_1s == report.applied - applied
    assert report.owed_1m == report.applied


@pytest.mark.requirement("S-19")
def test_a_partition_dropped_that_is_still_owed_is_named_by_its_hours(flow: Flow, query: Query) -> None:
    flow.run()
    ((name, hour_us),) = query(
        "SELECT tableoid::regclass::text, window_us - window_us % 3600000000 FROM rollup_1s ORDER BY 2 LIMIT 1"
    )
    with psycopg.connect(flow.url, autocommit=True) as connection:
        connection.execute(f"DROP TABLE {name}".encode())
    holes = flow.verify().holes
    assert {(hole.stage, hole.hour_us, hole.found) for hole in holes} == {("rollup_1s", hour_us, 0)}


@pytest.mark.requirement("S-19")
@pytest.mark.parametrize("full", [False, True], ids=["fast", "full"])
@pytest.mark.parametrize("after", [0, 50], ids=["quiet", "flowing"])
def test_rejects_are_recounted_from_their_files_and_counts(flow: Flow, query: Query, full: bool, after: int) -> None:
    flow.run(rejects=5)
    flow.after_mark = after
    for _ in range(2):
        report = flow.verify(full=full)
        assert report.holes == ()
        assert report.rejected == report.quarantined >= 40


@pytest.mark.requirement("S-19")
@pytest.mark.parametrize("full", [False, True], ids=["fast", "full"])
def test_a_quarantine_file_taken_away_is_named_with_the_hours_it_held(
    flow: Flow, query: Query, full: bool
) -> None:
    flow.run(rejects=5)
    flow.verify()
    (file, counts) = query("SELECT file, counts FROM segment WHERE kind = 'quarantine' ORDER BY file LIMIT 1")[0]
    (flow.root / file).unlink()
    report = flow.verify(full=full)
    assert [(h.source, h.detail.split(";")[0]) for h in report.holes if h.stage == "file"] == [(file, "missing")]
    lost = {(source, hour): n for source, hour, n, _ in counts}
    assert {(h.source, h.hour_us): h.wanted - h.found for h in report.holes if h.stage == "quarantine"} == lost
    assert stages(report) == {"file", "quarantine"}


@pytest.mark.requirement("S-19")
@pytest.mark.parametrize("full", [False, True], ids=["fast", "full"])
def test_a_line_cut_out_of_a_quarantine_file_is_named(flow: Flow, query: Query, full: bool) -> None:
    flow.run(rejects=5)
    flow.verify()
    path = flow.root / query("SELECT min(file) FROM segment WHERE kind = 'quarantine'")[0][0]
    with path.open("rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw) as stream:
        lines = stream.read().splitlines(keepends=True)
    path.write_bytes(zstandard.compress(b"".join(lines[:3] + lines[4:])))
    report = flow.verify(full=full)
    assert stages(report) == {"file", "quarantine"}
    assert [h.wanted - h.found for h in report.holes if h.stage == "quarantine"] == [1]


@pytest.mark.requirement("S-19")
def test_a_quarantine_file_that_the_manifest_forgot_is_found(flow: Flow, query: Query) -> None:
    flow.run(rejects=5)
    flow.verify()
    query("DELETE FROM segment WHERE kind = 'quarantine' AND shard = 1 RETURNING 1")
    (hole,) = flow.verify().holes
    assert (hole.stage, hole.wanted, hole.found) == ("quarantine", 20, 0)


@pytest.mark.requirement("S-19")
@pytest.mark.parametrize("theft", ["DELETE FROM reject_count", "UPDATE reject_count SET count = count - 1"])
@pytest.mark.parametrize("after", [0, 50], ids=["quiet", "flowing"])
def test_a_count_of_rejects_taken_away_or_altered_is_named_with_its_shard(
    flow: Flow, query: Query, theft: str, after: int
) -> None:
    flow.run(rejects=5)
    flow.after_mark = after
    query(f"{theft} WHERE shard = 1 RETURNING 1")
    (hole,) = flow.verify().holes
    assert (hole.stage, hole.source) == ("reject_count", "shard 1")
    assert hole.wanted - hole.found == (20 if theft.startswith("DELETE") else 1)


@pytest.mark.requirement("S-19")
def test_a_store_of_an_older_release_is_compared_as_far_as_it_counted(flow: Flow, query: Query) -> None:
    flow.run(rejects=5)
    flow.verify()
    query("UPDATE ledger SET applied_1m = NULL, applied_1m_hash = NULL, applied_1s = NULL, applied_1s_hash = NULL "
          "RETURNING 1")  # fmt: skip
    query("UPDATE segment SET counts = '[]' WHERE kind = 'quarantine' RETURNING 1")
    flow.run(1, rejects=5)
    assert flow.verify(full=True).holes == ()
    flow.clock.time_us += 5 * HOUR_US
    flow.run(rejects=5)
    assert flow.verify(full=True).holes == ()
    query("DELETE FROM rollup_1m WHERE window_us = (SELECT max(window_us) FROM rollup_1m) RETURNING 1")
    assert stages(flow.verify()) == {"rollup_1m"}


@pytest.mark.requirement("S-19")
def test_whoever_watches_hears_of_each_store_until_it_is_done(flow: Flow) -> None:
    flow.run(rejects=1)
    heard: dict[str, tuple[int, int]] = {}

    def tell(what: str, done: int, of: int) -> None:
        assert heard.get(what, (0, of))[0] <= done <= of
        heard[what] = (done, of)

    verify(flow.url, flow.root, flow, timeout_s=0.3, clock=flow.clock, tell=tell)  # type: ignore[arg-type]
    assert set(heard) == {"archive", "rollup_1h", "rollup_1m", "rollup_1s", "reading"}
    assert all(done == of > 0 for done, of in heard.values())


@pytest.mark.requirement("S-19")
def test_a_ledger_row_taken_away_shows_against_every_store(flow: Flow, query: Query) -> None:
    flow.run()
    query("DELETE FROM ledger WHERE ctid = (SELECT min(ctid) FROM ledger) RETURNING 1")
    assert {"archive", "rollup_1h"} <= stages(flow.verify())


@pytest.mark.requirement("S-19")
def test_a_file_taken_away_is_named_with_the_hours_it_held(flow: Flow, query: Query) -> None:
    flow.run()
    flow.verify()
    flow.run(1)
    (file, counts) = query("SELECT file, counts FROM segment ORDER BY file LIMIT 1")[0]
    (flow.root / file).unlink()
    report = flow.verify()
    assert [(h.source, h.detail.split(";")[0]) for h in report.holes if h.stage == "file"] == [
        (file, "missing")
    ]
    lost = {(source, hour): n for source, hour, n, _ in counts}
    assert {(h.source, h.hour_us): h.wanted - h.found for h in report.holes if h.stage == "archive"} == lost


@pytest.mark.requirement("S-19")
def test_a_manifest_row_taken_away_is_found(flow: Flow, query: Query) -> None:
    flow.run()
    flow.verify()
    query("DELETE FROM segment WHERE file = (SELECT min(file) FROM segment) RETURNING 1")
    assert stages(flow.verify()) == {"archive"}


@pytest.mark.requirement("B-05")
def test_one_flipped_bit_in_a_file_is_found_by_the_full_pass(flow: Flow, query: Query) -> None:
    flow.run()
    flow.verify()
    file = flow.root / query("SELECT min(file) FROM segment")[0][0]
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 4
    file.write_bytes(data)
    report = flow.verify(full=True)
    assert any(h.stage == "file" and "SHA-256" in h.detail for h in report.holes)


def test_a_cut_file_is_found_by_the_fast_pass(flow: Flow, query: Query) -> None:
    flow.run()
    flow.verify()
    file = flow.root / query("SELECT min(file) FROM segment")[0][0]
    file.write_bytes(file.read_bytes()[:-9])
    assert stages(flow.verify()) == {"file", "archive"}


def test_a_shard_without_a_worker_is_named_after_a_bounded_wait(flow: Flow) -> None:
    flow.run()
    flow.dead.add(1)
    with pytest.raises(StoreUnavailable, match="shard 1: applied"):
        flow.verify()


@pytest.mark.requirement("S-19")
def test_a_take_over_between_two_verifies_keeps_everything_equal(flow: Flow) -> None:
    flow.run()
    flow.verify()
    flow.after_mark = 30
    flow.take_over(0)
    flow.sink.learn(0, flow.plants[0].infos, flow.plants[0].sources)
    flow.archive.announce(0, flow.plants[0].infos)
    flow.run()
    assert flow.verify().equal


@pytest.mark.requirement("S-20")
def test_hours_that_reading_does_not_owe_any_more_are_not_compared(flow: Flow, query: Query) -> None:
    flow.run()
    flow.clock.time_us += 26 * HOUR_US
    flow.run(1, rows=30)
    query("DELETE FROM reading WHERE ts_us < %s RETURNING 1", [flow.clock.now_us() - 25 * HOUR_US])
    report = flow.verify()
    assert report.equal
    assert report.readings_owed < report.critical


def test_the_report_is_json_and_readable_lines(flow: Flow, query: Query) -> None:
    flow.run()
    query("DELETE FROM rollup_1h WHERE ctid = (SELECT min(ctid) FROM rollup_1h) RETURNING 1")
    report = flow.verify()
    as_json = json.loads(json.dumps(report.as_json()))
    assert as_json["equal"] is False
    assert as_json["holes"][0]["stage"] == "rollup_1h"
    text = "\n".join(report.lines())
    assert "NOT EQUAL" in text
    assert "missing" in text


def test_following_a_mark_ends_after_its_time_and_verify_says_so(flow: Flow, query: Query) -> None:
    flow.run()
    flow.verify()
    flow.clock.time_us += 16 * MINUTE_US
    flow.run(1)
    flow.run(1)
    assert query("SELECT sum(mark) FROM shard") == [(0,)]
    assert query("SELECT count(*) FROM since_mark") == [(0,)]
    assert flow.verify().equal


@pytest.mark.requirement("S-19")
@pytest.mark.parametrize("full", [False, True], ids=["fast", "full"])
def test_readings_that_postgresql_refused_leave_the_count_equal_before_and_behind_the_mark(
    flow: Flow, url: str, query: Query, full: bool
) -> None:
    flow.run(1)
    low = query(
        "SELECT percentile_disc(0.2) WITHIN GROUP (ORDER BY value) FROM reading WHERE value <> 'NaN'"
    )[0][0]
    with psycopg.connect(url, autocommit=True) as connection:
        check = f"ALTER TABLE reading ADD CONSTRAINT mostly CHECK (value > {low} OR ts_us % 3 > 0) NOT VALID"
        connection.execute(check.encode())
    flow.run(2)
    flow.after_mark = 70
    report = flow.verify(full=full)
    assert report.holes == ()
    refused = query("SELECT count(*) FROM reject WHERE reason = 'store_refused'")[0][0]
    assert refused > 10
    assert report.readings == report.critical
    assert report.applied == report.archived == report.rolled_up == 720
    assert flow.verify(full=full).equal
