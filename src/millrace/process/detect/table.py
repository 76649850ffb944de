"""The detectors, in the order of their numbers. A number is stored with every anomaly: append, never reorder.

A detector that is given up stays in its row with `step=None, tick=None` and no kinds.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from millrace.errors import AssetModelError, nearest
from millrace.process.detect.contract import Detector
from millrace.process.detect.cusum import CUSUM
from millrace.process.detect.ewma import EWMA
from millrace.process.detect.flatline import FLATLINE
from millrace.process.detect.limits import LIMITS
from millrace.process.detect.oscillation import OSCILLATION
from millrace.process.detect.rate_of_change import RATE_OF_CHANGE
from millrace.process.detect.silence import SILENCE

DETECTORS: Final[tuple[Detector, ...]] = (
    EWMA,
    CUSUM,
    FLATLINE,
    RATE_OF_CHANGE,
    LIMITS,
    OSCILLATION,
    SILENCE,
)

DETECTOR_NAMES: Final[tuple[str, ...]] = tuple(detector.name for detector in DETECTORS)


def default_detectors(kind: int) -> int:
    """Bits of the detectors that a tag of this value kind gets when its model names none."""
    return sum(1 << number for number, detector in enumerate(DETECTORS) if kind in detector.kinds)


def detector_bits(names: Iterable[str]) -> int:
    """Bits of the named detectors; AssetModelError names an unknown one."""
    bits = 0
    for name in names:
        if name not in DETECTOR_NAMES:
            raise AssetModelError([f"detector {name!r} is unknown{nearest(name, DETECTOR_NAMES)}"])
        bits |= 1 << DETECTOR_NAMES.index(name)
    return bits
