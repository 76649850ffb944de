"""`millrace stats`: what the running platform has done and how fast."""

from __future__ import annotations

import json
import time
from typing import Annotated, Any

import typer

from millrace.cli.platform import Api, HomeOption, JsonOption, print_json


def stats(
    home: HomeOption = None,
    as_json: JsonOption = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="One line a second until Ctrl-C; with --json a document a line.")
    ] = False,
) -> None:
    """Show counts, lag and latency of the platform."""
    api = Api.of(home)
    if watch:
        _follow(api, as_json=as_json)
    told = api.get("/v1/stats")
    if as_json:
        print_json(told)
        return
    for name, value in rows(told):
        typer.echo(f"{name:<16}  {value}")


def rows(told: dict[str, Any]) -> list[tuple[str, str]]:
    """What a person asks for, each with its words; histograms, shards and the rest are for --json."""
    visible, durable = told["latency_ms"]["visible"], told["latency_ms"]["durable"]
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in told["rejected_by_reason"].items())
    return [
        ("running for", f"{told['uptime_s']:,.0f} s"),
        ("readings/s", f"{told['rate']:,.0f}"),
        ("lag", _ms(told["lag_ms"])),
        ("visible p50, p99", f"{_ms(visible['p50'])}, {_ms(visible['p99'])}"),
        ("durable p50, p99", f"{_ms(durable['p50'])}, {_ms(durable['p99'])}"),
        ("received", f"{told['received']:,}, of them {told['accepted']:,} over HTTP"),
        ("duplicate", f"{told['duplicate']:,}"),
        ("rejected", f"{told['rejected']:,}" + f" ({reasons})" * bool(reasons)),
        ("applied", f"{told['processed']:,}, of them {told['late']:,} late"),
        ("stored", f"{told['stored']:,}"),
        ("archived", f"{told['archived']:,}"),
        ("found", f"{told['anomalies']:,} anomalies, {told['alarms']:,} alarms"),
        *_disk(told["disk"]),
        *([("ingest stopped", told["ingest_closed"]["detail"])] if told.get("ingest_closed") else []),
    ]


def _disk(disk: dict[str, Any]) -> list[tuple[str, str]]:
    """Nothing where the data lies elsewhere."""
    if not disk:
        return []
    left = (
        "no estimate yet" if disk["hours_left"] is None else f"{disk['hours_left']:.1f} h left at this pace"
    )
    bound = f"{disk['used_bytes'] / 1e9:.2f} GB of {disk['max_bytes'] / 1e9:.2f} GB"
    return [("disk", f"{bound}, {left}; {disk['free_bytes'] / 1e9:.1f} GB free")]


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f} ms"


def _follow(api: Api, *, as_json: bool) -> None:
    from millrace.local.status import line

    while True:
        told = api.get("/v1/stats")
        typer.echo(json.dumps(told) if as_json else line(told))
        time.sleep(1.0)
