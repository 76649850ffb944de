"""`millrace verify`: recount the stores and say equal, or name the hole."""

from __future__ import annotations

from typing import Annotated

import typer

from millrace.cli.platform import HomeOption, JsonOption, print_json, running


def verify(
    home: HomeOption = None,
    full: Annotated[
        bool, typer.Option("--full", help="Read every archive file and check its SHA-256.")
    ] = False,
    timeout_s: Annotated[
        float,
        typer.Option(
            "--timeout-s", min=1, help="How long to wait until what was received up to now is stored."
        ),
    ] = 120.0,
    as_json: JsonOption = False,
) -> None:
    """Recount all stores: `equal`, or where a hole is.

    Every reading received up to now must be a duplicate, a reject, or in every store that owes it. A hole is
    named by source, hour, stage and count. Nothing has to stop for it. Exit 1 on a hole.
    """
    from millrace.stream.valkey import ValkeyStream
    from millrace.verify import verify as recount

    settings, endpoints = running(home)
    stream = ValkeyStream(
        endpoints.stream_url, shard_count=endpoints.shards, bytes_max=settings.stream_bytes_max
    )
    try:
        report = recount(
            endpoints.postgres_url, settings.home / "archive", stream, full=full, timeout_s=timeout_s
        )
    finally:
        stream.close()
    if as_json:
        print_json(report.as_json())
    else:
        typer.echo("\n".join(report.lines()))
    raise typer.Exit(0 if report.equal else 1)
