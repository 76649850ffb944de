"""Named workloads: what is offered, before anyone measures how it is taken. `plant-100k` is the reference.

    10,000 tags in 100 sources, periods 20 ms to 60 s with jitter, 20 % critical, 1 % late, 0.1 % bad, 100,000
    readings/s, one frame a source each 50 ms; a reading's time is when it was due

The columns are generated once for a cycle (60 s, or as many seconds as 6 million readings last) and
repeated with their times shifted, so that a frame costs microseconds at run time and the machine measures
the platform. A tag whose period is longer than the cycle is read once a cycle.

*Late*: comes at least two periods after it was due, behind newer readings of its tag. *Bad*: in turn a value
beyond the sensor's range, no value with good quality, a time one hour ahead; each is a reject.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Final

import numpy as np

from millrace.assets.load import model_of
from millrace.assets.tag import AssetModel, TagModel
from millrace.batch import F64, I64, QUALITY_GOOD, U8, U32, Bool, Frame, Incarnation
from millrace.clock import HOUR_US, SECOND_US
from millrace.protocols.dictionary import Dictionary

WINDOW_US: Final = 50_000
CYCLE_US_MAX: Final = 60 * SECOND_US
CYCLE_READINGS_MAX: Final = 6_000_000
RANGE: Final = (-1_000.0, 1_000.0)
LATE_MIN_US: Final = 200_000
JITTER_SHARE: Final = 0.1

PERIODS: Final = ((0.02, 0.10), (0.05, 0.20), (0.1, 0.08), (1.0, 0.30), (10.0, 0.20), (60.0, 0.12))
"""(seconds, share of the tags) at ten readings a tag and second; scaled to any other rate."""
RATE_OF_PERIODS: Final = sum(share / period_s for period_s, share in PERIODS)


@dataclass(frozen=True, slots=True)
class Shape:
    """What a workload is, before any data is made."""

    name: str
    readings_per_s: int = 100_000
    tags: int = 10_000
    sources: int = 100
    critical_share: float = 0.2
    late_share: float = 0.01
    bad_share: float = 0.001
    seed: int = 1


PLANT_100K: Final = Shape("plant-100k")

SHAPES: Final[dict[str, Shape]] = {
    shape.name: shape
    for shape in (
        PLANT_100K,
        replace(PLANT_100K, name="plant-10k", readings_per_s=10_000),
        replace(PLANT_100K, name="all-critical", critical_share=1.0),
        *(replace(PLANT_100K, name=f"sources-{count}", sources=count) for count in (10, 1_000)),
        *(replace(PLANT_100K, name=f"tags-{count}", tags=count) for count in (1_000, 3_000, 30_000, 100_000)),
        *(
            replace(PLANT_100K, name=f"rate-{thousands}k", readings_per_s=1_000 * thousands)
            for thousands in (200, 300, 400, 500, 700, 800, 900, 1_000, 1_250, 1_500, 2_000, 2_500, 3_000)
        ),
    )
}
"""All workloads by name."""


@dataclass(frozen=True, slots=True)
class Due:
    """What has fallen due in one window: the frames are complete at `due_us`, and should leave then."""

    due_us: int
    frames: list[Frame]
    readings: int
    late: int = 0
    """Of the readings, those that come behind newer ones of their tag on purpose, and are not bad."""


@dataclass(slots=True)
class Columns:
    """One cycle in order of sending: (window, source, time). Times are offsets from the cycle's begin."""

    tag: U32  # index inside its source
    offset_us: I64
    value: F64
    quality: U8
    late: Bool
    bad: Bool
    edges: I64  # (windows * sources + 1,): rows of window w and source s are edges[w * sources + s] …


