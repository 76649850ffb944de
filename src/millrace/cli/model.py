"""`millrace model`: check an asset model and put it in force, while everything runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from millrace.cli.platform import HomeOption, JsonOption, print_json, running

if TYPE_CHECKING:
    from millrace.assets.publish import Change
    from millrace.assets.tag import AssetModel

SOURCES_NAMED_MAX: Final = 5


def model(
    file: Annotated[Path, typer.Argument(help="YAML or CSV; docs/asset-model.md describes both.")],
    home: HomeOption = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only say what is wrong with it; needs no running platform.")
    ] = False,
    join: Annotated[
        bool,
        typer.Option(
            "--join/--replace",
            help="Add its tags and sources to the model in force, and describe anew those that it names; "
            "else the model in force goes away.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Put an asset model in force: tags, units, limits.

    Without a restart, in the place of the model before it: tags that only that one described are unmodelled
    from then on, and it says which they were. With --join they stay. Every mistake is named with its line,
    and then nothing is changed. Exit 2 on a mistake.
    """
    from millrace.assets.load import load
    from millrace.process.detect.table import DETECTOR_NAMES

    found = load(file, detectors=DETECTOR_NAMES)
    said: dict[str, Any] = {"sources": len(found.sources), "tags": len(found.tags)}
    held = f"{file}: {len(found.tags)} tags of {len(found.sources)} sources"
    lines = [f"{held}, no mistake found"]
    if not check:
        change = _put_in_force(found, home, join=join)
        sources = sorted({tag.source for tag in change.gone})
        gone = {"tags": len(change.gone), "sources": sources}
        said |= {"number": change.number, "joined": join, "gone": gone}
        lines = [f"{held}, in force as change {change.number}"]
        lines += [_farewell(len(change.gone), sources)] if change.gone else []
    if as_json:
        print_json(said)
    else:
        typer.echo("\n".join(lines))


def _put_in_force(found: AssetModel, home: Path | None, *, join: bool) -> Change:
    from millrace.assets.load import extended
    from millrace.assets.publish import put_in_force
    from millrace.stream.valkey import ValkeyStream

    settings, endpoints = running(home)
    stream = ValkeyStream(
        endpoints.stream_url, shard_count=endpoints.shards, bytes_max=settings.stream_bytes_max
    )
    try:
        return put_in_force(
            endpoints.postgres_url,
            stream,
            lambda before: extended(before, found) if join else found,
            made_by="millrace model",
        )
    finally:
        stream.close()


def _farewell(count: int, sources: list[str]) -> str:
    """What only the model before described; such as a plant's tags, or those of a dataset that was replayed."""
    named = ", ".join(sources[:SOURCES_NAMED_MAX]) + " …" * (len(sources) > SOURCES_NAMED_MAX)
    return (
        f"{count:,} tags are unmodelled now, which only the model before it described: of {named}. "
        f"Their readings are kept. `millrace model --join` adds to the model in force instead."
    )
