"""The embedded servers, real ones: durable, alone on their sockets, gone when they should be."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import valkey

from millrace.errors import SettingError, StoreUnavailable
from millrace.local import durability, sockets
from millrace.local.addresses import Addresses
from millrace.local.child import end_stale, wait_until
from millrace.local.folder import DataFolder, remove
from millrace.local.servers import Server, Servers, running
from millrace.settings import Settings, load

HOLD = """
import os, sys, time
from millrace.local.servers import running
from millrace.settings import load
with running(load({"MILLRACE_HOME": sys.argv[1]})) as (folder, servers):
    print(*(server.child.pid for server in servers.embedded), flush=True)
    time.sleep(120)
"""


def settings(home: Path, **more: str) -> Settings:
    return load({"MILLRACE_HOME": str(home), **{f"MILLRACE_{name}": value for name, value in more.items()}})


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[DataFolder, Servers]]:
    with running(settings(tmp_path_factory.mktemp("servers") / "home")) as both:
        yield both


def test_they_keep_every_promise_that_durability_rests_on(up: tuple[DataFolder, Servers]) -> None:
    promises = durability.promises(up[1].addresses)
    assert len(promises) >= 8
    assert [promise for promise in promises if not promise.kept] == []


def test_pages_of_postgres_carry_checksums(up: tuple[DataFolder, Servers]) -> None:
    with psycopg.connect(up[1].addresses.postgres_url) as connection:
        for name, wanted in {
            "data_checksums": "on",
            "server_encoding": "UTF8",
            "lc_collate": "C",
            "jit": "off",
        }.items():
            row = connection.execute(
                "SELECT datcollate FROM pg_database WHERE datname = current_database()"
                if name == "lc_collate"
                else f"SHOW {name}"
            ).fetchone()
            assert row == (wanted,), name


def test_nothing_listens_on_tcp(up: tuple[DataFolder, Servers]) -> None:
    for server in up[1].embedded:
        assert psutil.Process(server.child.pid).net_connections("tcp") == [], server.child.name


def test_no_server_lets_anybody_in_without_the_password(up: tuple[DataFolder, Servers]) -> None:
    addresses = up[1].addresses
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(addresses.postgres_url.replace("millrace:", "millrace:wrong", 1))
    for url in (addresses.stream_url, addresses.cache_url):
        with pytest.raises(valkey.AuthenticationError):
            valkey.Valkey.from_url(url.split("&password")[0]).ping()


def test_no_password_is_on_a_command_line(up: tuple[DataFolder, Servers]) -> None:
    passwords = [up[0].secret(server.child.name) for server in up[1].embedded]
    for server in up[1].embedded:
        said = " ".join(psutil.Process(server.child.pid).cmdline())
        assert not any(password in said for password in passwords)


@pytest.mark.parametrize(
    ("server", "command", "named"),
    [
        ("stream", ("appendfsync", "everysec"), "appendfsync"),
        ("stream", ("maxmemory-policy", "allkeys-lru"), "maxmemory-policy"),
        ("stream", ("maxmemory", str(64 * 2**20)), "maxmemory"),
    ],
)
def test_a_stream_server_that_promises_less_is_refused(
    up: tuple[DataFolder, Servers], server: str, command: tuple[str, str], named: str
) -> None:
    client = valkey.Valkey.from_url(up[1].addresses.stream_url, decode_responses=True)
    before = client.config_get(command[0])[command[0]]
    client.config_set(*command)
    try:
        with pytest.raises(SettingError, match=named):
            durability.require(up[1].addresses, 2 * 2**30)
    finally:
        client.config_set(command[0], before)
    durability.require(up[1].addresses, 2 * 2**30)


def test_a_postgres_that_promises_less_is_refused(up: tuple[DataFolder, Servers]) -> None:
    weak = up[1].addresses.postgres_url + "&options=-csynchronous_commit%3Doff"
    with pytest.raises(SettingError, match="MILLRACE_POSTGRES_URL: found 'synchronous_commit = off'"):
        durability.require(Addresses(weak, up[1].addresses.stream_url, up[1].addresses.cache_url), 2 * 2**30)


def test_one_server_cannot_be_stream_and_cache(up: tuple[DataFolder, Servers]) -> None:
    addresses = up[1].addresses
    with pytest.raises(SettingError, match="MILLRACE_CACHE_URL"):
        durability.require(
            Addresses(addresses.postgres_url, addresses.stream_url, addresses.stream_url), 2 * 2**30
        )


def test_data_survives_a_stop_and_a_start(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(settings(home)) as (_, servers):
        _write(servers.addresses)
    with running(settings(home)) as (_, servers):
        assert _read(servers.addresses) == (41, b"42", None)


@pytest.mark.requirement("S-19")
@pytest.mark.parametrize("victim", ["postgres", "stream", "cache"])
def test_what_was_acknowledged_survives_a_kill_of_its_server(tmp_path: Path, victim: str) -> None:
    with running(settings(tmp_path / "home")) as (_, servers):
        _write(servers.addresses)
        server = next(server for server in servers.embedded if server.child.name == victim)
        os.kill(server.child.pid, signal.SIGKILL)
        assert wait_until(lambda: not server.child.pid, wait_s=60)
        assert wait_until(lambda: _again(server), wait_s=60, pace_s=0.3)
        assert _read(servers.addresses) == (41, b"42", None if victim == "cache" else b"43")


def _again(server: Server) -> bool:
    """As the supervisor does: sessions of a killed PostgreSQL hold its memory for a moment, then once more."""
    server.launch()
    try:
        server.wait_ready()
    except StoreUnavailable:
        return False
    return True


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_a_killed_supervisor_leaves_nothing_that_blocks_the_next_start(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(home)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        pids = [int(word) for word in holder.stdout.readline().split()]
        assert len(pids) == 3
        holder.kill()
    with running(settings(home)) as (_, servers):  # at once, while the old ones may still be stopping
        _write(servers.addresses)
        assert not set(pids) & {server.child.pid for server in servers.embedded}
    assert not [pid for pid in pids if _runs(pid)]
    assert end_stale(home) == []


def _runs(pid: int) -> bool:
    """A dead orphan has a pid until whoever adopted it looks."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_path_too_long_for_a_socket_gets_a_short_private_folder(tmp_path: Path) -> None:
    home = tmp_path / ("x" * 100) / "home"
    for _ in range(2):
        with running(settings(home)) as (folder, servers):
            link = folder.run / "sockets"
            assert link.is_symlink()
            assert link.stat().st_mode & 0o066 == 0
            _write(servers.addresses)
            short = Path(os.readlink(link))
            assert (short / "postgres").is_dir()
        assert not short.exists()
        assert not link.is_symlink()


