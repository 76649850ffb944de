"""What only a real server can show: kills, torn files, wall clocks, settings, outages."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import valkey

from millrace.errors import SettingError, StreamFull, StreamUnavailable
from millrace.names import stream_key
from millrace.stream.contract import Entry
from millrace.stream.position import SEQUENCE_MAX, id_of, position_of
from millrace.stream.valkey import ValkeyStream

BYTES_MAX = 64 * 1024**2
Server = Any  # see conftest.py
SEED = 20_260_105
ANSWERED_MIN = 100
WAIT_S = 60.0


def put(stream: ValkeyStream, *texts: str) -> list[int]:
    return stream.append([Entry(0, "gw", text.encode()) for text in texts])


def stored(stream: ValkeyStream, shard: int = 0) -> dict[int, bytes]:
    after, found = 0, {}
    while got := stream.read({shard: after}, count_max=500, wait_s=0):
        found |= {record.position: record.data for record in got[shard]}
        after = got[shard][-1].position
    return found


@pytest.mark.requirement("S-19")
def test_everything_answered_is_there_after_kills_under_load(server: Server) -> None:
    """Threads append groups while the server is killed at random: each group is there whole or not at all."""
    rng = random.Random(SEED)
    answered: dict[int, bytes] = {}
    tried: list[tuple[str, int]] = []
    stop = threading.Event()

    def load(name: str, sizes: random.Random) -> None:
        stream = server.stream()
        number = 0
        while not stop.is_set():
            number += 1
            size = sizes.randrange(1, 20)
            texts = [f"{name}/{number}/{i}/{size}/" + "x" * sizes.randrange(2_000) for i in range(size)]
            tried.append((f"{name}/{number}", size))
            try:
                answered.update(zip(put(stream, *texts), (text.encode() for text in texts), strict=True))
            except StreamUnavailable:
                time.sleep(0.01)

    threads = [threading.Thread(target=load, args=(f"t{n}", random.Random(SEED + n))) for n in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(4):
        time.sleep(rng.uniform(0.05, 0.3))
        server.kill()
        server.start()
    until_s = time.monotonic() + WAIT_S
    while len(answered) <= ANSWERED_MIN and time.monotonic() < until_s:
        time.sleep(0.01)
    stop.set()
    for thread in threads:
        thread.join()

    found = stored(server.stream())
    assert len(answered) > ANSWERED_MIN
    assert {position: found.get(position) for position in answered} == answered
    groups: dict[str, list[bytes]] = {}
    for data in found.values():
        name, number, *_ = data.decode().split("/")
        groups.setdefault(f"{name}/{number}", []).append(data)
    for group in groups.values():
        assert len(group) == int(group[0].split(b"/")[3])  # all or nothing, each once


@pytest.mark.parametrize("cut", [1, 7, 100, 700])
def test_a_torn_tail_never_shows_half_a_call(server: Server, cut: int) -> None:
    stream = server.stream()
    kept = put(stream, "before" * 50)
    put(stream, *(f"{i}" * 100 for i in range(5)))
    server.kill()
    tail = max((server.folder / "appendonlydir").glob("*.incr.aof"), key=lambda path: path.stat().st_mtime)
    tail.write_bytes(tail.read_bytes()[:-cut])
    server.start()
    assert list(stored(server.stream())) == kept


def test_positions_never_repeat_after_a_restart(server: Server) -> None:
    newest = put(server.stream(), "a", "b")[-1]
    server.stream().trim(0, newest + 1)  # nothing is left that could tell
    server.kill()
    server.start()
    assert put(server.stream(), "c")[0] > newest


def test_positions_never_repeat_after_a_rewrite_and_a_restart(server: Server) -> None:
    stream = server.stream()
    newest = put(stream, "a", "b")[-1]
    stream.trim(0, newest + 1)
    client = valkey.Valkey(unix_socket_path=str(server.socket))
    client.bgrewriteaof()
    while (
        client.info("persistence")["aof_rewrite_in_progress"]
        or client.info("persistence")["aof_rewrite_scheduled"]
    ):
        time.sleep(0.02)
    server.kill()
    server.start()
    assert put(server.stream(), "c")[0] > newest


def ahead_of_the_wall(server: Server, seq: int) -> int:
    """A log whose newest id lies an hour ahead, as after the wall clock was set back."""
    ms = time.time_ns() // 1_000_000 + 3_600_000
    client = valkey.Valkey(unix_socket_path=str(server.socket))
    client.xadd(stream_key(0), {"k": "gw", "d": "from the future"}, id=f"{ms}-{seq}")
    return position_of(f"{ms}-{seq}".encode())


def test_positions_rise_on_while_the_wall_clock_stands_behind(server: Server) -> None:
    newest = ahead_of_the_wall(server, 0)
    positions = put(server.stream(), "a", "b", "c")
    assert positions == [newest + 1, newest + 2, newest + 3]
    server.kill()
    server.start()
    assert put(server.stream(), "d")[0] > positions[-1]


def test_a_long_step_back_of_the_wall_never_runs_out_of_sequence_numbers(server: Server) -> None:
    newest = ahead_of_the_wall(server, SEQUENCE_MAX // 2 - 5)
    stream = server.stream()
    positions = [position for _ in range(6) for position in put(stream, "a", "b", "c")]
    assert positions[0] > newest
    assert positions == sorted(set(positions))
    assert list(stored(stream))[1:] == positions
    assert (
        id_of(positions[-1]).split("-")[0] > id_of(newest).split("-")[0]
    )  # moved on to the next millisecond


def test_an_outage_is_unavailable_and_ends_without_a_new_client(server: Server) -> None:
    stream = server.stream()
    before = put(stream, "a")
    server.kill()
    for call in (
        lambda: put(stream, "b"),
        lambda: stream.read({0: 0}, count_max=1, wait_s=0.1),
        lambda: stream.trim(0, 1),
        lambda: stream.span(0),
        lambda: stream.headroom(),
        lambda: stream.identity(),
    ):
        with pytest.raises(StreamUnavailable):
            call()
    server.start()
    after = put(stream, "c")
    assert list(stored(stream).values()) == [b"a", b"c"]
    assert before < after


def test_a_stopped_server_gives_an_unknown_outcome_and_no_third_record(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client gives up while the server is stopped; the server appends when it goes on. The caller's
    retry is a second record with equal bytes, and the client has not tried again by itself."""
    stream = server.stream()
    put(stream, "first")
    with monkeypatch.context() as patched:
        patched.setattr("millrace.stream.valkey.CALL_TIMEOUT_S", 1.0)
        impatient = server.stream()
    server.signal(signal.SIGSTOP)
    try:
        with pytest.raises(StreamUnavailable):
            put(impatient, "unknown")
    finally:
        server.signal(signal.SIGCONT)
    until_s = time.monotonic() + WAIT_S
    while len(stored(stream)) == 1 and time.monotonic() < until_s:
        time.sleep(0.02)
    put(stream, "unknown")
    assert list(stored(stream).values()) == [b"first", b"unknown", b"unknown"]


