"""What would refuse a start, looked at before a new data folder is made: a refusal leaves no trace.

A folder's number of shards is fixed once it is made. On a folder that is there already the same is looked at under
its lock, once what a killed run left is ended (`supervisor`): that may hold the ports.
"""

from __future__ import annotations

import psycopg

from millrace.assets.load import load as load_model
from millrace.errors import DataFolderError
from millrace.local import durability, ports
from millrace.local.binaries import postgres_programs, valkey_program
from millrace.process.detect.table import DETECTOR_NAMES
from millrace.settings import Settings
from millrace.stream.valkey import ValkeyStream


def require(settings: Settings) -> None:
    """MillraceError for the first thing that is not as a start needs it; nothing is written anywhere."""
    ports.require_free(settings)
    if settings.asset_model is not None:
        load_model(settings.asset_model, detectors=DETECTOR_NAMES)
    if not settings.postgres_url:
        postgres_programs()
    if not (settings.stream_url and settings.cache_url):
        valkey_program()
    durability.require_own(settings)
    _require_unclaimed(settings)


def _require_unclaimed(settings: Settings) -> None:
    """A store that carries an identity carries another folder's."""
    stores = (
        ("MILLRACE_POSTGRES_URL", settings.postgres_url, _identity_in_postgres),
        ("MILLRACE_STREAM_URL", settings.stream_url, _identity_of_stream),
    )
    for setting, url, identity_of in stores:
        found = identity_of(url) if url else None
        if found is not None:
            raise DataFolderError(
                f"The store of {setting} belongs to data folder {found}, and {settings.home.absolute()} is a new one: "
                "choose the right folder with MILLRACE_HOME, or name an empty store. Nothing was changed."
            )


def _identity_in_postgres(url: str) -> str | None:
    with psycopg.connect(url, connect_timeout=5) as connection:
        row = connection.execute("SELECT to_regclass('data_folder')").fetchone()
        if row is None or row[0] is None:
            return None
        row = connection.execute("SELECT identity FROM data_folder").fetchone()
    return None if row is None else str(row[0])


def _identity_of_stream(url: str) -> str | None:
    stream = ValkeyStream(url, shard_count=1, bytes_max=1)
    try:
        return stream.identity()
    finally:
        stream.close()