@pytest.mark.parametrize("ended", ["by the next start", "with the data folder"])
def test_the_short_folder_of_a_killed_run_is_removed(tmp_path: Path, ended: str) -> None:
    home = tmp_path / ("x" * 100) / "home"
    with contextlib.closing(DataFolder.open(settings(home))) as folder:
        short = sockets.place(folder.run)
    assert short.is_dir()
    if ended == "with the data folder":
        remove(home)
    else:
        assert sockets.place(home / "run") != short
        sockets.remove_short(home / "run")
    assert not short.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be kept out of PostgreSQL")
def test_root_may_keep_its_data_in_a_folder_that_is_closed_to_others(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with running(settings(closed / "home")) as (_, servers):
        _write(servers.addresses)
        assert psutil.Process(servers.embedded[0].child.pid).uids().real != 0
    assert closed.stat().st_mode & 0o777 == 0o700


def test_an_interrupted_first_start_is_begun_again(tmp_path: Path) -> None:
    home = tmp_path / "home"
    DataFolder.open(settings(home)).close()
    (home / "postgres.new").mkdir()
    (home / "postgres.new" / "PG_VERSION").write_text("18\n")
    with running(settings(home)) as (_, servers):
        _write(servers.addresses)


def test_a_torn_tail_of_the_stream_file_does_not_block_the_start(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(settings(home)) as (_, servers):
        _write(servers.addresses)
    newest = max(
        (home / "stream" / "appendonlydir").glob("*.incr.aof"), key=lambda file: file.stat().st_mtime
    )
    with newest.open("ab") as file:
        file.write(b"*3\r\n$3\r\nSET\r\n$5\r\nstr")
    with running(settings(home)) as (_, servers):
        assert _read(servers.addresses)[1] == b"42"


def _write(addresses: Addresses) -> None:
    with psycopg.connect(addresses.postgres_url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
        connection.execute("INSERT INTO kept VALUES (41)")
    valkey.Valkey.from_url(addresses.stream_url).set("kept", b"42")
    valkey.Valkey.from_url(addresses.cache_url).set("kept", b"43")


def _read(addresses: Addresses) -> tuple[int, bytes | None, bytes | None]:
    with psycopg.connect(addresses.postgres_url) as connection:
        row = connection.execute("SELECT n FROM kept").fetchone()
    stream, cache = (
        valkey.Valkey.from_url(url).get("kept") for url in (addresses.stream_url, addresses.cache_url)
    )
    assert row is not None
    return int(row[0]), stream, cache
