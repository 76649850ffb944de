"""Find what is abnormal: a table of detectors, one file each, and the book that runs them over the tags."""

from __future__ import annotations

from millrace.process.detect.book import Detection
from millrace.process.detect.contract import Detector, TagColumns
from millrace.process.detect.table import DETECTOR_NAMES, DETECTORS, default_detectors, detector_bits

__all__ = [
    "DETECTORS",
    "DETECTOR_NAMES",
    "Detection",
    "Detector",
    "TagColumns",
    "default_detectors",
    "detector_bits",
]
