"""Time enters here and nowhere else. All times are integer microseconds, UTC."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Protocol

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 3_600 * SECOND_US
DAY_US = 24 * HOUR_US


class Clock(Protocol):
    """What a composition root hands down instead of `time`."""

    def now_us(self) -> int:
        """Microseconds since 1970, UTC."""

    def monotonic_s(self) -> float:
        """Seconds on a clock that never steps."""

    def sleep(self, seconds: float) -> None:
        """Wait; a test's clock only moves its hands."""


class EdgeClock:
    """Wall time that advances with the monotonic clock, so that a step of the wall never shows.

    `step_us()` says how far the wall has walked away since the start; the ticker turns a walk
    of over two seconds into a `clock_step` tick and calls `resync()`.
    """

    def __init__(self) -> None:
        self.resync()

    def resync(self) -> None:
        """Take the wall clock's time as ours from now on."""
        self._origin_us = time.time_ns() // 1_000 - time.monotonic_ns() // 1_000

    def now_us(self) -> int:
        return self._origin_us + time.monotonic_ns() // 1_000

    def step_us(self) -> int:
        """Wall minus ours: positive when the wall was set forward."""
        return time.time_ns() // 1_000 - self.now_us()

    def monotonic_s(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


@dataclass
class HandClock:
    """A clock that moves when told to; for tests and simulations."""

    time_us: int = 1_767_600_000_000_000  # 2026-01-05T08:00:00Z
    origin_us: int = field(init=False)

    def __post_init__(self) -> None:
        self.origin_us = self.time_us

    def now_us(self) -> int:
        return self.time_us

    def monotonic_s(self) -> float:
        return (self.time_us - self.origin_us) / SECOND_US

    def sleep(self, seconds: float) -> None:
        self.time_us += round(seconds * SECOND_US)
