"""Rejects that are sent again through a running platform, after what was wrong was mended: once, whatever happens."""

from __future__ import annotations

import json
import time

import httpx
import pytest

from millrace.assets.tag import AssetModel, SourceModel, TagModel
from tests.simulation.real_platform import Platform, until

TAG = "acme/lyon/press-shop/line-1/press-01/temp"
ROWS = 5
LOOK_S = 60.0
WANTED = {"reason": "foreign_source", "source": "gateway-new"}


def model(source: str) -> AssetModel:
    sources = tuple(SourceModel(name=name) for name in ("gateway-old", "gateway-new"))
    return AssetModel(sources=sources, tags=(TagModel(path=TAG, source=source, data_class="critical"),))


def send(client: httpx.Client, times_us: list[int]) -> None:
    body = b"\n".join(json.dumps({"tag": TAG, "ts": ts_us, "value": 71.0}).encode() for ts_us in times_us)
    answer = client.post("/v1/readings", content=body, headers={"Millrace-Source": "gateway-new"})
    assert answer.json() == {"accepted": ROWS, "rejected": 0, "reasons": {}, "rejects": []}


def rejected(client: httpx.Client) -> list[bool]:
    """Whether each reject was sent again."""
    rows = client.get("/v1/rejects", params=WANTED).json()["rejects"]
    return [row["replayed"] for row in rows]


def replay(client: httpx.Client) -> dict[str, int]:
    counts: dict[str, int] = client.post("/v1/rejects/replay", json=WANTED).json()
    return counts


@pytest.mark.long
@pytest.mark.requirement("B-02")
@pytest.mark.requirement("S-19")
def test_rejects_are_applied_once_after_the_model_gives_the_tag_to_their_source(platform: Platform) -> None:
    platform.publish(model("gateway-old"))
    begin_us = int(time.time() * 1e6)
    times_us = [begin_us - i * 1_000 for i in range(ROWS)]
    with platform.client() as client:
        send(client, times_us)
        until(lambda: rejected(client) == [False] * ROWS, LOOK_S, "the foreign readings in the quarantine")

        platform.publish(model("gateway-new"))
        assert replay(client) == {"frames": 1, "rejects": ROWS}
        assert replay(client) == {"frames": 0, "rejects": 0}
        # Dead between the append and the note that it was made: the same lot goes again under the same number.
        platform.query("UPDATE reject SET replayed_at = NULL WHERE source = 'gateway-new' RETURNING 1")
        assert replay(client) == {"frames": 1, "rejects": ROWS}
        assert rejected(client) == [True] * ROWS
        until(lambda: len(stored(platform)) >= ROWS, LOOK_S, "the replayed readings in PostgreSQL")
    code, report = platform.verify("--full")
    assert (code, report["holes"]) == (0, []), report
    assert sorted(stored(platform)) == sorted(times_us)
    assert {platform.archived()[TAG, ts_us] for ts_us in times_us} == {1}
    assert (report["received"], report["duplicate"]) == (3 * ROWS, ROWS)
    assert (report["rejected"], report["applied"]) == (ROWS, ROWS)


def stored(platform: Platform) -> list[int]:
    rows = platform.query("SELECT ts_us FROM reading JOIN tag ON id = tag_id WHERE path = %s", TAG)
    return [ts_us for (ts_us,) in rows]
