"""`POST /v1/readings` and what stands before it."""

from __future__ import annotations

import json
from collections.abc import Callable

import httpx
import pytest
import zstandard
from api_platform import Platform

from millrace import telemetry
from millrace.protocols import frame as frame_codec

READING = {"tag": "acme/lyon/press-shop/line-2/press-07/spindle-temp", "value": 71.25}


def body(platform: Platform, count: int = 3) -> bytes:
    now_us = platform.live._clock.now_us()
    return b"\n".join(json.dumps(READING | {"ts": now_us - i}).encode() for i in range(count))


@pytest.mark.requirement("S-19")
def test_a_body_answered_202_is_in_the_stream(platform: Platform) -> None:
    answer = platform.client.post("/v1/readings", content=body(platform), headers={"Millrace-Source": "gw-9"})
    assert answer.status_code == 202, answer.text
    assert answer.json() == {"accepted": 3, "rejected": 0, "reasons": {}, "rejects": []}
    records = [r for n in range(2) for r in platform.stream.read({n: 0}, count_max=9, wait_s=0).get(n, [])]
    assert [frame_codec.decode(record.data).source for record in records] == ["gw-9"]


def test_a_refused_reading_is_named_by_its_index_and_reason(platform: Platform) -> None:
    answer = platform.client.post("/v1/readings", content=body(platform, 1) + b"\nnot json\n")
    assert answer.status_code == 202, answer.text
    assert answer.json() == {
        "accepted": 1,
        "rejected": 1,
        "reasons": {"bad_syntax": 1},
        "rejects": [{"index": 1, "reason": "bad_syntax"}],
    }


def test_every_refused_reading_is_counted_under_its_reason_also_those_that_are_not_named(
    platform: Platform,
) -> None:
    told = platform.client.post("/v1/readings", content=b"no\n" * 1_200 + b'{"tag":"a/b"}\n' * 7).json()
    assert (told["rejected"], len(told["rejects"])) == (1_207, 1_000)
    assert told["reasons"] == {"bad_syntax": 1_200, "bad_schema": 7}


def test_the_identity_headers_become_the_frames_identity(platform: Platform) -> None:
    headers = {"Millrace-Source": "gw", "Millrace-Incarnation": "1700000000000000-ff", "Millrace-Seq": "12"}
    assert platform.client.post("/v1/readings", content=body(platform), headers=headers).status_code == 202
    records = [r for n in range(2) for r in platform.stream.read({n: 0}, count_max=9, wait_s=0).get(n, [])]
    frame = frame_codec.decode(records[0].data)
    assert (frame.incarnation.start_us, frame.incarnation.nonce, frame.seq) == (1700000000000000, 255, 12)


@pytest.mark.parametrize(
    ("headers", "status", "field"),
    [
        ({"Millrace-Incarnation": "soon", "Millrace-Seq": "1"}, 400, "Millrace-Incarnation"),
        ({"Millrace-Incarnation": "1-a"}, 400, "Millrace-Seq"),
        ({"Millrace-Incarnation": "1-a", "Millrace-Seq": "-1"}, 400, "Millrace-Seq"),
        ({"Idempotency-Key": "k" * 300}, 400, "Idempotency-Key"),
        ({"Millrace-Source": "s" * 200}, 400, "Millrace-Source"),
        ({"Content-Type": "text/html"}, 415, None),
        ({"Content-Encoding": "br"}, 415, None),
    ],
)
def test_a_wrong_header_is_named(
    platform: Platform, headers: dict[str, str], status: int, field: str | None
) -> None:
    answer = platform.client.post("/v1/readings", content=body(platform), headers=headers)
    problem = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert problem["status"] == status
    assert problem.get("field") == field


def test_a_body_beyond_the_bound_is_413_before_it_is_read(platform: Platform) -> None:
    def endless() -> object:
        for _ in range(1000):
            yield b"x" * 65_536

    try:
        answer = platform.client.post("/v1/readings", content=endless())  # type: ignore[arg-type]
    except httpx.WriteError:
        return  # the server closed while we were still sending: it did not read on
    assert answer.status_code == 413


