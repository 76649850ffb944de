from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from millrace.cli import app
from millrace.cli.bodies import BODY_BYTES, BODY_LINES, LINE_BYTES_MAX, bodies
from millrace.cli.platform import Api
from millrace.cli.send import Sender
from millrace.errors import MillraceError


def reading(number: int) -> dict[str, Any]:
    return {"tag": f"acme/lyon/tag-{number}", "ts": 1_767_600_000_000_000 + number, "value": number}


def text(count: int) -> bytes:
    return b"".join(json.dumps(reading(number)).encode() + b"\n" for number in range(count))


def sent(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for body, _, _ in bodies(path) for line in body.splitlines()]


@pytest.mark.parametrize("count", [0, 1, BODY_LINES, BODY_LINES + 1, 30_000])
def test_a_file_is_sent_whole_in_order_and_in_bounded_bodies(tmp_path: Path, count: int) -> None:
    file = tmp_path / "readings.ndjson"
    file.write_bytes(text(count))
    assert sent(file) == [reading(number) for number in range(count)]
    assert all(len(body) < 2 * BODY_BYTES and lines <= BODY_LINES for body, lines, _ in bodies(file))
    assert sum(lines for _, lines, _ in bodies(file)) == count


def test_packed_files_and_arrays_are_the_same_readings(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson.gz").write_bytes(gzip.compress(text(10)))
    (tmp_path / "b.json").write_text(json.dumps([reading(number) for number in range(10)], indent=1))
    assert (
        sent(tmp_path / "a.ndjson.gz")
        == sent(tmp_path / "b.json")
        == [reading(number) for number in range(10)]
    )


def test_blank_lines_a_missing_last_newline_and_windows_line_ends_are_fine(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(text(3).replace(b"\n", b"\r\n\r\n").rstrip())
    assert sent(tmp_path / "a") == [reading(number) for number in range(3)]


def test_a_line_without_end_costs_bounded_memory_and_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(text(2) + b"x" * (3 * LINE_BYTES_MAX))
    with pytest.raises(MillraceError, match=r"a:3: a line of over"):
        sent(tmp_path / "a")


def test_what_only_begins_like_an_array_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b'[{"tag": ')
    with pytest.raises(MillraceError, match="JSON array"):
        sent(tmp_path / "a")


@pytest.mark.parametrize(
    "content", [gzip.compress(text(5_000))[:-2_000], b"no gzip", b"\x1f\x8b\x08\0" + b"x" * 99]
)
def test_a_damaged_packed_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.gz").write_bytes(content)
    with pytest.raises(MillraceError, match=r"a\.gz cannot be read to its end: "):
        sent(tmp_path / "a.gz")


def test_an_array_too_deep_to_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"[" * 200_000)
    with pytest.raises(MillraceError, match="JSON array"):
        sent(tmp_path / "a")


@pytest.mark.parametrize("name", ["a.ndjson", "a.json"])
def test_a_byte_order_mark_belongs_to_no_reading(tmp_path: Path, name: str) -> None:
    content = text(3) if name == "a.ndjson" else json.dumps([reading(number) for number in range(3)]).encode()
    (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + content)
    assert next(body for body, _, _ in bodies(tmp_path / name)).startswith(b"{")
    assert sent(tmp_path / name) == [reading(number) for number in range(3)]


@contextmanager
def door(*answers: int) -> Iterator[tuple[Api, list[dict[str, str]]]]:
    """A front door that answers with these codes in turn, then 202; what it was told."""
    left, told = list(answers), []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            told.append(
                {
                    name: self.headers[name]
                    for name in ("Millrace-Incarnation", "Millrace-Seq", "Millrace-Source")
                }
                | {"body": body}
            )
            code = left.pop(0) if left else 202
            self.send_response(code)
            self.send_header("Retry-After", "0")
            self.end_headers()
            self.wfile.write(
                json.dumps({"accepted": body.count(b"\n"), "rejected": 0, "detail": "no"}).encode()
            )

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield Api(f"http://127.0.0.1:{server.server_port}", "token"), told
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.requirement("S-19")
def test_a_retry_carries_the_same_identity_and_the_same_bytes() -> None:
    with door(429, 503) as (api, told):
        sender = Sender(api, "cli")
        sender.put(text(3))
        sender.put(text(4))
    assert told[0] == told[1] == told[2]
    assert [seen["Millrace-Seq"] for seen in told] == ["1", "1", "1", "2"]
    assert len({seen["Millrace-Incarnation"] for seen in told}) == 1
    assert sender.accepted == 7


def test_a_refusal_for_good_is_not_repeated() -> None:
    with door(400) as (api, told), pytest.raises(MillraceError, match="400 no"):
        Sender(api, "cli").put(text(1))
    assert len(told) == 1


def run_send(*words: str) -> Result:
    return CliRunner().invoke(app, ["send", *words])


def test_what_was_taken_before_a_file_that_cannot_be_read_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(text(3))
    monkeypatch.setenv("MILLRACE_API_TOKEN", "token")
    with door() as (api, _):
        url = str(api._client.base_url)
        for how in ([], ["--json"]):
            done = run_send("--url", url, str(tmp_path / "a"), str(tmp_path / "none"), *how)
            assert isinstance(done.exception, MillraceError)
            assert "none: found 'No such file or directory', wanted a file of readings" in str(done.exception)
            assert done.exception.exit_code == 2
            said = json.loads(done.stdout)["accepted"] if how else done.stdout
            assert said == (3 if how else "accepted 3, rejected 0\n")


def test_a_source_is_named_in_any_script_and_a_name_that_no_door_takes_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(text(1))
    monkeypatch.setenv("MILLRACE_API_TOKEN", "token")
    with door() as (api, told):
        url = str(api._client.base_url)
        assert run_send("--url", url, str(tmp_path / "a"), "--source", "Gießerei").exit_code == 0
        for wrong in ("two\nlines", "", "x" * 129):
            done = run_send("--url", url, str(tmp_path / "a"), "--source", wrong)
            assert "--source: found" in str(done.exception)
        assert "--url: found 'host'" in str(run_send("--url", "host", str(tmp_path / "a")).exception)
    assert [seen["Millrace-Source"].encode("latin-1").decode() for seen in told] == ["Gießerei"]


def test_why_it_waits_is_said_once_a_body() -> None:
    said: list[str] = []
    with door(429, 503, 202) as (api, _):
        Sender(api, "cli", on_wait=said.append).put(text(1))
    assert said == ["429 no"]
