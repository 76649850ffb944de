"""An append that the stream acknowledged survives every power cut, and the test would notice if it did not.

The stream is the product's, and so are the server's options; every record comes back as it was put, in order.
The file is too small here to be rewritten: a rewrite goes through stdio, where the recorder does not see it.
"""

from __future__ import annotations

import os
from pathlib import Path
from random import Random
from typing import Any

import pytest
import valkey
from power_cut import Op, acknowledge, promises
from recorded_server import Recording, Server, build_recorder, free_port, valkey_binary

from millrace.local.valkey import stream_options
from millrace.settings import MIB
from millrace.stream import durability
from millrace.stream.contract import Entry
from millrace.stream.valkey import ValkeyStream

APPENDS = 120
SHARDS = 2
CUTS = 25
CUTS_LONG = 200
BYTES_MAX = 256 * MIB


def server_on(folder: Path, environment: dict[str, str] | None = None, **options: str) -> tuple[Server, str]:
    """A server as the product starts its stream, on a port of its own; its address."""
    port = free_port()
    own = {"port": str(port), "bind": "127.0.0.1", "dir": str(folder)}
    settings = {**stream_options(BYTES_MAX), **own, **options}
    command = [valkey_binary(), *(text for key, value in settings.items() for text in (f"--{key}", value))]
    client = valkey.Valkey(port=port)

    def ready() -> bool:
        try:
            return bool(client.ping())
        except (valkey.ConnectionError, valkey.exceptions.BusyLoadingError):
            return False

    log = folder.parent / "valkey.log"
    return Server(command, ready, environment=environment or {}, log=log), f"redis://127.0.0.1:{port}"


def entry(number: int) -> Entry:
    return Entry(number % SHARDS, f"gw-{number % 5}", f"{number} ".encode() + b"x" * (number * 37 % 3_000))


def stream_at(url: str) -> ValkeyStream:
    return ValkeyStream(url, shard_count=SHARDS, bytes_max=BYTES_MAX)


def record_appends(tmp_path: Path, **options: str) -> Recording:
    """A stream that was appended to under the recorder; each append is acknowledged in the log, with its position,
    when it was answered."""
    recorder = build_recorder(tmp_path)
    root = tmp_path / "live"
    root.mkdir()
    server, url = server_on(root)
    server.start()
    stream_at(url).append([entry(0), entry(1)])
    server.stop()
    recording = Recording.begin(root, tmp_path)
    server, url = server_on(root, recording.environment(recorder), **options)
    server.start()
    log = recording.open_log()
    try:
        append_all(url, log)
    finally:
        os.close(log)
        server.kill()
    recording.finish()
    return recording


def append_all(url: str, log: int) -> None:
    stream, number = stream_at(url), 2
    while number < APPENDS:
        entries = [entry(number + i) for i in range(1 + number % 3)]
        positions = stream.append(entries)
        for put, position in zip(entries, positions, strict=True):
            acknowledge(log, [put.shard, str(position), put.partition_key, put.data.decode()])
        number += len(entries)
    stream.close()


def lost_after_cut(recording: Recording, at: int, target: Path, rng: Random | None) -> list[Any]:
    """Acknowledged records that the stream on a server started on the remains does not give as they were put."""
    folder = recording.cut(at, target, rng)
    server, url = server_on(folder)
    server.start()
    try:
        stream = stream_at(url)
        got = stream.read(dict.fromkeys(range(SHARDS), 0), count_max=10 * APPENDS, wait_s=0.0)
        stream.close()
    finally:
        server.kill()
    held = [
        [shard, str(r.position), r.partition_key, bytes(r.data).decode()]
        for shard, records in got.items()
        for r in records
    ]
    for records in got.values():
        numbers = [int(bytes(r.data).split(b" ")[0]) for r in records]
        assert numbers == list(range(numbers[0], numbers[-1] + 1, SHARDS)), (
            "a record in the middle is missing"
        )
    return [promised for promised in promises(recording.entries, at) if promised not in held]


def cuts(recording: Recording, rng: Random, count: int = CUTS) -> list[tuple[int, Random | None]]:
    """Random moments, every other one with unsynced bytes surviving in part, and the very end."""
    orders = [e.order for e in recording.entries]
    chosen = [(rng.choice(orders), Random(rng.random()) if i % 2 else None) for i in range(count)]
    return [*chosen, (orders[-1] + 1, None)]


@pytest.mark.requirement("S-19")
def test_an_acknowledged_append_survives_every_power_cut(tmp_path: Path, rng: Random) -> None:
    recording = record_appends(tmp_path)
    assert len(promises(recording.entries, 1 << 60)) >= APPENDS - 2
    assert sum(e.op is Op.SYNC for e in recording.entries) >= APPENDS // 3
    for at, chance in cuts(recording, rng):
        assert lost_after_cut(recording, at, tmp_path / "cut", chance) == [], f"cut at {at}"


@pytest.mark.long
@pytest.mark.requirement("S-19")
def test_acknowledged_appends_survive_power_cuts_at_many_moments(tmp_path: Path, rng: Random) -> None:
    recording = record_appends(tmp_path)
    for at, chance in cuts(recording, rng, CUTS_LONG):
        assert lost_after_cut(recording, at, tmp_path / "cut", chance) == [], f"cut at {at}"


def test_a_stream_that_syncs_every_second_is_caught(
    tmp_path: Path, rng: Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The product would refuse such a server: that it does is taken away here, for what would come of it."""
    monkeypatch.setattr(durability, "check", lambda *_, **__: None)
    recording = record_appends(tmp_path, appendfsync="everysec")
    assert any(
        lost_after_cut(recording, at, tmp_path / "cut", chance) for at, chance in cuts(recording, rng)[::-1]
    )
