"""`millrace model`: check an asset model and put it in force, while everything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from millrace.cli.platform import HomeOption, JsonOption, print_json, running


def model(
    file: Annotated[Path, typer.Argument(help="YAML or CSV; docs/asset-model.md describes both.")],
    home: HomeOption = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only say what is wrong with it; needs no running platform.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Put an asset model in force: tags, units, limits.

    Without a restart, in the place of the model before it. Every mistake is named with its line, and then
    nothing is changed. Exit 2 on a mistake.
    """
    from millrace.assets.load import load
    from millrace.assets.publish import publish
    from millrace.process.detect.table import DETECTOR_NAMES
    from millrace.stream.valkey import ValkeyStream

    found = load(file, detectors=DETECTOR_NAMES)
    said: dict[str, object] = {"sources": len(found.sources), "tags": len(found.tags)}
    if not check:
        settings, endpoints = running(home)
        stream = ValkeyStream(
            endpoints.stream_url, shard_count=endpoints.shards, bytes_max=settings.stream_bytes_max
        )
        try:
            said["number"] = publish(endpoints.postgres_url, stream, found, made_by="millrace model")
        finally:
            stream.close()
    if as_json:
        print_json(said)
    else:
        done = f"in force as change {said['number']}" if "number" in said else "no mistake found"
        typer.echo(f"{file}: {said['tags']} tags of {said['sources']} sources, {done}")
