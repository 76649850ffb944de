"""`millrace rejects`: the quarantine, and its replay."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from millrace.cli.platform import Api, HomeOption, JsonOption, print_json

SHOWN_MAX = 80
LISTED = 50
PAGE_MAX = 1_000  # what the API answers at once
REPLAYED = 10_000


def rejects(
    home: HomeOption = None,
    reason: Annotated[
        str | None, typer.Option(help="Only with this reason, e.g. out_of_range.", show_default=False)
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="Only of this gateway or device.", show_default=False)
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=REPLAYED,
            help=f"At most so many, newest first ({LISTED}; with --replay {REPLAYED}).",
            show_default=False,
        ),
    ] = None,
    replay: Annotated[
        bool,
        typer.Option(
            "--replay", help="Send those that --reason and --source name again; each is sent once, ever."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List readings that were refused; send them again.

    Newest first, each with its reason. Mend the cause (the asset model, say), then --replay sends them again.
    """
    api = Api.of(home)
    if replay:
        _replay(api, {"reason": reason, "source": source, "limit": limit or REPLAYED}, as_json=as_json)
        return
    told = _listed(api, limit or LISTED, reason=reason, source=source)
    if as_json:
        print_json(told)
        return
    for row in told["rejects"]:
        typer.echo(f"{row['received']}  {row['reason']:<20} {row['source'] or '-'}  {what(row)}")
    if not told["rejects"]:
        typer.echo("nothing in the quarantine" + (" that fits" if reason or source else ""))
    elif told.get("next_cursor"):
        counts = ", ".join(f"{name} {count:,}" for name, count in told["counts"].items())
        typer.echo(f"… and more (--limit); all in all: {counts}")


def _listed(api: Api, limit: int, **chosen: str | None) -> dict[str, Any]:
    """So many of the newest as one answer, however many pages they take; the cursor is the last page's."""
    rows: list[dict[str, Any]] = []
    told: dict[str, Any] = {"next_cursor": None}
    while not rows or (told["next_cursor"] and len(rows) < limit):
        asked = min(limit - len(rows), PAGE_MAX)
        told = api.get("/v1/rejects", **chosen, limit=asked, cursor=told["next_cursor"])
        rows += told["rejects"]
        if not told["rejects"]:
            break
    return told | {"rejects": rows}


def what(row: dict[str, Any]) -> str:
    """Its tag, or the beginning of what was sent where no tag could be told; safe on a terminal."""
    said = " ".join(str(row.get("tag") or row.get("payload") or "-").split())
    shown = "".join(letter if letter.isprintable() else "·" for letter in said[: SHOWN_MAX + 1])
    return shown if len(shown) <= SHOWN_MAX else shown[:SHOWN_MAX] + "…"


def _replay(api: Api, chosen: dict[str, str | int | None], *, as_json: bool) -> None:
    wanted = {name: value for name, value in chosen.items() if value is not None}
    told = api.post("/v1/rejects/replay", wanted)
    if as_json:
        print_json(told)
    elif told["rejects"]:
        more = " There may be more: say it again." if told["rejects"] == wanted["limit"] else ""
        typer.echo(
            f"sent {told['rejects']:,} rejects again; what is refused once more is in the quarantine again.{more}"
        )
    else:
        typer.echo("nothing to send again: none fits, or all of them were sent before")
