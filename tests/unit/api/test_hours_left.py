"""How long the disk budget lasts: from what the folder grew by within the last minutes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from millrace.api.stats import DISK_OVER_S, StatsSampler
from millrace.clock import HandClock

GB = 10**9


class Disk:
    """A folder under a clock."""

    def __init__(self, used_bytes: int) -> None:
        self.used_bytes = used_bytes
        self.clock = HandClock(0)
        needs = SimpleNamespace(clock=self.clock, store=None, disk=lambda: {"used_bytes": self.used_bytes})
        self.sampler = StatsSampler(cast(Any, needs), started_us=0)
        self.sampler.sample()

    def grows(self, bytes_a_minute: int, minutes: int) -> None:
        for _ in range(minutes * 6):
            self.clock.sleep(10.0)
            self.used_bytes += bytes_a_minute // 6
            self.sampler.sample()

    def hours_left(self, max_bytes: int) -> float | None:
        return self.sampler.hours_left(self.used_bytes, max_bytes)


def test_it_is_what_is_left_divided_by_the_pace() -> None:
    disk = Disk(GB)
    disk.grows(60_000_000, minutes=5)  # 3.6 GB an hour; 1.3 GB are used
    assert disk.hours_left(20 * GB) == pytest.approx((20 - 1.3) / 3.6, abs=0.1)


def test_the_first_seconds_of_servers_that_take_room_ahead_are_no_pace() -> None:
    disk = Disk(0)
    disk.clock.sleep(10.0)
    disk.used_bytes = GB
    disk.sampler.sample()
    assert disk.hours_left(20 * GB) is None


def test_a_full_folder_has_none_left_and_one_that_does_not_grow_has_no_end() -> None:
    disk = Disk(GB)
    assert disk.hours_left(20 * GB) is None
    disk.grows(0, minutes=2)
    assert disk.hours_left(20 * GB) is None
    disk.grows(60_000_000, minutes=2)
    assert disk.hours_left(GB) == 0.0
    disk.grows(-120_000_000, minutes=3)
    assert disk.hours_left(20 * GB) is None


def test_the_pace_is_of_the_last_minutes_and_not_of_the_whole_past() -> None:
    disk = Disk(0)
    disk.grows(600_000_000, minutes=10)
    disk.grows(6_000_000, minutes=int(3 * DISK_OVER_S / 60))
    assert disk.hours_left(disk.used_bytes + 36 * 10**7) == pytest.approx(1.0, abs=0.1)
