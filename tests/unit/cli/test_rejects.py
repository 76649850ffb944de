"""`millrace rejects` names what was refused: its tag, or what was sent."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from millrace.cli import app
from millrace.cli.platform import Api, ApiRefused
from millrace.cli.rejects import SHOWN_MAX, what


def test_a_reject_is_named_by_its_tag_or_by_what_was_sent() -> None:
    assert what({"tag": "acme/lyon/x", "payload": "{}"}) == "acme/lyon/x"
    assert what({"tag": "", "payload": '{"tag":"acme/lyon/x", "ts":"yesterday"}'}).endswith('"yesterday"}')
    assert what({"tag": None, "payload": ""}) == "-"


def test_what_was_sent_harms_no_terminal_and_is_bounded() -> None:
    assert what({"payload": "\x1b[2J\r\n{ \x07"}) == "·[2J { ·"
    assert what({"payload": "x" * 1_000}) == "x" * SHOWN_MAX + "…"


class Quarantine:
    """An API that holds so many rejects and answers a thousand of them at once."""

    def __init__(self, count: int) -> None:
        self.count = count

    def get(self, path: str, *, limit: int, cursor: str | None, **chosen: str | None) -> dict[str, Any]:
        assert (path, limit <= 1_000, chosen) == ("/v1/rejects", True, {"reason": "bad_time", "source": None})
        first = int(cursor or 0)
        last = min(first + limit, self.count)
        rows = [
            {"id": n, "received": f"{n}", "reason": "bad_time", "source": "gw", "tag": "a"}
            for n in range(first, last)
        ]
        more = str(last) if last < self.count else None
        return {"rejects": rows, "next_cursor": more, "counts": {"bad_time": self.count}}


@pytest.mark.parametrize(
    ("count", "limit", "shown"), [(2_500, 2_200, 2_200), (2_500, 10_000, 2_500), (2_500, 7, 7), (0, 50, 0)]
)
def test_as_many_are_listed_as_were_asked_for_however_many_pages_they_take(
    monkeypatch: pytest.MonkeyPatch, count: int, limit: int, shown: int
) -> None:
    monkeypatch.setattr(Api, "of", lambda home: Quarantine(count))
    asked = ["rejects", "--reason", "bad_time", "--limit", str(limit)]
    told = json.loads(CliRunner().invoke(app, [*asked, "--json"]).stdout)
    assert [row["id"] for row in told["rejects"]] == list(range(shown))
    lines = CliRunner().invoke(app, asked).stdout.splitlines()
    assert len([line for line in lines if " bad_time " in line and "…" not in line]) == shown
    assert ("… and more (--limit)" in lines[-1]) == (shown < count)


@pytest.mark.parametrize(("status", "exit_code"), [(400, 2), (404, 1), (500, 1), (503, 1)])
def test_what_the_api_calls_a_bad_request_is_a_mistake_in_the_command(status: int, exit_code: int) -> None:
    """A reason that there is not, say: as a mistyped option is."""
    body = {"detail": "reason: found 'nosuch', wanted one of bad_time"}
    refused = ApiRefused(httpx.Response(status, json=body))
    assert (refused.exit_code, body["detail"] in str(refused)) == (exit_code, True)


@pytest.mark.parametrize("how", [[], ["--replay"]])
def test_a_reason_that_there_is_not_ends_with_the_code_of_a_mistake(
    monkeypatch: pytest.MonkeyPatch, how: list[str]
) -> None:
    answering = httpx.MockTransport(lambda request: httpx.Response(400, json={"detail": "reason: …"}))
    api = Api("http://here", "token")
    api._client = httpx.Client(transport=answering, base_url="http://here")
    monkeypatch.setattr(Api, "of", lambda home: api)
    done = CliRunner().invoke(app, ["rejects", "--reason", "nosuch", *how])
    assert isinstance(done.exception, ApiRefused)
    assert done.exception.exit_code == 2
