"""The API's table of calls: each is served, described, bounded, and refuses what is no answer to it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import httpx
import numpy as np
import psycopg
import pytest
from api_platform import Platform, Writer, tag
from test_api_live import TEMP, Events

from millrace.api import events
from millrace.batch import ANOMALY, OPENED, TagInfo, ValueKind
from millrace.clock import SECOND_US
from tests.waiting import wait_for

PRESS = "acme/lyon/press-shop/line-2/press-07"

# Call, and what it answers on a platform with one reading of TEMP: the table of the API's contract.
CALLS = {
    "GET /v1/tags": ("/v1/tags?path=acme/lyon/*&limit=1", 200),
    "GET /v1/tags/{path}/latest": (f"/v1/tags/{TEMP}/latest", 200),
    "GET /v1/tags/{path}/history": (f"/v1/tags/{TEMP}/history?points=10&agg=lttb", 200),
    "GET /v1/equipment/{path}/live": (f"/v1/equipment/{PRESS}/live", 200),
    "GET /v1/anomalies": ("/v1/anomalies?path=acme/*&detector=ewma&from=0&to=2026-01-05T08:00:00Z", 200),
    "GET /v1/alarms": ("/v1/alarms?state=all", 200),
    "GET /v1/rejects": ("/v1/rejects", 200),
    "GET /v1/health/live": ("/v1/health/live", 200),
    "GET /v1/health/ready": ("/v1/health/ready", 200),
    "GET /v1/stats": ("/v1/stats", 200),
    "POST /v1/readings": ("/v1/readings", 202),
    "POST /v1/rejects/replay": ("/v1/rejects/replay", 202),
}
FOLLOWED = "GET /v1/live"  # never ends: followed in test_api_live.py


@pytest.mark.parametrize("path", ["/v1/tags/", "/v1/readings/", f"/v1/tags/{TEMP}/latest/", "//v1/tags"])
def test_nobody_is_led_elsewhere_with_the_token(platform: Platform, path: str) -> None:
    """A redirect would name the scheme that this process speaks: http, behind whatever TLS."""
    for verb in ("GET", "POST"):
        answer = platform.client.request(verb, path)
        assert (answer.status_code, answer.json()["code"]) == (404, "no_such_route")
        assert "location" not in answer.headers


@pytest.mark.requirement("S-18")
def test_every_call_of_the_contract_is_described_and_answers(platform: Platform, writer: Writer) -> None:
    now_us = writer.clock.now_us()
    writer.say([(0, now_us, 1.0)], tags=[tag(0, TEMP)])
    wait_for(lambda: platform.live.rows == 1, "taken")
    bodies = {
        "POST /v1/readings": b'{"tag":"%s","ts":%d,"value":1}' % (TEMP.encode(), now_us),
        "POST /v1/rejects/replay": b'{"reason":"foreign_source"}',
    }
    described = platform.client.get("/openapi.json").json()["paths"]
    found = {
        f"{verb.upper()} {path.replace('{path:path}', '{path}')}"
        for path, verbs in described.items()
        for verb in verbs
    }
    assert {*CALLS, FOLLOWED} <= found
    for call, (url, status) in CALLS.items():
        answer = platform.client.request(call.split()[0], url, content=bodies.get(call))
        assert answer.status_code == status, (call, answer.text)
        assert answer.json() is not None


@pytest.mark.parametrize(
    ("call", "field"),
    [
        ("/v1/tags?limit=0", "limit"),
        ("/v1/tags?limit=1001", "limit"),
        ("/v1/tags?cursor=no", "cursor"),
        (f"/v1/tags?path={'a' * 300}", "path"),
        ("/v1/anomalies?from=soon", "from"),
        ("/v1/anomalies?limit=5000", "limit"),
        ("/v1/anomalies?cursor=1_x", "cursor"),
        ("/v1/alarms?state=loud", "state"),
        ("/v1/alarms?cursor=-1_00000000-0000-0000-0000-000000000000", "cursor"),
        ("/v1/rejects?limit=0", "limit"),
        (f"/v1/live?path={'a' * 300}", "path"),
    ],
)
def test_every_parameter_has_a_bound_and_the_wrong_one_is_named(
    platform: Platform, call: str, field: str
) -> None:
    answer = platform.client.get(call)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json"), (
        answer.text
    )
    assert answer.json()["field"] == field
    assert "Input should" not in answer.text, "the words of a library"


@pytest.mark.parametrize(
    ("call", "field", "wanted"),
    [
        ("/v1/tags?pth=acme/*", "pth", "did you mean path?"),
        ("/v1/tags/a/history?form=0", "form", "did you mean from?"),
        ("/v1/anomalies?path=acme/*&equipment=pump", "equipment", "one of from, to, path, detector, "),
        ("/v1/rejects?Limit=5", "Limit", "did you mean limit?"),
        ("/v1/live?tag=a/b", "tag", "one of path, source"),
        ("/v1/stats?watch=1", "watch", "no parameter"),
    ],
)
def test_a_parameter_that_a_call_does_not_know_is_named_and_not_passed_over(
    platform: Platform, call: str, field: str, wanted: str
) -> None:
    answer = platform.client.get(call)
    assert answer.status_code == 400, answer.text
    assert answer.json()["field"] == field
    assert wanted in answer.json()["wanted"]


def anomaly_row(url: str, number: int, start_us: int, detector: str, path: str = TEMP) -> str:
    event_id = str(UUID(int=number))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO anomaly VALUES (%s, NULL, %s, 'gw-1', %s, 1, %s, %s, 2.0, 1.0, 'NaN', 0)",
            [event_id, path, detector, start_us, start_us + SECOND_US],
        )
    return event_id


def test_anomalies_are_found_by_time_path_and_detector_and_paged_newest_first(
    platform: Platform, postgres: str
) -> None:
    base_us = 1_767_600_000_000_000
    ids = [
        anomaly_row(postgres, i + 1, base_us + i // 2 * SECOND_US, "ewma" if i % 3 else "flatline")
        for i in range(12)
    ]
    other = anomaly_row(postgres, 99, base_us, "ewma", "acme/porto/x")

    def pages(**params: Any) -> list[str]:
        seen, cursor = [], ""
        while cursor is not None:
            page = platform.client.get(
                "/v1/anomalies", params={"limit": 5, "cursor": cursor, **params}
            ).json()
            seen += [row["id"] for row in page["anomalies"]]
            cursor = page["next_cursor"]
        return seen

    assert pages(path="acme/lyon/*") == ids[::-1]
    assert set(pages()) == {*ids, other}
    assert pages(detector="flatline") == [ids[i] for i in (9, 6, 3, 0)]
    # An interval is in a span that it touches: one that began a second before is, one that begins at its end is not.
    found = pages(path=TEMP, **{"from": base_us + 2 * SECOND_US, "to": base_us + 4 * SECOND_US})
    assert found == ids[7:1:-1]


@pytest.mark.requirement("S-18")
@pytest.mark.parametrize("limit", [1, 5])
def test_a_pattern_that_few_tags_match_finds_them_behind_any_number_of_others(
    platform: Platform, postgres: str, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(events, "SCAN_MAX", 20)
    monkeypatch.setattr(events, "SCAN_AT_ONCE", 10)
    base_us = 1_767_600_000_000_000
    wanted = [anomaly_row(postgres, 1_000 + i, base_us + i, "ewma", "acme/porto/x") for i in range(3)]
    for i in range(70):
        anomaly_row(postgres, i + 1, base_us + SECOND_US + i, "ewma")
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        asked = {"limit": limit, "cursor": cursor, "path": "*/porto/x"}
        page = platform.client.get("/v1/anomalies", params=asked).json()
        seen += [row["id"] for row in page["anomalies"]]
        cursor = page["next_cursor"]
    assert seen == wanted[::-1]


def test_an_equipment_says_its_state_in_words_and_shows_tags_without_a_reading(
    platform: Platform, writer: Writer, postgres: str
) -> None:
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO asset_tag (path, source, kind, data_class, criticality, period_us, unit, states) "
            "VALUES (%s, 'gw-1', 3, 0, 2, 1000, '', '{idle,running}')",
            [f"{PRESS}/state"],
        )
    tags: list[TagInfo] = [tag(0, f"{PRESS}/state", kind=ValueKind.STATE), tag(1, f"{PRESS}/load")]
    writer.say([(0, 5_000, 1.0)], tags=tags)
    wait_for(lambda: platform.live.rows == 1, "taken")
    shown = platform.client.get(f"/v1/equipment/{PRESS}/live").json()
    assert (shown["equipment"], shown["state"]) == (PRESS, "running")
    by_tag = {row["tag"]: row for row in shown["tags"]}
    assert by_tag[f"{PRESS}/load"]["ts_us"] is None
    assert (by_tag[f"{PRESS}/state"]["state"], by_tag[f"{PRESS}/state"]["ts_us"]) == ("running", 5_000)
    assert (shown["tags_left_out"], shown["open_alarms"]) == (0, [])
    above = platform.client.get("/v1/equipment/acme/lyon/live").json()
    assert len(above["tags"]) == 2


def test_who_comes_back_hears_of_the_anomalies_in_between_once(platform: Platform, writer: Writer) -> None:
    first = Events(platform, path=TEMP)
    writer.say([(0, 1_000, 1.0)], tags=[tag(0, TEMP)])
    wait_for(lambda: first.readings() == [1.0], "the first")
    last_id = first.got[-1][0]
    rows = np.zeros(1, ANOMALY)
    rows[0] = (0, 0, 0, OPENED, 2_000, 2_000, 2.5, 80.0, np.nan)
    writer.say([(0, 2_000, 80.0)], anomalies=rows)
    wait_for(lambda: platform.live.rows == 2, "taken")
    again = Events(platform, last_id, path=TEMP)
    wait_for(lambda: len(again.got) == 2, "a reading and an anomaly")
    assert sorted(kind for _, kind, _ in again.got) == ["anomaly", "readings"]
    third = Events(platform, again.got[-1][0], path=TEMP)
    writer.say([(0, 3_000, 3.0)])
    wait_for(lambda: third.readings() == [3.0], "only what is new")
    assert len(third.got) == 1


def test_who_comes_back_after_the_window_has_gone_on_is_told_since_when(
    platform: Platform, writer: Writer
) -> None:
    first = Events(platform, path=TEMP)
    writer.say([(0, 1_000, 1.0)], tags=[tag(0, TEMP)])
    wait_for(lambda: first.readings() == [1.0], "the first")
    last_id = first.got[-1][0]
    platform.live._shards[0].window._bytes_max = 1  # it keeps its open chunk only
    for turn in range(3):
        writer.say([(0, 2_000 + turn, 2.0)] * 40_000)
        wait_for(lambda turn=turn: platform.live.rows == 1 + 40_000 * (turn + 1), "taken")
    again = Events(platform, last_id, path=TEMP)
    wait_for(lambda: again.got, "the answer")
    _, kind, data = again.got[0]
    assert (kind, data["reason"], data["from_us"]) == ("missed", "too_old", int(last_id.split("-")[2]))


def test_a_follower_more_than_there_may_be_is_told_when_to_come_back(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("millrace.api.fan_out.SUBSCRIBERS_MAX", 1)
    Events(platform, path=TEMP)
    answer = platform.client.get("/v1/live")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "5")
    assert answer.json()["type"].endswith("too_many_followers")


def test_a_store_that_is_away_is_503_and_makes_the_process_unready_but_not_dead(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform.store, "_url", "postgresql://nobody@/none?host=/nowhere")
    platform.store.close()
    for call in ("/v1/tags", "/v1/anomalies", "/v1/alarms", "/v1/rejects", f"/v1/tags/{TEMP}/history"):
        answer = platform.client.get(call)
        assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json"), call
    ready = httpx.get(platform.url + "/v1/health/ready")
    assert (ready.status_code, ready.json()["checks"]["store"]) == (503, False)
    assert httpx.get(platform.url + "/v1/health/live").status_code == 200


@pytest.mark.parametrize(
    ("away", "status", "reason"), [(True, 503, "stream_unavailable"), (False, 429, "stream_full")]
)
def test_a_stream_that_takes_nothing_is_said_with_the_time_to_come_again(
    platform: Platform, away: bool, status: int, reason: str
) -> None:
    platform.stream.unavailable = away
    platform.stream._bytes_max = 0
    content = b'{"tag":"a/b","ts":%d,"value":1}' % platform.live._clock.now_us()
    answer = platform.client.post("/v1/readings", content=content)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["type"].endswith(reason)
    assert float(answer.headers["retry-after"]) > 0
