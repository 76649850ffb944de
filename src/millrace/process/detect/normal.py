"""How small a scatter we believe: the floor under every learned scale.

A signal that stood still while it was learned has no scatter at all, and any move would score infinite.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from millrace.batch import F64
from millrace.process.detect.contract import TagColumns

VALUE_MAX: Final = 1e150
"""Kernels clip values here: beyond it a square is infinite and would stay in the state for ever."""

_OF_RANGE: Final = 1e-4  # a sensor's resolution is seldom finer than a ten-thousandth of its range
_OF_DEADBAND: Final = 0.1  # a tenth of what the model calls no change


def scale_floor(columns: TagColumns) -> F64:
    """Smallest standard deviation that a detector believes, (k,), in the tag's unit; 0: none given."""
    span = np.nan_to_num(columns.range_high - columns.range_low, nan=0.0, posinf=0.0, neginf=0.0)
    return np.maximum(np.maximum(span, 0.0) * _OF_RANGE, np.maximum(columns.deadband, 0.0) * _OF_DEADBAND)


def with_floor(columns: TagColumns) -> F64:
    """Parameters of a learning detector, (k, 2): on (the book clears it where it is off), floor."""
    return np.column_stack((np.ones(len(columns.kind)), scale_floor(columns)))
