"""A real-time store begins empty at every start: whoever follows it must come to know all that went before."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.simulation.real_platform import Platform, Witness

pytestmark = pytest.mark.long

WAIT_S = 60.0


def get(platform: Platform, path: str) -> tuple[int, dict[str, Any]]:
    token = Path(platform.endpoints["token_file"]).read_text().strip()
    request = urllib.request.Request(
        platform.endpoints["api_url"] + path, headers={"Authorization": f"Bearer {token}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=WAIT_S) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, {}


def until_fresh(platform: Platform, path: str, newest_us: int) -> dict[str, Any]:
    """The first whole answer that reaches to `newest_us`: what was just accepted is seen a moment after its 202."""
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        status, body = get(platform, path)
        if status == 200 and body.get("complete", True) and _newest(body) == newest_us:
            return body
        time.sleep(0.25)
    raise AssertionError(f"{path}: {newest_us} wanted, found {get(platform, path)}")


def _newest(body: dict[str, Any]) -> int | None:
    """Of a latest value, or of a history."""
    ts_us = body.get("ts_us")
    if isinstance(ts_us, list):
        return ts_us[-1] if ts_us else None
    return ts_us


def test_after_a_restart_latest_and_raw_history_hold_what_came_before_it(platform: Platform) -> None:
    witness = Witness(platform, sources=2, tags=3)
    witness.start()
    time.sleep(2.0)
    witness.close()
    platform.stop()
    platform.start()
    tag = witness.tags[0][0]
    told = sorted(ts for path, ts in witness.told if path == tag)
    until_fresh(platform, f"/v1/tags/{urllib.parse.quote(tag)}/latest", told[-1])
    span = f"from={told[0]}&to={told[-1] + 1}&agg=raw&points=100000"
    path = f"/v1/tags/{urllib.parse.quote(tag)}/history?{span}"
    assert until_fresh(platform, path, told[-1])["ts_us"] == told


def test_what_comes_after_a_restart_is_served_complete_at_once(platform: Platform) -> None:
    """Positions have gaps: between the archive's end and the first blob lies nothing, and the API knows it."""
    first = Witness(platform, sources=2, tags=3)
    first.start()
    time.sleep(1.5)
    first.close()
    platform.stop()
    platform.settings["MILLRACE_SEGMENT_AGE_S"] = "600"  # nothing is archived meanwhile
    platform.start()
    second = Witness(platform, sources=2, tags=3)
    second.start()
    time.sleep(1.5)
    second.close()
    tag = second.tags[0][0]
    told = sorted(ts for path, ts in first.told | second.told if path == tag)
    span = f"from={told[0]}&to={told[-1] + 1}&agg=raw&points=100000"
    path = f"/v1/tags/{urllib.parse.quote(tag)}/history?{span}"
    assert until_fresh(platform, path, told[-1])["ts_us"] == told
