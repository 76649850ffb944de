"""History: segments, rollups and the live window joined without a gap and without a double."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from api_platform import Platform, Writer, give, tag

from millrace.api import history
from millrace.batch import Output
from millrace.clock import DAY_US, HOUR_US, MINUTE_US, SECOND_US, HandClock
from millrace.process import rollup
from millrace.settings import Settings
from millrace.sinks.archive.sink import ArchiveSink
from millrace.sinks.contract import Ownership
from millrace.sinks.postgres.manifest import PostgresManifest
from tests.waiting import wait_for

PATH = "acme/lyon/press-shop/line-2/press-07/temp"


def ask(platform: Platform, **params: Any) -> dict[str, Any]:
    answer = platform.client.get(
        f"/v1/tags/{PATH}/history", params={k.strip("_"): v for k, v in params.items()}
    )
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert found["points"] == len(found["ts_us"]) == len(found["value"]) == len(found["quality"])
    assert found["ts_us"] == sorted(found["ts_us"])
    return found


def add_tag(url: str, period_us: int = 100_000, source: str = "gw-1", shard: int = 0) -> int:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(
            "INSERT INTO tag (path, source, tag_hash, shard, kind, data_class, modelled, period_us, unit) "
            "VALUES (%s, %s, 1, %s, 0, 0, true, %s, 'degC') RETURNING id",
            [PATH, source, shard, period_us],
        ).fetchone()
    assert row is not None
    return int(row[0])


def archived(url: str, root: Path, writer: Writer, outputs: list[Output]) -> None:
    """Let the real archive list these outputs."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE shard SET epoch = 1")
    settings = Settings(segment_rows_max=1_000)
    manifest = PostgresManifest(url, settings)
    sink = ArchiveSink(root, manifest, settings, writer.clock)
    sink.open_shard(Ownership(0, 1))
    sink.write(outputs)
    sink.close_at(0, outputs[-1].position)

    def settled() -> bool:
        sink.write(())
        return sink.position(0) >= outputs[-1].position

    wait_for(settled, "the segment is listed")
    sink.close()
    manifest.close()


@pytest.mark.requirement("S-18")
def test_raw_of_archive_and_live_window_has_no_gap_and_no_double(
    platform: Platform, writer: Writer, postgres: str
) -> None:
    """The boundary is a position: late and early readings on either side of it come exactly once."""
    add_tag(postgres)
    now_us = writer.clock.now_us()
    rng = np.random.default_rng(11)
    times = now_us - 60 * SECOND_US + rng.permutation(200) * 100_000
    outputs = [
        writer.say([(0, int(ts), float(i))], tags=[tag(0, PATH)] if not i else None, late=int(i > 0))
        for i, ts in enumerate(times)
    ]
    wait_for(lambda: platform.live.rows == 200, "the live window has all")
    archived(postgres, platform.archive, writer, outputs[:120])
    found = ask(platform, agg="raw", points=1000)
    by_time = np.argsort(times, kind="stable")
    assert found["ts_us"] == times[by_time].tolist()
    assert found["value"] == [float(i) for i in by_time]
    assert (found["level"], found["complete"]) == ("raw", True)
    window = platform.live._shards[0].window
    assert window.position > 120  # and it did hold what the archive has too


def test_few_points_keep_the_extremes(platform: Platform, writer: Writer, postgres: str) -> None:
    add_tag(postgres)
    now_us = writer.clock.now_us()
    rows = [(0, now_us - 30 * SECOND_US + i * 10_000, float(np.sin(i / 50))) for i in range(2_000)]
    rows[777] = (0, rows[777][1], 99.0)
    rows[1200] = (0, rows[1200][1], -99.0)
    writer.say(rows, tags=[tag(0, PATH)])
    wait_for(lambda: platform.live.rows == 2_000, "taken")
    for agg in ("minmax", "lttb"):
        found = ask(platform, points=100, agg=agg)
        assert found["points"] <= 100
        if agg == "minmax":
            assert {99.0, -99.0} <= set(found["value"])
    counts = ask(platform, points=100, agg="count")
    assert sum(counts["value"]) == 2_000
    assert ask(platform, points=10, agg="max")["value"].count(99.0) == 1


def rollups(url: str, tag_id: int, table: str, windows: range) -> None:
    """A value in each window that says when it is."""
    with psycopg.connect(url, autocommit=True) as connection:
        of = f"{table}_t PARTITION OF {table}"
        connection.execute(f"CREATE TABLE {of} FOR VALUES FROM (0) TO (9000000000000000000)".encode())
        with connection.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO {table} VALUES (%s, 1, 3, 4, %s, 1, %s, 3, 0, %s, 2, 2, 0, 0)".encode(),
                [(w, w, w + 1, tag_id) for w in windows],
            )


