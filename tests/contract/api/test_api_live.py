"""The fast path end to end: sink, real-time store, follower, server-sent events."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from api_platform import SHARDS, TOKEN, CacheServer, Platform, Writer, sink_for, tag
from valkey.exceptions import TimeoutError as ValkeyTimeoutError

from millrace import telemetry
from millrace.api.live import LiveFollower
from millrace.api.live_view import TagRef
from millrace.batch import ALARM, ANOMALY, CLOSED, OPENED, READING
from millrace.clock import EdgeClock
from millrace.schema.live import Latest
from millrace.sinks.contract import Ownership
from millrace.sinks.live_shard import Seed, WindowPart
from millrace.sinks.redis import AWAY_MAX_S
from millrace.sinks.unsaid import BLOB_WEIGHT_ROWS
from tests.waiting import WAIT_S, wait_for

SHORT_S = 0.25  # as shipped: a store that stalls holds nobody up
TEMP = "acme/lyon/press-shop/line-2/press-07/temp"


def values(follower: LiveFollower, ref: TagRef, after: int = 0) -> list[float]:
    raw = follower.raw(ref, after)
    return [*raw.doubtful.value.tolist(), *raw.readings.value.tolist()]


def test_a_woken_owner_of_a_lower_epoch_is_refused(
    cache: CacheServer, clock: EdgeClock, writer: Writer, follower: LiveFollower
) -> None:
    writer.say([(0, 1_000, 1.0)], tags=[tag(0, TEMP)])
    taker = Writer(sink_for(cache, clock), clock, {0: 1, 1: 0})
    taker.open(epoch=2)
    taker.say([(0, 2_000, 2.0)], tags=[tag(0, TEMP)])
    writer.say([(0, 1_500, -1.0)])  # the paused one wakes up
    taker.say([(0, 3_000, 3.0)])
    wait_for(lambda: follower.rows == 3, "the follower has all three")
    assert writer.sink.refused == 1
    assert values(follower, TagRef(0, 0)) == [1.0, 2.0, 3.0]


def test_a_new_owner_that_replays_another_cut_makes_no_double(
    cache: CacheServer, clock: EdgeClock, writer: Writer, follower: LiveFollower
) -> None:
    """The dead owner's fast path was ahead of its commit; the new one begins there, in other batches."""
    writer.say([(0, 1_000, 1.0)], tags=[tag(0, TEMP)], position=10)
    writer.say([(0, 2_000, 2.0)], position=20)
    writer.say([(0, 3_000, 3.0)], position=30)
    wait_for(lambda: follower.rows == 3, "the follower has all three")
    taker = Writer(sink_for(cache, clock), clock, {0: 10, 1: 0})
    taker.open(epoch=2)
    taker.say([(0, 2_000, 2.0), (0, 3_000, 3.0), (0, 4_000, 4.0)], tags=[tag(0, TEMP)], position=40)
    wait_for(lambda: follower.rows == 6, "the follower has the new cut")
    assert values(follower, TagRef(0, 0)) == [1.0, 2.0, 3.0, 4.0]
    assert values(follower, TagRef(0, 0), after=10) == [2.0, 3.0, 4.0]
    assert follower.raw(TagRef(0, 0), 0).complete


