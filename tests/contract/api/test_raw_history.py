"""Raw history as a law: however a tag's readings lie among the stores, each that one holds comes exactly once.

PostgreSQL, the real-time store and the archive are real; only the worker that would fill them is the test.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import msgspec
import numpy as np
import psycopg
import pytest
import valkey
from api_platform import CacheServer, Platform
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from millrace import names
from millrace.accounting import hash_rows, tag_hash
from millrace.api.raw_history import RawHistory, Tag
from millrace.assets.load import model_of
from millrace.assets.tag import TagModel
from millrace.batch import (
    ALARM,
    ANOMALY,
    LEDGER,
    READING,
    ROLLUP,
    DataClass,
    Output,
    TagInfo,
    ValueKind,
    empty,
)
from millrace.clock import SECOND_US, EdgeClock
from millrace.schema import live
from millrace.schema.live import LiveBlob
from millrace.schema.live_columns import columns_of
from millrace.settings import Settings
from millrace.sinks.archive.compaction import Compactor
from millrace.sinks.archive.neighbours import Neighbours
from millrace.sinks.archive.sink import ArchiveSink
from millrace.sinks.contract import Ownership
from millrace.sinks.postgres import PostgresSink
from millrace.sinks.postgres.manifest import PostgresManifest
from tests.waiting import wait_for

SOURCE = "gw-1"
Row = tuple[int, float, int]
"""ts_us, value (a gap is None's place: -1), quality."""


@dataclass(frozen=True)
class Split:
    """One tag's outputs, and what of them lies where. Counts are of outputs, from the first on."""

    outputs: list[list[tuple[int, float, int]]]  # (seconds between time and receipt, value, quality)
    critical: bool
    archived: int
    segments: frozenset[int]  # a segment ends before these outputs, and at `archived`
    applied: int
    said: list[bool]  # the live log got the output's blob
    again: tuple[int, int] | None  # outputs of a window that was published again
    from_s: int
    to_s: int
    compacted: bool = False  # the archive's files were merged into one

    def window(self) -> set[int]:
        """Outputs whose readings the live window holds, by the slow and obvious way."""
        held: set[int] = set()
        for at, said in enumerate(self.said):
            if said:
                held.add(at)
            if self.again and at == self.again[1]:
                held = {i for i in held if i < self.again[0]} | set(range(self.again[0], at + 1))
        return held


AGES_S = (0, 0, 0, 1, 2, 5, 9, -2, 3 * 3600)
VALUES = (1.0, 2.0, 0.1)
QUALITIES = (192, 192, 64, 0)


def a_reading(rng: Random) -> tuple[int, float, int]:
    return rng.choice(AGES_S), rng.choice(VALUES), rng.choice(QUALITIES)


def split_of(rng: Random) -> Split:
    """Spread evenly: what hypothesis draws by itself is mostly alike, and has few holes."""
    n = rng.randint(1, 9)
    archived, applied = rng.randint(0, n), rng.randint(0, n)
    said = [True] * n
    if rng.random() < 0.7:
        first, end = sorted((rng.randrange(n), rng.randint(1, n)))
        said[first:end] = [False] * (end - first)
    again = None
    if rng.random() < 0.4:
        first = rng.randint(0, min(archived, n - 1))  # what the archive had not listed then
        again = (first, rng.randint(first, n - 1))
    if n > max(archived, applied) and not (again and again[1] == n - 1):
        said[-1] = True  # what no store knows of is in the stream, and cannot be asked for
    from_s = rng.choice([-4 * 3600, -10, -10, 0, 2, 5, 11])
    return Split(
        outputs=[[a_reading(rng) for _ in range(rng.randint(0, 4))] for _ in range(n)],
        critical=rng.random() < 0.6,
        archived=archived,
        segments=frozenset(rng.sample(range(1, n + 1), rng.randint(0, min(3, n)))),
        applied=applied,
        said=said,
        again=again,
        from_s=from_s,
        to_s=rng.randint(from_s + 1, 30),
        compacted=rng.random() < 0.3,
    )


@dataclass
class Stores:
    """The three stores, filled for one tag after another; positions go on from one to the next."""

    url: str
    cache: valkey.Valkey
    platform: Platform
    clock: EdgeClock
    settings: Settings
    position: int = 1_000
    slot: int = 0
    sinks: list[Any] = field(default_factory=list)

    def begin(self, split: Split) -> TagInfo:
        """A new tag; everything before it is applied and archived."""
        self.slot += 1
        self.position += 1_000
        data_class = DataClass.CRITICAL if split.critical else DataClass.STANDARD
        tag = TagInfo(self.slot, f"a/l/t{self.slot}", SOURCE, ValueKind.FLOAT, data_class, True, 100_000, "")
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("UPDATE shard SET epoch = 1, applied = %s, archived = %s", [self.position] * 2)
            connection.execute(
                "INSERT INTO tag (path, source, tag_hash, shard, kind, data_class, modelled, period_us, unit)"
                " VALUES (%s, %s, 1, 0, 0, %s, true, 100000, '')",
                [tag.path, SOURCE, int(data_class)],
            )
        return tag

    def outputs(self, split: Split, tag: TagInfo, base_us: int) -> list[Output]:
        made, newest_us = [], 0
        for number, rows in enumerate(split.outputs):
            received_us = base_us + number * SECOND_US
            readings = np.zeros(len(rows), READING)
            for i, (age_s, value, quality) in enumerate(rows):
                ts_us = received_us - age_s * SECOND_US
                value = value if quality else np.nan
                readings[i] = (tag.slot, ts_us, value, quality, ts_us < newest_us, 0)
                newest_us = max(newest_us, ts_us)
            columns = (readings[name] for name in ("ts_us", "value", "quality"))
            whose = np.zeros(len(rows), np.int32)
            readings["hash"] = hash_rows(np.array([tag_hash(tag.path)], np.uint64), whose, *columns)
            first = self.position + 10 * number + 1  # a batch of ten records
            made.append(
                Output(0, first + 9, first, received_us, 10, readings, empty(ROLLUP), empty(ANOMALY),
                       empty(ALARM), empty(LEDGER), tags=[] if number else [tag], newest_received_us=received_us)
            )  # fmt: skip
        return made

    def fill(self, split: Split, outputs: list[Output], tag: TagInfo) -> int:
        """Put everything where the split says; the time from which on PostgreSQL owes readings."""
        self._apply(outputs[: split.applied])
        self._archive(split, outputs[: split.archived])
        self._say(split, outputs, tag)
        with psycopg.connect(self.url) as connection:
            row = connection.execute("SELECT reading_floor_us FROM shard WHERE shard = 0").fetchone()
        assert row
        return int(row[0])

    def _apply(self, outputs: list[Output]) -> None:
        sink = PostgresSink(self.url, self.clock, self.settings)
        sink.open_shard(Ownership(0, 1))
        assert not sink.write(outputs).retry
        sink.close()

    def _archive(self, split: Split, outputs: list[Output]) -> None:
        manifest = PostgresManifest(self.url, self.settings)
        sink = ArchiveSink(self.platform.archive, manifest, self.settings, self.clock)
        sink.open_shard(Ownership(0, 1), self.position)
        for number, output in enumerate(outputs):
            if number + 1 in split.segments or number + 1 == len(outputs):
                sink.close_at(0, output.position)
            sink.write([output])
        assert sink.position(0) == (outputs[-1].position if outputs else self.position), sink.failure
        sink.close()
        if split.compacted:
            self._compact(manifest)
        manifest.close()

    def _compact(self, manifest: PostgresManifest) -> None:
        """This tag's files into one, as when there are enough of them."""
        run = [one for one in manifest.files(0) if one.first_position > self.position]
        if len(run) > 1:
            run.sort(key=lambda one: one.first_position)
            compactor = Compactor(self.platform.archive, manifest, "")
            assert list(compactor._merge(0, 1, Neighbours(), run))

    def _say(self, split: Split, outputs: list[Output], tag: TagInfo) -> None:
        previous, last = 0, b""
        for number, said in enumerate(split.said):
            if said:
                last = self._add(blob_of(outputs[number : number + 1], previous, tag))
            previous = outputs[number].position if said else 0
            if split.again and number == split.again[1]:
                whole = outputs[split.again[0] : number + 1]
                for blob in parts_of(blob_of(whole, 0, tag, received_us=0)):
                    last = self._add(blob)
                previous = outputs[number].position
        if last:
            view = self.platform.live._shards[0]
            wait_for(lambda: view.last_id == last, "the follower has read all")

    def _add(self, blob: LiveBlob) -> bytes:
        added: Any = self.cache.xadd(names.live_key(0), {live.BLOB_FIELD: live.encode(blob)})
        return bytes(added)


def blob_of(outputs: list[Output], previous: int, tag: TagInfo, received_us: int | None = None) -> LiveBlob:
    rows = np.concatenate([output.readings for output in outputs])
    last = outputs[-1]
    received_us = last.newest_received_us if received_us is None else received_us
    return LiveBlob(
        0, 1, outputs[0].first_position, last.position, previous, last.time_us, received_us,
        *columns_of(rows), tags=[tag],
    )  # fmt: skip


def parts_of(blob: LiveBlob) -> Iterator[LiveBlob]:
    """A window that is too large for one blob comes as several of the same positions."""
    half = len(blob) // 2
    for part, at in enumerate((slice(0, half), slice(half, len(blob)))):
        columns = (blob.slot[at], blob.ts_us[at], blob.value[at], blob.quality[at], blob.late[at])
        yield LiveBlob(
            0, 1, blob.first_position, blob.position, 0, blob.time_us, 0, *columns, blob.tags, part=part
        )


@pytest.fixture
def stores(platform: Platform, cache: CacheServer, clock: EdgeClock, postgres: str) -> Iterator[Stores]:
    client = valkey.Valkey.from_url(cache.url)
    yield Stores(postgres, client, platform, clock, Settings(reading_retention_h=1))
    client.close()  # type: ignore[no-untyped-call]


def read(stores: Stores, tag: TagInfo, from_us: int, to_us: int) -> tuple[list[Row], bool]:
    store = stores.platform.store
    (number,) = store.tuples("SELECT id FROM tag WHERE path = %s", [tag.path])[0]
    found = stores.platform.live.find(tag.path, SOURCE)
    ref = found[0][0] if found else None
    asked = Tag(number, tag.path, SOURCE, 0, int(tag.data_class), 100_000, "", 0, ref)
    needs = stores.platform.needs
    raw = RawHistory(needs, store, asked).read(from_us, to_us)
    series = raw.series
    return rows_of(series.ts_us, series.value, series.quality), raw.complete


def rows_of(ts_us: Any, value: Any, quality: Any) -> list[Row]:
    values = np.where(np.isnan(value), -1.0, value).tolist()
    return list(zip(ts_us.tolist(), values, quality.tolist(), strict=True))


def rows_in(outputs: list[Output], from_us: int, to_us: int) -> list[list[Row]]:
    out = []
    for output in outputs:
        rows = output.readings
        at = (rows["ts_us"] >= from_us) & (rows["ts_us"] < to_us)
        out.append(rows_of(rows["ts_us"][at], rows["value"][at], rows["quality"][at]))
    return out


GOOD = 192
HOLE = [True, False, True]
ALL = (-4 * 3600, 30)
# Nothing reached the live window: it may not be taken for complete.
SILENT = Split([[(0, 1.0, GOOD)]] * 3, False, 0, frozenset(), 3, [False] * 3, None, *ALL)
# The window begins anew behind a hole; the span ends before that, and lacks what was in the hole.
BEFORE_A_HOLES_END = Split(
    [[(0, 1.0, GOOD)]] * 9, False, 0, frozenset(), 0, [False] * 8 + [True], None, -10, 1
)
# What is in PostgreSQL is newer than the late reading that only the live window has.
LATE_BEHIND_A_HOLE = Split(
    [[(0, 1.0, GOOD)], [(0, 2.0, GOOD)], [(9, 0.1, GOOD)]], True, 0, frozenset(), 2, HOLE, None, *ALL
)
# The window lacks a reading that is too old for PostgreSQL.
TOO_OLD_FOR_POSTGRES = Split(
    [[(0, 1.0, GOOD)], [(3 * 3600, 2.0, GOOD)], [(0, 1.0, GOOD)]], True, 0, frozenset(), 2, HOLE, None, *ALL
)
# The first and the last reading are alike; the window that was published again holds only the last.
ALIKE = Split(
    [[(0, 1.0, GOOD)], [(0, 2.0, GOOD)], [(2, 1.0, GOOD)]],
    False, 2, frozenset({1, 2}), 0, [True] * 3, (1, 2), *ALL,
)  # fmt: skip


# The same, and the files of the first two are one by now.
ALIKE_IN_ONE_FILE = replace(ALIKE, compacted=True)


@pytest.mark.requirement("S-18")
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(split=st.integers(0, 2**32 - 1).map(lambda seed: split_of(Random(seed))))
@example(split=LATE_BEHIND_A_HOLE)
@example(split=TOO_OLD_FOR_POSTGRES)
@example(split=ALIKE)
@example(split=ALIKE_IN_ONE_FILE)
@example(split=SILENT)
@example(split=BEFORE_A_HOLES_END)
def test_each_reading_that_a_store_holds_comes_once_and_complete_is_said_only_when_it_is(
    stores: Stores, split: Split
) -> None:
    tag = stores.begin(split)
    base_us = stores.clock.now_us() // SECOND_US * SECOND_US - 60 * SECOND_US
    outputs = stores.outputs(split, tag, base_us)
    floor_us = stores.fill(split, outputs, tag)
    window = split.window()
    from_us, to_us = base_us + split.from_s * SECOND_US, base_us + split.to_s * SECOND_US

    accepted = rows_in(outputs, from_us, to_us)
    held = [
        [row for row in rows if number < split.archived or number in window
         or (split.critical and number < split.applied and row[0] >= floor_us)]
        for number, rows in enumerate(accepted)
    ]  # fmt: skip
    found, complete = read(stores, tag, from_us, to_us)

    assert [row[0] for row in found] == sorted(row[0] for row in found)
    assert Counter(found) == Counter(row for rows in held for row in rows)
    if complete:
        assert held == accepted
    if set(range(min(split.archived, len(outputs) - 1), len(outputs))) <= window:
        assert complete
        in_order = sorted((row for rows in accepted for row in rows), key=lambda row: row[0])
        assert found == in_order  # equal times as they came
    stores.position = outputs[-1].position


@pytest.mark.requirement("S-18")
@pytest.mark.parametrize("turned", [True, False])
def test_what_a_tag_said_in_a_hole_before_it_turned_critical_is_said_to_be_missing(
    stores: Stores, turned: bool
) -> None:
    """PostgreSQL holds a tag's readings from then on only: it fills a hole of the window if it held them all along."""
    rows = [[(0, float(number), GOOD)] for number in range(5)]
    split = Split(rows, True, 1, frozenset(), 4, [True, False, False, False, True], None, *ALL)
    tag = stores.begin(split)
    base_us = stores.clock.now_us() // SECOND_US * SECOND_US - 60 * SECOND_US
    outputs = stores.outputs(split, tag, base_us)
    stores.fill(split, outputs, tag)
    if turned:  # the second reading of the hole was the first critical one
        with psycopg.connect(stores.url, autocommit=True) as connection:
            connection.execute("DELETE FROM reading WHERE ts_us < %s", [base_us + 2 * SECOND_US])
    found, complete = read(stores, tag, base_us, base_us + 30 * SECOND_US)
    assert [row[1] for row in found] == ([0.0, 2.0, 3.0, 4.0] if turned else [0.0, 1.0, 2.0, 3.0, 4.0])
    assert complete is not turned
    # Asked for the hole alone, of which the archive has nothing.
    _, complete = read(stores, tag, base_us + SECOND_US, base_us + 4 * SECOND_US)
    assert complete is not turned


@pytest.mark.requirement("S-18")
@pytest.mark.parametrize(
    ("classes", "age_s", "complete"),
    [
        (["standard", "critical"], 0, False),
        (["critical", "critical"], 0, True),
        (["standard", "critical"], 3_600, True),  # long before the hole
        (["critical"], 0, True),
        (["critical"] * 9, 0, False),  # more than are looked through
    ],
)
def test_a_hole_in_which_a_tag_was_not_critical_for_a_while_is_said_to_be_missing(
    stores: Stores, classes: list[str], age_s: int, complete: bool
) -> None:
    """Both ends of the hole are in PostgreSQL, whatever it was in between."""
    rows = [[(0, float(number), GOOD)] for number in range(5)]
    split = Split(rows, True, 1, frozenset(), 4, [True, False, False, False, True], None, *ALL)
    tag = stores.begin(split)
    base_us = stores.clock.now_us() // SECOND_US * SECOND_US - 60 * SECOND_US
    stores.fill(split, stores.outputs(split, tag, base_us), tag)
    models = [model_of([TagModel(path=tag.path, source=SOURCE, data_class=one)]) for one in classes]
    with psycopg.connect(stores.url, autocommit=True) as connection:
        connection.execute("DELETE FROM model_change")
        for model in models:
            connection.execute(
                "INSERT INTO model_change (made_at, sha256, model) VALUES (now() - %s * interval '1 s', '', %s)",
                [age_s, msgspec.msgpack.encode(model)],
            )
    assert read(stores, tag, base_us, base_us + 30 * SECOND_US)[1] is complete
