"""MILLRACE_DISK_MAX: at the bound the door answers 429 with the reason, reads go on, and below it it opens again."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

from millrace.clock import EdgeClock
from tests.simulation.real_platform import Platform, running, until

BOUND_BYTES = 2 * 2**30  # the least that the setting takes
TAG = "acme/lyon/l1/probe/t0"
LOOK_S = 60.0
# The databases' logs grow by files of their own sizes, so how far above the bound it was is left open.
STOPPED = re.compile(
    r"ingest has stopped: the data folder holds (?P<held>[\d.]+) GB, "
    r"wanted less than (?P<wanted>[\d.]+) GB \(MILLRACE_DISK_MAX\)"
)


def post(platform: Platform) -> tuple[int, str, dict[str, str]]:
    """Status, body and headers of one reading."""
    reading = b'{"tag":"%s","ts":%d,"value":1}' % (TAG.encode(), EdgeClock().now_us())
    with platform.client() as client:
        headers = {"Content-Type": "application/x-ndjson", "Millrace-Source": "probe"}
        found = client.post("/v1/readings", content=reading, headers=headers)
    return found.status_code, found.text, dict(found.headers)


def fill(file: Path) -> None:
    """As much as the bound, without writing it."""
    with file.open("wb") as out:
        os.posix_fallocate(out.fileno(), 0, BOUND_BYTES)


@pytest.mark.long
@pytest.mark.requirement("B-08")
def test_at_the_disk_budget_ingest_says_why_and_below_it_goes_on(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    with running(tmp_path, {**settings, "MILLRACE_DISK_MAX": "2GiB"}) as platform:
        filler = platform.home / "archive" / "filler"
        assert post(platform)[0] == 202
        fill(filler)
        try:
            until(lambda: post(platform)[0] != 202, LOOK_S, "a refusal")
            status, body, headers = post(platform)
            assert (status, headers["content-type"]) == (429, "application/problem+json")
            assert "disk_nearly_full" in body
            assert "MILLRACE_DISK_MAX" in body
            assert int(headers["retry-after"]) >= 1
            with platform.client() as client:
                latest = f"/v1/tags/{TAG}/latest"
                until(
                    lambda: client.get(latest).status_code == 200, LOOK_S, "the reading that was taken before"
                )
                told = client.get("/v1/stats").json()
            disk, closed = told["disk"], told["ingest_closed"]
            assert closed["reason"] == "disk_nearly_full"
            assert "MILLRACE_DISK_MAX" in closed["detail"]
            assert disk["used_bytes"] >= disk["max_bytes"] == BOUND_BYTES
            # Asked for once a second: a door that opens again sooner is not spoken of.
            found = until(lambda: STOPPED.search((tmp_path / "up.log").read_text()), LOOK_S, "it says why")
            assert float(found["held"]) >= float(found["wanted"]) == round(BOUND_BYTES / 1e9, 2)
            refused_s = time.time()
            filler.unlink()
            until(lambda: post(platform)[0] == 202, LOOK_S, "an open door")
            with platform.client() as client:
                until(
                    lambda: client.get(latest).json()["ts_us"] > refused_s * 1e6,
                    LOOK_S,
                    "the reading that was taken after",
                )
                assert client.get("/v1/stats").json()["ingest_closed"] is None
            until(lambda: "ingest goes on" in (tmp_path / "up.log").read_text(), LOOK_S, "it says so")
        finally:
            filler.unlink(missing_ok=True)
    assert platform.process is None
