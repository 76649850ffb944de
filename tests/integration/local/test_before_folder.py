"""A start that is refused leaves no folder behind, and so no number of shards that it had fixed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import valkey

from millrace.errors import DataFolderError, MillraceError, SettingError, StoreUnavailable, StreamUnavailable
from millrace.local.addresses import Addresses
from millrace.local.servers import running
from millrace.local.supervisor import Supervisor
from millrace.settings import load
from millrace.stream.valkey import ValkeyStream
from tests.simulation.real_platform import free_port

pytestmark = pytest.mark.requirement("B-01")


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Addresses]:
    """Servers that somebody else runs."""
    with running(load({"MILLRACE_HOME": str(tmp_path_factory.mktemp("others") / "home")})) as (_, servers):
        yield servers.addresses


def refused(home: Path, error: type[MillraceError], words: str, **more: str) -> None:
    environ = {"API_PORT": str(free_port()), "DASHBOARD": "false", "HOME": str(home), **more}
    settings = load({f"MILLRACE_{name}": value for name, value in environ.items()})
    with pytest.raises(error, match=words):
        Supervisor(settings, simulate=False).run()
    assert not home.exists()


def test_a_stream_server_that_may_lose_what_it_acknowledged(tmp_path: Path, others: Addresses) -> None:
    client = valkey.Valkey.from_url(others.stream_url)
    client.config_set("appendfsync", "everysec")
    try:
        refused(tmp_path / "home", SettingError, "appendfsync", STREAM_URL=others.stream_url)
    finally:
        client.config_set("appendfsync", "always")
        client.close()


def test_a_postgres_that_may_lose_what_it_acknowledged(tmp_path: Path, others: Addresses) -> None:
    weak = others.postgres_url + "&options=-csynchronous_commit%3Doff"
    refused(tmp_path / "home", SettingError, "synchronous_commit", POSTGRES_URL=weak)


def test_one_server_as_stream_and_as_cache(tmp_path: Path, others: Addresses) -> None:
    url = others.stream_url
    refused(tmp_path / "home", SettingError, "MILLRACE_CACHE_URL", STREAM_URL=url, CACHE_URL=url)


@pytest.mark.parametrize(
    ("setting", "url", "error"),
    [
        ("POSTGRES_URL", "postgresql://127.0.0.1:1/millrace", StoreUnavailable),
        ("STREAM_URL", "redis://127.0.0.1:1", StreamUnavailable),
        ("CACHE_URL", "redis://127.0.0.1:1", StreamUnavailable),
    ],
)
def test_a_server_that_does_not_answer(
    tmp_path: Path, setting: str, url: str, error: type[MillraceError]
) -> None:
    refused(tmp_path / "home", error, f"MILLRACE_{setting}", **{setting: url})


@pytest.mark.parametrize("setting", ["POSTGRES_URL", "STREAM_URL", "CACHE_URL"])
@pytest.mark.parametrize("url", ["nonsense", "http://127.0.0.1:1", "redis://127.0.0.1:port"])
def test_an_address_that_is_none(tmp_path: Path, setting: str, url: str) -> None:
    refused(tmp_path / "home", SettingError, f"MILLRACE_{setting}", **{setting: url})


def test_stores_of_another_folder(tmp_path: Path, others: Addresses) -> None:
    stream = ValkeyStream(others.stream_url, shard_count=1, bytes_max=1 << 30)
    stream.claim_identity("another:1")
    stream.close()
    with psycopg.connect(others.postgres_url) as connection:
        connection.execute("CREATE TABLE data_folder (identity text)")
        connection.execute("INSERT INTO data_folder VALUES ('another:1')")
    for setting, url in (("STREAM_URL", others.stream_url), ("POSTGRES_URL", others.postgres_url)):
        words = f"MILLRACE_{setting} belongs to data folder another:1"
        refused(tmp_path / "home", DataFolderError, words, **{setting: url})
