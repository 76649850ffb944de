"""Scenario files: a plant's size and seed, and which faults come when. The labels say afterwards what was
true.

    seed: 7
    tags: 2000
    sources: 20
    faults:
      - {kind: bearing-wear, at: 5min, for: 10min, target: acme/lyon/utilities/line-1/pump-01}
      - {preset: oven, at: 30s}
      - {kind: source-dropout, at: 2min, for: 45s, target: "source:gw-lyon-press-shop-1"}

`at` counts from the start. `target` is a tag, an equipment, a pattern with `*`, or `source:<name>`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from millrace.assets.duration import duration_us
from millrace.clock import SECOND_US
from millrace.devices.commands import PRESETS, FaultOrder, Struck, orders_of
from millrace.devices.faults import FAULTS_MAX, known_kind
from millrace.devices.plant import Plant
from millrace.errors import SettingError, nearest

FILE_BYTES_MAX: Final = 1_000_000
TAGS_MAX: Final = 1_000_000  # beyond it a plant takes gigabytes of a machine that has a platform to run
PERIOD_SCALE_MIN, PERIOD_SCALE_MAX = 0.001, 1_000.0
WHOLE_MAX: Final = 2**53  # what JSON and 64 bits hold
NUMBER_MAX: Final = 1e12
_KEYS: Final = ("seed", "tags", "sources", "period_scale", "description", "faults")
_FAULT_KEYS: Final = ("kind", "preset", "at", "for", "target", "magnitude", "period")


@dataclass(frozen=True, slots=True)
class Scenario:
    """A plant to be, and its faults relative to the start."""

    seed: int = 1
    tags: int = 10_000
    sources: int | None = None
    period_scale: float = 1.0
    faults: tuple[FaultOrder, ...] = ()

    def plant(self, *, start_us: int) -> Plant:
        """The plant; a gateway for each hundred tags unless the scenario says otherwise."""
        sources = self.sources or max(self.tags // 100, 1)
        if not 1 <= sources <= self.tags <= TAGS_MAX:
            got = f"{self.tags} tags of {sources} sources"
            raise SettingError("plant", got=got, want=f"1 to {TAGS_MAX} tags, and no source without a tag")
        return Plant(
            self.tags, seed=self.seed, sources=sources, start_us=start_us, period_scale=self.period_scale
        )

    def orders(self) -> tuple[FaultOrder, ...]:
        return self.faults

    def labels(self, struck: Iterable[Struck]) -> bytes:
        """JSON: seed, and each fault with its tags, start and end in microseconds UTC."""
        return msgspec.json.format(msgspec.json.encode({"seed": self.seed, "faults": list(struck)}), indent=2)


def load_scenario(path: Path) -> Scenario:
    """A scenario out of a YAML file; SettingError says where it is wrong."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise SettingError(
                str(path), got=f"{path.stat().st_size} bytes", want=f"at most {FILE_BYTES_MAX}"
            )
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise SettingError(str(path), got=error.strerror, want="a scenario file that can be read") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingError(str(path), got=str(error), want="YAML in UTF-8") from None
    content = _mapping(content, _KEYS, str(path))
    faults = content.get("faults", [])
    if not isinstance(faults, list) or len(faults) > FAULTS_MAX:
        raise SettingError(
            f"{path}: faults", got=type(faults).__name__, want=f"a list of at most {FAULTS_MAX}"
        )
    orders = [order for at, fault in enumerate(faults) for order in _orders(fault, f"{path}: fault {at + 1}")]
    return Scenario(
        seed=_whole(content, "seed", 1, path, 0),
        tags=_whole(content, "tags", 10_000, path),
        sources=_whole(content, "sources", 0, path, 0) or None,
        period_scale=_period_scale(content.get("period_scale", 1.0), f"{path}: period_scale"),
        faults=tuple(orders),
    )


def _mapping(value: Any, known: Collection[str], where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SettingError(where, got=type(value).__name__, want=f"a mapping with {', '.join(known)}")
    for key in value:
        if key not in known:
            raise SettingError(
                where, got=f"key {key}", want=f"one of {', '.join(known)}{nearest(str(key), known)}"
            )
    return value


def _orders(value: Any, where: str) -> tuple[FaultOrder, ...]:
    fault = _mapping(value, _FAULT_KEYS, where)
    if ("kind" in fault) == ("preset" in fault):
        raise SettingError(
            where, got="kind and preset" if "kind" in fault else "neither", want="kind or preset"
        )
    if "preset" in fault and fault["preset"] not in PRESETS:
        hint = nearest(str(fault["preset"]), PRESETS)
        raise SettingError(where, got=fault["preset"], want=f"a preset: {', '.join(PRESETS)}{hint}")
    if "kind" in fault:
        known_kind(str(fault["kind"]))
    orders = orders_of(str(fault.get("kind") or fault["preset"]), equipment=str(fault.get("target", "")))
    changes: dict[str, float] = {"after_s": _seconds(fault.get("at", 0), f"{where}: at")}
    if "for" in fault:
        changes["duration_s"] = _seconds(fault["for"], f"{where}: for")
    if "magnitude" in fault:
        changes["magnitude"] = _magnitude(fault["magnitude"], f"{where}: magnitude")
    if "period" in fault:
        changes["period_s"] = _seconds(fault["period"], f"{where}: period")
        if not changes["period_s"]:
            raise SettingError(f"{where}: period", got=fault["period"], want="more than nothing")
    return tuple(msgspec.structs.replace(order, **changes) for order in orders)


def _seconds(value: Any, where: str) -> float:
    try:
        return duration_us(str(value)) / SECOND_US
    except ValueError as error:
        raise SettingError(where, got=value, want=str(error)) from None


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SettingError(where, got=value, want="a number")
    if abs(value) > NUMBER_MAX:
        raise SettingError(where, got=value, want=f"a number between -{NUMBER_MAX:g} and {NUMBER_MAX:g}")
    return float(value)


def _magnitude(value: Any, where: str) -> float:
    magnitude = _number(value, where)
    if not math.isfinite(magnitude):
        raise SettingError(where, got=value, want="a finite number")
    return magnitude


def _period_scale(value: Any, where: str) -> float:
    scale = _number(value, where)
    if not PERIOD_SCALE_MIN <= scale <= PERIOD_SCALE_MAX:
        raise SettingError(where, got=value, want=f"{PERIOD_SCALE_MIN:g} to {PERIOD_SCALE_MAX:g}")
    return scale


def _whole(content: dict[str, Any], key: str, default: int, path: Path, least: int = 1) -> int:
    value = content.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= WHOLE_MAX:
        raise SettingError(f"{path}: {key}", got=value, want=f"a whole number, {least} or more, up to {WHOLE_MAX}")
    return value
