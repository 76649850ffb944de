"""The alarm rules, in the order of their numbers: what an operator sees, and what to do about it.

A number is stored with every alarm: append, never reorder. Priorities after ISA-18.2: `high`, `medium` and
`low` go to the operator, `journal` is kept for the engineer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PRIORITIES: Final = ("high", "medium", "low", "journal")

LIMIT: Final = "limit"  # a value beyond a limit of the asset model; deadband and delays are the model's
DETECTOR: Final = "detector"  # an open anomaly of the detector named in `of`
TAG_SILENCE: Final = "tag_silence"  # a tag says nothing although its source speaks
SOURCE_SILENCE: Final = "source_silence"


@dataclass(frozen=True, slots=True)
class Rule:
    """A row of the table ALARMS.

    `condition` is one of the words above; `of` is the limit's or the detector's name. `critical_only`: for
    tags of class critical, so that ten thousand tags do not ring for what only an engineer wants to know.
    Delays are for detector rules; a limit's are the model's.
    """

    name: str
    title: str
    priority: str
    condition: str
    of: str
    message: str
    response: str
    critical_only: bool = False
    on_delay_us: int = 0
    off_delay_us: int = 0


ALARMS: Final[tuple[Rule, ...]] = (
    Rule(
        "low_low", "Far too low", "high", LIMIT, "low_low",
        message="The value is below its low-low limit.",
        response="Bring the equipment to a safe state, then look for the cause.",
    ),
    Rule(
        "low", "Too low", "medium", LIMIT, "low",
        message="The value is below its low limit.",
        response="Check the process; act before the low-low limit is reached.",
    ),
    Rule(
        "high", "Too high", "medium", LIMIT, "high",
        message="The value is above its high limit.",
        response="Check the process; act before the high-high limit is reached.",
    ),
    Rule(
        "high_high", "Far too high", "high", LIMIT, "high_high",
        message="The value is above its high-high limit.",
        response="Bring the equipment to a safe state, then look for the cause.",
    ),
    Rule(
        "tag_silent", "Signal lost", "medium", TAG_SILENCE, "",
        message="The tag says nothing although its source speaks.",
        response="Check the sensor and its wiring; the shown value is old.",
        critical_only=True,
    ),
    Rule(
        "source_silent", "Source lost", "high", SOURCE_SILENCE, "",
        message="The gateway or device sends nothing at all.",
        response="Check the gateway's power and network; all its values are old.",
    ),
    Rule(
        "stuck", "Sensor stuck", "low", DETECTOR, "flatline",
        message="The value stands still although it normally moves.",
        response="Compare with a neighbouring sensor; have the sensor checked.",
        critical_only=True,
    ),
    Rule(
        "drift", "Drift", "journal", DETECTOR, "cusum",
        message="The value drifts away from its reference.",
        response="Look at the trend; plan maintenance if it goes on.",
        critical_only=True, off_delay_us=60_000_000,
    ),
    Rule(
        "oscillating", "Oscillation", "low", DETECTOR, "oscillation",
        message="The value swings from side to side.",
        response="Check the control loop's tuning and the actuator for sticking.",
        critical_only=True, off_delay_us=60_000_000,
    ),
)  # fmt: skip

ALARM_NAMES: Final[tuple[str, ...]] = tuple(rule.name for rule in ALARMS)
