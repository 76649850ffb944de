"""Clients of `POST /v1/readings` that keep to their timetable whatever the answers, and remember every one.

What was answered 202 is the witness from outside: readings per source that the platform must hold afterwards.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import numpy as np

from millrace.batch import Frame, Incarnation
from millrace.protocols import frame as frame_codec
from millrace.protocols.dictionary import Dictionary

FRAME_TYPE: Final = "application/vnd.millrace.frame"
ANSWER_TIMEOUT_S: Final = 10.0
SPACING_US: Final = 2_500


@dataclass(slots=True)
class Answers:
    """Of one source: seconds from due to answer by status, readings answered 202, refusals without
    Retry-After."""

    source: str
    seconds: dict[int, list[float]] = field(default_factory=dict)
    accepted: int = 0
    offered: int = 0
    without_retry_after: int = 0
    unknown: int = 0  # the connection broke: neither taken nor refused for certain


class Bodies:
    """Ready frames of one source: columns made once, times and identity set as each is asked for."""

    def __init__(self, source: str, *, tags: int = 100, readings: int = 1_000, seed: int = 1) -> None:
        self.source = source
        self.readings = readings
        dictionary = Dictionary()
        for tag in range(tags):
            dictionary.index(f"acme/lyon/load/{source}/press-{tag // 10:03}/signal-{tag % 10}")
        self._dictionary, self._block = dictionary.parsed(), dictionary.block
        rng = np.random.Generator(np.random.Philox(key=[seed, 1]))
        self._tag = np.tile(np.arange(tags, dtype=np.uint32), -(-readings // tags))[:readings]
        self._value = np.round(rng.normal(50, 1, readings), 2).astype(np.float32).astype(np.float64)
        self._quality = np.full(readings, 192, np.uint8)
        self._place = np.arange(readings) // tags
        self._life = Incarnation(time.time_ns() // 1_000, seed)
        self._seq = 0

    @property
    def paths(self) -> tuple[str, ...]:
        return self._dictionary.tags

    def body(self, newest_us: int, spacing_us: int = SPACING_US) -> bytes:
        """The next frame: each tag's readings `spacing_us` apart, the newest at `newest_us`."""
        ts_us = newest_us - (self._place[-1] - self._place) * spacing_us
        self._seq += 1
        parsed = self._dictionary
        return frame_codec.encode(
            Frame(
                self.source, self._life, self._seq, 0, parsed.tags, parsed.kinds,
                self._tag, ts_us, self._value, self._quality, dictionary=self._block,
            )
        )  # fmt: skip


class Door:
    """One source's connection; it is made again when it breaks."""

    def __init__(self, api_url: str, token: str, source: str) -> None:
        parts = urlsplit(api_url)
        self._address = (parts.hostname or "", parts.port)
        self._headers = {
            "Authorization": f"Bearer {token}",
            "Content-Type": FRAME_TYPE,
            "Millrace-Source": source,
        }
        self._connection: http.client.HTTPConnection | None = None

    def post(self, body: bytes) -> tuple[int, float | None]:
        """Status and Retry-After in seconds; status 0: the outcome is unknown."""
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection(*self._address, timeout=ANSWER_TIMEOUT_S)
            self._connection.request("POST", "/v1/readings", body, self._headers)
            answer = self._connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            self.close()
            return 0, None
        retry_after = answer.headers.get("Retry-After")
        return answer.status, float(retry_after) if retry_after else None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def offer(door: Door, bodies: Bodies, answers: Answers, dues_s: Iterator[float]) -> None:
    """Post a body at each due time (wall clock, seconds). A refused body is dropped: the next one is newer.

    Bodies that fell due while an answer was outstanding leave at once, one after another.
    """
    for due_s in dues_s:
        time.sleep(max(due_s - time.time(), 0.0))
        body = bodies.body(round(due_s * 1e6))
        status, retry_after_s = door.post(body)
        answers.seconds.setdefault(status, []).append(time.time() - due_s)
        answers.offered += bodies.readings
        answers.accepted += bodies.readings if status == 202 else 0
        answers.unknown += bodies.readings if status == 0 else 0
        answers.without_retry_after += int(status == 429 and retry_after_s is None)


def offer_all(
    api_url: str, token: str, sources: Sequence[Bodies], *, readings_per_s: float, seconds: float
) -> list[Answers]:
    """Every source at its share of the rate, evenly shifted against each other; their answers."""
    every_s = sources[0].readings * len(sources) / readings_per_s
    begin_s = time.time() + 0.2
    found = [Answers(bodies.source) for bodies in sources]
    threads = []
    for number, (bodies, answers) in enumerate(zip(sources, found, strict=True)):
        first_s = begin_s + every_s * number / len(sources)
        dues_s = iter(np.arange(first_s, begin_s + seconds, every_s).tolist())
        door = Door(api_url, token, bodies.source)
        threads.append(threading.Thread(target=offer, args=(door, bodies, answers, dues_s)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def summary(found: Sequence[Answers], seconds: float) -> dict[str, float | int | dict[str, int]]:
    """Totals of a phase."""
    every = sorted(s for answers in found for times in answers.seconds.values() for s in times)
    counts: dict[str, int] = {}
    for answers in found:
        for status, times in answers.seconds.items():
            counts[str(status)] = counts.get(str(status), 0) + len(times)
    shares = [answers.accepted for answers in found]
    return {
        "offered_per_s": round(sum(answers.offered for answers in found) / seconds),
        "accepted_per_s": round(sum(shares) / seconds),
        "answers": counts,
        "answer_p50_s": round(every[len(every) // 2], 3) if every else 0.0,
        "answer_p99_s": round(every[int(0.99 * (len(every) - 1))], 3) if every else 0.0,
        "answer_max_s": round(every[-1], 3) if every else 0.0,
        "refusals_without_retry_after": sum(answers.without_retry_after for answers in found),
        "least_share": round(min(shares) * len(shares) / max(sum(shares), 1), 3),
    }
