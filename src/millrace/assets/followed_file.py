"""The asset model's file that the settings name, followed from start to start: what changed in it is put in force.

What others put in force meanwhile stays: a plant that joined, a recording's tags, a model in the place of the
file's. To tell what changed, the data folder keeps the file's model as it was when it was last put in force; lost
or damaged, the whole file counts as changed, which takes nothing away.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from millrace.assets.load import model_of
from millrace.assets.publish import put_in_force
from millrace.assets.tag import AssetModel, SourceModel, TagModel
from millrace.durable import write_bytes
from millrace.stream.contract import Stream

KEPT_NAME: Final = "asset-model.msgpack"

Described = TypeVar("Described", SourceModel, TagModel)


@dataclass(frozen=True, slots=True)
class Followed:
    """What came of it: the change in force, its tags that are new or described anew, those that left with the file."""

    number: int
    put: int
    gone: int

    @property
    def text(self) -> str:
        """For whoever starts the platform."""
        if not (self.put or self.gone):
            return f"nothing changed in it, change {self.number} stays in force"
        left = f", {self.gone:,} that it no longer has are unmodelled" if self.gone else ""
        return (
            f"{self.put:,} tags new or described anew{left}; what others joined stays (change {self.number})"
        )


def follow(postgres_url: str, stream: Stream, home: Path, file: Path, now: AssetModel) -> Followed:
    """Put in force what changed in `file`, whose model is `now`, and remember it.

    Killed before it is remembered, the next start says the same again, which changes nothing.
    StoreUnavailable or StreamUnavailable: try again, nothing is half done for good.
    """
    kept = home / KEPT_NAME
    before = _remembered(kept)
    change = put_in_force(postgres_url, stream, lambda model: merged(model, before, now), made_by=str(file))
    if before != now:
        write_bytes(kept, msgspec.msgpack.encode(now))
    there = set(change.before.tags)
    return Followed(change.number, sum(tag not in there for tag in change.after.tags), len(change.gone))


def merged(in_force: AssetModel, before: AssetModel, now: AssetModel) -> AssetModel:
    """The model in force with what changed from `before` to `now`, two states of a file; unchanged, as it is."""
    if before == now and in_force.tags:
        return in_force
    by_path = [{tag.path: tag for tag in model.tags} for model in (in_force, before, now)]
    by_name = [{source.name: source for source in model.sources} for model in (in_force, before, now)]
    return model_of(list(_merged(*by_path).values()), _merged(*by_name))


def _merged(
    held: dict[str, Described], before: dict[str, Described], now: dict[str, Described]
) -> dict[str, Described]:
    """What the file no longer says goes, unless somebody else has described it since."""
    gone = {name for name, one in before.items() if name not in now and held.get(name) == one}
    new = {name: one for name, one in now.items() if name not in held or before.get(name) != one}
    return {name: one for name, one in held.items() if name not in gone} | new


def _remembered(kept: Path) -> AssetModel:
    try:
        return msgspec.msgpack.decode(kept.read_bytes(), type=AssetModel)
    except (OSError, msgspec.DecodeError):
        return AssetModel(sources=(), tags=())
