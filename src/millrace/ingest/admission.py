"""Who may send now: a capacity in readings per second, shared fairly among the sources that ask for it.

Fairness with debts. Time is cut into rounds of 100 ms. Each round's part of the capacity is dealt out to the
sources that asked in the last seconds, by water filling: nobody gets more than he has room for, what one
leaves is the others'. A source that has tokens is let in before its body is decoded, and pays what the body
held afterwards, so it may fall into debt; with a debt it is refused until its share has paid it off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from millrace.clock import Clock
from millrace.ingest.refusal import CATCHING_UP, TOO_FAST, Refusal
from millrace.stream.contract import shard_of

ROUND_S: Final = 0.1
DEMAND_MEMORY_S: Final = 2.0
"""A source that asked in this time gets a share kept for it."""
BURST_S: Final = 0.5
"""Tokens that a source may save up, in seconds of its demand."""
RETRY_AFTER_MAX_S: Final = 30.0
LAG_MAX_S: Final = 0.1
"""Law: while a shard lags more than this, each source gets its fair share of what is drained."""
READINGS_GUESS: Final = 100.0
"""What a refused body probably held, before the source was ever let in."""


@dataclass(slots=True)
class Account:
    """One source's standing. All in readings, but the times."""

    tokens: float = 0.0
    share: float = 0.0  # per second, in the newest round
    offered: float = 0.0  # in the running round: paid, and an estimate of what was refused
    demand: float = 0.0  # per second, smoothed
    body: float = READINGS_GUESS  # readings a body, smoothed
    asked_s: float = 0.0


def water_fill(demands: list[float], capacity: float) -> list[float]:
    """Shares of a capacity: no one above his demand, equal among those who want more, nothing wasted."""
    shares = [0.0] * len(demands)
    left, waiting = capacity, len(demands)
    for index in sorted(range(len(demands)), key=demands.__getitem__):
        shares[index] = min(demands[index], left / waiting)
        left -= shares[index]
        waiting -= 1
    return shares


class Limiter:
    """A capacity shared among sources. One thread (the event loop) uses it."""

    def __init__(self, clock: Clock, *, sources_max: int) -> None:
        self._clock = clock
        self._sources_max = sources_max
        self._accounts: dict[str, Account] = {}
        self._round_s = clock.monotonic_s()
        self._capacity = 0.0

    def admit(self, source: str, capacity: float) -> float:
        """0.0 to let a source in, else seconds to wait. `capacity` in readings per second, of all sources."""
        now_s = self._clock.monotonic_s()
        self._capacity = capacity
        account = self._account(source, now_s)
        if now_s - self._round_s >= ROUND_S:
            self._deal(now_s)
        if account.tokens > 0:
            return 0.0
        account.offered += account.body
        share = max(account.share, capacity / max(1, len(self._accounts)), 1e-9)
        return min(max(ROUND_S, -account.tokens / share + ROUND_S), RETRY_AFTER_MAX_S)

    def pay(self, source: str, readings: int) -> None:
        """What an admitted body held."""
        account = self._account(source, self._clock.monotonic_s())
        account.tokens -= readings
        account.offered += readings
        account.body += 0.2 * (readings - account.body)

    def _account(self, source: str, now_s: float) -> Account:
        account = self._accounts.get(source)
        if account is None:
            fair = self._capacity / (len(self._accounts) + 1)
            account = self._accounts[source] = Account(
                tokens=max(1.0, fair * ROUND_S), share=fair, demand=fair
            )
        account.asked_s = now_s
        return account

    def _deal(self, now_s: float) -> None:
        """Deal out the capacity of the time since the last round."""
        span_s = now_s - self._round_s
        self._forget(now_s)
        accounts = list(self._accounts.values())
        for account in accounts:
            account.demand += 0.5 * (account.offered / span_s - account.demand)
            account.offered = 0.0
        room = [max(0.0, self._tokens_max(account) - account.tokens) for account in accounts]
        for account, dealt in zip(accounts, water_fill(room, self._capacity * span_s), strict=True):
            account.tokens += dealt
            account.share = dealt / span_s
        self._round_s = now_s

    @staticmethod
    def _tokens_max(account: Account) -> float:
        """Enough for its demand to grow into; whoever has it wants nothing, so the others get it."""
        return max(1.0, 1.5 * account.demand * BURST_S)

    def _forget(self, now_s: float) -> None:
        """Sources that no longer ask leave their share; one in debt is kept until it has paid."""
        for name in [n for n, a in self._accounts.items() if now_s - a.asked_s > DEMAND_MEMORY_S]:
            if self._accounts[name].tokens >= 0 or len(self._accounts) > self._sources_max:
                del self._accounts[name]


@dataclass(frozen=True, slots=True)
class ShardLag:
    """How far a shard's worker is behind, and what it gets through, as its owner measured them."""

    lag_s: float
    drained_per_s: float


class Admission:
    """Rate and lag together: the door asks before it decodes and pays after."""

    def __init__(
        self,
        clock: Clock,
        *,
        shard_count: int,
        rate_max: int,
        sources_max: int,
        lags: Callable[[], Mapping[int, ShardLag]] = dict,
    ) -> None:
        """`rate_max` in readings per second over all sources (0: none). `lags()` is asked at each request."""
        self._shard_count = shard_count
        self._rate_max = rate_max
        self._lags = lags
        self._rate = Limiter(clock, sources_max=sources_max)
        self._by_shard = [Limiter(clock, sources_max=sources_max) for _ in range(shard_count)]

    def admit(self, source: str) -> None:
        """Refusal(429) when the source must wait."""
        if self._rate_max:
            self._ask(self._rate, source, float(self._rate_max), TOO_FAST)
        shard = shard_of(source, self._shard_count)
        if drained_per_s := self._drained_per_s(shard):
            self._ask(self._by_shard[shard], source, drained_per_s, CATCHING_UP)

    def pay(self, source: str, readings: int) -> None:
        """Called with what an admitted body held, whatever became of it."""
        if self._rate_max:
            self._rate.pay(source, readings)
        shard = shard_of(source, self._shard_count)
        if self._drained_per_s(shard):
            self._by_shard[shard].pay(source, readings)

    def _drained_per_s(self, shard: int) -> float:
        """What a lagging shard's worker gets through; 0 without a lag, and where nobody drains."""
        lag = self._lags().get(shard)
        return lag.drained_per_s if lag is not None and lag.lag_s > LAG_MAX_S else 0.0

    def _ask(self, limiter: Limiter, source: str, capacity: float, reason: str) -> None:
        wait_s = limiter.admit(source, capacity)
        if wait_s > 0:
            detail = f"source {source!r} has used its share of {capacity:.0f} readings/s"
            raise Refusal(429, reason, detail, retry_after_s=wait_s)
