"""The asset model in PostgreSQL: every change a numbered row, the newest one as tables that the API reads.

A change is recorded first, which gives its number; then its chunks are appended to every shard, and only then
is it marked `appended`. A change that was recorded and never marked is appended again at the next start:
shards ignore numbers that they have.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec
import psycopg

from millrace.assets.tag import CLASSES, KINDS, AssetModel, TagModel
from millrace.schema.text import storable

TAG_COLUMNS: Final = (
    "path", "source", "kind", "data_class", "criticality", "period_us", "unit", "range_low", "range_high",
    "low_low",
    "low", "high", "high_high", "deadband", "on_delay_us", "off_delay_us", "silence_us",
    "states", "description",
)  # fmt: skip

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(AssetModel)


def record_change(connection: psycopg.Connection[Any], model: AssetModel, *, made_by: str = "") -> int | None:
    """Store a whole model as the newest change; its number, or None when it equals the newest one."""
    content = _encoder.encode(model)
    digest = hashlib.sha256(content).hexdigest()
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute("LOCK TABLE model_change IN SHARE ROW EXCLUSIVE MODE")
        newest = cursor.execute("SELECT sha256 FROM model_change ORDER BY number DESC LIMIT 1").fetchone()
        if newest is not None and newest[0] == digest:
            return None
        row = cursor.execute(
            "INSERT INTO model_change (made_by, sha256, model) VALUES (%s, %s, %s) RETURNING number",
            [made_by, digest, content],
        ).fetchone()
        _replace_tables(cursor, model)
    return int(row[0]) if row else None


def mark_appended(connection: psycopg.Connection[Any], number: int) -> None:
    """Every shard's log holds all chunks of the change."""
    connection.execute("UPDATE model_change SET appended = true WHERE number = %s", [number])


def pending_change(connection: psycopg.Connection[Any]) -> tuple[int, AssetModel] | None:
    """The newest change, if its chunks may not have reached every shard."""
    newest = newest_change(connection)
    if newest is None:
        return None
    row = connection.execute("SELECT appended FROM model_change WHERE number = %s", [newest[0]]).fetchone()
    return None if row is None or row[0] else newest


def newest_change(connection: psycopg.Connection[Any]) -> tuple[int, AssetModel] | None:
    """Number and content of the model that counts now; None when there never was one."""
    row = connection.execute("SELECT number, model FROM model_change ORDER BY number DESC LIMIT 1").fetchone()
    return None if row is None else (int(row[0]), _decoder.decode(row[1]))


def _replace_tables(cursor: psycopg.Cursor[Any], model: AssetModel) -> None:
    cursor.execute("DELETE FROM asset_tag")
    cursor.execute("DELETE FROM asset_source")
    with cursor.copy("COPY asset_source (name, silence_us, description) FROM STDIN") as copy:
        for source in model.sources:
            copy.write_row((storable(source.name), source.silence_us, storable(source.description)))
    with cursor.copy(f"COPY asset_tag ({', '.join(TAG_COLUMNS)}) FROM STDIN".encode()) as copy:
        for tag in model.tags:
            copy.write_row(_tag_row(tag))


def _tag_row(tag: TagModel) -> tuple[Any, ...]:
    special = {
        "kind": KINDS.index(tag.kind),
        "data_class": CLASSES.index(tag.data_class),
        "states": [storable(state) for state in tag.states],
    }
    return tuple(special[name] if name in special else _stored(getattr(tag, name)) for name in TAG_COLUMNS)


def _stored(value: object) -> object:
    return storable(value) if isinstance(value, str) else value