def test_a_store_that_lost_everything_is_filled_again_by_its_owner(
    cache: CacheServer, clock: EdgeClock
) -> None:
    def reseed(shard: int) -> Seed:
        latest = Latest.of_size(64)
        reading = ((0, "i4"), (2_000, "i8"), (2.0, "f8"), (192, "u1"), (0, "u1"))
        latest.take(*(np.array([v], t) for v, t in reading))
        rows = np.zeros(1, READING)
        rows[0] = (0, 2_000, 2.0, 192, 0, 0)
        window = [WindowPart(2, 2, rows)] if shard == 0 else []
        return Seed(2, clock.now_us(), [tag(0, TEMP)] if shard == 0 else [], latest, window)

    sink = sink_for(cache, clock, reseed=reseed)
    writer = Writer(sink, clock)
    writer.open()
    writer.say([(0, 1_000, 1.0)])
    writer.say([(0, 2_000, 2.0)])
    cache.kill()
    cache.start()
    writer.say([(0, 3_000, 3.0)])  # finds the connection gone, and waits
    clock.sleep(0.2)
    writer.say([(0, 4_000, 4.0)])
    follower = LiveFollower(cache.url, clock, shard_count=SHARDS)
    follower.start()
    try:
        wait_for(lambda: values(follower, TagRef(0, 0)) == [2.0, 3.0, 4.0], "the window is there again")
        [found] = follower.find(TEMP)
        assert found[1].source == "gw-1"
        assert follower.latest([TagRef(0, 0)])[0].value == 4.0
    finally:
        follower.close()


@pytest.mark.requirement("S-23")
def test_readings_that_become_visible_are_counted_and_so_are_those_that_came_too_late(
    cache: CacheServer, clock: EdgeClock, writer: Writer, follower: LiveFollower
) -> None:
    """Each reading once, whatever else is said again; a window without a receipt has no latency."""
    before = telemetry.totals()
    at_once = writer.output([(0, 1_000, 1.0), (0, 1_001, 1.0)], tags=[tag(0, TEMP)])
    at_once.newest_received_us += 3_600_000_000  # however loaded the machine is: not late
    held_up = writer.output([(0, 2_000, 2.0), (0, 2_001, 2.0), (0, 2_002, 2.0)])
    held_up.newest_received_us -= 501_000
    again = writer.output([(0, 3_000, 3.0)])
    again.newest_received_us = 0
    for output in (at_once, held_up, again):
        writer.sink.write([output])

    def grown(name: str) -> float:
        return telemetry.totals()[name] - before.get(name, 0.0)

    wait_for(lambda: grown("api_readings_visible_total") >= 5, "the follower has counted them")
    wait_for(lambda: follower.rows == 6, "and has taken all")

    assert grown("api_readings_visible_total") == 5
    assert grown("api_readings_slow_total") == 3
    assert grown("latency_visible_seconds_count") == 2


def test_a_dead_store_costs_the_pipeline_nothing_but_silence(cache: CacheServer, clock: EdgeClock) -> None:
    room_rows = 9 * (BLOB_WEIGHT_ROWS + 1)
    writer = Writer(sink_for(cache, clock, unsaid_rows_max=room_rows), clock)
    writer.open()
    cache.kill()
    for i in range(55):
        written = writer.sink.write([writer.output([(0, i, float(i))])])
        assert (written.accepted, written.rejected, written.retry) == (1, 0, ())
    assert writer.sink.losses == 50, "given up ten at a time; the last five wait"


def test_each_time_that_the_store_took_nothing_is_counted_and_a_store_that_is_well_counts_nothing(
    cache: CacheServer, clock: EdgeClock
) -> None:
    """An alarm counts them: what waits in memory until something is given up may be minutes."""

    def counted() -> float:
        return telemetry.totals()["sink_retries_total{redis}"]

    writer = Writer(sink_for(cache, clock), clock)
    writer.open()
    before = counted()
    writer.say([(0, 1_000, 1.0)], tags=[tag(0, TEMP)])
    assert counted() == before
    cache.kill()
    writer.say([(0, 2_000, 2.0)])
    assert counted() == before + 1
    clock.sleep(AWAY_MAX_S)
    writer.say([(0, 3_000, 3.0)])
    assert counted() == before + 2
    assert writer.sink.losses == 0, "all of it waits"
    assert AWAY_MAX_S <= 60, "each minute has one"


