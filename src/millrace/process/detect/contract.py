"""What a detector is: parameters out of the asset model, a row of state per tag, a kernel, a score.

A detector sees the readings of its shard that are in time order inside their tag, good or uncertain, finite.
They come sorted by (slot, arrival): a tag's readings are neighbours. Its output may depend on nothing but the
tag's own earlier readings and ticks: any cut into batches gives the same scores, bit for bit.

The score is dimensionless: 1.0 is the limit, above it is abnormal, 0 is perfectly normal.
`intervals.py` turns scores into anomalies; detectors know nothing of intervals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from millrace.batch import F64, I32, I64, U8, Bool


@dataclass(slots=True)
class TagColumns:
    """What the model says, per slot, (k,) each. NaN: no such limit. Times in microseconds."""

    kind: U8
    modelled: Bool
    critical: Bool
    period_us: I64
    range_low: F64
    range_high: F64
    low_low: F64
    low: F64
    high: F64
    high_high: F64
    deadband: F64
    on_delay_us: I64
    off_delay_us: I64
    silence_us: I64
    detectors: I64  # bit i: DETECTORS[i] is on for the tag


# (slot, ts_us, value, parameters, state, score, expected): reads the first four, updates state, fills the last two.
Step = Callable[[I32, I64, F64, F64, F64, F64, F64], None]
# (time_us, last_arrival_us, parameters, state, score): per slot (k,); fills score.
Tick = Callable[[int, I64, F64, F64, F64], None]


@dataclass(frozen=True, slots=True)
class Detector:
    """A row of the table DETECTORS.

    `parameters(columns)` gives (k, p) float64, `initial(k)` gives (k, s) float64.
    `step` is None for a detector that looks at silence only, `tick` is None for one that looks at readings only.
    `kinds`: the value kinds it makes sense for. Any change of meaning raises `version`: the fingerprint changes
    and the detector starts cold at the next start.
    `open_count` / `close_count`: consecutive readings over 1.0 that open an anomaly, under `close_score` that close it.
    """

    name: str
    version: int
    title: str
    parameters: Callable[[TagColumns], F64]
    initial: Callable[[int], F64]
    step: Step | None
    tick: Tick | None = None
    kinds: tuple[int, ...] = (0, 2)
    open_count: int = 1
    close_count: int = 3
    close_score: float = 0.7
