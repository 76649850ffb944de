"""A labelled dataset as if it were live: times shifted to now, their spacing kept, at a chosen speed.

Faster than life, readings cannot keep their spacing and also carry the time at which they are sent: their
times are shifted so that the last one is *now* when it leaves, and the earlier ones lie in the past, never
ahead. A dataset that is longer than the platform takes as past (`past_max_us`) is read with a smaller spacing:
`spacing` 0.01 makes five minutes three seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from millrace.assets.load import model_of
from millrace.assets.tag import AssetModel, SourceModel, TagModel
from millrace.batch import F64, I64, QUALITY_BAD, QUALITY_GOOD
from millrace.clock import DAY_US, SECOND_US, Clock
from millrace.devices.datasets import UNITS, Dataset
from millrace.devices.plant import SourceReadings
from millrace.devices.simulator import Send
from millrace.errors import SettingError

PREFIX: Final = "acme/datasets/replay"
SILENCE_US: Final = 365 * DAY_US
"""A recording ends: that is no dead sensor, so nobody is called."""
STEP_S: Final = 0.05
ROWS_A_STEP_MAX: Final = 5_000


@dataclass
class Replay:
    """What is sent when. `start_us`: wall time at which the first row leaves.

    `prefix` is enterprise/site/area of the tags' paths; line and equipment are the dataset's folder and file.
    """

    dataset: Dataset
    start_us: int
    speed: float = 1.0
    spacing: float = 1.0
    original_times: bool = False
    prefix: str = PREFIX
    past_max_us: int = 30 * DAY_US
    leave_us: I64 = field(init=False)
    ts_us: I64 = field(init=False)

    def __post_init__(self) -> None:
        if not 0 < self.speed <= 1e6 or not 0 < self.spacing <= 1.0:
            got = f"speed {self.speed:g}, spacing {self.spacing:g}"
            raise SettingError("replay", got=got, want="a speed above 0, a spacing above 0 and at most 1")
        since_us = self._since_us()
        self.leave_us = self.start_us + np.round(since_us / self.speed).astype(np.int64)
        self.ts_us = self.dataset.ts_us if self.original_times else self._shifted(since_us)
        oldest_us = int(self.leave_us[0] - self.ts_us[0])
        if oldest_us > self.past_max_us and not self.original_times:
            fitting = 0.9 * self.past_max_us / oldest_us * self.spacing
            want = f"at most {_days(self.past_max_us)} (MILLRACE_PAST_MAX_S); give a spacing of {fitting:.2g}, say"
            raise SettingError("replay", got=f"a first reading {_days(oldest_us)} old", want=want)

    @property
    def source(self) -> str:
        return "replay-" + self.dataset.name.replace("/", "-")

    @property
    def tags(self) -> tuple[str, ...]:
        return tuple(f"{self.prefix}/{self.dataset.name}/{signal}" for signal in self.dataset.signals)

    @property
    def model(self) -> AssetModel:
        """Tags of the dataset with their units and the median distance of its rows as period."""
        gaps = np.diff(self.ts_us)
        period_us = max(int(np.median(gaps[gaps > 0])), 1_000) if (gaps > 0).any() else SECOND_US
        tags = [
            TagModel(
                path=path,
                source=self.source,
                unit=UNITS.get(signal, "1"),
                period_us=period_us,
                silence_us=SILENCE_US,
                data_class="critical",
            )
            for path, signal in zip(self.tags, self.dataset.signals, strict=True)
        ]
        known = SourceModel(
            name=self.source, silence_us=SILENCE_US, description=f"replay of {self.dataset.name}"
        )
        return model_of(tags, {self.source: known})

    @property
    def too_old_rows(self) -> int:
        """Rows with times so long before they are sent that the platform will refuse them."""
        return int(np.count_nonzero(self.leave_us - self.ts_us > self.past_max_us))

    @property
    def ends_us(self) -> int:
        """Wall time at which the last row leaves."""
        return int(self.leave_us[-1])

    def anomalies(self) -> list[tuple[int, int]]:
        """Labelled intervals (start, end) in the times that were sent."""
        flags = np.concatenate(([0], self.dataset.anomaly.astype(np.int8), [0]))
        starts = np.flatnonzero(np.diff(flags) == 1)
        ends = np.flatnonzero(np.diff(flags) == -1) - 1
        return [(int(self.ts_us[a]), int(self.ts_us[b])) for a, b in zip(starts, ends, strict=True)]

    def rows(self, first: int, last: int) -> SourceReadings:
        """Readings of the rows [first, last), by tag then time; an empty cell is a gap (quality 0)."""
        count = len(self.dataset.signals)
        value = np.ascontiguousarray(self.dataset.values[first:last].T).ravel()
        quality = np.where(np.isnan(value), QUALITY_BAD, QUALITY_GOOD).astype(np.uint8)
        tag = np.repeat(np.arange(count, dtype=np.uint32), last - first)
        return SourceReadings(self.source, tag, np.tile(self.ts_us[first:last], count), value, quality)

    def _since_us(self) -> F64:
        since_us: F64 = (self.dataset.ts_us - self.dataset.ts_us[0]) * self.spacing
        return since_us

    def _shifted(self, since_us: F64) -> I64:
        ends_us = self.start_us + since_us[-1] / max(self.speed, 1.0)
        first_us = ends_us - since_us[-1] if self.speed > 1.0 else float(self.start_us)
        return round(first_us) + np.round(since_us).astype(np.int64)


def _days(span_us: int) -> str:
    return f"{span_us / DAY_US:.3g} days"


@dataclass(slots=True)
class Progress:
    """How far a replay is."""

    rows: int = 0
    readings: int = 0
    refused: int = 0


def run(
    replay: Replay,
    send: Send,
    clock: Clock,
    *,
    stop: Callable[[], bool] = lambda: False,
    on_progress: Callable[[Progress], None] | None = None,
    retry_s: float = 30.0,
) -> Progress:
    """Send each row when its time to leave has come; rows that are not taken are offered again for `retry_s`.

    A dataset is no open loop: nothing of it is lost to a full buffer while there is time.
    """
    progress = Progress()
    while progress.rows < len(replay.leave_us) and not stop():
        due = int(np.searchsorted(replay.leave_us, clock.now_us(), side="right"))
        last = min(due, progress.rows + ROWS_A_STEP_MAX)
        if last > progress.rows:
            _deliver(replay.rows(progress.rows, last), send, clock, progress, retry_s)
            progress.rows = last
            if on_progress:
                on_progress(progress)
        if last == due:
            clock.sleep(STEP_S)
    return progress


def _deliver(readings: SourceReadings, send: Send, clock: Clock, progress: Progress, retry_s: float) -> None:
    deadline_s = clock.monotonic_s() + retry_s
    while True:
        taken = send(readings)
        progress.readings += taken
        if taken >= len(readings):
            return
        readings = SourceReadings(
            readings.source,
            readings.tag[taken:],
            readings.ts_us[taken:],
            readings.value[taken:],
            readings.quality[taken:],
        )
        if clock.monotonic_s() > deadline_s:
            progress.refused += len(readings)
            return
        clock.sleep(STEP_S)
