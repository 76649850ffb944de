from __future__ import annotations

import math

import pytest

from millrace.api.quantile import quantile_s


def test_a_quantile_lies_in_its_bucket() -> None:
    values = {"x_bucket{0.1}": 50.0, "x_bucket{0.2}": 90.0, "x_bucket{0.5}": 100.0, "x_bucket{+Inf}": 100.0}
    assert quantile_s(values, "x", 0.5) == pytest.approx(0.1)
    assert quantile_s(values, "x", 0.7) == pytest.approx(0.15)
    assert quantile_s(values, "x", 0.99) == pytest.approx(0.47)
    assert math.isnan(quantile_s({}, "x", 0.5))
    assert quantile_s({"x_bucket{0.1}": 0.0, "x_bucket{+Inf}": 4.0}, "x", 0.5) == 0.1
