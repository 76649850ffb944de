"""The job itself, once: what an engine is to compute per tag, the tables, the input file, the reference.

This file runs in the peers' own environment too: it needs the standard library, msgspec and psycopg only.
An engine gives each tag's readings, in order, to a `TagState`; what comes back are rows for the two tables.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

ALPHA: Final = 0.02
LIMIT_SIGMA: Final = 4.0
WARM_UP: Final = 50
WINDOW_US: Final = 1_000_000
COPY_ROWS: Final = 10_000
START_US: Final = 1_767_600_000_000_000

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS peer_rollup (
    tag text NOT NULL, window_us bigint NOT NULL, count bigint NOT NULL, min float8 NOT NULL, max float8 NOT
    NULL, sum float8 NOT NULL, first float8 NOT NULL, last float8 NOT NULL);
CREATE TABLE IF NOT EXISTS peer_anomaly (
    tag text NOT NULL, ts_us bigint NOT NULL, value float8 NOT NULL, expected float8 NOT NULL, score float8
    NOT NULL);
TRUNCATE peer_rollup, peer_anomaly;
"""
COPY_ROLLUP: Final = "COPY peer_rollup FROM STDIN"
COPY_ANOMALY: Final = "COPY peer_anomaly FROM STDIN"

ROLLUP, ANOMALY = 0, 1
Row = tuple[Any, ...]  # (ROLLUP, tag, window_us, count, …) or (ANOMALY, tag, ts_us, …)


class Reading(msgspec.Struct):
    """One line of the file."""

    tag: str
    ts: int
    value: float


decode_line = msgspec.json.Decoder(Reading).decode
decode_lines = msgspec.json.Decoder(Reading).decode_lines


class TagState:
    """One tag: its exponentially weighted mean and variance, and the window that is open. Picklable."""

    __slots__ = (
        "count",
        "first",
        "high",
        "last",
        "low",
        "mean",
        "seen",
        "tag",
        "total",
        "variance",
        "window_us",
    )

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self.mean = self.variance = 0.0
        self.seen = self.count = 0
        self.window_us = -1
        self.low = self.high = self.total = self.first = self.last = 0.0

    def step(self, ts_us: int, value: float, rows: list[Row]) -> None:
        """Take one reading; append the rows that are complete with it."""
        if self.seen >= WARM_UP:
            score = abs(value - self.mean) / (LIMIT_SIGMA * math.sqrt(self.variance) + 1e-9)
            if score > 1.0:
                rows.append((ANOMALY, self.tag, ts_us, value, self.mean, score))
        self.seen += 1
        away = value - self.mean
        weight = max(ALPHA, 1.0 / self.seen)
        self.mean += weight * away
        self.variance = (1.0 - weight) * (self.variance + weight * away * away)
        window_us = ts_us - ts_us % WINDOW_US
        if window_us != self.window_us:
            self.flush(rows)
            self.window_us, self.count, self.total = window_us, 0, 0.0
            self.low = self.high = self.first = value
        self.count += 1
        self.total += value
        self.last = value
        if value < self.low:
            self.low = value
        if value > self.high:
            self.high = value

    def flush(self, rows: list[Row]) -> None:
        """Append the open window, if there is one."""
        if self.count:
            numbers = (self.window_us, self.count, self.low, self.high, self.total, self.first, self.last)
            rows.append((ROLLUP, self.tag, *numbers))
            self.count = 0

    def __getstate__(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.__slots__)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        for name, value in zip(self.__slots__, state, strict=True):
            setattr(self, name, value)


class Tables:
    """Rows into PostgreSQL by COPY, `COPY_ROWS` at a time, one transaction each: what every engine here
    uses."""

    def __init__(self, url: str) -> None:
        import psycopg

        self._connection = psycopg.connect(url)
        self._rows: tuple[list[Row], list[Row]] = ([], [])

    def add(self, rows: Iterable[Row]) -> None:
        """Take rows; written once enough have come."""
        for row in rows:
            self._rows[row[0]].append(row[1:])
        if len(self._rows[0]) + len(self._rows[1]) >= COPY_ROWS:
            self.write()

    def write(self) -> None:
        """Write what waits and commit."""
        with self._connection.cursor() as cursor:
            for statement, rows in zip((COPY_ROLLUP, COPY_ANOMALY), self._rows, strict=True):
                with cursor.copy(statement) as copy:
                    for row in rows:
                        copy.write_row(row)
                rows.clear()
        self._connection.commit()

    def close(self) -> None:
        self.write()
        self._connection.close()


def prepare(url: str) -> None:
    """Empty tables."""
    import psycopg

    with psycopg.connect(url) as connection:
        connection.execute(SCHEMA)


def write_file(path: str, readings: int, tags: int, seed: int = 1, start_us: int = START_US) -> None:
    """NDJSON in order of time: every tag each 100 ms, a level with noise, one value in 2,000 far off."""
    rng = random.Random(seed)
    names = [
        f"acme/lyon/press-shop/line-{n // 100}/press-{n // 10 % 10:02}/signal-{n % 10}" for n in range(tags)
    ]
    levels = [rng.uniform(20, 80) for _ in range(tags)]
    with open(path, "w") as file:
        for number in range(readings):
            tag = number % tags
            ts_us = start_us + number // tags * 100_000 + tag * (100_000 // tags)
            away = 30.0 if rng.random() < 0.0005 else rng.gauss(0.0, 0.5)
            file.write(f'{{"tag":"{names[tag]}","ts":{ts_us},"value":{round(levels[tag] + away, 3)}}}\n')


def reference(path: str) -> tuple[set[Row], set[Row]]:
    """Rows of both tables, by one plain loop over the file."""
    states: dict[str, TagState] = {}
    rows: list[Row] = []
    with open(path, "rb") as file:
        for line in file:
            reading = decode_line(line)
            state = states.get(reading.tag) or states.setdefault(reading.tag, TagState(reading.tag))
            state.step(reading.ts, reading.value, rows)
    for state in states.values():
        state.flush(rows)
    return {row[1:] for row in rows if row[0] == ROLLUP}, {row[1:] for row in rows if row[0] == ANOMALY}


def stored(url: str) -> tuple[list[Row], list[Row]]:
    """Rows of both tables as PostgreSQL has them."""
    import psycopg

    with psycopg.connect(url) as connection:
        rollups = connection.execute(
            "SELECT tag, window_us, count, min, max, sum, first, last FROM peer_rollup"
        )
        anomalies = connection.execute("SELECT tag, ts_us, value, expected, score FROM peer_anomaly")
        return rollups.fetchall(), anomalies.fetchall()


def blocks(path: str, offset: int = 0, block_bytes: int = 1 << 20) -> Iterator[tuple[bytes, int]]:
    """Whole lines, about a megabyte at a time, each with the offset behind it."""
    with open(path, "rb") as file:
        file.seek(offset)
        while block := file.read(block_bytes):
            block += file.readline()
            offset += len(block)
            yield block, offset
