"""Every reason for a reject, caused by a sender of a running platform, and found where an operator looks for it.

A reading that is rejected is in `GET /v1/rejects?reason=` and in `process_readings_rejected_total`; a body that is
refused whole says so in the answer and in `ingest_requests_refused_total`. What can come past the door (an AWS IoT
rule writes into the stream itself) is put there, and is a reject like any other.
"""

from __future__ import annotations

import gzip
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psycopg
import pytest

from millrace.assets.tag import AssetModel, SourceModel, TagModel
from millrace.batch import FRAME_READINGS_MAX, Frame, Incarnation, Reason
from millrace.protocols import frame as frame_codec
from millrace.stream.contract import Entry, shard_of
from tests.integration.bad_input.conftest import NARROW
from tests.simulation.kills.test_kills import POISON
from tests.simulation.real_platform import Platform, small, started, until

LINE = "acme/lyon/press-shop/line-1/press-01"
MODEL = AssetModel(
    sources=(SourceModel(name="owner", silence_us=3_600_000_000),),
    tags=(
        TagModel(path=f"{LINE}/temp", source="owner", unit="degC", range_low=-50.0, range_high=500.0),
        TagModel(path=f"{LINE}/state", source="owner", kind="state", states=("stopped", "running")),
        TagModel(path=f"{LINE}/force", source="owner", data_class="critical"),
    ),
)
LOOK_S = 60.0
FULL_SHARD = 2  # `too_many_sources` fills it: no other test's source lies there
FRAME_TYPE = "application/vnd.millrace.frame"
REJECTED, REFUSED = "process_readings_rejected_total", "ingest_requests_refused_total"


class Sender:
    """Sends to the door as any program does, and past it as others write into the stream."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.client: httpx.Client = platform.client()

    def now_us(self) -> int:
        return int(time.time() * 1e6)

    def post(self, body: bytes, source: str, **headers: str) -> httpx.Response:
        named = {"Millrace-Source": source} | {name.replace("_", "-"): text for name, text in headers.items()}
        return self.client.post("/v1/readings", content=body, headers=named)

    def send(self, body: bytes, source: str = "gw-form", **headers: str) -> None:
        answer = self.post(body, source, **headers)
        assert answer.status_code == 202, answer.text

    def put(self, data: bytes, key: str) -> None:
        """A record past the door."""
        stream = self.platform.stream()
        stream.append([Entry(shard_of(key, int(self.platform.endpoints["shards"])), key, data)])
        stream.close()

    def counted(self, metric: str, reason: str) -> float:
        found = re.search(
            rf'^{metric}{{reason="{reason}"}} (\S+)$', self.client.get("/metrics").text, re.MULTILINE
        )
        return float(found[1]) if found else 0.0

    def rejects(self, reason: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.client.get("/v1/rejects", params={"reason": reason}).json()[
            "rejects"
        ]
        return rows


def line(sender: Sender, tag: str = "free/tag", value: object = 1, **more: object) -> bytes:
    return json.dumps({"tag": tag, "ts": sender.now_us(), "value": value} | more).encode()


def raw(text: bytes) -> Callable[[Sender], None]:
    """A line as it stands, in a body with a good one; NOW is the time."""
    return lambda to: to.send(line(to) + b"\n" + text.replace(b"NOW", str(to.now_us()).encode()))


def good(**fields: object) -> Callable[[Sender], None]:
    return lambda to: to.send(line(to, **fields))  # type: ignore[arg-type]


def aside(us: int) -> Callable[[Sender], None]:
    return lambda to: to.send(line(to, ts=to.now_us() + us))


def owned(**fields: object) -> Callable[[Sender], None]:
    """A reading of the model's own source."""
    return lambda to: to.send(line(to, **fields), "owner")  # type: ignore[arg-type]


def many_tags(count: int, source: str) -> Callable[[Sender], None]:
    return lambda to: to.send(b"\n".join(line(to, f"new/tag-{i}") for i in range(count)), source)


def numbered(source: str, *frames: tuple[int, int]) -> Callable[[Sender], None]:
    """Frames of one source with these (incarnation, seq), each with a value of its own."""

    def cause(to: Sender) -> None:
        for value, (start_us, seq) in enumerate(frames):
            identity = {"Millrace_Incarnation": f"{start_us}-a", "Millrace_Seq": str(seq)}
            to.send(line(to, value=value), source, **identity)

    return cause


