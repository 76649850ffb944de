"""The asset model's rows: what is known of a tag and of a source before the first reading comes."""

from __future__ import annotations

import msgspec

KINDS = ("float", "bool", "integer", "state")  # in the order of `batch.ValueKind`
CLASSES = ("standard", "critical")  # in the order of `batch.DataClass`


class TagModel(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One measured signal, at its ISA-95 path `enterprise/site/area/line/equipment/tag`.

    Limits, deadband and range are in `unit`. `range_*` is what the sensor can physically say (beyond it: a
    reject, `out_of_range`); `low_low … high_high` are alarm limits. `None`: no such limit.
    `period_us` is the nominal distance of two readings. `states` are a STATE tag's texts, the code is the index.
    `silence_us` 0: ten periods, at least ten seconds. `detectors` None: the table's own choice for the kind.
    `criticality` 1 (highest) to 5 is the equipment's; `data_class` decides what is kept for how long.
    """

    path: str
    source: str
    kind: str = "float"
    unit: str = ""
    data_class: str = "standard"
    criticality: int = 3
    period_us: int = 1_000_000
    range_low: float | None = None
    range_high: float | None = None
    low_low: float | None = None
    low: float | None = None
    high: float | None = None
    high_high: float | None = None
    deadband: float = 0.0
    on_delay_us: int = 0
    off_delay_us: int = 0
    silence_us: int = 0
    states: tuple[str, ...] = ()
    detectors: tuple[str, ...] | None = None
    description: str = ""


class SourceModel(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A gateway or device that sends frames. `silence_us`: how long it may say nothing; 0: ten seconds."""

    name: str
    silence_us: int = 0
    description: str = ""


class AssetModel(msgspec.Struct, frozen=True, kw_only=True):
    """A whole model, as loaded from files. `paths` and sources are unique."""

    sources: tuple[SourceModel, ...]
    tags: tuple[TagModel, ...]
