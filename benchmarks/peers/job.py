"""The job itself, once: the input file, the tables, the reference.

This file runs in the peers' own environment too: it needs the standard library, msgspec and psycopg only.
An engine gives each tag's readings, in order, to a `TagState`; what comes back are rows for the two tables.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from benchmarks.peers.tag_state import ANOMALY, ROLLUP, Row, TagState

COPY_ROWS: Final = 10_000
START_US: Final = 1_767_600_000_000_000
SPIKES: Final = 1 / 2_000
STEPS: Final = 1 / 20_000

SCHEMA: Final = """
DROP TABLE IF EXISTS peer_rollup, peer_anomaly;
CREATE TABLE peer_rollup (
    tag text NOT NULL, window_us bigint NOT NULL, count bigint NOT NULL, min float8 NOT NULL, max float8 NOT
    NULL, sum float8 NOT NULL, first float8 NOT NULL, last float8 NOT NULL);
CREATE TABLE peer_anomaly (
    tag text NOT NULL, start_us bigint NOT NULL, end_us bigint NOT NULL, value float8 NOT NULL, expected
    float8 NOT NULL, score float8 NOT NULL, state smallint NOT NULL);
"""
COPY_ROLLUP: Final = "COPY peer_rollup FROM STDIN"
COPY_ANOMALY: Final = "COPY peer_anomaly FROM STDIN"
ROLLUPS: Final = "SELECT tag, window_us, count, min, max, sum, first, last FROM peer_rollup"
ANOMALIES: Final = "SELECT tag, start_us, end_us, value, expected, score, state FROM peer_anomaly"


class Reading(msgspec.Struct):
    """One line of the file."""

    tag: str
    ts: int
    value: float


decode_line = msgspec.json.Decoder(Reading).decode
decode_lines = msgspec.json.Decoder(Reading).decode_lines


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
    """Empty tables, and nothing left to write of what was there before."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(SCHEMA)
        connection.execute("CHECKPOINT")


def write_file(path: str, readings: int, tags: int, seed: int = 1, start_us: int = START_US) -> None:
    """NDJSON in order of time: every tag each 100 ms, a level with noise, one value in 2,000 far off, the level moved
    after each 20,000 or so."""
    rng = random.Random(seed)
    names = [
        f"acme/lyon/press-shop/line-{n // 100}/press-{n // 10 % 10:02}/signal-{n % 10}" for n in range(tags)
    ]
    levels = [rng.uniform(20, 80) for _ in range(tags)]
    with open(path, "w") as file:
        for number in range(readings):
            tag = number % tags
            ts_us = start_us + number // tags * 100_000 + tag * (100_000 // tags)
            chance = rng.random()
            if chance > 1.0 - STEPS:
                levels[tag] += rng.choice((-10.0, 10.0))
            away = 30.0 if chance < SPIKES else rng.gauss(0.0, 0.5)
            file.write(f'{{"tag":"{names[tag]}","ts":{ts_us},"value":{round(levels[tag] + away, 3)}}}\n')


def reference(path: str) -> tuple[list[Row], list[Row]]:
    """Rows of both tables, by one plain loop over the file."""
    states: dict[str, TagState] = {}
    rows: list[Row] = []
    with open(path, "rb") as file:
        for line in file:
            reading = decode_line(line)
            state = states.get(reading.tag) or states.setdefault(reading.tag, TagState(reading.tag))
            state.step(reading.ts, reading.value, rows)
    for state in states.values():
        state.finish(rows)
    return [row[1:] for row in rows if row[0] == ROLLUP], [row[1:] for row in rows if row[0] == ANOMALY]


def stored(url: str) -> tuple[list[Row], list[Row]]:
    """Rows of both tables as PostgreSQL has them."""
    import psycopg

    with psycopg.connect(url) as connection:
        return connection.execute(ROLLUPS).fetchall(), connection.execute(ANOMALIES).fetchall()


def blocks(path: str, offset: int = 0, block_bytes: int = 1 << 20) -> Iterator[tuple[bytes, int]]:
    """Whole lines, about a megabyte at a time, each with the offset behind it."""
    with open(path, "rb") as file:
        file.seek(offset)
        while block := file.read(block_bytes):
            block += file.readline()
            offset += len(block)
            yield block, offset
