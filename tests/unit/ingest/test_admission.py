"""Fair shares, by a simulation on a clock that moves when told to."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.clock import HandClock
from millrace.ingest.admission import Admission, ShardLag, water_fill
from millrace.ingest.refusal import CATCHING_UP, TOO_FAST, Refusal
from millrace.stream.contract import shard_of

CAPACITY = 20_000


@dataclass
class Sender:
    """Offers bodies of `body` readings at `rate` readings per second, whatever it is answered."""

    rate: float
    body: int
    waits: bool = False  # honours Retry-After
    next_s: float = 0.0
    taken: int = 0
    offered: int = 0
    longest_wait_s: float = 0.0
    shortest_wait_s: float = 30.0


def simulate(
    senders: dict[str, Sender], admission: Admission, clock: HandClock, seconds: float, seed: int = 1
) -> None:
    """Runs on; counts only what happens after the first five seconds."""
    rng = random.Random(seed)
    start_s = clock.monotonic_s()
    for sender in senders.values():
        sender.next_s = start_s + rng.random() * sender.body / sender.rate
        sender.taken = sender.offered = 0
    while (now_s := clock.monotonic_s()) < start_s + seconds:
        counted = now_s > start_s + 5.0
        for name, sender in senders.items():
            while sender.next_s <= now_s:
                sender.next_s += sender.body / sender.rate * rng.uniform(0.9, 1.1)
                sender.offered += sender.body * counted
                try:
                    admission.admit(name)
                except Refusal as refusal:
                    sender.shortest_wait_s = min(sender.shortest_wait_s, refusal.retry_after_s)
                    sender.longest_wait_s = max(sender.longest_wait_s, refusal.retry_after_s)
                    if sender.waits:
                        sender.next_s = max(sender.next_s, now_s + refusal.retry_after_s)
                    continue
                admission.pay(name, sender.body)
                sender.taken += sender.body * counted
        clock.sleep(0.01)


def limited(clock: HandClock) -> Admission:
    return Admission(clock, shard_count=8, rate_max=CAPACITY, sources_max=1_000)


CROWDS = {
    "equal": {f"s{i}": Sender(10_000, 500) for i in range(20)},
    "unequal": {f"s{i}": Sender(200_000 * (i + 1) / 210, 100 * (i + 1)) for i in range(20)},
    "one huge": {"huge": Sender(190_000, 5_000)} | {f"s{i}": Sender(1_000, 50) for i in range(10)},
    "huge bodies": {f"s{i}": Sender(20_000, 12_000) for i in range(10)},
    "few readings": {f"s{i}": Sender(4_000, 40) for i in range(50)},
    "some wait": {f"s{i}": Sender(10_000, 500, waits=i % 2 == 0) for i in range(20)},
}


@pytest.mark.requirement("S-15")
@pytest.mark.parametrize("crowd", CROWDS)
def test_ten_times_the_capacity_gives_every_source_half_its_fair_share_and_the_whole_its_capacity(
    crowd: str,
) -> None:
    clock = HandClock()
    senders = CROWDS[crowd]
    seconds = 35.0
    simulate(senders, limited(clock), clock, seconds)
    counted_s = seconds - 5.0
    fair = water_fill([sender.rate for sender in senders.values()], CAPACITY)
    total = sum(sender.taken for sender in senders.values()) / counted_s
    assert 0.8 * CAPACITY <= total <= 1.1 * CAPACITY
    for (name, sender), share in zip(senders.items(), fair, strict=True):
        assert sender.taken / counted_s >= 0.5 * share, name
        assert sender.longest_wait_s <= 30.0
        assert sender.shortest_wait_s > 0.0


def test_below_the_capacity_nobody_is_refused() -> None:
    clock = HandClock()
    senders = {f"s{i}": Sender(1_500, 100) for i in range(10)}
    simulate(senders, limited(clock), clock, 35.0)
    assert sum(s.taken for s in senders.values()) >= 0.98 * sum(s.offered for s in senders.values())


def test_an_unused_share_is_the_others() -> None:
    clock = HandClock()
    admission = limited(clock)
    senders = {"quiet": Sender(500, 50), "loud": Sender(100_000, 1_000)}
    simulate(senders, admission, clock, 25.0)
    assert senders["quiet"].taken >= 0.95 * senders["quiet"].offered
    assert senders["loud"].taken / 20.0 >= 0.9 * (CAPACITY - 500)
    del senders["quiet"]
    simulate(senders, admission, clock, 25.0)
    assert senders["loud"].taken / 20.0 >= 0.95 * CAPACITY


def test_a_new_source_gets_its_share_beside_one_that_took_all() -> None:
    clock = HandClock()
    admission = limited(clock)
    senders = {"old": Sender(200_000, 2_000)}
    simulate(senders, admission, clock, 20.0)
    senders["new"] = Sender(200_000, 2_000)
    simulate(senders, admission, clock, 25.0)
    assert senders["new"].taken / 20.0 >= 0.4 * CAPACITY


def test_without_a_limit_and_without_lag_everything_is_let_in() -> None:
    admission = Admission(HandClock(), shard_count=8, rate_max=0, sources_max=10)
    for _ in range(1_000):
        admission.admit("s")
        admission.pay("s", 60_000)


def test_a_backlog_gets_what_a_lagging_shard_drains_and_live_sources_all_they_ask() -> None:
    clock = HandClock()
    lags = {shard: ShardLag(0.4, 50_000) for shard in range(2)}
    admission = Admission(clock, shard_count=2, rate_max=0, sources_max=100, lags=lambda: lags)
    names = [name for name in (f"live{i}" for i in range(40)) if shard_of(name, 2) == shard_of("backlog", 2)]
    senders = {"backlog": Sender(300_000, 20_000)} | {name: Sender(500, 25) for name in names[:10]}
    simulate(senders, admission, clock, 25.0)
    for name in names[:10]:
        assert senders[name].taken >= 0.95 * senders[name].offered
    assert senders["backlog"].taken / 20.0 == pytest.approx(45_000, rel=0.15)


def test_the_reason_says_whether_the_rate_or_the_lag_binds() -> None:
    clock = HandClock()
    for admission, reason in (
        (limited(clock), TOO_FAST),
        (
            Admission(clock, shard_count=1, rate_max=0, sources_max=9, lags=lambda: {0: ShardLag(1, 5)}),
            CATCHING_UP,
        ),
    ):
        admission.admit("s")
        admission.pay("s", 1_000_000)
        with pytest.raises(Refusal) as refusal:
            admission.admit("s")
        assert refusal.value.reason == reason
        assert refusal.value.status == 429


def test_a_lag_without_drain_refuses_nobody() -> None:
    """A dead worker is not the senders' fault: the stream holds what comes until it is full."""
    admission = Admission(
        HandClock(), shard_count=1, rate_max=0, sources_max=9, lags=lambda: {0: ShardLag(60, 0)}
    )
    for _ in range(100):
        admission.admit("s")
        admission.pay("s", 1_000)