def test_who_followed_all_the_time_is_not_told_again_when_the_store_lost_everything(
    cache: CacheServer, clock: EdgeClock
) -> None:
    """An owner says its whole window to an empty store: minutes of readings, which every client had already."""
    window: list[WindowPart] = []

    def reseed(shard: int) -> Seed:
        parts = [part for part in window if shard == 0]
        return Seed(len(parts), clock.now_us(), [tag(0, TEMP)] if parts else [], Latest.of_size(64), parts)

    def say(position: int) -> None:
        rows = np.zeros(1, READING)
        rows[0] = (0, 1_000 * position, float(position), 192, 0, 0)
        window.append(WindowPart(position, position, rows))
        writer.say([(0, 1_000 * position, float(position))], position=position)

    writer = Writer(sink_for(cache, clock, reseed=reseed), clock)
    writer.open()
    follower = LiveFollower(cache.url, clock, shard_count=SHARDS)
    follower.start()
    try:
        for position in (1, 2, 3):
            say(position)
        wait_for(lambda: follower.rows == 3, "before")
        cache.kill()
        cache.start()
        say(4)  # finds the connection gone
        clock.sleep(0.2)
        say(5)
        wait_for(lambda: len(values(follower, TagRef(0, 0))) == 5, "what came meanwhile")
        assert values(follower, TagRef(0, 0)) == [1.0, 2.0, 3.0, 4.0, 5.0]
        assert follower.rows == 5, "the first three were taken once more"
        assert follower.raw(TagRef(0, 0), 0).complete
        late = LiveFollower(cache.url, clock, shard_count=SHARDS)
        late.start()
        wait_for(lambda: values(late, TagRef(0, 0)) == [1.0, 2.0, 3.0, 4.0, 5.0], "who comes later hears it all")
        late.close()
    finally:
        follower.close()


def test_a_silent_plant_fills_no_memory_while_the_store_is_away(cache: CacheServer, clock: EdgeClock) -> None:
    """Each tick is a blob without readings."""
    writer = Writer(sink_for(cache, clock, unsaid_rows_max=9 * BLOB_WEIGHT_ROWS), clock)
    writer.open()
    cache.kill()
    for _ in range(100):
        writer.say([])
    assert len(writer.sink._unsaid) < 10
    assert writer.sink.losses > 90


def test_a_store_that_stalls_is_told_what_it_missed_and_not_the_whole_window_again(
    cache: CacheServer, clock: EdgeClock
) -> None:
    """Said again whole, the window of a busy platform stalls the store longer than what it is the answer to."""
    seeds: list[int] = []

    def reseed(shard: int) -> Seed:
        seeds.append(shard)
        return Seed(0, clock.now_us(), [tag(0, TEMP)], Latest.of_size(64))

    writer = Writer(sink_for(cache, clock, reseed=reseed, timeout_s=SHORT_S), clock)
    writer.open()
    writer.say([(0, 1_000, 1.0)], tags=[tag(0, TEMP)])
    follower = LiveFollower(cache.url, clock, shard_count=SHARDS)
    follower.start()
    assert cache.process is not None

    def told(rows: int) -> bool:  # the sink leaves a store alone for a while that did not answer
        writer.sink.write([])
        return follower.rows == rows

    try:
        wait_for(lambda: told(1), "before")
        seeds.clear()
        cache.process.send_signal(signal.SIGSTOP)
        for second in range(2, 6):
            writer.say([(0, second * 1_000, float(second))])
        cache.process.send_signal(signal.SIGCONT)
        writer.say([(0, 6_000, 6.0)])
        wait_for(lambda: told(6), "all that was said meanwhile")
        assert values(follower, TagRef(0, 0)) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
        assert follower.raw(TagRef(0, 0), 0).complete
        assert (writer.sink.losses, seeds) == (0, [])
    finally:
        cache.process.send_signal(signal.SIGCONT)
        follower.close()


