"""The server is killed under the sink: each row is there once, whatever the moment."""

from __future__ import annotations

import threading
import time
from typing import Any

import psycopg
import pytest

from millrace.clock import HOUR_US, MINUTE_US, HandClock
from millrace.settings import Settings
from millrace.sinks.postgres import Owners, PostgresSink
from millrace.sinks.postgres import sink as sink_module


def opened(url: str, clock: HandClock) -> PostgresSink:
    owners = Owners(url, "worker-1", Settings())
    owners.prepare("folder-1/1", 2)
    sink = PostgresSink(url, clock, Settings(), owner="worker-1")
    for shard in range(2):
        held = owners.acquire(shard)
        assert held is not None
        sink.open_shard(held.ownership)
    owners.close()
    return sink


def totals(url: str) -> tuple[Any, ...]:
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT (SELECT count(*) FROM reading), (SELECT sum(count) FROM rollup_1h), "
            "(SELECT sum(applied) FROM ledger), "
            "(SELECT sum(critical) FROM ledger), (SELECT sum(applied) FROM shard)"
        ).fetchone()
    assert row is not None
    return row


@pytest.mark.requirement("S-19")
@pytest.mark.parametrize("moment", ["copy_readings", "write", "merge_ledger_of"])
def test_a_kill_in_the_middle_of_a_transaction_leaves_nothing_of_it_and_the_retry_all(
    server: Any, url: str, clock: HandClock, plant: Any, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    sink = opened(url, clock)
    made = plant()
    sink.write([made.output([clock.now_us() - MINUTE_US] * 40)])
    before = totals(url)
    place: Any = sink._rollups if moment == "write" else sink_module.rows
    step = getattr(place, moment)
    outputs = [made.output([clock.now_us() - MINUTE_US] * 50)]

    def killed_after(*arguments: Any) -> None:
        step(*arguments)
        server.kill()

    with monkeypatch.context() as patch:
        patch.setattr(place, moment, killed_after)
        assert list(sink.write(outputs).retry) == outputs
    assert list(sink.write(outputs).retry) == outputs  # still away
    server.start()
    assert totals(url) == before
    assert sink.write(outputs).accepted == 50
    _, rolled_up, applied, critical, position = totals(url)
    assert (rolled_up, applied, position) == (90, 90, 2)
    assert totals(url)[0] == critical
    sink.close()


@pytest.mark.requirement("S-19")
def test_a_commit_of_unknown_outcome_is_settled_by_the_position(
    url: str, clock: HandClock, plant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = opened(url, clock)
    made = plant()
    outputs = [made.output([clock.now_us() - MINUTE_US] * 50)]
    transact = sink._transact

    def answer_lost(*arguments: Any) -> Any:
        transact(*arguments)
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    with monkeypatch.context() as patch:
        patch.setattr(sink, "_transact", answer_lost)
        assert list(sink.write(outputs).retry) == outputs
    assert sink.write(outputs).accepted == 0
    assert totals(url)[1:3] == (50, 50)
    more = [made.output([clock.now_us() - MINUTE_US] * 5)]
    assert sink.write([*outputs, *more]).accepted == 5
    assert totals(url)[1:3] == (55, 55)
    sink.close()


@pytest.mark.requirement("S-19")
@pytest.mark.requirement("B-08")
def test_random_kills_under_load_give_every_row_once(
    server: Any, url: str, clock: HandClock, plant: Any
) -> None:
    sink = opened(url, clock)
    plants = [plant(shard=shard, seed=shard) for shard in range(2)]
    waiting: list[Any] = []
    stop = threading.Event()

    def kill_at_random() -> None:
        try:
            for pause_s in (0.31, 0.17, 0.43, 0.08):
                time.sleep(pause_s)
                server.kill()
                server.start()
        finally:
            stop.set()

    killer = threading.Thread(target=kill_at_random)
    killer.start()
    rounds = 0
    while not stop.is_set() or waiting:
        if not stop.is_set() and len(waiting) < 20:
            times = [clock.now_us() - (rounds * 37 % 5) * HOUR_US - i for i in range(30)]
            waiting += [plant.output(times, time_us=clock.now_us()) for plant in plants]
        rounds += 1
        waiting = list(sink.write(waiting).retry)
        time.sleep(0.01)
        assert rounds < 10_000
    killer.join(60)
    made = sum(len(plant.rows) for plant in plants)
    critical = sum(int(path[-1]) % 2 for plant in plants for path, *_ in plant.rows)
    assert totals(url)[:4] == (critical, made, made, critical)
    sink.close()