def test_what_was_sent_while_nothing_lagged_is_no_debt_later() -> None:
    clock = HandClock()
    lag = {0: ShardLag(0.0, 1_000)}
    admission = Admission(clock, shard_count=1, rate_max=0, sources_max=9, lags=lambda: lag)
    for _ in range(100):
        admission.admit("s")
        admission.pay("s", 60_000)
    lag[0] = ShardLag(1.0, 1_000)
    admission.admit("s")
    admission.pay("s", 60_000)
    with pytest.raises(Refusal):
        admission.admit("s")
    clock.sleep(3_600)  # a debt of a minute, an hour ago
    admission.admit("s")
    admission.admit("s")


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=50),
    st.floats(0.001, 1e6),
)
def test_water_filling_is_bounded_by_demand_and_capacity_and_wastes_nothing(
    demands: list[float], capacity: float
) -> None:
    shares = water_fill(demands, capacity)
    assert all(0 <= share <= demand for share, demand in zip(shares, demands, strict=True))
    assert sum(shares) <= capacity * (1 + 1e-9)
    if sum(demands) >= capacity:
        assert sum(shares) == pytest.approx(capacity)
    hungry = [share for share, demand in zip(shares, demands, strict=True) if share < demand * (1 - 1e-9)]
    if hungry:  # those who got less than they want got the most, and the same
        assert max(shares) == pytest.approx(min(hungry))
