"""`millrace stats` speaks to a person; the same in full is its --json."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from millrace.cli import app
from millrace.cli.platform import Api
from millrace.cli.stats import rows

TOLD: dict[str, Any] = {
    "uptime_s": 87.4, "rate": 10_526.8, "lag_ms": 13.1, "accepted": 241, "received": 896_241, "processed": 896_230,
    "duplicate": 7, "late": 3, "rejected": 4, "rejected_by_reason": {"bad_time": 3, "bad_tag": 1},
    "stored": 895_196, "archived": 602_995, "anomalies": 122, "alarms": 2,
    "latency_ms": {"visible": {"p50": 19.3, "p99": 111.6}, "durable": {"p50": 119.1, "p99": None}},
    "disk": {"used_bytes": 217_849_856, "max_bytes": 21_474_836_480, "free_bytes": 63_917_572_096, "hours_left": 2.8},
}  # fmt: skip


def test_the_figures_are_said_in_words_with_their_units() -> None:
    said = dict(rows(TOLD))
    assert said["received"] == "896,241, of them 241 over HTTP"
    assert said["applied"] == "896,230, of them 3 late"
    assert said["rejected"] == "4 (bad_time 3, bad_tag 1)"
    assert said["visible p50, p99"] == "19 ms, 112 ms"
    assert said["durable p50, p99"] == "119 ms, –"
    assert said["disk"] == "0.22 GB of 21.47 GB, 2.8 h left at this pace; 63.9 GB free"


def test_why_ingest_has_stopped_is_said() -> None:
    closed = {"reason": "disk_nearly_full", "detail": "the data folder holds 2.15 GB"}
    assert dict(rows(TOLD | {"ingest_closed": closed}))["ingest stopped"] == closed["detail"]
    assert "ingest stopped" not in dict(rows(TOLD | {"ingest_closed": None}))


def test_what_is_not_known_yet_is_said_so() -> None:
    young = TOLD | {"lag_ms": None, "disk": TOLD["disk"] | {"hours_left": None}}
    assert dict(rows(young))["lag"] == "–"
    assert "no estimate yet" in dict(rows(young))["disk"]
    assert "disk" not in dict(rows(TOLD | {"disk": {}}))


def test_a_watched_platform_is_a_document_a_line_for_a_script(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stats:
        asked = 0

        def get(self, path: str) -> dict[str, Any]:
            self.asked += 1
            if self.asked > 2:
                raise KeyboardInterrupt
            return TOLD

    monkeypatch.setattr(Api, "of", lambda home: Stats())
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    said = CliRunner().invoke(app, ["stats", "--watch", "--json"]).stdout
    assert [json.loads(line) for line in said.splitlines()] == [TOLD, TOLD]