def test_what_the_store_took_although_its_answer_was_lost_is_there_once(
    cache: CacheServer, clock: EdgeClock, writer: Writer, follower: LiveFollower, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.say([(0, 1_000, 1.0)], tags=[tag(0, TEMP)])
    client = writer.sink._client
    taken = client.evalsha

    def unanswered(*arguments: Any) -> Any:
        taken(*arguments)
        raise ValkeyTimeoutError

    with monkeypatch.context() as lost:
        lost.setattr(client, "evalsha", unanswered)
        writer.say([(0, 2_000, 2.0)])
    clock.sleep(0.2)
    writer.say([(0, 3_000, 3.0)])
    wait_for(lambda: follower.rows == 3, "the follower has all three")
    assert values(follower, TagRef(0, 0)) == [1.0, 2.0, 3.0]
    assert (writer.sink.losses, writer.sink.refused) == (0, 1)


def test_a_shard_that_went_to_another_owner_leaves_nothing_that_waits(cache: CacheServer, clock: EdgeClock) -> None:
    writer = Writer(sink_for(cache, clock), clock)
    writer.open()
    cache.kill()
    writer.say([(0, 1_000, 1.0)])
    writer.sink.close_shard(0)
    cache.start()
    clock.sleep(0.2)
    assert writer.sink.write([]).accepted == 0
    assert writer.sink.losses == 0


def test_a_follower_survives_a_restart_of_the_store(
    cache: CacheServer, clock: EdgeClock, writer: Writer, follower: LiveFollower
) -> None:
    writer.say([(0, 1_000, 1.0)], tags=[tag(0, TEMP)])
    wait_for(lambda: follower.rows == 1, "before")
    cache.kill()
    wait_for(lambda: not follower.connected, "the follower notices")
    cache.start()

    def said() -> bool:
        writer.say([(0, 2_000, 2.0)])
        return follower.rows > 1

    wait_for(said, "after")
    assert follower.latest([TagRef(0, 0)])[0].value == 2.0


def test_a_full_store_sheds_the_oldest_and_goes_on(clock: EdgeClock, cache: CacheServer) -> None:
    cache.kill()
    cache.options = ("--maxmemory", "6mb")
    cache.start()
    sink = sink_for(cache, clock, bytes_max=6_000_000)
    writer = Writer(sink, clock)
    writer.open()
    rng = np.random.default_rng(7)
    for i in range(200):
        rows = [(slot, i * 1000 + slot, float(rng.normal())) for slot in range(2_000)]
        writer.say(rows)
    follower = LiveFollower(cache.url, clock, shard_count=SHARDS)
    follower.start()
    try:
        wait_for(lambda: follower._shards[0].window.position == 200, "the newest is there")
        window = follower._shards[0].window
        assert 0 < len(window) < 400_000
        assert window.complete_from > 0  # and says from where on it is whole
    finally:
        follower.close()


class Events:
    """A client of /v1/live in a thread of its own."""

    def __init__(self, platform: Platform, last_id: str = "", **params: object) -> None:
        self.got: list[tuple[str, str, dict[str, object]]] = []
        self.open = threading.Event()
        self._stop = threading.Event()
        headers = {"Authorization": f"Bearer {TOKEN}"} | ({"Last-Event-ID": last_id} if last_id else {})
        self._args = (platform.url + "/v1/live", params, headers)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self.open.wait(WAIT_S)

    def _run(self) -> None:
        with contextlib.suppress(httpx.RemoteProtocolError, httpx.ReadError):  # the server is stopped
            self._follow()

    def _follow(self) -> None:
        url, params, headers = self._args
        with httpx.stream("GET", url, params=params, headers=headers, timeout=WAIT_S) as answer:
            assert answer.status_code == 200, answer.read()
            for block in self._blocks(answer):
                if self._stop.is_set():
                    return
                fields = dict(line.split(": ", 1) for line in block if not line.startswith(":"))
                if "data" in fields:
                    self.got.append((fields["id"], fields["event"], json.loads(fields["data"])))
                self.open.set()

    @staticmethod
    def _blocks(answer: httpx.Response) -> Iterator[list[str]]:
        block: list[str] = []
        for line in answer.iter_lines():
            if line:
                block.append(line)
            else:
                yield block
                block = []

    def readings(self) -> list[float]:
        return [r["value"] for _, kind, data in self.got if kind == "readings" for r in data["readings"]]  # type: ignore[attr-defined, index]


@pytest.mark.requirement("S-18")
def test_a_follower_of_a_path_gets_its_readings_and_no_others(platform: Platform, writer: Writer) -> None:
    events = Events(platform, path="acme/lyon/*")
    writer.say([(0, 1_000, 1.0), (1, 1_000, 9.0)], tags=[tag(0, TEMP), tag(1, "acme/porto/x")])
    writer.say([(0, 2_000, 2.0)])
    wait_for(lambda: events.readings() == [1.0, 2.0], "both readings, nothing else")
    assert events.got[0][2]["readings"][0]["tag"] == TEMP  # type: ignore[index]


def test_who_comes_back_goes_on_where_it_was(platform: Platform, writer: Writer) -> None:
    first = Events(platform, path=TEMP)
    writer.say([(0, 1_000, 1.0)], tags=[tag(0, TEMP)])
    wait_for(lambda: first.readings() == [1.0], "the first")
    last_id = first.got[-1][0]
    for i in (2, 3, 4):
        writer.say([(0, i * 1_000, float(i))])
        wait_for(lambda i=i: platform.live.rows == i, "taken")
    again = Events(platform, last_id, path=TEMP)
    wait_for(lambda: len(again.readings()) == 3, "what came meanwhile")
    writer.say([(0, 5_000, 5.0)])
    wait_for(lambda: again.readings() == [2.0, 3.0, 4.0, 5.0], "and then what comes")


@pytest.mark.parametrize("last_id", ["deadbeef-3-1700000000000000", "nonsense"])
def test_who_comes_back_to_another_process_is_told_what_it_missed(platform: Platform, last_id: str) -> None:
    events = Events(platform, last_id, path=TEMP)
    wait_for(lambda: events.got, "the answer")
    kind, data = events.got[0][1:]
    assert kind == "missed"
    assert data["to_us"] > data["from_us"]  # type: ignore[operator]


def test_anomalies_and_alarms_come_with_one_id_each(platform: Platform, writer: Writer) -> None:
    events = Events(platform, path=TEMP)
    anomaly = np.zeros(1, ANOMALY)
    anomaly[0] = (0, 0, 0, OPENED, 1_000, 1_000, 2.5, 80.0, np.nan)
    alarm = np.zeros(1, ALARM)
    alarm[0] = (0, 0, 0, OPENED, 1_000, 1_500, 80.0, 75.0)
    writer.say([(0, 1_000, 80.0)], tags=[tag(0, TEMP)], anomalies=anomaly, alarms=alarm)
    wait_for(lambda: len(events.got) == 3, "reading, anomaly, alarm")
    by_kind = {kind: data for _, kind, data in events.got}
    assert by_kind["anomaly"]["detector"] == "ewma"
    assert by_kind["alarm"]["rule"] == "high"
    equipment = platform.client.get(f"/v1/equipment/{TEMP.rsplit('/', 1)[0]}/live").json()
    assert [row["id"] for row in equipment["open_alarms"]] == [by_kind["alarm"]["id"]]
    [listed] = platform.client.get("/v1/anomalies", params={"path": "acme/*"}).json()["anomalies"]
    assert (listed["id"], listed["state"]) == (by_kind["anomaly"]["id"], "open")
    alarm["kind"] = CLOSED
    writer.say([(0, 2_000, 70.0)], alarms=alarm)
    wait_for(lambda: len(events.got) == 5, "reading, alarm")
    assert platform.client.get("/v1/alarms").json()["alarms"] == []
    [returned] = platform.client.get("/v1/alarms", params={"state": "all"}).json()["alarms"]
    assert returned["state"] == "returned"


def test_an_open_shard_says_what_the_store_holds_of_it(cache: CacheServer, writer: Writer) -> None:
    writer.say([(0, 1_000, 1.0)], position=77)
    assert writer.sink.open_shard(Ownership(0, 2)) == 77
    assert writer.sink.open_shard(Ownership(1, 2)) == 0
