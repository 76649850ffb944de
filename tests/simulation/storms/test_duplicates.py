"""The same thing sent twice counts once, whichever way it comes; a reused identity is a reject that one can see."""

from __future__ import annotations

import json
from typing import Any

import httpx
import numpy as np
import pytest

from millrace.batch import Frame, Incarnation
from millrace.clock import EdgeClock
from millrace.ingest.body import FRAME_TYPE
from millrace.protocols.frame import encode, stamp
from millrace.stream.contract import Entry, shard_of
from tests.simulation.real_platform import Platform, check_equal, until

SOURCE = "twice"
TAGS = tuple(f"acme/lyon/l1/twice/t{number}" for number in range(10))
LIFE = Incarnation(1_700_000_000_000_000, 7)


def frame_bytes(seq: int, now_us: int, value: float = 1.0) -> bytes:
    n = len(TAGS)
    frame = Frame(
        source=SOURCE,
        incarnation=LIFE,
        seq=seq,
        received_ts_us=now_us,
        tags=TAGS,
        kinds=np.zeros(n, np.uint8),
        tag=np.arange(n, dtype=np.uint32),
        ts_us=np.full(n, now_us - 1_000_000 + seq, np.int64),
        value=np.full(n, value),
        quality=np.full(n, 192, np.uint8),
    )
    return encode(frame)


def post(client: httpx.Client, data: bytes, **headers: str) -> dict[str, Any]:
    sent = {"Millrace-Source": SOURCE, **{name.replace("_", "-"): value for name, value in headers.items()}}
    answer = client.post("/v1/readings", content=data, headers=sent)
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()
    return found


def ledger(platform: Platform, column: str, source: str) -> int:
    rows = platform.query(
        f"SELECT coalesce(sum({column}), 0)::bigint FROM ledger l JOIN source s ON s.id = l.source_id "
        "WHERE s.name = %s",
        source,
    )
    return int(rows[0][0])


@pytest.mark.requirement("S-19")
def test_what_is_sent_twice_counts_once_and_a_reused_identity_is_a_visible_reject(platform: Platform) -> None:
    now_us = EdgeClock().now_us()
    frames = [frame_bytes(seq, now_us) for seq in range(1, 6)]
    stream = platform.stream()
    with platform.client() as client:
        for data in frames:
            post(client, data, Content_Type=FRAME_TYPE)
        for data in frames[3:]:  # the same identity again, through the door and past it
            post(client, data, Content_Type=FRAME_TYPE)
            again = Entry(shard_of(SOURCE, stream.shard_count), SOURCE, stamp(data, now_us + 1_000_000))
            stream.append([again, again])
        post(client, frame_bytes(5, now_us, value=2.0), Content_Type=FRAME_TYPE)
        keyed = [{"tag": f"acme/lyon/l1/keyed/t{i}", "ts": now_us, "value": 1.5} for i in range(4)]
        body = "\n".join(json.dumps(reading) for reading in keyed).encode()
        for _ in range(3):
            headers = {"Millrace_Source": "keyed", "Idempotency_Key": "order-66"}
            assert post(client, body, Content_Type="application/x-ndjson", **headers)["accepted"] == 4
        told = {(tag, now_us - 1_000_000 + seq) for tag in TAGS for seq in range(1, 6)}
        check_equal(platform, told | {(str(reading["tag"]), now_us) for reading in keyed})
        shown: list[dict[str, Any]] = []

        def visible() -> bool:
            shown[:] = client.get("/v1/rejects", params={"reason": "identity_reused"}).json()["rejects"]
            return bool(shown)

        until(visible, 60.0, "the reused identity in /v1/rejects")
    stream.close()
    assert {reject["source"] for reject in shown} == {SOURCE}
    assert sum(reject["count"] for reject in shown) == len(TAGS)
    assert ledger(platform, "duplicate", SOURCE) == 2 * 3 * len(TAGS)
    assert ledger(platform, "rejected", SOURCE) == len(TAGS)
    assert ledger(platform, "applied", SOURCE) == 5 * len(TAGS)
    assert (ledger(platform, "duplicate", "keyed"), ledger(platform, "applied", "keyed")) == (8, 4)