def test_a_server_restarted_with_weaker_settings_is_refused_at_the_next_append(server: Server) -> None:
    stream = server.stream()
    put(stream, "a")
    server.kill()
    server.options["appendfsync"] = "everysec"
    server.start()
    for _ in range(2):
        with pytest.raises(SettingError, match="appendfsync"):
            put(stream, "b")


@pytest.mark.requirement("S-19")
@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("appendonly", "no"),
        ("appendfsync", "everysec"),
        ("no-appendfsync-on-rewrite", "yes"),
        ("maxmemory-policy", "allkeys-lru"),
        ("maxmemory", str(BYTES_MAX)),
        ("replicaof", "127.0.0.1 1"),
    ],
)
def test_a_server_that_could_lose_what_it_acknowledged_is_refused(
    new_server: Callable[..., Server], option: str, value: str
) -> None:
    server = new_server(**{option: value})
    server.start()
    with pytest.raises(SettingError) as refusal:
        server.stream()
    assert "wanted" in str(refusal.value)
    assert ("role" if option == "replicaof" else option) in str(refusal.value)


@pytest.mark.requirement("S-19")
def test_our_own_server_is_started_durable_and_never_evicts(server: Server) -> None:
    config = valkey.Valkey(unix_socket_path=str(server.socket), decode_responses=True).config_get("*")
    assert (config["appendonly"], config["appendfsync"]) == ("yes", "always")
    assert config["no-appendfsync-on-rewrite"] == "no"
    assert config["maxmemory-policy"] == "noeviction"
    assert int(config["maxmemory"]) > BYTES_MAX


