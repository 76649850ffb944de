"""An append that the stream acknowledged survives every power cut, and the test would notice if it did not.

The stream is the product's, and so are the server's options; every record comes back as it was put, in order.
A rewrite of the append-only file is asked for while records come in: new base, new file for what comes, manifest.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest
import valkey
from power_cut import Entry as DiskCall
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
REWRITE_S = 60.0
SLOWLY = {"rdb-key-save-delay": "150000"}
"""Microseconds a key that the rewrite takes longer, so that appends and cuts fall inside it."""


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


def record_appends(tmp_path: Path, *, rewrites: int = 0, **options: str) -> Recording:
    """A stream that was appended to under the recorder; each append is acknowledged in the log, with its position,
    when it was answered. `rewrites` of the append-only file happen on the way."""
    recorder = build_recorder(tmp_path)
    root = tmp_path / "live"
    root.mkdir()
    server, url = server_on(root)
    server.start()
    stream_at(url).append([entry(0), entry(1)])
    server.stop()
    recording = Recording.begin(root, tmp_path)
    environment = recording.environment(recorder) | {"POWER_CUT_STDIO": "1"}
    server, url = server_on(root, environment, **options)
    server.start()
    log = recording.open_log()
    try:
        number = append_some(url, log, 2)
        for _ in range(rewrites):
            number = append_some(url, log, number, rewrite=True)
            number = append_some(url, log, number)
    finally:
        os.close(log)
        server.kill()
    recording.finish()
    return recording


def append_some(url: str, log: int, number: int, *, rewrite: bool = False) -> int:
    """`APPENDS` records from that number on, or more until a rewrite that begins with them is over; the next number."""
    stream, client = stream_at(url), valkey.Valkey.from_url(url)
    last = APPENDS if number == 2 else number + APPENDS
    if rewrite:
        client.bgrewriteaof()
    until_s = time.monotonic() + REWRITE_S
    while number < last or is_rewriting(client):
        assert time.monotonic() < until_s, "the rewrite does not end"
        entries = [entry(number + i) for i in range(1 + number % 3)]
        positions = stream.append(entries)
        for put, position in zip(entries, positions, strict=True):
            acknowledge(log, [put.shard, str(position), put.partition_key, put.data.decode()])
        number += len(entries)
    stream.close()
    client.close()
    return number


def is_rewriting(client: Any) -> bool:
    said = client.info("persistence")
    return bool(said["aof_rewrite_in_progress"] or said["aof_rewrite_scheduled"])


def lost_after_cut(recording: Recording, at: int, target: Path, rng: Random | None) -> list[Any]:
    """Acknowledged records that the stream on a server started on the remains does not give as they were put."""
    folder = recording.cut(at, target, rng)
    server, url = server_on(folder)
    server.start()
    try:
        stream = stream_at(url)
        got = stream.read(dict.fromkeys(range(SHARDS), 0), count_max=100 * APPENDS, wait_s=0.0)
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


def rewriting(recording: Recording) -> list[DiskCall]:
    """What was opened, renamed, synced and removed, from the first rewrite's file for new records to the last one's
    old files."""
    begin = next(e.order for e in recording.entries if e.op is Op.OPEN and e.path.endswith(".2.incr.aof"))
    names = [e for e in recording.entries if e.order >= begin and e.op is not Op.WRITE]
    end = max(e.order for e in names if e.op is Op.UNLINK)
    return [e for e in names if e.order <= end and e.op is not Op.ACK]


def around(calls: list[DiskCall], rng: Random, count: int) -> list[tuple[int, Random | None]]:
    """Right before and right after calls that change names, and of the others some; with and without luck."""
    naming = [e for e in calls if e.op in (Op.OPEN, Op.RENAME, Op.UNLINK, Op.SYNC_FOLDER)]
    orders = [order for e in naming for order in (e.order, e.order + 1)]
    orders += [rng.choice(calls).order for _ in range(count)]
    return [(order, Random(rng.random()) if i % 2 else None) for i, order in enumerate(orders)]


@pytest.mark.requirement("S-19")
def test_an_acknowledged_append_survives_a_power_cut_during_a_rewrite_of_the_file(
    tmp_path: Path, rng: Random
) -> None:
    recording = record_appends(tmp_path, rewrites=1, **SLOWLY)
    calls = rewriting(recording)
    inside = [e for e in recording.entries if e.op is Op.ACK and calls[0].order < e.order < calls[-1].order]
    assert len(inside) > 20, "appends were answered while the file was rewritten"
    assert {e.op for e in calls} >= {Op.RENAME, Op.SYNC, Op.SYNC_FOLDER, Op.UNLINK}
    opened = [Path(e.path).name for e in calls if e.op is Op.OPEN]
    assert any(name.startswith("temp-rewriteaof") for name in opened)
    assert any("manifest" in name for name in opened)
    for at, chance in [*around(calls, rng, CUTS), *cuts(recording, rng, 5)]:
        assert lost_after_cut(recording, at, tmp_path / "cut", chance) == [], f"cut at {at}"


@pytest.mark.long
@pytest.mark.requirement("S-19")
def test_appends_survive_power_cuts_at_many_moments_of_three_rewrites(tmp_path: Path, rng: Random) -> None:
    recording = record_appends(tmp_path, rewrites=3, **SLOWLY)
    for at, chance in around(rewriting(recording), rng, CUTS_LONG):
        assert lost_after_cut(recording, at, tmp_path / "cut", chance) == [], f"cut at {at}"


def test_a_rewrite_that_does_not_sync_its_new_file_is_caught(tmp_path: Path, rng: Random) -> None:
    """The server's own care, taken out of the recording: whatever it wrote of the new file is not on the disk."""
    recording = record_appends(tmp_path, rewrites=1, **SLOWLY)
    [new] = [e.inode for e in recording.entries if e.op is Op.OPEN and "temp-rewriteaof" in e.path]
    assert any(e.op is Op.SYNC and e.inode == new for e in recording.entries)
    recording.entries = [e for e in recording.entries if e.op is not Op.SYNC or e.inode != new]
    assert lost_after_cut(recording, recording.entries[-1].order + 1, tmp_path / "cut", None)


def test_a_stream_that_syncs_every_second_is_caught(
    tmp_path: Path, rng: Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The product would refuse such a server: that it does is taken away here, for what would come of it."""
    monkeypatch.setattr(durability, "check", lambda *_, **__: None)
    recording = record_appends(tmp_path, appendfsync="everysec")
    assert any(
        lost_after_cut(recording, at, tmp_path / "cut", chance) for at, chance in cuts(recording, rng)[::-1]
    )