def test_a_bomb_is_413_and_a_compressed_body_is_read(platform: Platform) -> None:
    bomb = zstandard.compress(b" " * 50_000_000)
    for content, status in ((bomb, 413), (zstandard.compress(body(platform)), 202)):
        answer = platform.client.post("/v1/readings", content=content, headers={"Content-Encoding": "zstd"})
        assert answer.status_code == status, answer.text


@pytest.mark.parametrize("header", [None, "Bearer wrong", "Basic eDp5", "Bearer"])
def test_without_the_token_nothing_is_answered_but_401(platform: Platform, header: str | None) -> None:
    headers = {"Authorization": header} if header else {}
    for path in ("/v1/stats", "/v1/tags/a/latest", "/metrics", "/nothing"):
        answer = httpx.get(platform.url + path, headers=headers)
        assert answer.status_code == 401
        assert answer.json()["type"] == "urn:millrace:problem:unauthorized"
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_health_and_description_need_no_token(platform: Platform) -> None:
    assert httpx.get(platform.url + "/v1/health/live").json() == {"status": "live"}
    ready = httpx.get(platform.url + "/v1/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (200, "ready"), ready.text
    description = httpx.get(platform.url + "/openapi.json").json()
    assert description["openapi"].startswith("3.1")
    assert "/v1/readings" in description["paths"]


def refused(reason: str) -> float:
    return telemetry.totals()[f"ingest_requests_refused_total{{{reason}}}"]


def endless(platform: Platform) -> httpx.Response:
    """A body without a length, beyond the bound."""
    answer = platform.client.post("/v1/readings", content=(b"x" * 1_000 for _ in range(201)))
    assert answer.json()["code"] == "body_too_large"
    return answer


@pytest.mark.requirement("S-19")
@pytest.mark.parametrize(
    ("reason", "status", "send"),
    [
        ("unauthorized", 401, lambda it: httpx.post(f"{it.url}/v1/readings", content=b"{}")),
        ("bad_header", 400, lambda it: it.client.post("/v1/readings", headers={"Millrace-Seq": "1"})),
        (
            "bad_source",
            400,
            lambda it: it.client.post("/v1/readings", headers={"Millrace-Source": "s" * 129}),
        ),
        ("body_too_large", 413, endless),
        ("record_too_large", 413, lambda it: it.client.post("/v1/readings", content=b"x" * 200_001)),
        (
            "unknown_format",
            415,
            lambda it: it.client.post("/v1/readings", headers={"Content-Type": "text/html"}),
        ),
    ],
)
def test_a_request_that_is_refused_whole_is_counted_once_under_its_reason(
    platform: Platform, reason: str, status: int, send: Callable[[Platform], httpx.Response]
) -> None:
    before, other = refused(reason), refused("other")
    assert send(platform).status_code == status
    assert (refused(reason), refused("other")) == (before + 1, other)


@pytest.mark.requirement("S-19")
def test_readings_that_the_door_refuses_one_by_one_are_counted_by_reason(platform: Platform) -> None:
    def counted(metric: str) -> float:
        return telemetry.totals().get(metric, 0.0)

    names = ("ingest_readings_rejected_total{bad_time}", "ingest_readings_rejected_total{bad_syntax}")
    before = [counted(name) for name in (*names, "ingest_readings_accepted_total")]
    late = b'{"tag":"acme/lyon/x","ts":"yesterday","value":1}'
    answer = platform.client.post(
        "/v1/readings", content=b"\n".join([late, body(platform), late, b"not json"])
    )
    assert (answer.status_code, answer.json()["rejected"]) == (202, 3)
    after = [counted(name) for name in (*names, "ingest_readings_accepted_total")]
    assert [new - old for new, old in zip(after, before, strict=True)] == [2, 1, answer.json()["accepted"]]


def test_who_is_not_signed_in_elsewhere_counts_for_no_reading(platform: Platform) -> None:
    before = refused("unauthorized")
    assert httpx.get(f"{platform.url}/v1/tags").status_code == 401
    assert refused("unauthorized") == before
