"""The tags and sources that a shard knows: slots, bounds, the asset model's columns.

A modelled tag is its path; an unmodelled tag is (source, path) until the model gives it to one source (law 3).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from millrace.accounting import tag_hash
from millrace.assets.tag import CLASSES, KINDS, SourceModel, TagModel
from millrace.batch import I32, I64, U64, DataClass, TagInfo, ValueKind
from millrace.clock import DAY_US, SECOND_US
from millrace.process.detect.contract import TagColumns
from millrace.process.detect.table import DETECTOR_NAMES, default_detectors, detector_bits

UNKNOWN_NAME = "unknown"
UNKNOWN_SOURCE = 0
"""Source number of records whose source could not be read, or for whom there was no room."""
SOURCE_SILENCE_US = 10 * SECOND_US
TAG_SILENCE_MIN_US = 10 * SECOND_US
TAG_SILENCE_PERIODS = 10
UNMODELLED_PERIOD_US = SECOND_US
NOT_SILENT_US = 2**62
"""Silence limit of an unmodelled tag: nobody said how often it speaks."""

_LIMITS = ("range_low", "low_low", "low", "high", "high_high", "range_high")


@dataclass(slots=True)
class Tags:
    """One row a slot, in order of first appearance. Arrays have spare room: use `[:count]`."""

    paths: list[str] = field(default_factory=list)
    sources: list[int] = field(default_factory=list)
    slots: dict[tuple[int, str], int] = field(default_factory=dict)
    models: dict[str, TagModel] = field(default_factory=dict)  # by path; this shard's sources only
    source_numbers: dict[str, int] = field(default_factory=dict)  # by name, of `Sources`
    hashes: U64 = field(default_factory=lambda: np.zeros(64, np.uint64))
    columns: TagColumns = field(default_factory=lambda: _blank(64))
    state_count: I32 = field(default_factory=lambda: np.zeros(64, np.int32))

    @property
    def count(self) -> int:
        return len(self.paths)

    def add(self, source: int, path: str, kind: int) -> int:
        """A new slot, modelled if the model knows the path."""
        slot = self.count
        if slot == len(self.hashes):
            self.hashes = np.concatenate([self.hashes, np.zeros(slot, np.uint64)])
            self.columns = _joined(self.columns, _blank(slot))
            self.state_count = np.concatenate([self.state_count, np.zeros(slot, np.int32)])
        self.paths.append(path)
        self.sources.append(source)
        self.slots[source, path] = slot
        self.hashes[slot] = tag_hash(path)
        self.columns.kind[slot] = kind
        self.describe(slot)
        return slot

    def describe(self, slot: int) -> None:
        """Write the slot's model columns anew."""
        model = self._model_of(slot)
        columns = self.columns
        for name in _LIMITS:
            limit = getattr(model, name, None)
            getattr(columns, name)[slot] = np.nan if limit is None else limit
        columns.modelled[slot] = model is not None
        self.state_count[slot] = len(model.states) if model else 0
        if model is None:
            # A sender's number may be whole today and broken tomorrow; only a model says that it must be whole.
            columns.kind[slot] = ValueKind.FLOAT
            columns.critical[slot] = False
            columns.period_us[slot] = UNMODELLED_PERIOD_US
            columns.silence_us[slot] = NOT_SILENT_US
            columns.deadband[slot] = columns.on_delay_us[slot] = columns.off_delay_us[slot] = 0
            columns.detectors[slot] = _detectors(None, int(columns.kind[slot]))
            return
        columns.kind[slot] = KINDS.index(model.kind)
        columns.critical[slot] = model.data_class == "critical"
        columns.period_us[slot] = model.period_us
        columns.silence_us[slot] = model.silence_us or max(
            TAG_SILENCE_PERIODS * model.period_us, TAG_SILENCE_MIN_US
        )
        columns.deadband[slot] = model.deadband
        columns.on_delay_us[slot] = model.on_delay_us
        columns.off_delay_us[slot] = model.off_delay_us
        columns.detectors[slot] = _detectors(model.detectors, int(columns.kind[slot]))

    def _model_of(self, slot: int) -> TagModel | None:
        """None too where the model gives the path to another source: what is silent since then is not missed."""
        model, source = self.models.get(self.paths[slot]), self.sources[slot]
        return model if model and self.source_numbers.get(model.source, source) == source else None

    def trimmed(self) -> TagColumns:
        """The columns without their spare room; views."""
        return TagColumns(**{f.name: getattr(self.columns, f.name)[: self.count] for f in fields(TagColumns)})

    def info(self, slot: int, source: str) -> TagInfo:
        """The slot as the stores need to know it."""
        path, columns = self.paths[slot], self.columns
        model = self._model_of(slot)
        return TagInfo(
            slot=slot,
            path=path,
            source=source,
            kind=ValueKind(int(columns.kind[slot])),
            data_class=DataClass(CLASSES.index(model.data_class) if model else 0),
            modelled=model is not None,
            period_us=int(columns.period_us[slot]),
            unit=model.unit if model else "",
            criticality=model.criticality if model else 3,
            limits=tuple(float(getattr(columns, name)[slot]) for name in _LIMITS) if model else (),
            states=model.states if model else (),
            description=model.description if model else "",
        )


