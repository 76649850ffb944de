"""What the servers promise, asked of the servers themselves; a weaker one of your own is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
import valkey

from millrace.errors import SettingError, StoreUnavailable, StreamUnavailable
from millrace.local.addresses import Addresses
from millrace.settings import Settings
from millrace.stream.durability import WANTED as STREAM_WANTED
from millrace.stream.durability import check as check_stream

POSTGRES_WANTED = {"fsync": {"on"}, "full_page_writes": {"on"}, "synchronous_commit": {"on", "remote_apply"}}


@dataclass(frozen=True, slots=True)
class Promise:
    """One durability setting of a server: what it is, what we need, and the setting that names the server."""

    server: str
    name: str
    found: str
    wanted: str
    setting: str

    @property
    def kept(self) -> bool:
        return self.found in self.wanted.split(" or ")


def require(addresses: Addresses, stream_bytes_max: int) -> None:
    """SettingError for the first promise that a server does not keep."""
    for promise in promises(addresses):
        _require(promise)
    config, _, role = _asked(addresses.stream_url)
    check_stream(config, role, bytes_max=stream_bytes_max)  # its memory as well


def require_own(settings: Settings) -> None:
    """The same of the servers that the settings name alone, before ours are there."""
    for promise in _postgres(settings.postgres_url) if settings.postgres_url else ():
        _require(promise)
    if settings.stream_url and settings.cache_url:
        for promise in _stream(settings.stream_url, settings.cache_url):
            _require(promise)
    if settings.stream_url:
        config, _, role = _answered(settings.stream_url, "The stream server (MILLRACE_STREAM_URL)")
        check_stream(config, role, bytes_max=settings.stream_bytes_max)
    elif settings.cache_url:
        _answered(settings.cache_url, "The cache server (MILLRACE_CACHE_URL)")


def _require(promise: Promise) -> None:
    if not promise.kept:
        raise SettingError(
            promise.setting,
            got=f"{promise.name} = {promise.found}",
            want=f"{promise.name} = {promise.wanted}: what is answered 202 must survive a power cut",
        )


def promises(addresses: Addresses) -> list[Promise]:
    """All promises of the stream and of PostgreSQL; Unavailable when one does not answer."""
    return [*_postgres(addresses.postgres_url), *_stream(addresses.stream_url, addresses.cache_url)]


def _postgres(url: str) -> list[Promise]:
    try:
        with psycopg.connect(url, connect_timeout=5) as connection:
            found = {name: _shown(connection, name) for name in POSTGRES_WANTED}
            replica = connection.execute("SELECT pg_is_in_recovery()").fetchone()
    except psycopg.ProgrammingError as error:  # no address at all
        words = str(error).strip()
        raise SettingError("MILLRACE_POSTGRES_URL", got=words, want="postgresql://user:password@host/name") from None
    except psycopg.Error as error:
        raise StoreUnavailable(f"PostgreSQL (MILLRACE_POSTGRES_URL) does not answer: {error}") from None
    told = [
        Promise("postgres", name, found[name], " or ".join(sorted(wanted)), "MILLRACE_POSTGRES_URL")
        for name, wanted in POSTGRES_WANTED.items()
    ]
    role = "replica" if replica and replica[0] else "primary"
    return [*told, Promise("postgres", "role", role, "primary", "MILLRACE_POSTGRES_URL")]


def _shown(connection: psycopg.Connection[Any], name: str) -> str:
    row = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
    return str(row[0]) if row else ""


def _stream(url: str, cache_url: str) -> list[Promise]:
    config, run_id, role = _answered(url, "The stream server (MILLRACE_STREAM_URL)")
    _, cache_run_id, _ = _answered(cache_url, "The cache server (MILLRACE_CACHE_URL)")
    told = [
        Promise("stream", name, config.get(name, "unknown"), wanted, "MILLRACE_STREAM_URL")
        for name, wanted in STREAM_WANTED.items()
    ]
    apart = "a server of its own" if run_id != cache_run_id else "the stream's server"
    return [
        *told,
        Promise("stream", "role", role, "master", "MILLRACE_STREAM_URL"),
        Promise("cache", "server", apart, "a server of its own", "MILLRACE_CACHE_URL"),
    ]


def _answered(url: str, who: str) -> tuple[dict[str, str], str, str]:
    try:
        return _asked(url)
    except valkey.ValkeyError as error:
        raise StreamUnavailable(f"{who}: {error}") from None
    except ValueError as error:  # no address at all
        raise SettingError(who, got=str(error), want="redis://…, rediss://… or unix://…") from None


def _asked(url: str) -> tuple[dict[str, str], str, str]:
    """Its configuration, run id and role."""
    client = valkey.Valkey.from_url(url, socket_timeout=5, decode_responses=True)
    try:
        config: Any = client.config_get("*")
        server: Any = client.info("server")
        replication: Any = client.info("replication")
        return dict(config), str(server["run_id"]), str(replication["role"])
    finally:
        client.close()  # type: ignore[no-untyped-call]
