"""The stream's promises, on each adapter."""

from __future__ import annotations

import threading
import time

import pytest

from millrace.errors import StreamFull
from millrace.protocols import control
from millrace.stream.contract import BEFORE_FIRST, Entry, Span, Stream, shard_of
from millrace.stream.durability import memory_max
from millrace.stream.memory import MemoryStream

SHARDS = 4
READ_S = 60.0
BYTES_MAX = 64 * 1024**2


@pytest.fixture(params=["memory", "valkey"])
def stream(request: pytest.FixtureRequest) -> Stream:
    if request.param == "memory":
        return MemoryStream(SHARDS, bytes_max=BYTES_MAX)
    made: Stream = request.getfixturevalue("server").stream(SHARDS, BYTES_MAX)
    return made


def entries(*texts: str, shard: int = 0) -> list[Entry]:
    return [Entry(shard, "acme/gw", text.encode()) for text in texts]


def everything(stream: Stream, count_max: int = 1_000) -> dict[int, list[bytes]]:
    """All data per shard, read to the end in steps."""
    after = dict.fromkeys(range(SHARDS), BEFORE_FIRST)
    found: dict[int, list[bytes]] = {shard: [] for shard in after}
    while got := stream.read(after, count_max=count_max, wait_s=0):
        for shard, records in got.items():
            found[shard] += [record.data for record in records]
            after[shard] = records[-1].position
    return found


def test_records_come_back_in_order_with_their_bytes_key_and_position(stream: Stream) -> None:
    positions = stream.append([*entries("a", "b"), Entry(1, "ünï/source", b"\x00\xff" * 500)])
    got = stream.read({0: BEFORE_FIRST, 1: BEFORE_FIRST, 2: BEFORE_FIRST}, count_max=10, wait_s=0)
    assert [record.data for record in got[0]] == [b"a", b"b"]
    assert [record.position for record in got[0]] == positions[:2]
    assert got[1][0].partition_key == "ünï/source"
    assert got[1][0].data == b"\x00\xff" * 500
    assert abs(got[1][0].arrival_us - time.time_ns() // 1_000) < 60_000_000
    assert 2 not in got


def test_reading_in_steps_gives_each_record_once(stream: Stream) -> None:
    for start in range(0, 500, 100):
        stream.append([Entry(i % SHARDS, "gw", str(i).encode()) for i in range(start, start + 100)])
    for count_max in (1, 7, 33, 1_000):
        found = everything(stream, count_max)
        assert found == {
            shard: [str(i).encode() for i in range(shard, 500, SHARDS)] for shard in range(SHARDS)
        }


def test_a_read_never_gives_more_than_asked(stream: Stream) -> None:
    stream.append(entries(*map(str, range(300))))
    for count_max in (1, 32, 33, 100, 250):
        got = stream.read({0: BEFORE_FIRST}, count_max=count_max, wait_s=0)
        assert [record.data for record in got[0]] == [str(i).encode() for i in range(count_max)]


def test_positions_rise_strictly_over_many_threads(stream: Stream) -> None:
    given: list[list[int]] = []

    def put() -> None:
        given.extend(stream.append(entries("x", "y", "z")) for _ in range(50))

    threads = [threading.Thread(target=put) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(group == sorted(set(group)) for group in given)
    stored = stream.read({0: BEFORE_FIRST}, count_max=1_000, wait_s=0)[0]
    positions = [record.position for record in stored]
    assert positions == sorted(position for group in given for position in group)
    assert len(set(positions)) == 600


def test_a_blocked_read_wakes_at_an_append_to_any_of_its_shards(stream: Stream) -> None:
    got: dict[int, list[bytes]] = {}

    def wait() -> None:
        for shard, records in stream.read({0: 0, 3: 0}, count_max=10, wait_s=READ_S).items():
            got[shard] = [record.data for record in records]

    reader = threading.Thread(target=wait)
    reader.start()
    time.sleep(0.05)
    stream.append(entries("late", shard=3))
    reader.join(READ_S / 2)  # less than the read would wait
    assert not reader.is_alive()
    assert got == {3: [b"late"]}


def test_a_read_of_nothing_ends(stream: Stream) -> None:
    assert stream.read({0: 0, 1: 0}, count_max=10, wait_s=0) == {}
    assert stream.read({0: 0, 1: 0}, count_max=10, wait_s=0.05) == {}
    assert stream.read({}, count_max=10, wait_s=0.05) == {}


@pytest.mark.requirement("S-19")
def test_trim_keeps_the_record_at_its_position_and_all_after(stream: Stream) -> None:
    positions = stream.append(entries(*map(str, range(250))))
    stream.append(entries("other", shard=1))
    stream.trim(0, positions[123])
    found = everything(stream)
    assert found[0] == [str(i).encode() for i in range(123, 250)]
    assert found[1] == [b"other"]
    assert stream.span(0) == Span(positions[123], positions[-1], trimmed=True)


def test_a_log_trimmed_empty_remembers_its_newest_position(stream: Stream) -> None:
    positions = stream.append(entries("a", "b"))
    stream.trim(0, positions[-1] + 1)
    assert stream.span(0) == Span(0, positions[-1], trimmed=True)
    assert everything(stream)[0] == []
    (after,) = stream.append(entries("c"))
    assert after > positions[-1]


def test_an_untouched_log_spans_nothing(stream: Stream) -> None:
    assert stream.span(2) == Span(0, 0)
    stream.trim(2, 10**18)


def test_the_identity_is_what_was_claimed_last(stream: Stream) -> None:
    assert stream.identity() is None
    stream.claim_identity("folder-1/1")
    stream.claim_identity("folder-1/2")
    assert stream.identity() == "folder-1/2"


def fill(stream: Stream) -> list[int]:
    """Positions of what went in before not even a small record did. (A call's own bytes count as held.)"""
    positions: list[int] = []
    for size in (1_000_000, 30_000, 1_000):
        for _ in range(3_000):
            try:
                positions += stream.append([Entry(0, "gw", bytes(size))] * 3)
            except StreamFull:
                break
        else:
            raise AssertionError("never full")
    return positions


def test_a_full_stream_takes_nothing_of_a_call_but_still_takes_ticks(stream: Stream) -> None:
    positions = fill(stream)
    assert (
        stream.headroom().bytes_held > 0.9 * BYTES_MAX
    )  # the server gives buffers of its own back now and then
    with pytest.raises(StreamFull):
        stream.append([Entry(1, "gw", b"small"), *[Entry(0, "gw", bytes(1_000_000))] * 8])
    tick = control.encode(control.Tick(1, "api"))
    stream.append([Entry(shard, "tick", tick) for shard in range(SHARDS)])
    assert everything(stream, 50)[1] == [tick]
    with pytest.raises(StreamFull):  # a reading beside ticks is a reading
        stream.append([Entry(1, "tick", tick), *[Entry(1, "gw", bytes(1_000_000))] * 8])
    stream.trim(0, positions[len(positions) // 2])
    assert not stream.headroom().full
    stream.append(entries("again"))


def test_the_reserve_of_the_ticks_lies_above_the_bound() -> None:
    assert memory_max(BYTES_MAX) > BYTES_MAX + 16 * 1024**2


def test_a_source_stays_in_its_shard() -> None:
    # golden: a change of this mapping would tear every source's order apart
    assert [shard_of(source, 8) for source in ("acme/gw-1", "acme/gw-2", "", "ünï")] == GOLDEN


GOLDEN = [1, 7, 2, 0]