def test_a_long_span_ends_in_finer_rollups_and_in_the_live_window(
    platform: Platform, writer: Writer, postgres: str
) -> None:
    """Each second of the span is counted once, whichever level it came from."""
    tag_id = add_tag(postgres)
    now_us = writer.clock.now_us()
    platform.needs.clock = HandClock(now_us)  # whoever asks a minute later is answered out of other rollups
    settled_us = now_us - history.SETTLED_US
    hour, minute = settled_us // HOUR_US * HOUR_US, settled_us // MINUTE_US * MINUTE_US
    rollups(postgres, tag_id, "rollup_1h", range(hour - 48 * HOUR_US, hour, HOUR_US))
    rollups(postgres, tag_id, "rollup_1m", range(hour - 3 * HOUR_US, minute, MINUTE_US))
    rollups(
        postgres,
        tag_id,
        "rollup_1s",
        range(minute - 200 * SECOND_US, settled_us // SECOND_US * SECOND_US, SECOND_US),
    )
    writer.say([(0, now_us - i * SECOND_US, 2.0) for i in range(5, -1, -1)], tags=[tag(0, PATH)])
    wait_for(lambda: platform.live.rows == 6, "taken")
    from_us = hour - 48 * HOUR_US
    found = ask(platform, from_=from_us, points=500, agg="count")
    seconds = settled_us // SECOND_US - minute // SECOND_US
    minutes = (minute - hour) // MINUTE_US
    assert found["level"] in ("1m", "1h")
    assert 2 * minutes + 2 * seconds + 6 <= sum(found["value"])
    platform.client.get(f"/v1/tags/{PATH}/history", params={"from": now_us - 364 * DAY_US})
    year = ask(platform, from_=now_us - 364 * DAY_US, points=2_000, agg="count")
    assert year["level"] == "1h"
    assert sum(year["value"]) == 2 * 48 + 2 * minutes + 2 * seconds + 6


def test_kept_periods_are_those_of_the_rollups() -> None:
    assert (rollup.PERIOD_1S_MAX_US, rollup.PERIOD_1M_MAX_US) == history.KEPT_PERIOD_US


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"from": "yesterday"}, "from"),
        ({"from": "2026-01-05T08:00:00"}, "from"),
        ({"from": "2026-01-05T08:00:00Z", "to": "2026-01-05T07:00:00Z"}, "from"),
        ({"points": "0"}, "points"),
        ({"points": "1e9"}, "points"),
        ({"agg": "median"}, "agg"),
        ({"to": "99999999999999999999"}, "to"),
    ],
)
def test_a_wrong_parameter_is_named(platform: Platform, params: dict[str, str], field: str) -> None:
    answer = platform.client.get(f"/v1/tags/{PATH}/history", params=params)
    assert (answer.status_code, answer.json()["field"]) == (400, field)
    assert answer.json()["found"]


def test_an_unknown_tag_is_404_and_an_ambiguous_one_409(platform: Platform, postgres: str) -> None:
    assert platform.client.get("/v1/tags/a/b/history").status_code == 404
    add_tag(postgres)
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO tag (path, source, tag_hash, shard, kind, data_class, modelled, period_us, unit) "
            "SELECT path, 'gw-2', tag_hash, shard, kind, data_class, modelled, period_us, unit FROM tag"
        )
    answer = platform.client.get(f"/v1/tags/{PATH}/history")
    assert (answer.status_code, answer.json()["sources"]) == (409, ["gw-1", "gw-2"])
    one = platform.client.get(f"/v1/tags/{PATH}/history", params={"source": "gw-2"})
    assert one.status_code == 200


def test_a_tag_that_the_model_moved_is_read_from_its_new_source_and_its_past_from_the_old(
    platform: Platform, writer: Writer, postgres: str
) -> None:
    now_us = writer.clock.now_us()
    writer.say([(0, now_us - SECOND_US, 1.0)], tags=[tag(0, PATH, "gw-1")], shard=0)
    writer.say([(0, now_us, 2.0)], tags=[tag(0, PATH, "gw-2")], shard=1)
    wait_for(lambda: platform.live.rows == 2, "the live window has both")
    add_tag(postgres, source="gw-1", shard=0)
    add_tag(postgres, source="gw-2", shard=1)
    assert platform.client.get(f"/v1/tags/{PATH}/history").status_code == 409
    give(postgres, PATH, "gw-2")
    found = ask(platform, agg="raw")
    assert (found["source"], found["value"]) == ("gw-2", [2.0])
    past = ask(platform, agg="raw", source="gw-1")
    assert (past["source"], past["value"]) == ("gw-1", [1.0])
    give(postgres, PATH, "gw-1")
    assert ask(platform, agg="raw")["value"] == [1.0]


def test_tags_are_paged_in_order_and_each_comes_once(platform: Platform, postgres: str) -> None:
    with psycopg.connect(postgres, autocommit=True) as connection:
        for i in range(25):
            site = "lyon" if i % 2 else "porto"
            connection.execute(
                "INSERT INTO tag"
                " (path, source, tag_hash, shard, kind, data_class, modelled, period_us, unit)"
                " VALUES (%s, 'gw', 1, 0, 0, 0, true, 1000000, '')",
                [f"acme/{site}/line-{i % 3}/t{i:02d}"],
            )
        connection.execute(
            "INSERT INTO asset_tag (path, source, kind, data_class, criticality, period_us, unit, high) "
            "VALUES ('acme/lyon/line-9/never', 'gw', 0, 1, 2, 1000, 'bar', 7.5)"
        )
    wanted = {"": 26, "acme/lyon/*": 13, "acme/*/line-1/*": 8, "acme/lyon": 13, "b/*": 0}
    for pattern, count in wanted.items():
        seen, cursor = [], ""
        while cursor is not None:
            page = platform.client.get(
                "/v1/tags", params={"path": pattern, "limit": 4, "cursor": cursor}
            ).json()
            seen += [row["path"] for row in page["tags"]]
            cursor = page["next_cursor"]
        assert seen == sorted(set(seen))
        assert len(seen) == count, pattern
    last = platform.client.get("/v1/tags", params={"path": "acme/lyon/line-9/*"}).json()["tags"][0]
    assert (last["high"], last["has_readings"], last["data_class"]) == (7.5, False, "critical")
