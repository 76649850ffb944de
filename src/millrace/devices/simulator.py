"""The simulated plant, live: readings leave when they are due, whatever the platform's answer (open loop).

`send` takes one source's readings and answers how many it took. What it does not take is counted as refused,
never tried again: a sensor has the next value by then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from millrace.clock import SECOND_US, Clock
from millrace.devices.faults import Faults
from millrace.devices.plant import Plant, SourceReadings

BEHIND_US_MAX: Final = 10 * SECOND_US
"""Readings that are overdue by more are left out: the simulator itself was stopped, not the plant."""

Send = Callable[[SourceReadings], int]
Poll = Callable[[int], None]

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Sent:
    """Counts since start. `skipped_us`: time that the simulator slept through."""

    readings: int = 0
    refused: int = 0
    windows: int = 0
    skipped_us: int = 0


class Simulator:
    """Sends a plant's readings as they fall due, `step_s` at a time."""

    def __init__(
        self, plant: Plant, faults: Faults, send: Send, clock: Clock, *, step_s: float = 0.05
    ) -> None:
        self.sent = Sent()
        self._plant = plant
        self._faults = faults
        self._send = send
        self._clock = clock
        self._step_us = round(step_s * SECOND_US)
        self._done_us = clock.now_us()

    def run(self, stop: Callable[[], bool], poll: Poll | None = None) -> None:
        """Until `stop()`; `poll(now_us)` is asked about once a second, for commands."""
        polled_us = 0
        while not stop():
            now_us = self._clock.now_us()
            if poll is not None and now_us - polled_us >= SECOND_US:
                poll(now_us)
                polled_us = now_us
            self.step(now_us)
            self._clock.sleep(max(self._step_us - (self._clock.now_us() - now_us), 0) / SECOND_US)

    def step(self, now_us: int) -> int:
        """Send all that has fallen due since the last step; how many readings there were."""
        if now_us < self._done_us - SECOND_US:  # the wall clock was set back
            log.warning("plant.clock_went_back", by_s=(self._done_us - now_us) / SECOND_US)
            self._done_us = now_us
        if now_us - self._done_us > BEHIND_US_MAX:
            self.sent.skipped_us += now_us - BEHIND_US_MAX - self._done_us
            self._done_us = now_us - BEHIND_US_MAX
        window = self._faults.apply(self._plant.window(self._done_us, now_us), self._done_us)
        self._done_us = max(now_us, self._done_us)
        for readings in self._plant.by_source(window):
            taken = self._send(readings)
            self.sent.readings += taken
            self.sent.refused += len(readings) - taken
        self.sent.windows += 1
        return len(window.tag)