def frame(source: str, to: Sender) -> bytes:
    """A producer's own frame, as it travels."""
    one = np.zeros(1, np.uint32)
    whole = Frame(
        source, Incarnation(1, 1), 0, to.now_us(), ("free/tag",), np.zeros(1, np.uint8), one,
        np.array([to.now_us()]), np.ones(1), np.full(1, 192, np.uint8),
    )  # fmt: skip
    return frame_codec.encode(whole)


def damaged(damage: Callable[[bytes], bytes]) -> Callable[[Sender], None]:
    """A frame damaged on the way past the door."""
    return lambda to: to.put(damage(frame("gw-past", to)), "gw-past")


def stuck(to: Sender) -> None:
    one = line(to, "free/stuck")
    to.send(b"\n".join([one] * 1_002), "gw-same-time")


def refused_by_store(to: Sender) -> None:
    with psycopg.connect(to.platform.endpoints["postgres_url"], autocommit=True) as connection:
        connection.execute("ALTER TABLE reading DROP CONSTRAINT IF EXISTS no_such")
        connection.execute("ALTER TABLE reading ADD CONSTRAINT no_such CHECK (value <> 666) NOT VALID")
    to.send(line(to, f"{LINE}/force", 666) + b"\n" + line(to, f"{LINE}/force", 667), "owner")


def more_sources_than_a_shard_takes(to: Sender) -> None:
    names = (f"stranger-{i}" for i in range(100_000))
    for name in [name for name, _ in zip(filter(in_full_shard, names), range(61), strict=False)]:
        to.put(line(to), name)


def in_full_shard(source: str) -> bool:
    return shard_of(source, int(NARROW["MILLRACE_SHARDS"])) == FULL_SHARD


REJECTS: dict[Reason, Callable[[Sender], None]] = {
    Reason.BAD_SYNTAX: raw(b"not json"),
    Reason.BAD_ENCODING: raw(b'{"tag":"a/\xff","ts":NOW,"value":1}'),
    Reason.BAD_SCHEMA: raw(b'{"tag":"a/b","ts":NOW}'),
    Reason.BAD_TAG: good(tag=""),
    Reason.TAG_TOO_LONG: good(tag="a" * 257),
    Reason.BAD_TIME: good(ts="yesterday"),
    Reason.TIME_TOO_OLD: aside(-31 * 86_400_000_000),
    Reason.TIME_IN_FUTURE: aside(60_000_000),
    Reason.NOT_FINITE: raw(b'{"tag":"a/b","ts":NOW,"value":1e999}'),
    Reason.VALUE_MISSING: good(value=None),
    Reason.INTEGER_INEXACT: raw(b'{"tag":"a/b","ts":NOW,"value":9007199254740993}'),
    Reason.BAD_QUALITY: good(quality=300),
    Reason.RECORD_TOO_LARGE: raw(b"x" * 20_000),
    Reason.UNKNOWN_FORMAT: damaged(lambda data: b"\0" + data),
    Reason.UNKNOWN_VERSION: damaged(lambda data: data[:4] + b"\x63" + data[5:]),
    Reason.CHECKSUM_MISMATCH: damaged(lambda data: data[:-1] + bytes([data[-1] ^ 1])),
    Reason.TRUNCATED: damaged(lambda data: data[:-1]),
    Reason.TOO_DEEP: raw(b'{"tag":"a/b","ts":NOW,"value":' + b"[" * 2_000 + b"]" * 2_000 + b"}"),
    Reason.BAD_SOURCE: lambda to: to.put(frame("gw-other", to), "gw-past"),
    Reason.SEQUENCE_TOO_OLD: numbered("gw-seq", (1, 5_000), (1, 1)),
    Reason.INCARNATION_TOO_OLD: numbered("gw-life", *((life, 1) for life in [*range(10, 27), 1])),
    Reason.IDENTITY_REUSED: numbered("gw-again", (1, 1), (1, 1)),
    Reason.FOREIGN_SOURCE: lambda to: to.send(line(to, f"{LINE}/temp"), "gw-foreign"),
    Reason.UNKNOWN_STATE: owned(tag=f"{LINE}/state", value="on fire"),
    Reason.OUT_OF_RANGE: owned(tag=f"{LINE}/temp", value=501.0),
    Reason.WRONG_UNIT: owned(tag=f"{LINE}/temp", unit="degF"),
    Reason.WRONG_KIND: owned(tag=f"{LINE}/temp", value="warm"),
    Reason.STUCK_CLOCK: stuck,
    Reason.TOO_MANY_TAGS: many_tags(61, "gw-tags"),
    Reason.TOO_MANY_NEW_TAGS: many_tags(41, "gw-new-tags"),
    Reason.TOO_MANY_SOURCES: more_sources_than_a_shard_takes,
    Reason.STORE_REFUSED: refused_by_store,
}
"""What a sender does -> a row of the quarantine."""

