"""Waiting for what a test is about, and no longer; bounded, however busy the machine is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

WAIT_S = 60.0
Found = TypeVar("Found")


def wait_for(check: Callable[[], Found], what: str, timeout_s: float = WAIT_S) -> Found:
    """What is found once there is something."""
    until_s = time.monotonic() + timeout_s
    while time.monotonic() < until_s:
        found = check()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"{what}: not within {timeout_s} s")
