"""Put an asset model in force: a numbered row in PostgreSQL, then its chunks at the end of every shard's log.

The row comes first, so a death in between leaves a change that is known and not yet everywhere: the next call
appends it again, and a shard that has it already ignores it (a lower or equal number).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import psycopg

from millrace.assets.change import chunks
from millrace.assets.load import extended
from millrace.assets.tag import CLASSES, KINDS, AssetModel, TagModel
from millrace.errors import StoreUnavailable
from millrace.names import TABLE_MODEL_CHANGE
from millrace.protocols import control
from millrace.schema.text import storable
from millrace.stream.contract import Entry, Stream

PARTITION_KEY: Final = "millrace:model"
LOCK: Final = 0x4D4F444C  # "MODL": one publisher at a time

_TAG_COLUMNS: Final = (
    "path", "source", "kind", "data_class", "criticality", "period_us", "unit",
    "range_low", "range_high", "low_low", "low", "high", "high_high",
    "deadband", "on_delay_us", "off_delay_us", "silence_us", "states", "description",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Change:
    """What was in force before a change and what is since; both are one model when nothing changed."""

    number: int
    before: AssetModel
    after: AssetModel

    @property
    def gone(self) -> tuple[TagModel, ...]:
        """Tags that had a model and have none any more; what is stored of them stays."""
        kept = {tag.path for tag in self.after.tags}
        return tuple(tag for tag in self.before.tags if tag.path not in kept)


def publish(postgres_url: str, stream: Stream, model: AssetModel, *, made_by: str = "") -> int:
    """Number of the change that holds this model; nothing is written when the newest change already is this
    model.

    StoreUnavailable or StreamUnavailable: try again, nothing is half done for good.
    """
    return put_in_force(postgres_url, stream, lambda _: model, made_by=made_by).number


def extend(postgres_url: str, stream: Stream, more: AssetModel, *, made_by: str = "") -> int:
    """Like `publish`, of the model in force with these sources and tags added: what it says of others stays."""
    return put_in_force(postgres_url, stream, lambda before: extended(before, more), made_by=made_by).number


def put_in_force(
    postgres_url: str, stream: Stream, wanted: Callable[[AssetModel], AssetModel], *, made_by: str = ""
) -> Change:
    """Under the lock, so that nobody's change falls between what is in force and what `wanted` makes of it."""
    try:
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
            before = _in_force(connection)
            model = wanted(before)
            number, appended = _numbered(connection, model, made_by)
            if not appended:
                append(stream, model, number)
                connection.execute(
                    f"UPDATE {TABLE_MODEL_CHANGE} SET appended = true WHERE number = %s",  # nosec B608
                    (number,),
                )
            return Change(number, before, model)
    except psycopg.OperationalError as error:
        raise StoreUnavailable(f"the asset model was not published: {error}") from error


def append(stream: Stream, model: AssetModel, number: int) -> None:
    """The change's chunks to every shard, one call a shard; safe to repeat."""
    for shard, parts in chunks(model, number, stream.shard_count).items():
        stream.append([Entry(shard, PARTITION_KEY, control.encode(part)) for part in parts])


def _in_force(connection: psycopg.Connection[Any]) -> AssetModel:
    """The newest change's model; an empty one before the first change."""
    newest = connection.execute(
        f"SELECT model FROM {TABLE_MODEL_CHANGE} ORDER BY number DESC LIMIT 1"  # nosec B608
    ).fetchone()
    if newest is None:
        return AssetModel(sources=(), tags=())
    return msgspec.msgpack.decode(newest[0], type=AssetModel)


def _numbered(connection: psycopg.Connection[Any], model: AssetModel, made_by: str) -> tuple[int, bool]:
    """The newest change's number and whether every shard has it; a new one unless it is this model
    already."""
    data = msgspec.msgpack.encode(model)
    digest = hashlib.sha256(data).hexdigest()
    newest = connection.execute(
        f"SELECT number, appended, sha256 FROM {TABLE_MODEL_CHANGE} ORDER BY number DESC LIMIT 1"  # nosec B608
    ).fetchone()
    if newest is not None and newest[2] == digest:
        return int(newest[0]), bool(newest[1])
    with connection.transaction():
        row = connection.execute(
            f"INSERT INTO {TABLE_MODEL_CHANGE} (made_by, sha256, model) "  # nosec B608
            "VALUES (%s, %s, %s) RETURNING number",
            (made_by, digest, data),
        ).fetchone()
        _replace_rows(connection, model)
    assert row is not None
    return int(row[0]), False


def _replace_rows(connection: psycopg.Connection[Any], model: AssetModel) -> None:
    """What the API lists: the newest model's tags and sources, whether or not a reading ever came."""
    connection.execute("DELETE FROM asset_tag")
    connection.execute("DELETE FROM asset_source")
    with connection.cursor() as cursor:
        with cursor.copy("COPY asset_source (name, silence_us, description) FROM STDIN") as copy:
            for source in model.sources:
                copy.write_row((storable(source.name), source.silence_us, storable(source.description)))
        with cursor.copy(f"COPY asset_tag ({', '.join(_TAG_COLUMNS)}) FROM STDIN") as copy:
            for tag in model.tags:
                copy.write_row(tuple(_cell(column, getattr(tag, column)) for column in _TAG_COLUMNS))


def _cell(column: str, value: Any) -> Any:
    if column == "kind":
        return KINDS.index(value)
    if column == "data_class":
        return CLASSES.index(value)
    if column == "states":
        return [storable(state) for state in value]
    return storable(value) if isinstance(value, str) else value