WHOLE: dict[Reason, tuple[int, Callable[[Sender], httpx.Response]]] = {
    Reason.TOO_MANY_READINGS: (
        413,
        lambda to: to.post(b"\n".join([line(to, "t")] * (FRAME_READINGS_MAX + 1)), "gw-form"),
    ),
    Reason.COMPRESSION_BOMB: (
        413,
        lambda to: to.post(gzip.compress(bytes(20_000_000)), "gw-form", Content_Encoding="gzip"),
    ),
    Reason.TRUNCATED: (
        400,
        lambda to: to.post(frame("gw-form", to)[:-1], "gw-form", Content_Type=FRAME_TYPE),
    ),
    Reason.UNKNOWN_FORMAT: (415, lambda to: to.post(b"<readings/>", "gw-form", Content_Type="text/xml")),
    Reason.BAD_SOURCE: (400, lambda to: to.post(frame("gw-other", to), "gw-form", Content_Type=FRAME_TYPE)),
}
"""What a sender does -> the status of a body that is refused whole."""

BY_KILLS = {Reason.PROCESSING_FAILED}
"""Takes a worker's life four times: a test of its own."""


@pytest.fixture(scope="module")
def sender(platform: Platform) -> Iterator[Sender]:
    platform.publish(MODEL)
    sender = Sender(platform)
    until(
        lambda: sender.client.get("/v1/tags", params={"path": "acme/*"}).json()["tags"],
        LOOK_S,
        "the model is there",
    )
    yield sender
    sender.client.close()


def test_every_reason_has_a_row_here() -> None:
    assert set(REJECTS) | set(WHOLE) | BY_KILLS == set(Reason) - {Reason.OK}


def test_the_sources_of_the_table_lie_beside_the_shard_that_is_filled() -> None:
    told = re.findall(r'"((?:gw-[a-z-]+|owner))"', Path(__file__).read_text())
    assert [source for source in told if in_full_shard(source)] == []


@pytest.mark.requirement("S-19")
@pytest.mark.parametrize("reason", REJECTS, ids=lambda reason: reason.name.lower())
def test_a_reject_is_in_the_quarantine_and_in_the_metrics(sender: Sender, reason: Reason) -> None:
    name = reason.name.lower()
    metric = "sink_readings_refused_total" if reason is Reason.STORE_REFUSED else REJECTED
    rows, counted = len(sender.rejects(name)), sender.counted(metric, name)
    REJECTS[reason](sender)
    until(lambda: len(sender.rejects(name)) > rows, LOOK_S, f"{name} in /v1/rejects")
    assert {row["reason"] for row in sender.rejects(name)} == {name}
    assert sender.client.get("/v1/rejects").json()["counts"][name] >= 1
    until(lambda: sender.counted(metric, name) > counted, LOOK_S, f"{name} in /metrics")


@pytest.mark.requirement("S-19")
@pytest.mark.parametrize("reason", WHOLE, ids=lambda reason: reason.name.lower())
def test_a_body_refused_whole_says_why_and_is_counted(sender: Sender, reason: Reason) -> None:
    name = reason.name.lower()
    counted = sender.counted(REFUSED, name)
    status, cause = WHOLE[reason]
    answer = cause(sender)
    assert (answer.status_code, answer.json()["code"]) == (status, name), answer.text
    assert sender.counted(REFUSED, name) == counted + 1


@pytest.mark.requirement("S-19")
def test_the_accounting_is_equal_after_all_of_it(platform: Platform, sender: Sender) -> None:
    sender.send(line(sender))
    code, report = platform.verify("--full")
    assert (code, report["holes"]) == (0, []), report


@pytest.mark.long
@pytest.mark.requirement("S-19")
def test_a_record_that_kills_its_worker_is_in_the_quarantine_and_in_the_metrics(tmp_path: Path) -> None:
    with started(tmp_path, small(**NARROW), "millrace.worker", POISON) as platform:
        sender = Sender(platform)
        sender.send(line(sender), "poison")
        until(
            lambda: bool(sender.rejects("processing_failed")), 3 * LOOK_S, "processing_failed in /v1/rejects"
        )
        until(
            lambda: sender.counted(REJECTED, "processing_failed") == 1,
            LOOK_S,
            "processing_failed in /metrics",
        )
        assert platform.verify()[0] == 0
        sender.client.close()
