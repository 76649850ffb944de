"""A plant of any size: its asset model, and the readings that are due in any window of time.

`Plant(10_000)` is what `make run` starts: 10,000 tags with periods from 100 ms to 10 min on 100 gateways,
about 10,000 readings a second. One gateway (source) serves one line.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np

from millrace.assets.load import extended, model_of, without
from millrace.assets.tag import AssetModel, SourceModel, TagModel
from millrace.batch import F64, I64, QUALITY_GOOD, U8, U32, Rows
from millrace.clock import SECOND_US
from millrace.devices import equipment, latent, sampling
from millrace.devices.equipment import AREAS, SITES, Machine, Signal

BURN_IN_S: Final = 3_600
"""Seconds that the machines run before the first reading, so that none starts cold."""
ENTERPRISE: Final = "acme"
JITTER_SHARE: Final = 0.02

_FORMS: Final = {"state": sampling.STATE_CODE, "bool": sampling.ON}


@dataclass(slots=True)
class SourceReadings:
    """Readings of one source, by tag then time: columns of one length; `tag` counts in `Plant.tags`."""

    source: str
    tag: U32
    ts_us: I64
    value: F64
    quality: U8

    def __len__(self) -> int:
        return len(self.ts_us)


@dataclass(slots=True)
class Window:
    """All readings that are due in a window, by tag then time (tags of a source are neighbours)."""

    tag: U32
    ts_us: I64
    value: F64
    quality: U8


class Plant:
    """Deterministic by (tag_count, seed, sources, start_us); time moves forward best, back costs a
    rebuild."""

    def __init__(
        self,
        tag_count: int = 10_000,
        *,
        seed: int = 1,
        sources: int = 100,
        start_us: int,
        period_scale: float = 1.0,
    ) -> None:
        """`start_us`: no reading before it. `period_scale` 0.5: twice the readings."""
        self.seed = seed
        self.start_us = start_us
        self._layout = _layout(tag_count, sources)
        self.tags: tuple[str, ...] = tuple(place.path for place in self._layout)
        self.source_names: tuple[str, ...] = tuple(dict.fromkeys(place.source for place in self._layout))
        numbers = {name: number for number, name in enumerate(self.source_names)}
        self.source_of_tag: I64 = np.array([numbers[place.source] for place in self._layout], np.int64)
        self.samples: Rows = _samples(self._layout, seed, period_scale)
        self._parameters = _parameters(self._layout, seed)
        self._bounds = np.searchsorted(self.source_of_tag, np.arange(len(self.source_names) + 1))
        self._columns(4_096)
        self._restart()

    @cached_property
    def model(self) -> AssetModel:
        """The plant's asset model."""
        periods = self.samples["period_us"]
        tags = [
            _tag_model(place, int(period_us)) for place, period_us in zip(self._layout, periods, strict=True)
        ]
        return model_of(tags, {name: _gateway(name) for name in self.source_names})

    def joined_to(self, model: AssetModel) -> AssetModel:
        """A model with this plant in it, in the place of any plant that was: of another size, it had other tags."""
        own = {source.name for source in model.sources if source == _gateway(source.name)}
        return extended(without(model, own), self.model)

    @property
    def first_tags(self) -> I64:
        """(sources,): number of each source's first tag; its others follow."""
        return self._bounds[:-1]

    @property
    def rate(self) -> float:
        """Nominal readings per second."""
        return float(np.sum(SECOND_US / self.samples["period_us"]))

    def window(self, from_us: int, to_us: int) -> Window:
        """Every reading due in [from_us, to_us)."""
        parts = [self._part(begin, end) for begin, end in _seconds(max(from_us, self.start_us), to_us)]
        if not parts:
            none = np.zeros(0, np.int64)
            return Window(none.astype(np.uint32), none, none.astype(np.float64), none.astype(np.uint8))
        tag, ts_us, value = (np.concatenate(column) for column in zip(*parts, strict=True))
        if len(parts) > 1:
            order = np.argsort(tag, kind="stable")
            tag, ts_us, value = tag[order], ts_us[order], value[order]
        return Window(tag, ts_us, value, np.full(len(tag), QUALITY_GOOD, np.uint8))

    def readings(self, from_us: int, to_us: int) -> list[SourceReadings]:
        """The same by source, sources without readings left out."""
        return self.by_source(self.window(from_us, to_us))

    def by_source(self, window: Window) -> list[SourceReadings]:
        """Cut a window (still by tag) at its sources."""
        edges = np.searchsorted(window.tag, self._bounds)
        return [
            SourceReadings(
                name,
                window.tag[low:high],
                window.ts_us[low:high],
                window.value[low:high],
                window.quality[low:high],
            )
            for name, low, high in zip(self.source_names, edges[:-1], edges[1:], strict=True)
            if high > low
        ]

    @cached_property
    def spread(self) -> F64:
        """Per tag, what counts as a normal departure, in its unit: the yardstick of fault magnitudes."""
        s = self.samples
        spread = np.sqrt(s["noise"] ** 2 + (0.35 * s["amplitude"]) ** 2 + (0.05 * s["load"]) ** 2)
        least: F64 = np.maximum(spread, np.maximum(s["resolution"], 1e-9))
        return least

    def _columns(self, length: int) -> None:
        self._tag = np.empty(length, np.uint32)
        self._ts_us = np.empty(length, np.int64)
        self._value = np.empty(length, np.float64)

    def _restart(self) -> None:
        self._second = self.start_us // SECOND_US - BURN_IN_S
        self._before = latent.first_state(self._parameters, self.seed, self._second)
        self._after = self._before.copy()
        latent.advance(self._after, self._parameters, self.seed, self._second, 1)

    def _stand_at(self, second: int) -> None:
        """Have the state at the begin and end of that second."""
        if second < self._second:
            self._restart()
        steps = second - self._second
        if steps > 1:
            latent.advance(self._after, self._parameters, self.seed, self._second + 1, steps - 1)
        if steps > 0:
            self._before[:] = self._after
            latent.advance(self._after, self._parameters, self.seed, second, 1)
            self._second = second

    def _part(self, from_us: int, to_us: int) -> tuple[U32, I64, F64]:
        self._stand_at(from_us // SECOND_US)
        columns = (self._tag, self._ts_us, self._value)
        count = sampling.sample(self.samples, self._before, self._after, self.seed, from_us, to_us, *columns)
        if count > len(self._ts_us):
            self._columns(2 * count)
            return self._part(from_us, to_us)
        return self._tag[:count].copy(), self._ts_us[:count].copy(), self._value[:count].copy()


def _gateway(name: str) -> SourceModel:
    """A plant's source; its description tells it from another's of a like name."""
    return SourceModel(name=name, description=f"gateway of {name[3:]}")


def _seconds(from_us: int, to_us: int) -> Iterator[tuple[int, int]]:
    """Cut a window at whole seconds."""
    while from_us < to_us:
        end_us = min((from_us // SECOND_US + 1) * SECOND_US, to_us)
        yield from_us, end_us
        from_us = end_us


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tag is: its path, gateway, machine (number and kind), line number and sensor."""

    path: str
    source: str
    machine_number: int
    machine: Machine
    line: int
    signal: Signal


def _layout(tag_count: int, sources: int) -> list[Place]:
    """Tags shared out evenly over the gateways, machine by machine along each line."""
    if not 1 <= sources <= tag_count:
        raise ValueError(f"{sources} sources for {tag_count} tags, wanted 1 to {tag_count}")
    places: list[Place] = []
    machine_number = 0
    for line in range(sources):
        wanted = tag_count * (line + 1) // sources - tag_count * line // sources
        of_line = list(_line(line, wanted, machine_number))
        machine_number = of_line[-1].machine_number + 1
        places += of_line
    return places


def _line(line: int, tag_count: int, machine_number: int) -> Iterator[Place]:
    area = list(AREAS)[line % len(AREAS)]
    site = SITES[line // len(AREAS) % len(SITES)]
    number = line // (len(AREAS) * len(SITES)) + 1
    prefix = f"{ENTERPRISE}/{site}/{area}/line-{number}"
    source = f"gw-{site}-{area}-{number}"
    counts: dict[str, int] = {}
    left = tag_count
    while left:
        for machine in AREAS[area]:
            counts[machine.name] = counts.get(machine.name, 0) + 1
            name = f"{machine.name}-{counts[machine.name]:02}"
            for signal in machine.signals[:left]:
                yield Place(f"{prefix}/{name}/{signal.name}", source, machine_number, machine, line, signal)
            left = max(left - len(machine.signals), 0)
            machine_number += 1
            if not left:
                return


def _samples(layout: list[Place], seed: int, period_scale: float) -> Rows:
    rng = np.random.Generator(np.random.Philox(key=[seed, 0]))
    samples = np.zeros(len(layout), sampling.SAMPLE)
    vary = rng.uniform(0.93, 1.07, len(layout))
    phase = rng.uniform(0, 1, len(layout))
    for row, place, unlike in zip(samples, layout, vary, strict=True):
        _fill(row, place, unlike)
    samples["period_us"] = np.maximum(np.round(samples["period_us"] * period_scale), 1_000)
    samples["jitter_us"] = samples["period_us"] * JITTER_SHARE
    samples["phase_us"] = phase * samples["period_us"]
    return samples


def _fill(row: Any, place: Place, unlike: float) -> None:
    """No two machines are quite alike: `unlike` scales what the machine's own work adds."""
    signal = place.signal
    row["machine"] = place.machine_number
    row["form"] = _FORMS.get(signal.kind, sampling.MEASURED)
    if signal.kind == "integer":
        row["form"] = sampling.COUNTER if signal.per_cycle else sampling.METER
    row["scale"] = signal.per_cycle or signal.per_kwh
    row["period_us"] = round(signal.period_s * SECOND_US)
    for name in ("run", "load", "heat", "wear", "amplitude"):
        row[name] = getattr(signal, name) * unlike
    for name in ("wave", "offset", "ambient", "noise", "resolution", "low", "high"):
        row[name] = getattr(signal, name)
    row["wave_us"] = signal.wave_s * SECOND_US


def _parameters(layout: list[Place], seed: int) -> F64:
    """(machines, 4): see `latent`."""
    machines = {place.machine_number: place for place in layout}
    parameters = np.zeros((len(machines), 4))
    for number, place in machines.items():
        drawn = latent.chance(seed + 4, place.line, 0)
        always = "utilities" in place.path or drawn < 0.6
        shifts = 3 if always else (2 if drawn < 0.85 else 1)
        parameters[number] = (place.machine.cycle_s, place.machine.heat_s, shifts, place.line)
    return parameters


def _tag_model(place: Place, period_us: int) -> TagModel:
    signal = place.signal
    measured = signal.kind == "float"
    return TagModel(
        path=place.path,
        source=place.source,
        kind=signal.kind,
        unit=signal.unit,
        data_class="critical" if signal.critical else "standard",
        criticality=place.machine.criticality,
        period_us=period_us,
        range_low=signal.low if measured else None,
        range_high=signal.high if measured else None,
        low=signal.limit_low,
        high=signal.limit_high,
        deadband=2 * signal.noise if measured else 0.0,
        states=equipment.MACHINE_STATES if signal.kind == "state" else (),
    )
