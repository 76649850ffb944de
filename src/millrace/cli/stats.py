"""`millrace stats`: what the running platform has done and how fast."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from millrace.cli.platform import Api, HomeOption, JsonOption, print_json


def stats(
    home: HomeOption = None,
    as_json: JsonOption = False,
    watch: Annotated[bool, typer.Option("--watch", help="One line a second until Ctrl-C.")] = False,
) -> None:
    """Show counts, lag and latency of the platform."""
    api = Api.of(home)
    if watch:
        _follow(api)
    told = api.get("/v1/stats")
    if as_json:
        print_json(told)
        return
    width = max((len(name) for name, _ in flat(told)), default=0)
    for name, value in flat(told):
        typer.echo(f"{name:<{width}}  {value}")


def flat(value: Any, name: str = "") -> list[tuple[str, str]]:
    """Nested figures as dotted names and what to print beside them."""
    if isinstance(value, dict):
        return [
            row for key, part in value.items() for row in flat(part, f"{name}.{key}" if name else str(key))
        ]
    if isinstance(value, list):  # histograms and shards are for --json
        return []
    if isinstance(value, float):
        return [(name, f"{value:,.2f}")]
    return [(name, f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value))]


def _follow(api: Api) -> None:
    from millrace.local.status import line

    while True:
        typer.echo(line(api.get("/v1/stats")))
        time.sleep(1.0)
