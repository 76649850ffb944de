"""Labelled faults: what is done to readings, when, to which tags, how strongly, and the label that says so.

A fault changes the values of a healthy plant's readings, or takes readings away; it never looks at how time
was cut into windows. Magnitudes are in multiples of the tag's own normal spread (`Plant.spread`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final

import numpy as np

from millrace.assets.duration import DURATION_US_MAX
from millrace.batch import F64, I64, Bool
from millrace.clock import SECOND_US
from millrace.devices.plant import Plant, Window
from millrace.devices.sampling import MEASURED
from millrace.errors import SettingError, nearest

FAULTS_MAX: Final = 1_000
"""Faults that one plant carries at a time."""
SPIKE_SHARE: Final = 0.2
"""Share of readings that a spiking sensor gets wrong."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: `kind` out of FAULTS, from `start_us` for `duration_us`, on the tags that match `pattern`.

    `pattern` is a path with `*` (within and across names), or an equipment's path, or `source:<name>` for all
    that a gateway sends. `period_s` is an oscillation's.
    """

    kind: str
    pattern: str
    start_us: int
    duration_us: int
    magnitude: float = 8.0
    period_s: float = 30.0

    @property
    def end_us(self) -> int:
        return self.start_us + self.duration_us


# (age in seconds, share of the duration that is over, fault, healthy values, spread) -> values
Effect = Callable[[F64, F64, Fault, F64, F64], F64]


def _spike(age_s: F64, share: F64, fault: Fault, value: F64, spread: F64) -> F64:
    """Some readings far off, chosen by their time."""
    drawn = np.modf(np.abs(np.sin(age_s * 12.9898 + 4.1414)) * 43_758.5453)[0]
    return np.where(drawn < SPIKE_SHARE, value + fault.magnitude * spread, value)


def _drift(age_s: F64, share: F64, fault: Fault, value: F64, spread: F64) -> F64:
    return value + share * fault.magnitude * spread


def _step(age_s: F64, share: F64, fault: Fault, value: F64, spread: F64) -> F64:
    return value + fault.magnitude * spread


def _oscillation(age_s: F64, share: F64, fault: Fault, value: F64, spread: F64) -> F64:
    return value + fault.magnitude * spread * np.sin(2 * math.pi * age_s / fault.period_s)


def _wear(age_s: F64, share: F64, fault: Fault, value: F64, spread: F64) -> F64:
    """A bearing that fails: slowly at first, then faster, with growing unrest."""
    growth = np.expm1(3.0 * share) / math.expm1(3.0)
    unrest = 0.25 * np.sin(age_s * 7.3) * np.sin(age_s * 2.1 + 1.0)
    return value + fault.magnitude * spread * growth * (1.0 + unrest)


def _same(age_s: F64, share: F64, fault: Fault, value: F64, spread: F64) -> F64:
    return value


@dataclass(frozen=True, slots=True)
class FaultKind:
    """A row of FAULTS. `tags`: what of an equipment it strikes when the pattern names the equipment only."""

    name: str
    title: str
    effect: Effect
    tags: tuple[str, ...] = ("*",)
    holds: bool = False  # the value of the fault's first reading stays
    drops: bool = False  # nothing is sent
    whole_source: bool = False


FAULTS: Final[dict[str, FaultKind]] = {
    kind.name: kind
    for kind in (
        FaultKind("spike", "single readings far off", _spike),
        FaultKind("drift", "the sensor walks away", _drift),
        FaultKind("stuck", "the value stays where it is", _same, holds=True),
        FaultKind("step", "another level at once", _step),
        FaultKind("dropout", "the tag falls silent", _same, drops=True),
        FaultKind("source-dropout", "the gateway falls silent", _same, drops=True, whole_source=True),
        FaultKind("oscillation", "a loop that swings", _oscillation),
        FaultKind(
            "bearing-wear", "vibration and heat grow", _wear, ("*vibration*", "bearing-temp*", "motor-temp")
        ),
    )
}


def known_kind(name: str) -> FaultKind:
    """A row of FAULTS; SettingError with the nearest one otherwise."""
    if name not in FAULTS:
        raise SettingError("fault", got=name, want=f"one of {', '.join(FAULTS)}{nearest(name, FAULTS)}")
    return FAULTS[name]


@dataclass(slots=True)
class Struck:
    """A fault on a plant: the tags it strikes, and what it holds of them (a stuck value, once it is
    known)."""

    fault: Fault
    kind: FaultKind
    tag: I64
    held: dict[int, float] = field(default_factory=dict)


class Faults:
    """The faults of one plant: `apply` changes a window in place or cuts it."""

    def __init__(self, plant: Plant, *, sent_from_us: int | None = None) -> None:
        """`sent_from_us`: when the plant's first reading is sent; None: when it begins."""
        self._plant = plant
        self._sent_from_us = plant.start_us if sent_from_us is None else sent_from_us
        self._struck: list[Struck] = []

    @property
    def active(self) -> tuple[Fault, ...]:
        return tuple(struck.fault for struck in self._struck)

    def add(self, fault: Fault) -> tuple[str, ...]:
        """Have it happen; the paths it strikes. SettingError when it strikes nothing or there are too
        many."""
        if len(self._struck) >= FAULTS_MAX:
            raise SettingError(
                "fault", got=f"{FAULTS_MAX} faults already", want="one that waits until some are over"
            )
        if not 0 < fault.duration_us <= DURATION_US_MAX:
            want = "more than nothing and at most a year"
            raise SettingError("fault duration", got=f"{fault.duration_us / SECOND_US:g} s", want=want)
        kind = known_kind(fault.kind)
        numbers = struck_tags(self._plant, fault)
        if not len(numbers):
            what = "some tag" if kind.drops else "some measured signal"
            want = f"a path or pattern that {what} has{self._near(fault.pattern)}"
            raise SettingError("fault target", got=fault.pattern, want=want)
        self._struck.append(Struck(fault, kind, numbers))
        return tuple(self._plant.tags[number] for number in numbers)

    @contextmanager
    def all_or_none(self) -> Iterator[None]:
        """What is added or healed inside is taken back when one of it is refused."""
        before = list(self._struck)
        try:
            yield
        except BaseException:
            self._struck = before
            raise

    def _near(self, pattern: str) -> str:
        """What may have been meant: a tag, a machine (by its path or, at any place, its name), a source."""
        machines = dict.fromkeys(path.rpartition("/")[0] for path in self._plant.tags)
        names = [f"*/{path.rpartition('/')[2]}" for path in machines]
        sources = [f"source:{name}" for name in self._plant.source_names]
        known = (*self._plant.tags, *machines, *dict.fromkeys(names), *sources)
        return nearest(pattern, known) or f", such as {names[0]}"

    def plant_age_s(self, now_us: int) -> float:
        return (now_us - self._sent_from_us) / SECOND_US

    def first_machine(self, pattern: str) -> str:
        """`*/pump-01/flow` on the first machine of the plant that it means; unchanged where it means none."""
        numbers = struck_tags(self._plant, Fault("dropout", pattern, 0, 1))
        if not len(numbers):
            return pattern
        equipment = self._plant.tags[int(numbers[0])].rpartition("/")[0]
        return "/".join((equipment, *pattern.split("/", 2)[2:]))

    def clear(self) -> None:
        """Heal everything."""
        self._struck.clear()

    def apply(self, window: Window, now_us: int) -> Window:
        """The window as a faulty plant sends it; faults that ended before `now_us` are forgotten.

        Windows must follow each other in time, from a stuck fault's start on.
        """
        self._struck = [struck for struck in self._struck if struck.fault.end_us > now_us]
        keep: Bool | None = None
        for struck in self._struck:
            rows = _rows(struck, window)
            if len(rows) and struck.kind.drops:
                keep = np.ones(len(window.tag), bool) if keep is None else keep
                keep[rows] = False
            elif len(rows):
                self._change(struck, window, rows)
        if keep is None:
            return window
        return Window(window.tag[keep], window.ts_us[keep], window.value[keep], window.quality[keep])

    def _change(self, struck: Struck, window: Window, rows: I64) -> None:
        tag = window.tag[rows]
        if struck.kind.holds:
            for row, number in zip(rows, tag, strict=True):
                window.value[row] = struck.held.setdefault(int(number), float(window.value[row]))
            return
        fault = struck.fault
        age_us = window.ts_us[rows] - fault.start_us
        value = struck.kind.effect(
            age_us / SECOND_US, age_us / fault.duration_us, fault, window.value[rows], self._plant.spread[tag]
        )
        samples = self._plant.samples[tag]
        value = np.clip(value, samples["low"], samples["high"])  # a sensor cannot say more than its range
        resolution = samples["resolution"]
        window.value[rows] = (np.round(value / resolution) * resolution).astype(np.float32)


