"""`millrace send`: files of readings to the ingest, each body with an identity, so that a retry is no
double.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from millrace.cli.bodies import bodies
from millrace.cli.platform import Api, HomeOption, JsonOption, print_json, problem, running
from millrace.errors import MillraceError, SettingError, Unavailable

RETRIES_MAX = 60
RETRY_WAIT_MAX_S = 10.0


def send(
    files: Annotated[list[Path], typer.Argument(help="NDJSON or JSON files, .gz too; - is standard input.")],
    home: HomeOption = None,
    source: Annotated[str, typer.Option(help="The gateway or device that the readings come from.")] = "cli",
    url: Annotated[
        str,
        typer.Option(
            help="Another platform's API, e.g. http://host:8080; MILLRACE_API_TOKEN holds its token.",
            show_default=False,
        ),
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Send files of readings to the platform.

    One reading a line: {"tag": "acme/lyon/…/temp", "ts": "2026-01-05T08:00:00Z", "value": 71.25}. Once it says
    `accepted`, they are durable; `millrace rejects` shows what was refused later, in the flow. Exit 1 when
    nothing was accepted, 2 when a file cannot be opened.
    """
    from millrace.protocols.tag_path import source_ok

    if not source_ok(source):
        raise SettingError("--source", got=source, want="1 to 128 bytes without control characters")
    told = Sender(_api(url, home), source, on_wait=_say_wait)
    try:
        for file in files:
            _send_file(told, file, quiet=as_json)
    finally:  # however it ends, what the platform holds is said
        if as_json:
            print_json(told.as_json())
        else:
            typer.echo(told.line())
    raise typer.Exit(1 if told.rejected and not told.accepted else 0)


class Sender:
    """Sends bodies in order; one in flight, the same identity at each try."""

    def __init__(
        self, api: Api, source: str, *, on_wait: Callable[[str], None] = lambda trouble: None
    ) -> None:
        """`on_wait` is told once a body why it has to be sent again."""
        self._api = api
        self._source = source
        self._on_wait = on_wait
        self._incarnation = f"{time.time_ns() // 1_000}-{secrets.randbits(63):x}"
        self._seq = 0
        self.accepted = 0
        self.rejected = 0
        self.reasons: Counter[str] = Counter()

    def as_json(self) -> dict[str, Any]:
        return {"accepted": self.accepted, "rejected": self.rejected, "reasons": dict(self.reasons)}

    def line(self) -> str:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in self.reasons.most_common())
        return f"accepted {self.accepted:,}, rejected {self.rejected:,}" + (
            f" ({reasons})" if reasons else ""
        )

    def put(self, body: bytes) -> None:
        """MillraceError when it is refused for good, Unavailable when it could not be delivered in a
        bounded time.
        """
        self._seq += 1
        headers = {
            "Content-Type": "application/x-ndjson",
            "Millrace-Source": self._source,
            "Millrace-Incarnation": self._incarnation,
            "Millrace-Seq": str(self._seq),
        }
        told = self._delivered(body, headers)
        self.accepted += int(told.get("accepted", 0))
        self.rejected += int(told.get("rejected", 0))
        self.reasons.update(told.get("reasons", {}))

    def _delivered(self, body: bytes, headers: dict[str, str]) -> Any:
        last = ""
        for attempt in range(RETRIES_MAX):
            try:
                response = self._api.put_readings(body, headers)
            except Unavailable as error:
                last, wait_s = str(error), min(0.2 * 2**attempt, RETRY_WAIT_MAX_S)
            else:
                if response.status_code == 202:
                    return response.json()
                if response.status_code not in (429, 503):
                    raise MillraceError(problem(response))
                last = problem(response)
                wait_s = min(float(response.headers.get("Retry-After", 1)), RETRY_WAIT_MAX_S)
            if attempt == 0:
                self._on_wait(last)
            time.sleep(wait_s)
        raise Unavailable(f"given up after {RETRIES_MAX} tries: {last}")


def _api(url: str, home: Path | None) -> Api:
    if not url:
        _, endpoints = running(home)
        return Api(endpoints.api_url, endpoints.token)
    from millrace.cli.platform import settings_of

    return Api(url, settings_of(home).api_token)


def _say_wait(trouble: str) -> None:
    typer.echo(f"millrace: {trouble}; trying again, Ctrl-C gives up", err=True)


def _send_file(sender: Sender, file: Path, *, quiet: bool) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    size = file.stat().st_size if file.is_file() and file.suffix != ".gz" else None
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    hidden = quiet or not console.is_terminal
    with Progress(*columns, console=console, disable=hidden, transient=True) as progress:
        task = progress.add_task(file.name, total=size)
        for body, _, passed in bodies(file):
            sender.put(body)
            progress.update(task, completed=passed)
