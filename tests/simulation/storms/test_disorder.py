"""An hour of readings in any order, and late ones: every store agrees, and the rollups are those of a slow twin."""

from __future__ import annotations

import math
import random
from collections import defaultdict

import numpy as np
import pytest

from millrace.assets.tag import AssetModel, SourceModel, TagModel
from millrace.clock import HOUR_US, EdgeClock
from millrace.ingest.producer import Producer
from tests.simulation.real_platform import Platform, check_equal

SOURCE = "shuffled"
TAGS = [f"acme/lyon/l1/shuffled/t{number}" for number in range(6)]
PER_TAG = 900
LATE_PER_TAG = 60
MINUTE_US = 60_000_000

Reading = tuple[str, int, float]


def model() -> AssetModel:
    tags = tuple(
        TagModel(
            path=tag, source=SOURCE, period_us=4_000_000, data_class="critical" if place % 2 else "standard"
        )
        for place, tag in enumerate(TAGS)
    )
    return AssetModel(sources=(SourceModel(name=SOURCE, silence_us=3_600_000_000),), tags=tags)


def script(rng: random.Random, now_us: int) -> list[Reading]:
    """An hour before last, every four seconds, in any order; behind it readings up to two days older."""
    begin_us = now_us // HOUR_US * HOUR_US - 2 * HOUR_US
    hour = [
        (tag, begin_us + 4_000_000 * k + place, rng.gauss(50, 5))
        for place, tag in enumerate(TAGS)
        for k in range(PER_TAG)
    ]
    rng.shuffle(hour)
    late = [
        (
            tag,
            begin_us - 1_000 - 1_000_000 * rng.randrange(2 * 86_400) - place * 86_400 * 1_000_000,
            rng.gauss(50, 5),
        )
        for place, tag in enumerate(TAGS)
        for _ in range(LATE_PER_TAG)
    ]
    unique = {(tag, ts): value for tag, ts, value in late}
    return hour + [(tag, ts, value) for (tag, ts), value in unique.items()]


def rolled(readings: list[Reading], width_us: int) -> dict[tuple[str, int], tuple[float, ...]]:
    """Count, min, max, first, last per (tag, window): the obvious way."""
    windows: dict[tuple[str, int], list[tuple[int, float]]] = defaultdict(list)
    for tag, ts, value in readings:
        windows[(tag, ts - ts % width_us)].append((ts, value))
    found = {}
    for key, rows in windows.items():
        rows.sort()
        values = [value for _, value in rows]
        found[key] = (len(rows), min(values), max(values), values[0], values[-1], math.fsum(values))
    return found


@pytest.mark.requirement("S-19")
def test_an_hour_out_of_order_and_late_is_accounted_for_and_rolled_up_right(
    platform: Platform, rng: random.Random
) -> None:
    platform.publish(model())
    readings = script(rng, EdgeClock().now_us())
    producer = Producer(platform.sender(), shard_count=4, clock=EdgeClock(), linger_s=0.01)
    for at in range(0, len(readings), 97):
        part = readings[at : at + 97]
        ts_us, value = np.array([row[1] for row in part]), np.array([row[2] for row in part])
        assert producer.send(SOURCE, [row[0] for row in part], ts_us, value) == len(part)
        producer.flush()
    assert producer.close(30.0) == 0
    check_equal(platform, {(tag, ts) for tag, ts, _ in readings})
    for table, width_us in (("rollup_1h", HOUR_US), ("rollup_1m", MINUTE_US)):
        rows = platform.query(
            f"SELECT path, window_us, count, min, max, first, last, sum FROM {table} r JOIN tag ON tag.id = r.tag_id "
            "WHERE source = %s",
            SOURCE,
        )
        wanted = rolled(readings, width_us)
        assert {row[:2]: row[2:7] for row in rows} == {key: row[:5] for key, row in wanted.items()}, table
        sums = [row[7] for row in sorted(rows)]
        np.testing.assert_allclose(
            sums, [wanted[key][5] for key in sorted(wanted)], rtol=1e-12, err_msg=table
        )