def test_no_server_is_unavailable_and_a_wrong_address_a_setting_error() -> None:
    with pytest.raises(StreamUnavailable):
        ValkeyStream("unix:///nowhere/at/all.sock", shard_count=1, bytes_max=BYTES_MAX)
    with pytest.raises(SettingError):
        ValkeyStream("http://somewhere", shard_count=1, bytes_max=BYTES_MAX)


def test_maxmemory_itself_refuses_before_the_first_record_of_a_call(server: Server) -> None:
    """The data's bound is taken away: the server's own wall is hit, all or nothing too."""
    stream = server.stream(bytes_max=BYTES_MAX)
    stream._bytes_max = 10 * BYTES_MAX
    count = 0
    while count < 600:
        try:
            count += len(stream.append([Entry(0, "gw", bytes(1_000_000))] * 3))
        except StreamFull:
            break
    assert 60 < count < 200
    assert len(stored(stream)) == count


def test_a_read_is_bounded_in_bytes_and_loses_nothing(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("millrace.stream.valkey_read.READ_BYTES_MAX", 2_000_000)
    stream = server.stream()
    for start in range(0, 200, 20):
        put(stream, *(f"{i:06d}" + "x" * 100_000 for i in range(start, start + 20)))
    got = stream.read({0: 0}, count_max=1_000, wait_s=0)
    assert sum(len(record.data) for record in got[0]) < 5_000_000
    assert [int(data[:6]) for data in stored(stream).values()] == list(range(200))


def test_an_entry_that_somebody_else_put_is_read_and_breaks_nothing(server: Server) -> None:
    client = valkey.Valkey(unix_socket_path=str(server.socket))
    client.xadd(stream_key(0), {"d": b"only data"})
    client.xadd(stream_key(0), {"who": "knows", "what": "this is"})
    client.xadd(stream_key(0), {"k": b"\xff\xfe", "d": b"odd key"})
    records = server.stream().read({0: 0}, count_max=10, wait_s=0)[0]
    assert [record.data for record in records] == [b"only data", b"", b"odd key"]


def test_the_file_shrinks_at_a_rewrite_once_records_are_trimmed(server: Server) -> None:
    stream = server.stream()
    for _ in range(20):
        newest = put(stream, *("x" * 50_000 for _ in range(10)))[-1]
    stream.trim(0, newest)
    client = valkey.Valkey(unix_socket_path=str(server.socket))
    before = client.info("persistence")["aof_current_size"]
    client.bgrewriteaof()
    until_s = time.monotonic() + WAIT_S
    while time.monotonic() < until_s:
        state = client.info("persistence")
        if not (state["aof_rewrite_in_progress"] or state["aof_rewrite_scheduled"]):
            break
        time.sleep(0.05)
    assert before > 10_000_000
    assert client.info("persistence")["aof_current_size"] < 1_000_000
    assert list(stored(stream)) == [newest]


def test_two_processes_share_one_log(server: Server) -> None:
    code = (
        "from millrace.stream.valkey import ValkeyStream; from millrace.stream.contract import Entry;"
        f"s = ValkeyStream({server.url!r}, shard_count=4, bytes_max={BYTES_MAX});"
        "print(s.append([Entry(0, 'gw', b'from afar')])[0])"
    )
    position = int(
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout
    )
    assert stored(server.stream()) == {position: b"from afar"}