def _rows(struck: Struck, window: Window) -> I64:
    """Rows of the window that the fault strikes; the window is sorted by tag."""
    fault = struck.fault
    low, high = np.searchsorted(window.tag, struck.tag), np.searchsorted(window.tag, struck.tag, side="right")
    some = high > low
    if not some.any():
        return np.zeros(0, np.int64)
    parts = [np.arange(first, last) for first, last in zip(low[some], high[some], strict=True)]
    rows: I64 = np.concatenate(parts)
    ts_us = window.ts_us[rows]
    inside: I64 = rows[(ts_us >= fault.start_us) & (ts_us < fault.end_us)]
    return inside


def struck_tags(plant: Plant, fault: Fault) -> I64:
    """Numbers of the tags that a fault strikes, rising. Only measured signals change; anything can fall
    silent."""
    kind = known_kind(fault.kind)
    chosen = [number for number, path in enumerate(plant.tags) if matches(fault.pattern, path, kind.tags)]
    if fault.pattern.startswith("source:"):
        name = fault.pattern.removeprefix("source:")
        chosen = [n for n, source in enumerate(plant.source_of_tag) if plant.source_names[source] == name]
    if kind.whole_source and chosen:
        hit = set(plant.source_of_tag[chosen].tolist())
        chosen = [n for n, source in enumerate(plant.source_of_tag) if int(source) in hit]
    numbers = np.array(chosen, np.int64)
    if kind.drops or not len(numbers):
        return numbers
    measured: I64 = numbers[plant.samples["form"][numbers] == MEASURED]
    return measured


def matches(pattern: str, path: str, tags: Sequence[str] = ("*",)) -> bool:
    """Whether a tag is meant: by its path, or by its equipment's path and one of the tag patterns."""
    if fnmatchcase(path, pattern):
        return True
    equipment_path, _, tag = path.rpartition("/")
    return fnmatchcase(equipment_path, pattern) and any(fnmatchcase(tag, wanted) for wanted in tags)
