"""`millrace rejects`: the quarantine, and its replay."""

from __future__ import annotations

from typing import Annotated

import typer

from millrace.cli.platform import Api, HomeOption, JsonOption, print_json

TAG_WIDTH = 60


def rejects(
    home: HomeOption = None,
    reason: Annotated[
        str | None, typer.Option(help="Only these, e.g. out_of_range.", show_default=False)
    ] = None,
    source: Annotated[str | None, typer.Option(help="Only of this source.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many, newest first.")] = 50,
    replay: Annotated[
        bool, typer.Option("--replay", help="Send the chosen ones again; twice is once.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Readings that were not accepted, each with its reason; --replay sends them again after the cause is
    mended.
    """
    api = Api.of(home)
    if replay:
        chosen = {"reason": reason, "source": source, "limit": limit}
        told = api.post(
            "/v1/rejects/replay", {name: value for name, value in chosen.items() if value is not None}
        )
    else:
        told = api.get("/v1/rejects", reason=reason, source=source, limit=limit)
    if as_json or replay:
        print_json(told)
        return
    for row in told["rejects"]:
        tag = str(row.get("tag") or "-")[:TAG_WIDTH]
        typer.echo(f"{row['received']}  {row['reason']:<20} {tag}  {row['source'] or '-'}")
    if not told["rejects"]:
        typer.echo("nothing in the quarantine" + (" that fits" if reason or source else ""))
    elif told.get("next_cursor"):
        counts = ", ".join(f"{name} {count:,}" for name, count in told["counts"].items())
        typer.echo(f"… and more (--limit); all in all: {counts}")