@dataclass(slots=True)
class Source:
    """What a shard knows of one source. `arrival_us` is the shard's time at its newest frame."""

    name: str
    silence_us: int = SOURCE_SILENCE_US
    modelled: bool = False
    arrival_us: int = 0
    tags: int = 0
    new_tags: int = 0
    new_tags_day: int = -1


@dataclass(slots=True)
class Sources:
    """One row a source number; number 0 is `unknown`."""

    limit: int
    rows: list[Source] = field(default_factory=lambda: [Source(UNKNOWN_NAME, silence_us=NOT_SILENT_US)])
    numbers: dict[str, int] = field(default_factory=lambda: {UNKNOWN_NAME: UNKNOWN_SOURCE})

    def number(self, name: str, time_us: int) -> int | None:
        """The source's number, a new one if need be; None when there is no room for another."""
        known = self.numbers.get(name)
        if known is not None:
            return known
        if len(self.rows) > self.limit:
            return None
        self.rows.append(Source(name, arrival_us=time_us))
        self.numbers[name] = len(self.rows) - 1
        return self.numbers[name]

    def describe(self, models: Iterable[SourceModel], time_us: int) -> None:
        """Take over what the model says of sources."""
        for model in models:
            number = self.number(model.name, time_us)
            if number is not None:
                self.rows[number].silence_us = model.silence_us or SOURCE_SILENCE_US
                self.rows[number].modelled = True

    def arrivals_us(self) -> I64:
        return np.array([row.arrival_us for row in self.rows], np.int64)

    def silences_us(self) -> I64:
        """A source that nobody modelled may come and go without an alarm."""
        return np.array([row.silence_us if row.modelled else NOT_SILENT_US for row in self.rows], np.int64)

    def admit_tag(self, number: int, received_us: int, *, per_source: int, new_per_day: int, modelled: bool) -> str:
        """'' when the source may have one more tag, else the name of the bound; counts it when it may."""
        row = self.rows[number]
        if row.tags >= per_source:
            return "TOO_MANY_TAGS"
        if not modelled:
            day = received_us // DAY_US
            if day != row.new_tags_day:
                row.new_tags_day, row.new_tags = day, 0
            if row.new_tags >= new_per_day:
                return "TOO_MANY_NEW_TAGS"
            row.new_tags += 1
        row.tags += 1
        return ""


def _detectors(chosen: tuple[str, ...] | None, kind: int) -> int:
    """Bit i: DETECTORS[i] looks at the tag. A name that this release does not know is ignored: the loader
    refuses it.
    """
    if chosen is None:
        return default_detectors(kind)
    return detector_bits(name for name in chosen if name in DETECTOR_NAMES)


def _blank(size: int) -> TagColumns:
    """Columns of `size` rows that say nothing."""
    nan = np.nan
    return TagColumns(
        kind=np.zeros(size, np.uint8),
        modelled=np.zeros(size, np.bool_),
        critical=np.zeros(size, np.bool_),
        period_us=np.zeros(size, np.int64),
        range_low=np.full(size, nan),
        range_high=np.full(size, nan),
        low_low=np.full(size, nan),
        low=np.full(size, nan),
        high=np.full(size, nan),
        high_high=np.full(size, nan),
        deadband=np.zeros(size),
        on_delay_us=np.zeros(size, np.int64),
        off_delay_us=np.zeros(size, np.int64),
        silence_us=np.zeros(size, np.int64),
        detectors=np.zeros(size, np.int64),
    )


def _joined(first: TagColumns, second: TagColumns) -> TagColumns:
    parts: dict[str, Any] = {
        f.name: np.concatenate([getattr(first, f.name), getattr(second, f.name)]) for f in fields(TagColumns)
    }
    return TagColumns(**parts)
