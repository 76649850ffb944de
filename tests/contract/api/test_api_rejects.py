"""The quarantine over HTTP, and text that no store can hold."""

from __future__ import annotations

import psycopg
import pytest
from api_platform import Platform

from millrace.batch import Reason
from millrace.protocols import frame as frame_codec


def add_rejects(url: str, now_us: int, count: int = 5) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for i in range(count):
            payload = b'{"tag":"a/b","ts":%d,"value":%d}' % (now_us - i, i)
            connection.execute(
                "INSERT INTO reject"
                " (position, received_ts_us, ts_us, shard, index, count, reason, source, tag, payload)"
                " VALUES (%s, %s, %s, 0, 0, 1, %s, 'gw-1', 'a/b', %s)",
                [i + 1, now_us, now_us - i, "foreign_source" if i else "bad_time", payload],
            )


@pytest.mark.requirement("S-19")
def test_rejects_are_paged_newest_first_with_their_reason(platform: Platform, postgres: str) -> None:
    add_rejects(postgres, platform.live._clock.now_us())
    seen, cursor = [], ""
    while cursor is not None:
        page = platform.client.get("/v1/rejects", params={"limit": 2, "cursor": cursor}).json()
        seen += [(row["id"], row["reason"]) for row in page["rejects"]]
        cursor = page["next_cursor"]
    assert [number for number, _ in seen] == [5, 4, 3, 2, 1]
    assert seen[-1][1] == "bad_time"
    one = platform.client.get("/v1/rejects", params={"reason": "bad_time"}).json()["rejects"]
    assert one[0]["payload"].startswith('{"tag":"a/b"')
    wrong = platform.client.get("/v1/rejects", params={"reason": "bad_tyme"})
    known, hint = wrong.json()["wanted"].removeprefix("one of ").split(" (")
    assert hint == "did you mean bad_time?)"
    assert set(known.split(", ")) == {reason.name.lower() for reason in Reason} - {"ok"}


@pytest.mark.requirement("S-19")
def test_a_replay_sends_each_reject_once_however_often_it_is_asked(platform: Platform, postgres: str) -> None:
    add_rejects(postgres, platform.live._clock.now_us())
    answers = [
        platform.client.post("/v1/rejects/replay", json={"reason": "foreign_source"}).json() for _ in range(2)
    ]
    assert answers == [{"frames": 1, "rejects": 4}, {"frames": 0, "rejects": 0}]
    records = [r for n in range(2) for r in platform.stream.read({n: 0}, count_max=9, wait_s=0).get(n, [])]
    [frame] = [frame_codec.decode(record.data) for record in records]
    assert (frame.source, frame.replay, frame.seq, len(frame.ts_us)) == ("gw-1", True, 1, 4)
    assert sorted(frame.value.tolist()) == [1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize(
    "body",
    [
        "{}", "[]", "{", '{"reason":"x"}', '{"reason":"ok"}', '{"ids":[0]}', '{"idz":[1]}', '{"limit":0,"tag":"a"}',
        pytest.param('{"ids":[' + "1," * 10_000 + "1]}", id="too many ids"),
    ],
)  # fmt: skip
def test_a_replay_of_everything_or_nothing_is_refused(platform: Platform, body: str) -> None:
    answer = platform.client.post("/v1/rejects/replay", content=body)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/tags?path=%00",
        "/v1/tags?path=%ff%fe",
        "/v1/tags?cursor=AAAA",
        "/v1/tags?limit=99999999999999999999",
        "/v1/tags/%00/history",
        "/v1/tags/a/history?from=999999999999999999",
        "/v1/tags/a/latest?source=%00",
        "/v1/anomalies?source=%00",
        "/v1/anomalies?cursor=1_zz",
        "/v1/anomalies?path=" + "x" * 300,
        "/v1/alarms?state=burning",
        "/v1/rejects?tag=%00",
        "/v1/rejects?cursor=-1",
        "/v1/live?path=" + "x" * 300,
        "/v1/equipment/%00/live",
        "/v1/nothing",
    ],
)
def test_a_hostile_parameter_is_a_problem_and_never_a_fault(platform: Platform, path: str) -> None:
    answer = platform.client.get(path)
    assert answer.status_code in (200, 400, 404), answer.text
    if answer.status_code != 200:
        assert answer.headers["content-type"] == "application/problem+json"


def test_a_cursor_that_is_none_is_told_in_words(platform: Platform) -> None:
    told = platform.client.get("/v1/rejects?cursor=-1").json()
    assert told["detail"] == "cursor: found '-1', wanted digits alone"