@dataclass
class Workload:
    """A shape with its data; deterministic by the shape."""

    shape: Shape
    cycle_us: int = field(init=False)
    period_us: I64 = field(init=False)
    critical: Bool = field(init=False)
    columns: Columns = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.Generator(np.random.Philox(key=[self.shape.seed, 0]))
        self.period_us = _periods(self.shape, rng)
        self.critical = rng.permutation(self.shape.tags) < round(self.shape.critical_share * self.shape.tags)
        cycle_us = min(CYCLE_US_MAX, CYCLE_READINGS_MAX * SECOND_US // self.shape.readings_per_s)
        self.cycle_us = max(cycle_us // SECOND_US, 1) * SECOND_US
        self.columns = _columns(self.shape, self.period_us, self.cycle_us, rng)

    def windows(
        self, start_us: int, *, incarnation: Incarnation | None = None, first_seq: int = 0
    ) -> Iterator[Due]:
        """Windows without end from `start_us` on (rounded down to a window); the caller waits until each is
        due."""
        start_us -= start_us % WINDOW_US
        life = incarnation or Incarnation(start_us, self.shape.seed)
        windows = self.cycle_us // WINDOW_US
        seqs = [first_seq] * self.shape.sources
        number = 0
        while True:
            cycle, window = divmod(number, windows)
            due_us = start_us + (number + 1) * WINDOW_US
            yield self._due(window, start_us + cycle * self.cycle_us, due_us, life, seqs)
            number += 1

    def _due(self, window: int, base_us: int, due_us: int, life: Incarnation, seqs: list[int]) -> Due:
        columns, dictionaries = self.columns, self._dictionaries
        first = window * self.shape.sources
        edges = columns.edges[first : first + self.shape.sources + 1].tolist()
        ts_us = columns.offset_us[edges[0] : edges[-1]] + base_us
        frames = []
        for source, (low, high) in enumerate(pairwise(edges)):
            if low == high:
                continue
            name, tags, kinds, block = dictionaries[source]
            frames.append(
                Frame(
                    name, life, seqs[source], 0, tags, kinds,
                    columns.tag[low:high], ts_us[low - edges[0] : high - edges[0]],
                    columns.value[low:high], columns.quality[low:high], dictionary=block,
                )
            )  # fmt: skip
            seqs[source] += 1
        late = columns.late[edges[0] : edges[-1]] & ~columns.bad[edges[0] : edges[-1]]
        return Due(due_us, frames, edges[-1] - edges[0], int(late.sum()))

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """Path of each tag; tags of a source are neighbours."""
        edges = source_edges(self.shape).tolist()
        return tuple(
            f"acme/lyon/area-{source % 10}/line-{source // 10}/press-{place // 10:03}/signal-{place % 10}"
            for source, (low, high) in enumerate(pairwise(edges))
            for place in range(high - low)
        )

    @cached_property
    def source_names(self) -> tuple[str, ...]:
        return tuple(f"plc-{source:04}" for source in range(self.shape.sources))

    @cached_property
    def _dictionaries(self) -> list[tuple[str, tuple[str, ...], U8, bytes]]:
        edges = source_edges(self.shape).tolist()
        found = []
        for name, low, high in zip(self.source_names, edges[:-1], edges[1:], strict=True):
            dictionary = Dictionary()
            for path in self.paths[low:high]:
                dictionary.index(path)
            parsed = dictionary.parsed()
            found.append((name, parsed.tags, parsed.kinds, dictionary.block))
        return found

    @cached_property
    def model(self) -> AssetModel:
        """The asset model to load before the run."""
        sources = np.repeat(np.arange(self.shape.sources), np.diff(source_edges(self.shape)))
        return model_of(
            [
                TagModel(
                    path=path,
                    source=self.source_names[source],
                    unit="degC",
                    data_class="critical" if critical else "standard",
                    period_us=int(period_us),
                    range_low=RANGE[0],
                    range_high=RANGE[1],
                    high=500.0,
                )
                for path, source, critical, period_us in zip(
                    self.paths, sources, self.critical, self.period_us, strict=True
                )
            ]
        )

    def followed(self, count: int) -> list[int]:
        """Numbers of tags to follow from outside: spread over the sources, read at least twice a second,
        never late or bad, since those are not due when they come."""
        edges = source_edges(self.shape)
        rows_of_source = np.diff(self.columns.edges)
        source = np.tile(np.arange(self.shape.sources), len(rows_of_source) // self.shape.sources)
        number = self.columns.tag + np.repeat(edges[source], rows_of_source)
        spoilt = np.zeros(self.shape.tags, bool)
        spoilt[number[self.columns.late | self.columns.bad]] = True
        fit = np.flatnonzero(~spoilt & (self.period_us <= max(SECOND_US // 2, self.period_us.min())))
        if (
            len(fit) < count
        ):  # every fast tag is late once a cycle: follow fast ones and let the caller drop those rows
            fit = np.argsort(self.period_us, kind="stable")[: max(count, 1)]
        return [int(tag) for tag in fit[np.linspace(0, len(fit) - 1, count).astype(int)]]

    @property
    def rate(self) -> float:
        """Readings per second as generated."""
        return len(self.columns.tag) * SECOND_US / self.cycle_us


def source_edges(shape: Shape) -> I64:
    """(sources + 1,): the tags of source s are numbers edges[s] … edges[s + 1]."""
    return np.arange(shape.sources + 1, dtype=np.int64) * shape.tags // shape.sources


def _periods(shape: Shape, rng: np.random.Generator) -> I64:
    """Nominal period of each tag, so that all together give the rate."""
    scale = shape.tags * RATE_OF_PERIODS / shape.readings_per_s
    periods_s = np.array([period_s for period_s, _ in PERIODS])
    shares = np.cumsum([share for _, share in PERIODS])
    ranked = (np.arange(shape.tags) + 0.5) / shape.tags
    nominal_s = periods_s[np.minimum(np.searchsorted(shares, ranked), len(PERIODS) - 1)]
    return np.round(rng.permutation(nominal_s) * scale * SECOND_US).astype(np.int64)


def _columns(shape: Shape, period_us: I64, cycle_us: int, rng: np.random.Generator) -> Columns:
    tag, offset_us = _schedule(period_us, cycle_us, rng)
    value = _values(shape, tag, offset_us, cycle_us, rng)
    quality = np.full(len(tag), QUALITY_GOOD, np.uint8)
    late = rng.random(len(tag)) < shape.late_share
    bad = rng.random(len(tag)) < shape.bad_share
    sent_us = offset_us + late * np.maximum(LATE_MIN_US, 2 * period_us[tag] + 100_000)
    offset_us = (
        offset_us - (sent_us // cycle_us) * cycle_us
    )  # sent in the next cycle: its time lies before that
    sent_us %= cycle_us
    _spoil(bad, offset_us, value)
    edges = source_edges(shape)
    source = np.searchsorted(edges, tag, side="right") - 1
    group = (sent_us // WINDOW_US) * shape.sources + source
    order = np.lexsort((sent_us, group))
    groups = cycle_us // WINDOW_US * shape.sources
    return Columns(
        tag=(tag - edges[source]).astype(np.uint32)[order],
        offset_us=offset_us[order],
        value=value[order],
        quality=quality[order],
        late=late[order],
        bad=bad[order],
        edges=np.searchsorted(group[order], np.arange(groups + 1)).astype(np.int64),
    )


def _schedule(period_us: I64, cycle_us: int, rng: np.random.Generator) -> tuple[I64, I64]:
    """Tag and due time of each reading of a cycle: whole periods that fill it, jittered by up to a tenth."""
    counts = np.maximum(np.round(cycle_us / period_us).astype(np.int64), 1)
    tag = np.repeat(np.arange(len(period_us)), counts)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    k = np.arange(len(tag)) - first
    exact_us = cycle_us / counts
    phase = rng.random(len(period_us))
    jitter = rng.random(len(tag)) * JITTER_SHARE
    offset_us = (k + phase[tag] * (1 - JITTER_SHARE) + jitter) * exact_us[tag]
    return tag, np.minimum(offset_us.astype(np.int64), cycle_us - 1)


def _values(shape: Shape, tag: I64, offset_us: I64, cycle_us: int, rng: np.random.Generator) -> F64:
    """A level, a slow swing that closes with the cycle, and noise; to 0.01, as a sensor gives it in
    float32."""
    level = rng.uniform(10, 90, shape.tags)
    swing = rng.uniform(0.5, 5, shape.tags)
    turns = rng.integers(1, 6, shape.tags)
    angle = 2 * np.pi * turns[tag] * (offset_us / cycle_us)
    noise = rng.standard_normal(len(tag), dtype=np.float32) * 0.3
    value = level[tag] + swing[tag] * np.sin(angle) + noise
    rounded: F64 = (np.round(value * 100) / 100).astype(np.float32).astype(np.float64)
    return rounded


def _spoil(bad: Bool, offset_us: I64, value: F64) -> None:
    """Make the bad ones bad, in place: three ways in turn."""
    rows = np.flatnonzero(bad)
    value[rows[0::3]] = 10 * RANGE[1]
    value[rows[1::3]] = np.nan
    offset_us[rows[2::3]] += HOUR_US


def workload(name: str) -> Workload:
    """A workload by its name; KeyError names the known ones."""
    if name not in SHAPES:
        raise KeyError(f"unknown workload {name!r}; known: {', '.join(SHAPES)}")
    return Workload(SHAPES[name])
