"""What the detector tests share: the columns of an asset model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from millrace.process.detect import TagColumns, default_detectors

Make = Callable[..., TagColumns]


@pytest.fixture(scope="session")
def columns_of() -> Make:
    """columns_of(k, high=…): k modelled, critical float tags of 1 s; a field is set for all of them."""

    def make(count: int, **fields: Any) -> TagColumns:
        values: dict[str, Any] = {
            "kind": 0, "modelled": True, "critical": True, "period_us": 1_000_000, "range_low": np.nan,
            "range_high": np.nan, "low_low": np.nan, "low": np.nan, "high": np.nan, "high_high": np.nan,
            "deadband": 0.0, "on_delay_us": 0, "off_delay_us": 0, "silence_us": 0,
            "detectors": default_detectors(0),
        }  # fmt: skip
        values.update(fields)
        types = {"kind": np.uint8, "modelled": np.bool_, "critical": np.bool_}
        whole = {"period_us", "on_delay_us", "off_delay_us", "silence_us", "detectors"}
        return TagColumns(
            **{
                name: np.full(count, value, np.int64 if name in whole else types.get(name, np.float64))
                for name, value in values.items()
            }
        )

    return make
