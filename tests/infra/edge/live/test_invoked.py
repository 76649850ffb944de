"""The definition as a caller meets it: key, limits, validation, and the real service behind.

What this cannot show, because the emulator has none of it: the VPC link and TLS on the way to the service, the
custom domain, the firewall, compression, the access log, that bytes of a binary type pass unchanged through
API Gateway's own decoder, and headers of answers (it passes on the content type of a good answer only).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.contract.api.api_platform import TOKEN, Platform, Writer, tag
from tests.infra.edge.conftest import Build, body_of
from tests.infra.edge.live.invoked import Invoked, Limits, publish, synthesized
from tests.waiting import wait_for

pytestmark = pytest.mark.long

TAG = "acme/lyon/press-shop/line-2/press-07/spindle-temp"
EQUIPMENT = TAG.rpartition("/")[0]
SIGNED_IN = {"Authorization": f"Bearer {TOKEN}"}
WIDE = Limits(rate=1000, burst=1000, quota=10_000)

Publish = Callable[[Limits], Invoked]


@pytest.fixture
def published(client: Any, address: str, built: Build, platform: Platform) -> Publish:
    dev = built("dev")
    return lambda limits: publish(client, address, dev, service=platform.url, limits=limits)


@pytest.fixture
def edge_api(published: Publish) -> Invoked:
    return published(WIDE)


def counted(platform: Platform) -> list[bytes]:
    """Records that reached the stream behind the service."""
    return [r.data for n in range(2) for r in platform.stream.read({n: 0}, count_max=99, wait_s=0).get(n, [])]


def reading(platform: Platform) -> dict[str, Any]:
    return {"tag": TAG, "ts": platform.live._clock.now_us(), "value": 71.25}


def seeded(platform: Platform, writer: Writer) -> None:
    now_us = writer.clock.now_us()
    writer.say([(0, now_us, 71.25)], tags=[tag(0, TAG)])
    wait_for(lambda: platform.client.get(f"/v1/tags/{TAG}/latest").status_code == 200, "the value is live")


# --- the contract through the edge ----------------------------------------------------------------------


@pytest.mark.requirement("S-10")
def test_every_call_of_the_contract_answers_as_the_service_does(
    edge_api: Invoked, platform: Platform, writer: Writer, built: Build
) -> None:
    seeded(platform, writer)
    for path, item in body_of(built("dev"))["paths"].items():
        for method, operation in item.items():
            concrete = filled(path)
            sent: dict[str, Any] = {"headers": SIGNED_IN}
            if method == "post":
                sent["json"] = [reading(platform)] if path == "/v1/readings" else {"reason": "bad_syntax"}
            through = edge_api.call(method, concrete, **sent)
            direct = platform.client.request(method, concrete, **sent)
            assert through.status_code == direct.status_code, (method, concrete, through.text)
            assert shape(through.json()) == shape(direct.json()), operation["operationId"]


def filled(path: str) -> str:
    """The path with as many segments of a known tag as it has variables."""
    segments = iter((EQUIPMENT if path.startswith("/v1/equipment") else TAG).split("/"))
    return re.sub(r"\{\w+\}", lambda _: next(segments, "deeper"), path)


def shape(value: Any) -> Any:
    """Names without what changes from call to call."""
    if isinstance(value, dict):
        return {key: value[key] if key in ("code", "tag", "equipment") else None for key in value}
    return type(value).__name__


@pytest.mark.requirement("S-10")
def test_a_tag_of_six_levels_and_its_equipment_are_found(
    edge_api: Invoked, platform: Platform, writer: Writer
) -> None:
    seeded(platform, writer)
    latest = edge_api.call("GET", f"/v1/tags/{TAG}/latest", headers=SIGNED_IN)
    assert (latest.status_code, latest.json()["tag"], latest.json()["value"]) == (200, TAG, 71.25)
    live = edge_api.call("GET", f"/v1/equipment/{EQUIPMENT}/live", headers=SIGNED_IN)
    assert [one["tag"] for one in live.json()["tags"]] == [TAG]
    history = edge_api.call("GET", f"/v1/tags/{TAG}/history?points=10&agg=avg", headers=SIGNED_IN)
    assert (history.status_code, history.json()["agg"]) == (200, "avg")


@pytest.mark.requirement("S-10")
def test_readings_of_each_kind_of_body_reach_the_stream(edge_api: Invoked, platform: Platform) -> None:
    one = json.dumps(reading(platform)).encode()
    for media_type, content in (("application/x-ndjson", one), ("application/json", b"[" + one + b"]")):
        answer = edge_api.call(
            "POST", "/v1/readings", content=content, headers=SIGNED_IN | {"Content-Type": media_type}
        )
        assert (answer.status_code, answer.json()["accepted"]) == (202, 1), answer.text
    assert len(counted(platform)) == 2


@pytest.mark.requirement("S-19")
def test_a_bad_reading_does_not_cost_its_neighbours_at_the_edge(
    edge_api: Invoked, platform: Platform
) -> None:
    sent = [reading(platform), {"tag": TAG, "colour": "red"}]
    answer = edge_api.call("POST", "/v1/readings", json=sent, headers=SIGNED_IN)
    assert answer.status_code == 202
    assert answer.json() == {
        "accepted": 1,
        "rejected": 1,
        "reasons": {"bad_schema": 1},
        "rejects": [{"index": 1, "reason": "bad_schema"}],
    }


# --- what the edge refuses by itself --------------------------------------------------------------------


@pytest.mark.requirement("S-10")
@pytest.mark.parametrize("key", ["", "not-a-key-of-anybody-at-all"])
def test_without_a_key_nothing_reaches_the_service(edge_api: Invoked, platform: Platform, key: str) -> None:
    answer = edge_api.call("POST", "/v1/readings", key=key, json=[reading(platform)], headers=SIGNED_IN)
    assert_problem(answer, 403, "no_api_key")
    assert counted(platform) == []


@pytest.mark.requirement("S-10")
def test_a_wrong_body_is_refused_before_the_service_sees_it(edge_api: Invoked, platform: Platform) -> None:
    # without a token the service would answer 401: so the edge's 400 shows that it was never asked
    for wrong in ({"colour": "red"}, {"ids": [0]}, {"limit": "many"}, []):
        assert_problem(edge_api.call("POST", "/v1/rejects/replay", json=wrong), 400, "bad_body")
    assert edge_api.call("POST", "/v1/rejects/replay", json={"ids": [1.0]}).status_code == 401


@pytest.mark.requirement("S-10")
def test_a_route_that_is_not_exposed_is_a_problem(edge_api: Invoked) -> None:
    for path in ("/v1/live", "/openapi.json", "/health", "/v1/tags/a/b/c/d/e/f/g/h/i/latest"):
        answer = edge_api.call("GET", path, headers=SIGNED_IN)
        assert_problem(answer, 404, "no_such_route")
        assert "/v1/live is not offered here, poll /v1/equipment/{path}/live" in answer.json()["what_to_do"]


@pytest.mark.requirement("S-10")
def test_errors_of_the_service_pass_through(edge_api: Invoked, platform: Platform) -> None:
    unsigned = edge_api.call("GET", "/v1/stats")
    assert (unsigned.status_code, unsigned.json()["code"]) == (401, "unauthorized")
    for path in ("/v1/tags/a/b/c/latest", f"/v1/tags/{TAG}/history?points=0", "/v1/rejects?reason=none"):
        through = edge_api.call("GET", path, headers=SIGNED_IN)
        direct = platform.client.get(path)
        assert (through.status_code, through.json()) == (direct.status_code, direct.json())
        assert through.status_code >= 400


@pytest.mark.requirement("S-10")
def test_a_caller_in_a_loop_is_throttled_and_told_when_to_come_back(published: Publish) -> None:
    narrow = published(replace(WIDE, rate=0.2, burst=2))  # a busy machine must not be slower than the rate
    answers = [narrow.call("GET", "/v1/stats", headers=SIGNED_IN) for _ in range(6)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert [answer.status_code for answer in answers[:2]] == [200, 200]
    assert refused
    assert_problem(refused[0], 429, "too_many_requests")
    assert refused[0].headers["Retry-After"] == "1"
    wait_for(lambda: narrow.call("GET", "/v1/stats", headers=SIGNED_IN).status_code == 200, "let in again")


@pytest.mark.requirement("S-10")
def test_a_spent_quota_is_said_so(published: Publish) -> None:
    spent = published(replace(WIDE, quota=2))
    answers = [spent.call("GET", "/v1/stats", headers=SIGNED_IN) for _ in range(5)]
    assert [answer.status_code for answer in answers[:2]] == [200, 200]
    assert_problem(answers[-1], 429, "quota_exceeded")  # also where a day has ended in between: two more then


def test_the_synthesized_limits_let_an_ordinary_caller_through(published: Publish, built: Build) -> None:
    ordinary = published(synthesized(built("dev")))
    assert {ordinary.call("GET", "/v1/health/live", headers=SIGNED_IN).status_code for _ in range(5)} == {200}


def assert_problem(answer: Any, status: int, code: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["code"], problem["status"]) == (code, status)
    assert problem["request_id"]
    assert problem["what_to_do"]
